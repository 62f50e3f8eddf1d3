"""Stripe's PaymentIntent in our words: a total function of its documented fields.

The same reader serves answers and events, so both mean the same. An event carries ids where a call
can expand objects: fee and availability are in the charge's balance transactions, one per capture
(docs.stripe.com/payments/multicapture), whether the fraud desk holds a payment is in its review.

    requires_capture             AUTHORIZED; PARTIALLY_CAPTURED once something was received;
                                 UNDER_REVIEW while a Radar review is open and nothing is captured.
                                 Stripe opens reviews on captured payments too; these stay captured,
                                 and what the desk decides arrives as a refund
    processing, held before      CAPTURE_PENDING
    succeeded                    CAPTURED; RETURNED once the charge has a failure balance
                                 transaction, which takes the money of a failed debit back
    canceled, something taken    CAPTURED: a cancel releases what is held, never what was taken
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from payments.providers import fields
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.providers.fields import UnreadableObject
from payments.providers.objects import DisputeSnapshot, RefundSnapshot
from payments.providers.stripe.amounts import minor
from payments.providers.stripe.balances import Balances
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
# Stripe's payment method types that are debits of a bank account; the bank may take them back.
_BANK_DEBITS = frozenset(
    {
        "acss_debit",
        "au_becs_debit",
        "bacs_debit",
        "nz_bank_account",
        "sepa_debit",
        "us_bank_account",
    }
)
_TAKEN = frozenset({ObservedStatus.CAPTURED, ObservedStatus.RETURNED})


def read_snapshot(
    intent: Mapping[str, Any],
    *,
    balance_transactions: Sequence[Mapping[str, Any]] | None = None,
    refunds: tuple[RefundSnapshot, ...] | None = None,
    disputes: tuple[DisputeSnapshot, ...] | None = None,
) -> PaymentSnapshot:
    """The PaymentSnapshot of a PaymentIntent object.

    `balance_transactions` are those of the charge when they were listed; else the one that the
    charge carries counts. Raises UnreadableObject.
    """
    if intent.get("object") != "payment_intent":
        raise UnreadableObject("the object is not a payment_intent")
    last_error = fields.mapping(intent, "last_payment_error")
    currency = fields.required_text(intent, "currency").upper()
    charge = expanded(intent, "latest_charge")
    received = _amount(intent, "amount_received", currency)
    status = _status(intent, charge, received)
    if balance_transactions is None:
        carried = expanded(charge, "balance_transaction")
        balance_transactions = [carried] if carried else []
    balances = Balances.read(balance_transactions, captured_minor=received, currency=currency)
    final = status in _TAKEN
    returned = status == ObservedStatus.RETURNED
    return PaymentSnapshot(
        provider_reference=fields.required_text(intent, "id"),
        status=status,
        amount_minor=_amount(intent, "amount", currency),
        currency=currency,
        our_reference=our_reference(intent),
        charge_reference=reference(intent, "latest_charge"),
        amount_capturable_minor=_amount(intent, "amount_capturable", currency),
        amount_captured_minor=received,
        amount_authorized_minor=_authorized(intent, charge, currency),
        amount_settled_minor=balances.available_minor,
        amount_returned_minor=received if returned else 0,
        return_code=_return_code(charge) if returned else "",
        refunds=refunds,
        disputes=disputes,
        fee_minor=balances.fee_minor if final else None,
        fee_currency=balances.fee_currency if final else "",
        settled=status == ObservedStatus.CAPTURED and balances.all_available,
        available_at=balances.available_at,
        client_secret=fields.text(intent, "client_secret"),
        next_action=_next_action(fields.mapping(intent, "next_action")),
        payment_method=reference(intent, "payment_method"),
        payment_method_summary=_summary(charge, last_error),
        cancellation_reason=fields.text(intent, "cancellation_reason"),
        error=_last_error(last_error) if status == ObservedStatus.DECLINED else None,
        raw_status=fields.required_text(intent, "status"),
    )


def is_ambiguous(intent: Mapping[str, Any]) -> bool:
    """Whether what stands behind an id decides what the PaymentIntent means: a review that may be
    closed by now, a charge that may be held or not.
    """
    status = intent.get("status")
    if status == "requires_capture":
        return isinstance(intent.get("review"), str)
    manual = intent.get("capture_method") == "manual"
    return status == "processing" and manual and isinstance(intent.get("latest_charge"), str)


def _status(intent: Mapping[str, Any], charge: Mapping[str, Any], received: int) -> ObservedStatus:
    raw = fields.required_text(intent, "status")
    if raw == "requires_payment_method" and fields.mapping(intent, "last_payment_error"):
        return ObservedStatus.DECLINED
    if raw == "requires_capture" and received:
        return ObservedStatus.PARTIALLY_CAPTURED
    if raw == "requires_capture" and _review_is_open(intent):
        return ObservedStatus.UNDER_REVIEW
    if raw == "processing" and intent.get("capture_method") == "manual":
        held = charge.get("status") == "succeeded"
        return ObservedStatus.CAPTURE_PENDING if held else ObservedStatus.PROCESSING
    if raw == "succeeded" and charge.get("failure_balance_transaction"):
        return ObservedStatus.RETURNED
    if raw == "canceled" and received:
        return ObservedStatus.CAPTURED
    return STATUSES.get(raw, ObservedStatus.UNRECOGNISED)


def _review_is_open(intent: Mapping[str, Any]) -> bool:
    """A review that is only named counts as open; who can ask, asks (docs.stripe.com/radar/reviews
    /auth-and-capture).
    """
    review = intent.get("review")
    if isinstance(review, Mapping):
        return review.get("open") is True
    return bool(review)


def _authorized(intent: Mapping[str, Any], charge: Mapping[str, Any], currency: str) -> int | None:
    """What the card's bank holds or held, where that is not the PaymentIntent's amount."""
    card = _detail(fields.mapping(charge, "payment_method_details"), "card")
    authorized = card.get("amount_authorized")
    if authorized is None or authorized == intent.get("amount"):
        return None
    return minor(fields.whole(card, "amount_authorized"), currency)


def _return_code(charge: Mapping[str, Any]) -> str:
    """The bank's own code where Stripe passes it on, else Stripe's word for it."""
    code = fields.mapping(charge, "outcome").get("network_decline_code")
    return str(code or charge.get("failure_code") or "")


def _last_error(error: Mapping[str, Any]) -> ProviderError:
    """Why the last try failed. The PaymentIntent stays payable, so an error that no table knows
    ends the try, not the payment.
    """
    return translate(error, otherwise="processing_error")


def our_reference(source: Mapping[str, Any]) -> str:
    """Our payment id in an object's metadata, or the empty string."""
    return fields.text(fields.mapping(source, "metadata"), METADATA_KEY)


