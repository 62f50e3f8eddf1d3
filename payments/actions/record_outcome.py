"""What the outcome of a provider call makes true, in one transaction.

Mental model: the outcome in the audit trail, the payment's new state with its events and books,
the operation closed, and the client's answer stored with its key, all or nothing. UNKNOWN and
NOT_SENT close nothing: the operation stays open, the client gets 202, and `resume_payment` goes on
with the same PSP key. Only the holder of the operation's lease records.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction

from payments import idempotency, rows
from payments.access import current_attempt, locked_again, locked_payment
from payments.actions.change import Cause, Change
from payments.actions.observe import (
    REFUSALS,
    ContradictoryNews,
    Effect,
    decline,
    error_object,
    is_about,
    observe,
    refuse_open_attempt,
)
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer
from payments.models import Attempt, Payment, ProviderOperation
from payments.providers.base import ObservedStatus, Outcome, ProviderError, Result
from payments.representation import payment_object
from payments.states import State, can_take

Kind = ProviderOperation.Kind

# First retry of an operation whose outcome is not known, doubled up to the maximum; the first
# tries stay close together, because most outages are short and a payer waits.
RETRY_FIRST_SECONDS = 2
CLOSE_TRIES = 8
RETRY_INTERVAL_CLOSE = timedelta(seconds=10)
RETRY_INTERVAL_MAX = timedelta(hours=1)

# Outcomes of an operation that are ours, not the PSP's.
EXHAUSTED = "exhausted"  # nobody could say what happened; a person looks
CONTRADICTED = "contradicted"  # the PSP said something our books cannot take in

# Decides, with the payment locked, how an operation ends; "" leaves it open.
Settle = Callable[[Change, Attempt], str]

_WAITING = frozenset({State.PROCESSING, State.CAPTURE_PENDING})
_NOT_EXECUTED = ProviderError(
    code="provider_not_executed",
    message="The provider has no trace of this request; nothing was done.",
)


def record_outcome(
    operation: ProviderOperation, result: Result, *, cause: Cause, now: datetime
) -> Answer:
    """Commit how an operation's own call ended and say what the client is told."""

    def settle(change: Change, attempt: Attempt) -> str:
        if result.outcome == Outcome.DECLINED:
            assert result.error is not None, "Bug! a decline says why"
            return _take_in_decline(change, operation, attempt, result.error, result)
        if result.outcome in (Outcome.NOT_SENT, Outcome.UNKNOWN):
            return ""
        assert result.snapshot is not None, f"Bug! {result.outcome} came without a snapshot"
        effect = observe(change, attempt, result.snapshot, current=True)
        return "" if effect == Effect.UNRECOGNISED else result.outcome.value

    return _record(operation, result, settle, cause=cause, now=now)


def conclude(
    operation: ProviderOperation,
    result: Result,
    *,
    cause: Cause,
    now: datetime,
    expired: bool,
    exhausted: bool,
) -> Answer:
    """Commit what a look-up says about an operation whose call has no known outcome.

    expired: the PSP has forgotten the operation's key, so nothing can still be under way.
    exhausted: asking has gone on long enough; a person decides.
    """

    def settle(change: Change, attempt: Attempt) -> str:
        snapshot = result.snapshot
        if snapshot is not None:
            observe(change, attempt, snapshot, current=False)
            if snapshot.status in REFUSALS and not is_about(attempt, snapshot) and not expired:
                return ""  # perhaps the refusal of the try before: the call may still be under way
            if _shows_execution(operation, snapshot.status):
                if snapshot.status not in REFUSALS:
                    return Outcome.OK.value
                if is_about(attempt, snapshot):
                    operation.error = error_object(snapshot.error) if snapshot.error else None
                    return Outcome.DECLINED.value
            if expired:
                operation.error = error_object(_NOT_EXECUTED)
                return _take_in_decline(change, operation, attempt, _NOT_EXECUTED, result)
        if not exhausted:
            return ""
        if can_take(change.payment.state, "outcome_unknown_exhausted"):
            change.payment.review_reason = f"The outcome of {operation.kind} was never learnt."
            change.advance("outcome_unknown_exhausted", attempt)
        return EXHAUSTED

    return _record(operation, result, settle, cause=cause, now=now)


