"""Cancel a payment whose money is not taken: nothing held yet, or a hold to be released."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.idempotency import Answer, Claim
from payments.models import Attempt, ProviderOperation
from payments.states import State

CANCELABLE = frozenset({State.CREATED, State.REQUIRES_ACTION, State.AUTHORIZED})


def cancel_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Cancel `claim.parameters["payment"]` for `reason`.

    The PSP's object is canceled first, so that a payer cannot pay a payment we call canceled; one
    that never reached a PSP is canceled at once. Answers 200, 402 when the provider refuses, or
    202 while its outcome is not known.

    Raises FlorinError: not_found, payment_state_conflict, operation_in_flight.
    """
    return ask_provider(claim=claim, clock=clock, allowed=CANCELABLE, plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation | None:
    payment = change.payment
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    reason = asked["reason"] or "requested_by_customer"
    payment.cancellation_reason = reason
    if attempt.provider_reference:
        return new_operation(
            payment=payment,
            attempt=attempt,
            kind=ProviderOperation.Kind.CANCEL,
            request={"reason": reason},
            now=now,
        )
    attempt.state = Attempt.State.CANCELED
    attempt.finished_at = now
    change.keep(attempt)
    change.advance("cancel", attempt)
    return None
