"""Capture held money, in full."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import ProviderOperation
from payments.states import State


def capture_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Capture `claim.parameters["payment"]`; `amount_minor`, when given, must be the whole.

    Answers 200, 402 when the provider refuses (the hold stands), or 202 while its outcome is not
    known. Raises FlorinError: not_found, payment_state_conflict, operation_in_flight,
    capture_amount_invalid.
    """
    return ask_provider(claim=claim, clock=clock, allowed=frozenset({State.AUTHORIZED}), plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    payment = change.payment
    amount_minor = asked["amount_minor"]
    if amount_minor is not None and amount_minor != payment.amount_capturable_minor:
        raise FlorinError(ErrorCode.capture_amount_invalid, param="amount_minor")
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    payment.outcome = "pending"
    change.advance("capture_requested", attempt)
    return new_operation(
        payment=payment,
        attempt=attempt,
        kind=ProviderOperation.Kind.CAPTURE,
        request={"amount_minor": payment.amount_capturable_minor},
        now=now,
    )
