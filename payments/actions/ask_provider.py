"""What confirm, capture and cancel have in common: check, commit the intent, make the call.

Each of the three says which states allow it and how its operation is planned; the phases around
the call are the same and stand here once.
"""

from __future__ import annotations

from collections.abc import Callable
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
from payments.representation import payment_object
from payments.states import State

# Decides the operation for a locked payment in an allowed state, or None when the PSP need not
# be asked because it has no object.
Plan = Callable[[Change, dict[str, Any], datetime], ProviderOperation | None]


def ask_provider(*, claim: Claim, clock: Clock, allowed: frozenset[State], plan: Plan) -> Answer:
    """Run one operation of an existing payment through its phases; see the module docstring."""
    cause = Cause(type="api", id=claim.request_id)
    if claim.provider_operation_id:
        return resume_claimed_operation(claim, cause=cause, clock=clock)
    now = clock()
    with transaction.atomic(durable=True):
        payment = locked_payment_for(claim.merchant, claim.livemode, claim.parameters["payment"])
        _check(payment, allowed)
        change = Change(payment, cause=cause, now=now)
        operation = plan(change, claim.parameters, now)
        if operation is None:
            change.write()
            attempt = current_attempt(payment)
            shown = payment_object(payment, attempt)
            answer = Answer(status=200, body=shown, payment_id=payment.pk, attempt=attempt)
            claim.finish(answer, now=now)
            return answer
        change.keep(operation)
        audit_request(change, operation)
        change.write()
        claim.submitting(payment=payment, operation=operation)
    return drive(operation, cause=cause, clock=clock)


def _check(payment: Payment, allowed: frozenset[State]) -> None:
    if payment.operations.filter(finished_at__isnull=True).exists():
        raise FlorinError(ErrorCode.operation_in_flight, retry_after_seconds=2, payment=payment.pk)
    if payment.state not in allowed:
        states = ", ".join(sorted(allowed))
        raise FlorinError(
            ErrorCode.payment_state_conflict,
            f"The payment is {payment.state}; this needs it to be {states}.",
            payment=payment.pk,
        )
