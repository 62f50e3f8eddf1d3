"""The sandbox PSP's documents in our words: total functions of its documented fields.

The same readers serve answers and events, so both mean the same. A payment's document always
carries all its captures, refunds and disputes, so neither list is ever None in a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.providers.fields import UnreadableObject
from payments.providers.objects import (
    DisputeSnapshot,
    DisputeStage,
    DisputeStatus,
    MethodSnapshot,
    RefundSnapshot,
    RefundStatus,
)
from payments.providers.sandbox.errors import decline_error

STATUSES = {
    "open": ObservedStatus.OPEN,
    "requires_action": ObservedStatus.REQUIRES_ACTION,
    "processing": ObservedStatus.PROCESSING,
    "under_review": ObservedStatus.UNDER_REVIEW,
    "authorized": ObservedStatus.AUTHORIZED,
    "capture_pending": ObservedStatus.CAPTURE_PENDING,
    "partially_captured": ObservedStatus.PARTIALLY_CAPTURED,
    "captured": ObservedStatus.CAPTURED,
    "capture_failed": ObservedStatus.CAPTURE_FAILED,
    "returned": ObservedStatus.RETURNED,
    "canceled": ObservedStatus.CANCELED,
    "declined": ObservedStatus.DECLINED,
    "failed": ObservedStatus.FAILED,
}
REFUND_STATUSES = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.REQUIRES_ACTION,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.CANCELED,
}
DISPUTE_STATUSES = {
    "needs_response": DisputeStatus.NEEDS_RESPONSE,
    "under_review": DisputeStatus.UNDER_REVIEW,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
    "expired": DisputeStatus.EXPIRED,
    "withdrawn": DisputeStatus.WITHDRAWN,
    "closed": DisputeStatus.CLOSED,
    "prevented": DisputeStatus.PREVENTED,
}


def read_snapshot(payment: Mapping[str, Any]) -> PaymentSnapshot:
    """The sandbox's payment document. Raises UnreadableObject."""
    raw_status = fields.required_text(payment, "status")
    amount = fields.whole(payment, "amount_minor")
    authorized = fields.optional_whole(payment, "amount_authorized_minor") or 0
    next_action = fields.mapping(payment, "next_action")
    method = fields.mapping(payment, "method")
    return PaymentSnapshot(
        provider_reference=fields.required_text(payment, "id"),
        status=STATUSES.get(raw_status, ObservedStatus.UNRECOGNISED),
        amount_minor=amount,
        currency=fields.required_text(payment, "currency"),
        our_reference=fields.text(payment, "reference"),
        charge_reference=fields.text(payment, "charge"),
        amount_capturable_minor=fields.whole(payment, "amount_capturable_minor"),
        amount_captured_minor=fields.whole(payment, "amount_captured_minor"),
        amount_authorized_minor=authorized if authorized not in (0, amount) else None,
        amount_settled_minor=fields.whole(payment, "amount_settled_minor"),
        amount_returned_minor=fields.whole(payment, "amount_returned_minor"),
        return_code=fields.text(payment, "return_code"),
        capture_error=_error(payment, "capture_error"),
        refunds=tuple(read_refund(one) for one in _parts(payment, "refunds")),
        disputes=tuple(read_dispute(one) for one in _parts(payment, "disputes")),
        fee_minor=fields.optional_whole(payment, "fee_minor"),
        fee_currency=fields.text(payment, "fee_currency"),
        settled=payment.get("settled") is True,
        available_at=fields.moment(payment, "available_at"),
        client_secret=fields.text(payment, "client_secret"),
        next_action=dict(next_action) or None,
        payment_method=fields.text(payment, "token"),
        payment_method_summary={
            name: fields.text(method, name) for name in ("kind", "brand", "last4") if method
        },
        cancellation_reason=fields.text(payment, "cancellation_reason"),
        error=_error(payment, "decline"),
        raw_status=raw_status,
        attempt_number=fields.whole(payment, "attempt"),
        version=fields.whole(payment, "version"),
    )


def read_refund(refund: Mapping[str, Any]) -> RefundSnapshot:
    """A refund. Raises UnreadableObject."""
    raw_status = fields.required_text(refund, "status")
    return RefundSnapshot(
        provider_reference=fields.required_text(refund, "id"),
        payment_reference=_payment_id(refund),
        status=REFUND_STATUSES.get(raw_status, RefundStatus.UNRECOGNISED),
        amount_minor=fields.whole(refund, "amount_minor"),
        currency=fields.required_text(refund, "currency"),
        our_reference=fields.text(refund, "reference"),
        reason=fields.text(refund, "reason"),
        error=_error(refund, "failure"),
        raw_status=raw_status,
        version=fields.whole(refund, "version"),
    )


def read_dispute(dispute: Mapping[str, Any]) -> DisputeSnapshot:
    """A dispute; a stage we do not know is an unrecognised status. Raises UnreadableObject."""
    raw_status, stage = fields.required_text(dispute, "status"), fields.text(dispute, "stage")
    status = DISPUTE_STATUSES.get(raw_status, DisputeStatus.UNRECOGNISED)
    if stage not in set(DisputeStage):
        raw_status, status = f"{stage}: {raw_status}", DisputeStatus.UNRECOGNISED
        stage = DisputeStage.CHARGEBACK
    return DisputeSnapshot(
        provider_reference=fields.required_text(dispute, "id"),
        payment_reference=_payment_id(dispute),
        stage=DisputeStage(stage),
        status=status,
        amount_minor=fields.whole(dispute, "amount_minor"),
        currency=fields.required_text(dispute, "currency"),
        funds_withdrawn_minor=fields.whole(dispute, "funds_withdrawn_minor"),
        fee_minor=fields.optional_whole(dispute, "fee_minor"),
        reason=fields.text(dispute, "reason"),
        evidence_due_at=fields.moment(dispute, "evidence_due_at"),
        evidence_submitted=dispute.get("evidence_submitted") is True,
        raw_status=raw_status,
        version=fields.whole(dispute, "version"),
    )


def read_method(method: Mapping[str, Any]) -> MethodSnapshot:
    """A saved payment method. Raises UnreadableObject."""
    return MethodSnapshot(
        customer_reference=fields.required_text(method, "customer"),
        provider_reference=fields.required_text(method, "id"),
        kind=fields.required_text(method, "kind"),
        brand=fields.text(method, "brand"),
        last4=fields.text(method, "last4"),
        expiry_month=fields.optional_whole(method, "expiry_month"),
        expiry_year=fields.optional_whole(method, "expiry_year"),
        fingerprint=fields.text(method, "fingerprint"),
        mandate_reference=fields.text(method, "mandate"),
        mandate_status=fields.text(method, "mandate_status"),
    )


def _error(source: Mapping[str, Any], name: str) -> ProviderError | None:
    reason = fields.mapping(source, name)
    return decline_error(reason) if reason else None


def _parts(payment: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = payment.get(name)
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise UnreadableObject(f"{name} is not a list of objects")
    return value


def _payment_id(part: Mapping[str, Any]) -> str:
    """The payment of a refund or dispute: its id, or the whole payment in an answer."""
    payment = part.get("payment")
    if isinstance(payment, Mapping):
        return fields.required_text(payment, "id")
    return fields.required_text(part, "payment")
