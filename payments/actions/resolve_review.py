"""Decisions that a person takes about a payment in review, each with the PSP's truth in hand.

Mental model: nobody types a state. A decision names a way out; the PSP is asked first, and what it
says now decides where the payment goes, through the same edges and books as any other news. A
decision that the PSP's answer does not allow is refused in words and changes nothing.

    accept_provider   take over what the PSP says: held, captured, refunded, refused, nothing there
    cancel            cancel at the PSP; held money is released (late money, mismatches)
    release           let a payment that our own rule held go to the PSP
    close             close a case that changes no state (a contradiction that was settled outside)
"""

from __future__ import annotations

from django.db import transaction

from payments.access import current_attempt, locked_payment
from payments.actions.ask_provider import check_allowed, commit_intent
from payments.actions.call_provider import drive, fetch
from payments.actions.cancel_payment import plan_cancel
from payments.actions.change import Cause, Change, Clock
from payments.actions.confirm_payment import plan_confirmation
from payments.actions.observe import ContradictoryNews, observe
from payments.actions.polling import schedule_poll
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment, ReviewCase
from payments.providers.base import ObservedStatus, PaymentSnapshot, Result
from payments.states import State

IN_REVIEW = frozenset({State.IN_REVIEW})


def accept_provider(payment_id: str, *, words: str, clock: Clock) -> Payment:
    """End the review with what the PSP says now; `words` say why, for the audit trail.

    Raises FlorinError: payment_state_conflict, operation_in_flight, review_state_conflict.
    """
    payment = Payment.objects.select_related("provider_account").get(pk=payment_id)
    check_allowed(payment, IN_REVIEW)
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    result = fetch(attempt)
    try:
        return _take_over(payment_id, result, words=words, clock=clock)
    except ContradictoryNews as contradiction:
        raise FlorinError(ErrorCode.review_state_conflict, str(contradiction)) from contradiction


def _take_over(payment_id: str, result: Result, *, words: str, clock: Clock) -> Payment:
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        check_allowed(payment, IN_REVIEW)
        attempt = current_attempt(payment)
        assert attempt is not None, f"Bug! {payment.pk} has no attempt"
        change = Change(payment, cause=Cause(type="review"), now=clock())
        change.audit("review.decided", {"decision": "accept_provider", "words": words})
        snapshot = result.snapshot
        if snapshot is None and result.not_found and not payment.amount_captured_minor:
            payment.last_error = None
            change.advance("resolve_failed", attempt)
        elif snapshot is not None:
            _refuse_other_currency(payment, snapshot)
            observe(change, attempt, snapshot, current=True, decided=True)
        if payment.state == State.IN_REVIEW:
            raise FlorinError(ErrorCode.review_state_conflict, _said(result, snapshot))
        change.write()
        return payment


def _refuse_other_currency(payment: Payment, snapshot: PaymentSnapshot) -> None:
    over = snapshot.status in (
        ObservedStatus.CANCELED,
        ObservedStatus.DECLINED,
        ObservedStatus.FAILED,
    )
    if snapshot.currency != payment.currency and not over:
        raise FlorinError(
            ErrorCode.review_state_conflict,
            f"The provider holds {snapshot.currency} for a payment in {payment.currency}: cancel "
            "or refund it there, then decide again.",
        )


def _said(result: Result, snapshot: PaymentSnapshot | None) -> str:
    if snapshot is None:
        why = result.error.message if result.error else result.outcome.value
        return f"The provider could not be asked ({why}). Try again."
    return f"The provider says {snapshot.status}: nothing can be decided yet."


def cancel_reviewed_payment(payment_id: str, *, words: str, clock: Clock) -> Payment:
    """Cancel a payment in review at the PSP, or at once where the PSP has no object.

    Raises FlorinError: payment_state_conflict, operation_in_flight, review_state_conflict.
    """
    found = _find_at_provider(payment_id)
    now, cause = clock(), Cause(type="review")
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        check_allowed(payment, IN_REVIEW)
        change = Change(payment, cause=cause, now=now)
        change.audit("review.decided", {"decision": "cancel", "words": words})
        attempt = current_attempt(payment)
        if found and attempt is not None and not attempt.provider_reference:
            attempt.provider_reference = found
            attempt.save(update_fields=["provider_reference"])
        operation = plan_cancel(change, "requested_by_customer", now=now, event="reject")
        if operation is None:
            change.write()
            return payment
        commit_intent(change, operation)
    drive(operation, cause=cause, clock=clock)
    return Payment.objects.get(pk=payment_id)


def _find_at_provider(payment_id: str) -> str:
    """The PSP's object of a payment whose creation has no known outcome: it may hold or have taken
    the payer's money, so nobody calls it canceled unasked. Empty: there surely is none.
    """
    payment = Payment.objects.select_related("provider_account").get(pk=payment_id)
    check_allowed(payment, IN_REVIEW)
    attempt = current_attempt(payment)
    sent = payment.operations.filter(attempt=attempt).exists()
    if attempt is None or attempt.provider_reference or not sent:
        return ""
    result = fetch(attempt)
    if result.snapshot is None and not result.not_found:
        raise FlorinError(ErrorCode.review_state_conflict, _said(result, None))
    return result.snapshot.provider_reference if result.snapshot else ""


def release_payment(payment_id: str, *, words: str, clock: Clock) -> Payment:
    """Let a payment that our own rule held go to the PSP, as its confirmation had asked.

    Raises FlorinError: payment_state_conflict, operation_in_flight, review_state_conflict.
    """
    now, cause = clock(), Cause(type="review")
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        check_allowed(payment, IN_REVIEW)
        if not payment.cases.filter(resolved_at=None, kind=ReviewCase.Kind.SCREENING).exists():
            raise FlorinError(
                ErrorCode.review_state_conflict,
                "Only a payment that was held before the provider was asked is released.",
            )
        change = Change(payment, cause=cause, now=now)
        change.audit("review.decided", {"decision": "release", "words": words})
        attempt = current_attempt(payment)
        assert attempt is not None, f"Bug! {payment.pk} has no attempt"
        operation = plan_confirmation(change, attempt, event="approve_resume", now=now)
        commit_intent(change, operation)
    drive(operation, cause=cause, clock=clock)
    return Payment.objects.get(pk=payment_id)


def close_case(case_id: str, *, words: str, clock: Clock) -> ReviewCase:
    """Close a case that needs no change of the payment; `words` say what settled it.

    Raises FlorinError: payment_state_conflict for the last case of a payment still in review,
    review_state_conflict for one that is closed.
    """
    with transaction.atomic(durable=True):
        case = ReviewCase.objects.get(pk=case_id)
        payment = locked_payment(case.payment_id)
        case.refresh_from_db()
        if case.resolved_at is not None:
            raise FlorinError(ErrorCode.review_state_conflict, "This case is closed.")
        others = payment.cases.filter(resolved_at=None).exclude(pk=case.pk)
        if payment.state == State.IN_REVIEW and not others.exists():
            raise FlorinError(
                ErrorCode.payment_state_conflict,
                "The payment is in review: decide where it goes, which closes the case.",
            )
        change = Change(payment, cause=Cause(type="review"), now=clock())
        change.close_case(case, words)
        if payment.poll_due_at is None and not others.exists():
            payment.poll_count = 0
            schedule_poll(payment, now=change.now)
        change.write()
        return case
