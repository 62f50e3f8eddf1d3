"""Raise the held amount of an authorized payment, where the PSP can."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider, capabilities_of
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import ProviderOperation
from payments.states import State


def increment_authorization(*, claim: Claim, clock: Clock) -> Answer:
    """Raise the authorization of `claim.parameters["payment"]` to `amount_minor`, the new total.

    Answers 200, 402 when the provider refuses (the old hold stands), or 202 while its outcome is
    not known. Raises FlorinError: not_found, payment_state_conflict, operation_in_flight,
    operation_unsupported, authorization_amount_invalid.
    """
    allowed = frozenset({State.AUTHORIZED})
    return ask_provider(claim=claim, clock=clock, allowed=allowed, plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    payment = change.payment
    capabilities = capabilities_of(payment)
    if not capabilities.incremental_authorization:
        raise FlorinError(ErrorCode.operation_unsupported)
    amount_minor = asked["amount_minor"]
    held, highest = payment.amount_authorized_minor, capabilities.maximum_amount_minor
    if not held < amount_minor <= highest:
        raise FlorinError(
            ErrorCode.authorization_amount_invalid,
            f"{held} {payment.currency} are held; give a total up to {highest}, in minor units.",
            param="amount_minor",
        )
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    return new_operation(
        payment=payment,
        attempt=attempt,
        kind=ProviderOperation.Kind.INCREMENT,
        request={"amount_minor": amount_minor},
        now=now,
    )
