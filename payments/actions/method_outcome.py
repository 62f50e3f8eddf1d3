"""What the outcome of a call about a saved payment method makes true, in one transaction.

Mental model: as payments.actions.record_outcome: the outcome in the audit trail, the method's and
the mandate's new state with their events, the call closed and the client's answer stored with its
key, all or nothing. UNKNOWN and NOT_SENT close nothing. Only the holder of the lease records.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from django.db import transaction

from payments import idempotency
from payments.access import locked_customer
from payments.actions.customer_stream import audit, tell
from payments.actions.method_removal import erase_acceptances, remove_in_transaction
from payments.actions.observe import error_object
from payments.actions.record_outcome import retry_delay
from payments.customer_representation import mandate_of, payment_method_object
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer
from payments.machines import move
from payments.models import CustomerReference, Mandate, MethodOperation, PaymentMethod
from payments.providers.base import Outcome, ProviderError, Result
from payments.providers.objects import MethodSnapshot

Kind = MethodOperation.Kind

# How an operation ends when its key has expired and nobody could say what happened.
EXHAUSTED = "exhausted"

_NEVER_LEARNT = ProviderError(
    code="provider_answer_lost",
    message="The provider never said whether it has this payment method; a person looks.",
)
_NOT_EXECUTED = ProviderError(
    code="provider_not_executed",
    message="The provider was never reached; nothing was saved.",
)
_STEP_NEEDED = ProviderError(
    code="authentication_required",
    message="The payer's bank wants a step of the payer before this can be saved.",
)

logger = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Somebody else drives the call now; what this driver was about to record is void."""


def record_method_outcome(operation: MethodOperation, result: Result, *, now: datetime) -> Answer:
    """Commit how a call ended and say what the client is told. A caller that has lost the lease
    records nothing.
    """
    try:
        with transaction.atomic(durable=True):
            method = _locked(operation)
            _audit_response(operation, method, result, now=now)
            if result.outcome in (Outcome.NOT_SENT, Outcome.UNKNOWN):
                return _stays_open(operation, method, result, now=now)
            if operation.kind == Kind.REMOVE:
                error = result.error if result.outcome == Outcome.DECLINED else None
                return _removed(operation, method, error, now=now)
            return _saved_or_refused(operation, method, result, now=now)
    except LeaseLost:
        return unfinished(
            PaymentMethod.objects.select_related("customer", "provider_account").get(
                pk=operation.method_id
            )
        )


def conclude_unlearnt(operation: MethodOperation, *, now: datetime) -> Answer:
    """End a call whose key has expired. The method has failed if the PSP was surely never reached;
    else it stays pending, which a person is told.
    """
    with transaction.atomic(durable=True):
        method = _locked(operation)
        earlier_tries = operation.try_count - 1  # the one this lease counted was not made
        if operation.kind == Kind.SAVE and operation.unsent_count == earlier_tries:
            return _refuse(operation, method, _NOT_EXECUTED, now=now)
        logger.error("payment_method.unresolved", payment_method=method.pk, kind=operation.kind)
        _close(operation, EXHAUSTED, _NEVER_LEARNT, now=now)
        if operation.kind == Kind.SAVE:
            method.error = error_object(_NEVER_LEARNT)
            method.save()
        tell(
            method.customer,
            "payment_method.unresolved",
            payload=payment_method_object(method, mandate_of(method)),
            body={"payment_method": method.pk, "operation": operation.pk, "kind": operation.kind},
            references=[("payment_method", method.pk), ("operation", operation.pk)],
            causation_id=operation.pk,
            now=now,
        )
        return _answered(operation, unfinished(method), now=now)


def unfinished(method: PaymentMethod) -> Answer:
    """202: we do not know yet."""
    return Answer(status=202, body=payment_method_object(method, mandate_of(method)))


def _locked(operation: MethodOperation) -> PaymentMethod:
    """The method as it stands, under its customer's lock."""
    customer = locked_customer(operation.method.customer_id)
    method = PaymentMethod.objects.select_related("provider_account").get(pk=operation.method_id)
    method.customer = customer
    return method


def _saved_or_refused(
    operation: MethodOperation, method: PaymentMethod, result: Result, *, now: datetime
) -> Answer:
    if result.outcome == Outcome.DECLINED:
        assert result.error is not None, "Bug! a decline says why"
        return _refuse(operation, method, result.error, now=now)
    if result.outcome == Outcome.ACTION:
        return _refuse(operation, method, _STEP_NEEDED, now=now)
    snapshot = result.method
    assert snapshot is not None, f"Bug! {result.outcome} came without a method"
    same = PaymentMethod.objects.filter(
        provider_account=method.provider_account,
        provider_reference=snapshot.provider_reference,
        state="active",
    ).first()
    if same is not None:
        words = f"The provider keeps this payment method already, as {same.pk}."
        if same.customer_id != method.customer_id:
            words = "The provider keeps this payment method already, for another customer."
        already = ProviderError(code="payment_method_already_saved", message=words)
        return _refuse(operation, method, already, now=now)
    return _save(operation, method, snapshot, result.outcome, now=now)