def _record(
    operation: ProviderOperation, result: Result, settle: Settle, *, cause: Cause, now: datetime
) -> Answer:
    try:
        try:
            with transaction.atomic(durable=True):
                return _record_locked(operation, result, settle, cause=cause, now=now)
        except ContradictoryNews as contradiction:
            words = str(contradiction)
            return note_contradiction(
                operation.payment_id,
                words,
                cause=cause,
                now=now,
                operation=operation,
                result=result,
            )
    except LeaseLost:
        payment = Payment.objects.select_related("provider_account").get(pk=operation.payment_id)
        return unfinished_answer(payment, current_attempt(payment))


def _record_locked(
    operation: ProviderOperation, result: Result, settle: Settle, *, cause: Cause, now: datetime
) -> Answer:
    payment = locked_again(operation.payment)
    attempt = rows.table(Attempt).find(id=operation.attempt_id)
    assert attempt is not None, f"Bug! {operation.attempt_id} is gone"
    change = Change(payment, cause=cause, now=now)
    _audit_response(change, operation, result)
    operation.error = error_object(result.error) if result.error else None
    operation.lease_until = None
    outcome = settle(change, attempt)
    if outcome:
        operation.outcome = outcome
        operation.finished_at = now
        if payment.outcome in (Outcome.UNKNOWN.value, Outcome.NOT_SENT.value):
            payment.outcome = "pending" if payment.state in _WAITING else ""
    else:
        operation.outcome = result.outcome.value
        operation.next_try_at = now + retry_delay(operation.try_count, result=result)
        payment.outcome = (
            Outcome.NOT_SENT.value
            if result.outcome == Outcome.NOT_SENT and operation.try_count == 1
            else Outcome.UNKNOWN.value
        )
    change.write()
    _save(operation)
    latest = attempt if attempt.number == payment.attempt_count else current_attempt(payment)
    if operation.finished_at is None:
        return unfinished_answer(payment, latest)
    answer = final_answer(operation, payment, latest)
    idempotency.finish_for_operation(operation, answer, now=now)
    return answer


class LeaseLost(Exception):
    """Somebody else drives the operation now; what this driver was about to record is void."""


def _save(operation: ProviderOperation) -> None:
    """Write how the operation stands, if this driver still holds its lease. Raises LeaseLost,
    which undoes everything written with it.
    """
    names = ["outcome", "error", "finished_at", "lease_until", "next_try_at"]
    written = rows.table(ProviderOperation).update(
        operation, names, lease_token=operation.lease_token, finished_at=None
    )
    if rows.execute([written]) != [1]:
        raise LeaseLost(f"{operation.pk} is driven by somebody else")


def note_contradiction(
    payment_id: str,
    words: str,
    *,
    cause: Cause,
    now: datetime,
    operation: ProviderOperation | None = None,
    result: Result | None = None,
) -> Answer:
    """Remember, after the rollback, that the PSP contradicts our books, and stop asking: the
    payment waits for a person, its money untouched.
    """
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        attempt = current_attempt(payment)
        change = Change(payment, cause=cause, now=now)
        if operation is not None and result is not None:
            _audit_response(change, operation, result)
        change.contradict(words)
        if can_take(payment.state, "integrity_mismatch"):
            change.advance("integrity_mismatch", attempt)
        payment.poll_due_at = None
        change.write()
        if operation is None:
            return unfinished_answer(payment, attempt)
        operation.outcome = CONTRADICTED
        operation.finished_at = now
        operation.lease_until = None
        _save(operation)
        answer = final_answer(operation, payment, attempt)
        idempotency.finish_for_operation(operation, answer, now=now)
        return answer


