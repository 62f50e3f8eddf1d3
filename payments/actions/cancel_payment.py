"""Cancel a payment: nothing held yet, a hold to be released, a capture that is not settled yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider, capabilities_of
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Attempt, Payment, ProviderOperation
from payments.states import State

CANCELABLE = frozenset(
    {
        State.CREATED,
        State.REQUIRES_ACTION,
        State.AUTHORIZED,
        State.CAPTURE_PENDING,
        State.PARTIALLY_CAPTURED,
        State.CAPTURED,
    }
)


def cancel_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Cancel `claim.parameters["payment"]` for `reason`.

    The PSP's object is canceled first, so that a payer cannot pay a payment we call canceled; one
    that never reached a PSP is canceled at once. A partly captured payment keeps what is captured
    and releases the rest; an unsettled capture is taken back where the PSP can. Answers 200, 402
    when the provider refuses, or 202 while its outcome is not known.

    Raises FlorinError: not_found, payment_state_conflict, operation_in_flight,
    operation_unsupported.
    """
    return ask_provider(claim=claim, clock=clock, allowed=CANCELABLE, plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation | None:
    _check(change.payment)
    return plan_cancel(change, asked["reason"] or "requested_by_customer", now=now)


def plan_cancel(
    change: Change, reason: str, *, now: datetime, event: str = "cancel"
) -> ProviderOperation | None:
    """The operation that cancels the PSP's object, or None after taking the edge `event` at once
    because the PSP has none.
    """
    payment = change.payment
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    if payment.state != State.PARTIALLY_CAPTURED:
        payment.cancellation_reason = reason
    if attempt.provider_reference:
        return new_operation(
            payment=payment,
            attempt=attempt,
            kind=ProviderOperation.Kind.CANCEL,
            request={
                "reason": reason if reason in PROVIDER_REASONS else "abandoned",
                "releases_remainder": payment.state == State.PARTIALLY_CAPTURED,
            },
            now=now,
        )
    attempt.state = Attempt.State.CANCELED
    attempt.finished_at = now
    change.keep(attempt)
    change.advance(event, attempt)
    return None


# The words every PSP has for it; others are ours alone.
PROVIDER_REASONS = frozenset({"requested_by_customer", "abandoned", "duplicate", "fraudulent"})


def _check(payment: Payment) -> None:
    capabilities = capabilities_of(payment)
    if payment.state == State.CAPTURE_PENDING and not capabilities.asynchronous_capture:
        raise FlorinError(
            ErrorCode.operation_unsupported,
            "This provider cannot call a capture back; refund it once it is captured.",
        )
    if payment.state != State.CAPTURED:
        return
    if not capabilities.void_after_capture:
        raise FlorinError(
            ErrorCode.operation_unsupported,
            "This provider cannot take a capture back; refund the payment instead.",
        )
    given_back = payment.amount_refund_pending_minor + payment.amount_refunded_minor
    if payment.amount_settled_minor or given_back:
        raise FlorinError(
            ErrorCode.payment_state_conflict,
            "A capture is taken back only before it is settled and nothing of it was refunded.",
            payment=payment.pk,
        )
