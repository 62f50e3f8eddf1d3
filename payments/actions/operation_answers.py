"""What the client who asked for an operation is told: now, on a repeat, and while we do not know.

Mental model: an answer shows what the operation is about, the payment, the refund or the dispute,
as it was committed. 202 means that we do not know yet: it is not stored, the same key resumes.
"""

from __future__ import annotations

from typing import Any

from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer
from payments.models import Attempt, Dispute, Payment, ProviderOperation, Refund
from payments.providers.base import Outcome
from payments.representation import dispute_object, payment_object, refund_object

Kind = ProviderOperation.Kind

_CREATES = frozenset({Kind.CREATE, Kind.REFUND})


def unfinished_answer(
    payment: Payment, attempt: Attempt | None, operation: ProviderOperation | None = None
) -> Answer:
    """202: we do not know yet. Not stored; the same key resumes, a webhook may be faster."""
    _, shown = _shown(payment, attempt, operation)
    return Answer(status=202, body=shown, payment_id=payment.pk, attempt=attempt)


def final_answer(operation: ProviderOperation, payment: Payment, attempt: Attempt | None) -> Answer:
    """What the client who asked for this operation is told, now and on every repeat."""
    name, shown = _shown(payment, attempt, operation)
    if operation.outcome != Outcome.DECLINED.value:
        status = 201 if operation.kind in _CREATES else 200
        return Answer(status=status, body=shown, payment_id=payment.pk, attempt=attempt)
    error = operation.error or {}
    rejected = str(error.get("code", "")).startswith("provider_")
    code = ErrorCode.provider_rejected if rejected else ErrorCode.payment_declined
    if operation.kind == Kind.REFUND and not rejected:
        code = ErrorCode.refund_declined
    refusal = FlorinError(
        code,
        str(error.get("message", "")),
        decline_code=error.get("decline_code") or error.get("code"),
        advice_code=error.get("advice_code") or None,
    )
    refusal.extra[name] = shown
    return Answer(status=refusal.status, body=refusal.body(), payment_id=payment.pk)


def _shown(
    payment: Payment, attempt: Attempt | None, operation: ProviderOperation | None
) -> tuple[str, dict[str, Any]]:
    """The object the operation is about, under its name, read as it now stands."""
    if operation is not None and operation.refund_id:
        return "refund", refund_object(Refund.objects.get(pk=operation.refund_id))
    if operation is not None and operation.dispute_id:
        return "dispute", dispute_object(Dispute.objects.get(pk=operation.dispute_id))
    return "payment", payment_object(payment, attempt)