def _shows_execution(operation: ProviderOperation, status: ObservedStatus) -> bool:
    """Whether the object's status proves that the operation took place."""
    if operation.kind == Kind.CAPTURE:
        return status == ObservedStatus.CAPTURED
    if operation.kind == Kind.CANCEL:
        return status == ObservedStatus.CANCELED
    if operation.kind == Kind.CREATE and not operation.request["confirm"]:
        return status != ObservedStatus.UNRECOGNISED
    return status not in (ObservedStatus.OPEN, ObservedStatus.UNRECOGNISED)


def _take_in_decline(
    change: Change,
    operation: ProviderOperation,
    attempt: Attempt,
    error: ProviderError,
    result: Result,
) -> str:
    """The PSP said no to this operation: what that leaves of the payment and its attempt.

    A no because the thing was done already (captured or canceled at the PSP) is a yes.
    """
    payment = change.payment
    snapshot = result.snapshot
    if snapshot is not None:
        observe(change, attempt, snapshot, current=True)
    if operation.kind in (Kind.CAPTURE, Kind.CANCEL):
        if snapshot is not None and _shows_execution(operation, snapshot.status):
            operation.error = None
            return Outcome.OK.value
        if payment.state == State.CAPTURE_PENDING:
            payment.outcome = ""
            payment.last_error = error_object(error)
            change.advance("capture_failed_retryable", attempt)
        if operation.kind == Kind.CANCEL and payment.state != State.CANCELED:
            payment.cancellation_reason = ""
    elif attempt.state not in (Attempt.State.DECLINED, Attempt.State.SUCCEEDED):
        if payment.state in (State.PROCESSING, State.REQUIRES_ACTION):
            decline(change, attempt, error)
        elif payment.state == State.CREATED:
            refuse_open_attempt(change, attempt, error)
    return Outcome.DECLINED.value


def retry_delay(try_count: int, *, result: Result | None = None) -> timedelta:
    """How long to wait before asking again: doubled each time, spread by half, at most an hour."""
    if result is not None and result.idempotency_conflict:
        return timedelta(seconds=1)
    doubled = timedelta(seconds=RETRY_FIRST_SECONDS * 2 ** min(try_count, 16))
    longest = RETRY_INTERVAL_CLOSE if try_count <= CLOSE_TRIES else RETRY_INTERVAL_MAX
    return min(doubled, longest) * random.uniform(0.5, 1.0)  # noqa: S311


def _audit_response(change: Change, operation: ProviderOperation, result: Result) -> None:
    snapshot = result.snapshot
    change.audit(
        "provider.response",
        {
            "operation": operation.pk,
            "kind": operation.kind,
            "outcome": result.outcome.value,
            "exchange": dict(vars(result.exchange)),
            "error": error_object(result.error) if result.error else None,
        },
        references=[
            ("operation", operation.pk),
            ("provider_payment", snapshot.provider_reference if snapshot else ""),
            ("provider_charge", snapshot.charge_reference if snapshot else ""),
            ("provider_request", result.exchange.provider_request_id),
        ],
    )


def unfinished_answer(payment: Payment, attempt: Attempt | None) -> Answer:
    """202: we do not know yet. Not stored; the same key resumes, a webhook may be faster."""
    shown = payment_object(payment, attempt)
    return Answer(status=202, body=shown, payment_id=payment.pk, attempt=attempt)


def final_answer(operation: ProviderOperation, payment: Payment, attempt: Attempt | None) -> Answer:
    """What the client who asked for this operation is told, now and on every repeat."""
    shown = payment_object(payment, attempt)
    if operation.outcome != Outcome.DECLINED.value:
        status = 201 if operation.kind == Kind.CREATE else 200
        return Answer(status=status, body=shown, payment_id=payment.pk, attempt=attempt)
    error = operation.error or {}
    rejected = str(error.get("code", "")).startswith("provider_")
    refusal = FlorinError(
        ErrorCode.provider_rejected if rejected else ErrorCode.payment_declined,
        str(error.get("message", "")),
        decline_code=error.get("decline_code") or error.get("code"),
        advice_code=error.get("advice_code") or None,
        payment=shown,
    )
    return Answer(status=refusal.status, body=refusal.body(), payment_id=payment.pk)
