"""What the operations of an existing payment have in common: check, commit the intent, call.

Each verb says which states allow it and how its operation is planned; the phases around the call
are the same and stand here once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from django.db import transaction

from payments.access import current_attempt, locked_payment_for
from payments.actions.call_provider import audit_request, drive
from payments.actions.change import Cause, Change, Clock
from payments.actions.resume_payment import resume_claimed_operation
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Payment, ProviderOperation
from payments.providers import provider_for
from payments.providers.base import Capabilities
from payments.representation import payment_object
from payments.states import State

# Decides the operation for a locked payment in an allowed state, or None when the PSP need not
# be asked because it has no object.
Plan = Callable[[Change, dict[str, Any], datetime], ProviderOperation | None]


def ask_provider(
    *,
    claim: Claim,
    clock: Clock,
    allowed: Collection[State],
    plan: Plan,
    payment_id: str = "",
) -> Answer:
    """Run one operation of an existing payment (the claim's, unless told) through its phases."""
    cause = Cause(type="api", id=claim.request_id)
    if claim.provider_operation_id:
        return resume_claimed_operation(claim, cause=cause, clock=clock)
    now = clock()
    with transaction.atomic(durable=True):
        payment = locked_payment_for(
            claim.merchant, claim.livemode, payment_id or claim.parameters["payment"]
        )
        check_allowed(payment, allowed)
        change = Change(payment, cause=cause, now=now)
        operation = plan(change, claim.parameters, now)
        if operation is None:
            change.write()
            attempt = current_attempt(payment)
            shown = payment_object(payment, attempt)
            answer = Answer(status=200, body=shown, payment_id=payment.pk, attempt=attempt)
            claim.finish(answer, now=now)
            return answer
        commit_intent(change, operation)
        claim.submitting(payment=payment, operation=operation)
    return drive(operation, cause=cause, clock=clock)


def commit_intent(change: Change, operation: ProviderOperation) -> None:
    """Write what is about to be asked, before it is asked, in the caller's transaction."""
    change.keep(operation)
    audit_request(change, operation)
    change.write()


def check_allowed(payment: Payment, allowed: Collection[State]) -> None:
    """Raises FlorinError(operation_in_flight or payment_state_conflict)."""
    if payment.operations.filter(finished_at__isnull=True).exists():
        raise FlorinError(ErrorCode.operation_in_flight, retry_after_seconds=2, payment=payment.pk)
    if payment.state not in allowed:
        states = ", ".join(sorted(allowed))
        raise FlorinError(
            ErrorCode.payment_state_conflict,
            f"The payment is {payment.state}; this needs it to be {states}.",
            payment=payment.pk,
        )


def capabilities_of(payment: Payment) -> Capabilities:
    """What the payment's PSP can do."""
    return provider_for(payment.provider_account.provider).capabilities
