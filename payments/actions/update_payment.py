"""What may still be changed before a payment is sent: its method, its words, its metadata."""

from __future__ import annotations

from django.db import transaction

from payments.access import current_attempt, locked_payment, locked_payment_for
from payments.actions.ask_provider import check_allowed
from payments.actions.change import Cause, Change, Clock
from payments.idempotency import Answer, Claim
from payments.models import Attempt
from payments.representation import payment_object
from payments.states import State


def update_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Change `claim.parameters["payment"]`: payment_method, description, metadata; None leaves one
    as it is. The method is the token that a later confirm without one uses.

    Answers 200. Raises FlorinError: not_found, payment_state_conflict, operation_in_flight.
    """
    asked, now = claim.parameters, clock()
    with transaction.atomic(durable=True):
        payment = locked_payment_for(claim.merchant, claim.livemode, asked["payment"])
        check_allowed(payment, frozenset({State.CREATED}))
        change = Change(payment, cause=Cause(type="api", id=claim.request_id), now=now)
        attempt = current_attempt(payment)
        assert attempt is not None, f"Bug! {payment.pk} has no attempt"
        if asked["description"] is not None:
            payment.description = asked["description"]
        if asked["metadata"] is not None:
            payment.metadata = asked["metadata"]
        if asked["payment_method"] is not None and attempt.state == Attempt.State.OPEN:
            attempt.payment_method_token = asked["payment_method"]
            change.keep(attempt)
        change.advance("attach_payment_method", attempt)
        change.write()
        shown = payment_object(payment, attempt)
        answer = Answer(status=200, body=shown, payment_id=payment.pk, attempt=attempt)
        claim.finish(answer, now=now)
    return answer


def note_payer_return(payment_id: str, *, clock: Clock) -> None:
    """The payer came back from their step at the PSP: say so and ask the PSP at once. Anything but
    a payment that waits for its payer is left as it is.
    """
    now = clock()
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        if payment.state != State.REQUIRES_ACTION:
            return
        change = Change(payment, cause=Cause(type="payer"), now=now)
        payment.outcome, payment.next_action = "pending", None
        change.advance("client_completed", current_attempt(payment))
        payment.poll_due_at = now
        change.write()
