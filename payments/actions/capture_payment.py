"""Capture held money: all of it, or a part where the PSP can, once or several times."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider, capabilities_of
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.actions.facts import new_capture
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Payment, ProviderOperation
from payments.states import State

CAPTURABLE = frozenset({State.AUTHORIZED, State.PARTIALLY_CAPTURED})


def capture_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Capture `amount_minor` of `claim.parameters["payment"]`, all that is capturable unless told.

    `final_capture` (the default) releases what is then left; without it the rest stays capturable.
    Answers 200, 402 when the provider refuses (the hold stands), or 202 while its outcome is not
    known. Raises FlorinError: not_found, payment_state_conflict, operation_in_flight,
    capture_amount_invalid.
    """
    return ask_provider(claim=claim, clock=clock, allowed=CAPTURABLE, plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    payment = change.payment
    amount_minor = asked["amount_minor"] or payment.amount_capturable_minor
    final = asked.get("final_capture", True) or amount_minor == payment.amount_capturable_minor
    _check_amount(payment, amount_minor, final=final)
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    payment.outcome = "pending"
    capture = new_capture(change, amount_minor, final=final)
    change.advance("capture_requested", attempt)
    return new_operation(
        payment=payment,
        attempt=attempt,
        kind=ProviderOperation.Kind.CAPTURE,
        capture=capture,
        request={
            "amount_minor": amount_minor,
            "final": final,
            "captured_before_minor": payment.amount_captured_minor,
        },
        now=now,
    )


def _check_amount(payment: Payment, amount_minor: int, *, final: bool) -> None:
    capabilities = capabilities_of(payment)
    capturable = payment.amount_capturable_minor
    if not 0 < amount_minor <= capturable:
        raise FlorinError(
            ErrorCode.capture_amount_invalid,
            f"{capturable} {payment.currency} can be captured, in minor units.",
            param="amount_minor",
        )
    if amount_minor < capturable and not capabilities.partial_capture:
        raise FlorinError(
            ErrorCode.capture_amount_invalid,
            f"This provider captures in full only: {capturable} {payment.currency}.",
            param="amount_minor",
        )
    if not final and not capabilities.multiple_captures:
        raise FlorinError(
            ErrorCode.operation_unsupported,
            "This provider captures once per payment.",
            param="final_capture",
        )
