"""Stripe's PaymentIntent in our words: a total function of its documented fields.

The same reader serves answers and events, so both mean the same. Fee and availability come from
`latest_charge.balance_transaction`, which only a call can expand; an event carries the charge's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.providers.fields import UnreadableObject
from payments.providers.stripe.amounts import AmountNotExpressible, from_stripe
from payments.providers.stripe.errors import translate

# Where Stripe keeps our payment id.
METADATA_KEY = "florin_payment"

STATUSES = {
    "requires_payment_method": ObservedStatus.OPEN,  # DECLINED with a last_payment_error
    "requires_confirmation": ObservedStatus.OPEN,
    "requires_action": ObservedStatus.REQUIRES_ACTION,
    "processing": ObservedStatus.PROCESSING,
    "requires_capture": ObservedStatus.AUTHORIZED,
    "succeeded": ObservedStatus.CAPTURED,
    "canceled": ObservedStatus.CANCELED,
}


def read_snapshot(intent: Mapping[str, Any]) -> PaymentSnapshot:
    """The PaymentSnapshot of a PaymentIntent object. Raises UnreadableObject."""
    if intent.get("object") != "payment_intent":
        raise UnreadableObject("the object is not a payment_intent")
    raw_status = fields.required_text(intent, "status")
    status = STATUSES.get(raw_status, ObservedStatus.UNRECOGNISED)
    last_error = fields.mapping(intent, "last_payment_error")
    if raw_status == "requires_payment_method" and last_error:
        status = ObservedStatus.DECLINED
    currency = fields.required_text(intent, "currency").upper()
    charge = _expanded(intent, "latest_charge")
    balance = _expanded(charge, "balance_transaction")
    fee_currency = fields.text(balance, "currency").upper()
    fee = fields.optional_whole(balance, "fee")
    return PaymentSnapshot(
        provider_reference=fields.required_text(intent, "id"),
        status=status,
        amount_minor=_amount(intent, "amount", currency),
        currency=currency,
        our_reference=our_reference(intent),
        charge_reference=_reference(intent, "latest_charge"),
        amount_capturable_minor=_amount(intent, "amount_capturable", currency),
        amount_captured_minor=_amount(intent, "amount_received", currency),
        fee_minor=None if fee is None else _minor(fee, fee_currency),
        fee_currency=fee_currency if fee is not None else "",
        settled=balance.get("status") == "available",
        available_at=fields.epoch(balance, "available_on"),
        client_secret=fields.text(intent, "client_secret"),
        next_action=_next_action(fields.mapping(intent, "next_action")),
        payment_method=_reference(intent, "payment_method"),
        payment_method_summary=_summary(fields.mapping(charge, "payment_method_details")),
        cancellation_reason=fields.text(intent, "cancellation_reason"),
        error=_last_error(last_error) if status == ObservedStatus.DECLINED else None,
        raw_status=raw_status,
    )


def _last_error(error: Mapping[str, Any]) -> ProviderError:
    """Why the last try failed. The PaymentIntent stays payable, so an error that no table knows
    ends the try, not the payment.
    """
    return translate(error, otherwise="processing_error")


def our_reference(source: Mapping[str, Any]) -> str:
    """Our payment id in an object's metadata, or the empty string."""
    return fields.text(fields.mapping(source, "metadata"), METADATA_KEY)


def _expanded(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An expandable field's object; empty while it is only an id."""
    return {} if isinstance(source.get(name), str) else fields.mapping(source, name)


def _reference(source: Mapping[str, Any], name: str) -> str:
    """An expandable field's id, whether it is expanded or not."""
    value = source.get(name)
    return (
        fields.required_text(value, "id")
        if isinstance(value, Mapping)
        else fields.text(source, name)
    )


def _amount(intent: Mapping[str, Any], name: str, currency: str) -> int:
    """An amount in our minor units. What is not yet there (an older API version) counts as 0,
    except the amount itself.
    """
    value = intent.get(name)
    if value is None and name != "amount":
        return 0
    return _minor(fields.whole(intent, name), currency)


def _minor(amount: int, currency: str) -> int:
    try:
        return from_stripe(amount, currency)
    except AmountNotExpressible as error:
        raise UnreadableObject(str(error)) from error


def _next_action(action: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the payer has to do, in our words; Stripe's own type is kept beside."""
    if not action:
        return None
    kind = fields.text(action, "type")
    detail = _detail(action, kind)
    url = detail.get("url") or detail.get("hosted_verification_url")
    if isinstance(url, str) and url:
        return {"type": "redirect", "url": url, "provider_type": kind}
    return {"type": "use_provider_sdk", "provider_type": kind}


def _summary(details: Mapping[str, Any]) -> Mapping[str, str]:
    kind = fields.text(details, "type")
    if not kind:
        return {}
    detail = _detail(details, kind)
    brand = detail.get("brand") or detail.get("bank_name")
    return {"kind": kind, "brand": str(brand or ""), "last4": str(detail.get("last4") or "")}


def _detail(source: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """What stands under the name of the type. It only decorates, so whatever else is there is
    nothing: a payment's news is not lost over it.
    """
    value = source.get(kind) if kind != "type" else None
    return value if isinstance(value, Mapping) else {}
