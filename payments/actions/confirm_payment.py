"""Confirm a payment server-side: the merchant has a payment method token and asks for the money."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.actions.observe import next_attempt
from payments.idempotency import Answer, Claim
from payments.models import Attempt, ProviderOperation
from payments.states import State


def confirm_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Confirm `claim.parameters["payment"]` with `payment_method` and return the client's answer.

    A payment whose last try was declined gets a new attempt. Answers 200, 402 for a decline, or
    202 while the provider's outcome is not known.

    Raises FlorinError: not_found, payment_state_conflict, operation_in_flight.
    """
    return ask_provider(claim=claim, clock=clock, allowed=frozenset({State.CREATED}), plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    payment = change.payment
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    if attempt.state != Attempt.State.OPEN:
        attempt = next_attempt(payment, attempt, now=now)
    attempt.payment_method_token = asked["payment_method"]
    attempt.state = Attempt.State.SUBMITTED
    change.keep(attempt)
    request = {
        "confirm": True,
        "payment_method": asked["payment_method"],
        "return_url": asked["return_url"] or payment.return_url,
    }
    # A first create that the PSP refused left no object there: this try makes one.
    exists = bool(attempt.provider_reference)
    kind = ProviderOperation.Kind.CONFIRM if exists else ProviderOperation.Kind.CREATE
    payment.outcome = "pending"
    payment.last_error = None
    change.advance("confirm", attempt)
    return new_operation(payment=payment, attempt=attempt, kind=kind, request=request, now=now)