def _save(
    operation: MethodOperation,
    method: PaymentMethod,
    snapshot: MethodSnapshot,
    outcome: Outcome,
    *,
    now: datetime,
) -> Answer:
    for name in ("kind", "brand", "last4", "expiry_month", "expiry_year", "fingerprint"):
        setattr(method, name, getattr(snapshot, name))
    method.provider_reference = snapshot.provider_reference
    method.customer_reference = snapshot.customer_reference
    method.saved_at, method.error = now, None
    move(method, "psp_saved")
    method.save()
    CustomerReference.objects.get_or_create(
        customer=method.customer,
        provider_account=method.provider_account,
        defaults={"provider_reference": snapshot.customer_reference, "created_at": now},
    )
    _note_mandate(method, snapshot, now=now)
    _close(operation, outcome.value, None, now=now)
    shown = payment_method_object(method, mandate_of(method))
    tell(
        method.customer,
        "payment_method.saved",
        payload=shown,
        body={"payment_method": method.pk, "kind": method.kind, "brand": method.brand},
        references=[
            ("payment_method", method.pk),
            ("provider_method", method.provider_reference),
            ("provider_customer", method.customer_reference),
        ],
        causation_id=operation.pk,
        now=now,
    )
    answer = _answered(operation, Answer(status=201, body=shown), now=now)
    if method.customer.deleted_at is not None:
        # The customer was erased while the PSP was asked.
        remove_in_transaction(method, causation_id=operation.pk, now=now)
        erase_acceptances(method.customer)
    return answer


def _note_mandate(method: PaymentMethod, snapshot: MethodSnapshot, *, now: datetime) -> None:
    """Keep what the PSP says of the payer's leave; where it needs none, ours alone counts."""
    mandate = mandate_of(method)
    if mandate is None:
        if not snapshot.mandate_reference:
            return
        mandate = Mandate(method=method, created_at=now)
    known = {status.value for status in Mandate.Status} - {Mandate.Status.REVOKED.value}
    told = snapshot.mandate_status or Mandate.Status.ACTIVE.value
    mandate.status = told if told in known else Mandate.Status.INACTIVE
    mandate.provider_reference = snapshot.mandate_reference
    mandate.save()


def _refuse(
    operation: MethodOperation, method: PaymentMethod, error: ProviderError, *, now: datetime
) -> Answer:
    method.error, method.failed_at = error_object(error), now
    move(method, "psp_refused")
    method.save()
    Mandate.objects.filter(method=method).update(status=Mandate.Status.INACTIVE)
    _close(operation, Outcome.DECLINED.value, error, now=now)
    shown = payment_method_object(method, mandate_of(method))
    tell(
        method.customer,
        "payment_method.failed",
        payload=shown,
        body={"payment_method": method.pk, "error": method.error},
        references=[("payment_method", method.pk)],
        causation_id=operation.pk,
        now=now,
    )
    by_provider = error.code.startswith("provider_")
    refusal = FlorinError(
        ErrorCode.provider_rejected if by_provider else ErrorCode.payment_method_refused,
        error.payer_message or error.message,
        decline_code=error.decline_code or error.code,
        advice_code=error.advice_code or None,
        payment_method=shown,
    )
    answer = Answer(status=refusal.status, body=refusal.body())
    return _answered(operation, answer, now=now)


def _removed(
    operation: MethodOperation, method: PaymentMethod, error: ProviderError | None, *, now: datetime
) -> Answer:
    """With us it is removed since that was asked; a PSP that keeps it is a person's matter."""
    if error is not None:
        logger.error("payment_method.removal_refused", payment_method=method.pk, code=error.code)
    _close(operation, (Outcome.DECLINED if error else Outcome.OK).value, error, now=now)
    shown = payment_method_object(method, mandate_of(method))
    return _answered(operation, Answer(status=200, body=shown), now=now)


def _stays_open(
    operation: MethodOperation, method: PaymentMethod, result: Result, *, now: datetime
) -> Answer:
    operation.outcome = result.outcome.value
    operation.error = error_object(result.error) if result.error else None
    operation.unsent_count += int(result.outcome == Outcome.NOT_SENT)
    operation.next_try_at = now + retry_delay(operation.try_count, result=result)
    _write(operation)
    return unfinished(method)


def _close(
    operation: MethodOperation, outcome: str, error: ProviderError | None, *, now: datetime
) -> None:
    operation.outcome, operation.finished_at = outcome, now
    operation.error = error_object(error) if error else None
    operation.request_encrypted = None
    _write(operation)


def _write(operation: MethodOperation) -> None:
    """Write how the call stands, if this driver still holds its lease. Raises LeaseLost, which
    undoes everything written with it.
    """
    names = ("outcome", "error", "unsent_count", "next_try_at", "finished_at", "request_encrypted")
    written = MethodOperation.objects.filter(
        pk=operation.pk, lease_token=operation.lease_token, finished_at__isnull=True
    ).update(lease_until=None, **{name: getattr(operation, name) for name in names})
    if not written:
        raise LeaseLost(f"{operation.pk} is driven by somebody else")


def _answered(operation: MethodOperation, answer: Answer, *, now: datetime) -> Answer:
    if operation.claim_id is not None:
        idempotency.finish_waiting(operation.claim_id, answer, now=now)
    return answer


def _audit_response(
    operation: MethodOperation, method: PaymentMethod, result: Result, *, now: datetime
) -> None:
    snapshot = result.method
    body: dict[str, Any] = {
        "operation": operation.pk,
        "kind": f"{operation.kind}_method",
        "outcome": result.outcome.value,
        "exchange": dict(vars(result.exchange)),
        "error": error_object(result.error) if result.error else None,
    }
    audit(
        method.customer,
        "provider.response",
        body=body,
        references=[
            ("payment_method", method.pk),
            ("operation", operation.pk),
            ("provider_method", snapshot.provider_reference if snapshot else ""),
            ("provider_request", result.exchange.provider_request_id),
        ],
        now=now,
    )