def expanded(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An expandable field's object; empty while it is only an id."""
    return {} if isinstance(source.get(name), str) else fields.mapping(source, name)


def reference(source: Mapping[str, Any], name: str) -> str:
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
    return minor(fields.whole(intent, name), currency)


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


def kind_of(payment_method_type: str) -> str:
    """Our word for a type of payment method: all debits of bank accounts are one kind."""
    return "bank_debit" if payment_method_type in _BANK_DEBITS else payment_method_type


def _summary(charge: Mapping[str, Any], last_error: Mapping[str, Any]) -> Mapping[str, str]:
    """What was paid with: told by the charge, and after a decline by the error."""
    details = fields.mapping(charge, "payment_method_details")
    named = last_error.get("payment_method")
    if not details and isinstance(named, Mapping):
        details = named
    kind = fields.text(details, "type")
    if not kind:
        return {}
    detail = _detail(details, kind)
    brand, last4 = detail.get("brand") or detail.get("bank_name"), detail.get("last4")
    return {"kind": kind_of(kind), "brand": str(brand or ""), "last4": str(last4 or "")}


def _detail(source: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """What stands under the name of the type. It only decorates, so whatever else is there is
    nothing: a payment's news is not lost over it.
    """
    value = source.get(kind) if kind != "type" else None
    return value if isinstance(value, Mapping) else {}
