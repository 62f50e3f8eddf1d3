"""Confirm a payment server-side: the merchant has a payment method token and asks for the money."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.actions.observe import next_attempt
from payments.actions.saved_methods import hold, payer_again
from payments.actions.screening import hold_payment, must_be_held
from payments.idempotency import Answer, Claim
from payments.models import Attempt, Payment, ProviderOperation
from payments.states import State


def confirm_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Confirm `claim.parameters["payment"]` with `payment_method` and return the client's answer.

    A payment whose last try was declined gets a new attempt. Answers 200, 402 for a decline, or
    202 while the provider's outcome is not known.

    Raises FlorinError: not_found, payment_state_conflict, operation_in_flight, and what `payer_of`
    raises for a saved payment method.
    """
    return ask_provider(claim=claim, clock=clock, allowed=frozenset({State.CREATED}), plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation | None:
    payment = change.payment
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    if attempt.state != Attempt.State.OPEN:
        attempt = next_attempt(payment, attempt, now=now)
    attempt.payment_method_token = asked["payment_method"] or attempt.payment_method_token
    change.keep(attempt)
    if must_be_held(payment):
        hold_payment(change, attempt)
        return None
    return plan_confirmation(
        change, attempt, event="confirm", return_url=asked["return_url"], now=now
    )


def plan_confirmation(
    change: Change, attempt: Attempt, *, event: str, return_url: str = "", now: datetime
) -> ProviderOperation:
    """The operation that confirms with what the attempt names; takes the edge `event`.

    Raises what `payer_of` raises for a saved payment method.
    """
    payment = change.payment
    # A first create that the PSP refused, or that was held, left no object there: this makes one.
    exists = bool(attempt.provider_reference)
    kind = ProviderOperation.Kind.CONFIRM if exists else ProviderOperation.Kind.CREATE
    payer = payer_again(attempt, payment, made_for=_made_for(payment) if exists else None)
    hold(payer)
    attempt.state = Attempt.State.SUBMITTED
    change.keep(attempt)
    request = {
        "confirm": True,
        "return_url": return_url or payment.return_url,
        "off_session": attempt.off_session,
        **payer.request(),
    }
    payment.outcome = "pending"
    payment.last_error = None
    change.advance(event, attempt)
    return new_operation(payment=payment, attempt=attempt, kind=kind, request=request, now=now)


def _made_for(payment: Payment) -> str:
    """The customer that the PSP's object was made for, by the PSP's name; "" for none."""
    made = payment.operations.filter(kind=ProviderOperation.Kind.CREATE).order_by("-pk").first()
    return str(made.request.get("customer_reference", "")) if made is not None else ""
