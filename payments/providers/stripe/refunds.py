"""Stripe's refunds: made, read, and failed late.

A refund names our refund id in its metadata (`florin_refund`), so one whose creation timed out is
found again in the payment's list; one without it was made in Stripe's dashboard. `succeeded` is not
the end: the payer's bank may send the money back for weeks, the refund then is `failed` and a
failure balance transaction brings the amount back (docs.stripe.com/refunds#failed-refunds).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import Result
from payments.providers.fields import UnreadableObject
from payments.providers.objects import RefundPayment, RefundSnapshot, RefundStatus
from payments.providers.outcomes import outcome_of_refund
from payments.providers.stripe.amounts import minor, to_stripe
from payments.providers.stripe.call import Call
from payments.providers.stripe.errors import refund_failure
from payments.providers.stripe.snapshots import reference

METADATA_KEY = "florin_refund"

STATUSES = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.REQUIRES_ACTION,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.CANCELED,
}
_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})


def read_refund(refund: Mapping[str, Any]) -> RefundSnapshot:
    """The RefundSnapshot of a Refund object. Raises UnreadableObject."""
    if refund.get("object") != "refund":
        raise UnreadableObject("the object is not a refund")
    raw_status = fields.text(refund, "status")
    status = STATUSES.get(raw_status, RefundStatus.UNRECOGNISED)
    currency = fields.required_text(refund, "currency").upper()
    over = status in {RefundStatus.FAILED, RefundStatus.CANCELED}
    return RefundSnapshot(
        provider_reference=fields.required_text(refund, "id"),
        payment_reference=reference(refund, "payment_intent"),
        status=status,
        amount_minor=minor(fields.whole(refund, "amount"), currency),
        currency=currency,
        our_reference=fields.text(fields.mapping(refund, "metadata"), METADATA_KEY),
        charge_reference=reference(refund, "charge"),
        reason=fields.text(refund, "reason"),
        error=refund_failure(fields.text(refund, "failure_reason")) if over else None,
        raw_status=raw_status,
    )


def make(call: Call, request: RefundPayment) -> Result:
    """Refund a PaymentIntent's charge (docs.stripe.com/api/refunds/create)."""
    params: dict[str, Any] = {
        "payment_intent": request.provider_reference,
        "amount": to_stripe(request.amount_minor, request.currency),
        "metadata": {METADATA_KEY: request.reference},
    }
    if request.reason in _REASONS:
        params["reason"] = request.reason
    made = call.post(lambda v1, given, options: v1.refunds.create(given, options), params)
    refund = read_refund(made)
    return call.result(outcome_of_refund(refund), refund=refund, error=refund.error)
