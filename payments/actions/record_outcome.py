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
from payments.actions.facts import fail_capture
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
from payments.actions.operation_answers import final_answer, unfinished_answer
from payments.actions.operation_parts import (
    is_about_a_part,
    part_shows_execution,
    take_in_part,
    take_in_part_decline,
)
from payments.idempotency import Answer
from payments.models import Attempt, Payment, ProviderOperation, ReviewCase
from payments.providers.base import (
    ObservedStatus,
    Outcome,
    PaymentSnapshot,
    ProviderError,
    Result,
)
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
        if is_about_a_part(operation):
            take_in_part(change, operation, attempt, result)
            return result.outcome.value
        assert result.snapshot is not None, f"Bug! {result.outcome} came without a snapshot"
        # A person in the back office asked for it: their decision ends the review.
        decided = change.payment.state == State.IN_REVIEW and operation.kind == Kind.CANCEL
        effect = observe(change, attempt, result.snapshot, current=True, decided=decided)
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
            learnt = _look_up(operation, attempt, snapshot, expired=expired)
            if learnt is not None:
                return learnt
            if expired:
                operation.error = error_object(_NOT_EXECUTED)
                return _take_in_decline(change, operation, attempt, _NOT_EXECUTED, result)
        if not exhausted:
            return ""
        words = f"The outcome of {operation.kind} was never learnt."
        if can_take(change.payment.state, "outcome_unknown_exhausted"):
            change.payment.review_reason = words
            change.advance("outcome_unknown_exhausted", attempt)
        else:
            change.open_case(ReviewCase.Kind.OUTCOME_UNKNOWN, words)
        return EXHAUSTED

    return _record(operation, result, settle, cause=cause, now=now)


def _look_up(
    operation: ProviderOperation, attempt: Attempt, snapshot: PaymentSnapshot, *, expired: bool
) -> str | None:
    """What the object says about the operation: an outcome, "" while it must stay open, or None
    when it shows no trace of it.
    """
    if is_about_a_part(operation):
        return part_shows_execution(operation, snapshot)
    refused = snapshot.status in REFUSALS
    if refused and not is_about(attempt, snapshot) and not expired:
        return ""  # perhaps the refusal of the try before: the call may still be under way
    if not _shows_execution(operation, snapshot):
        return None
    if not refused:
        return Outcome.OK.value
    if not is_about(attempt, snapshot):
        return None
    operation.error = error_object(snapshot.error) if snapshot.error else None
    return Outcome.DECLINED.value


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
        return unfinished_answer(payment, current_attempt(payment), operation)


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
        if _was_not_made(result):
            # Else a long outage would use up the close tries before a single call was made.
            operation.try_count = max(1, operation.try_count - 1)
    change.write()
    _save(operation)
    latest = attempt if attempt.number == payment.attempt_count else current_attempt(payment)
    if operation.finished_at is None:
        return unfinished_answer(payment, latest, operation)
    answer = final_answer(operation, payment, latest)
    idempotency.finish_for_operation(operation, answer, now=now)
    return answer


class LeaseLost(Exception):
    """Somebody else drives the operation now; what this driver was about to record is void."""


def _save(operation: ProviderOperation) -> None:
    """Write how the operation stands, if this driver still holds its lease. Raises LeaseLost,
    which undoes everything written with it.
    """
    names = ["outcome", "error", "finished_at", "lease_until", "next_try_at", "try_count"]
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
        new = change.contradict(words)
        if can_take(payment.state, "integrity_mismatch"):
            change.advance("integrity_mismatch", attempt)
        if new or payment.cases.filter(resolved_at=None).exists():
            payment.poll_due_at = None
        else:  # decided before: go on asking, ever more rarely
            change.postpone_poll()
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


def _shows_execution(operation: ProviderOperation, snapshot: PaymentSnapshot) -> bool:
    """Whether the object proves that the operation took place."""
    status, asked = snapshot.status, operation.request
    if operation.kind == Kind.CAPTURE:
        total = asked["captured_before_minor"] + asked["amount_minor"]
        under_way = status == ObservedStatus.CAPTURE_PENDING
        return under_way or snapshot.amount_captured_minor >= total
    if operation.kind == Kind.CANCEL:
        released = status == ObservedStatus.CAPTURED and asked.get("releases_remainder", False)
        return status == ObservedStatus.CANCELED or released
    if operation.kind == Kind.INCREMENT:
        held = snapshot.amount_authorized_minor or snapshot.amount_minor
        return held == asked["amount_minor"]
    if operation.kind == Kind.CREATE and not asked["confirm"]:
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
    if is_about_a_part(operation):
        take_in_part_decline(change, operation, attempt, result, error)
        return Outcome.DECLINED.value
    if operation.kind in (Kind.CAPTURE, Kind.CANCEL, Kind.INCREMENT):
        if snapshot is not None and _shows_execution(operation, snapshot):
            operation.error = None
            return Outcome.OK.value
        if payment.state == State.CAPTURE_PENDING and operation.kind == Kind.CAPTURE:
            fail_capture(change, error)
            booked = payment.amount_captured_minor
            refused = "capture_failed_partial" if booked else "capture_failed_retryable"
            change.advance(refused, attempt)
        if operation.kind == Kind.CANCEL and payment.state != State.CANCELED:
            payment.cancellation_reason = ""
    elif attempt.state not in (Attempt.State.DECLINED, Attempt.State.SUCCEEDED):
        if payment.state in (State.PROCESSING, State.REQUIRES_ACTION):
            decline(change, attempt, error)
        elif payment.state == State.CREATED:
            refuse_open_attempt(change, attempt, error)
    return Outcome.DECLINED.value


def retry_delay(try_count: int, *, result: Result | None = None) -> timedelta:
    """How long to wait before asking again: doubled each time, spread by half, at most an hour; or
    until asking makes sense, where that is known.
    """
    if result is not None and result.retry_after_seconds is not None:
        return timedelta(seconds=result.retry_after_seconds + random.uniform(0.0, 2.0))  # noqa: S311
    if result is not None and result.idempotency_conflict:
        return timedelta(seconds=1)
    doubled = timedelta(seconds=RETRY_FIRST_SECONDS * 2 ** min(try_count, 16))
    longest = RETRY_INTERVAL_CLOSE if try_count <= CLOSE_TRIES else RETRY_INTERVAL_MAX
    return min(doubled, longest) * random.uniform(0.5, 1.0)  # noqa: S311


def _was_not_made(result: Result) -> bool:
    """Whether the circuit breaker kept the call from being made."""
    return result.error is not None and result.error.code == "provider_unavailable"


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
