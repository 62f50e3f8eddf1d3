"""Staff ask for what a merchant may ask for, through the very same door and no other.

Mental model: a form of the back office becomes a claim under the key `staff:<form key>` of the
payment's merchant, and is answered as a request to the API is. So a double click, a form that is
sent again and a process that dies in between never do a thing twice; limits, states, reservations
and the PSP's own idempotency key are those of the API. The person is the actor of everything that
follows, also when the completer finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit import log
from payments import idempotency
from payments.actions.answer_request import answer_request
from payments.actions.change import Clock
from payments.actions.resume_payment import poll_payment
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import STAFF_PREFIX, STAFF_WORDS, Answer
from payments.models import IdempotencyKey, Payment

# What staff may ask for; the permission each needs is said by payments.admin.access.
STAFF_OPERATIONS = frozenset(
    {
        "payments.capture",
        "payments.cancel",
        "refunds.create",
        "disputes.add_file",
        "disputes.submit_evidence",
        "disputes.accept",
    }
)


def ask_as_staff(
    *,
    payment: Payment,
    operation: str,
    parameters: Mapping[str, Any],
    form_key: str,
    actor: log.Actor,
    clock: Clock,
    words: str,
    personal: Mapping[str, Any] | None = None,
) -> Answer:
    """Have one of STAFF_OPERATIONS done for `payment`, once per `form_key`, by this person.

    `words` say why and stay with every audit event it causes; `personal` are parameters that are
    kept encrypted. Answers as the API would, also with a refusal that was given before. Raises
    FlorinError as the operation does, and idempotency_key_in_use while the same form is still at
    work.
    """
    assert operation in STAFF_OPERATIONS, f"Bug! staff cannot ask for {operation}"
    assert actor.type == "user", f"Bug! {actor.type} {actor.id} is no person"
    with log.acting_as(actor, reason=words):
        claimed = idempotency.claim(
            merchant=payment.merchant,
            livemode=payment.livemode,
            key=_key(form_key),
            operation=operation,
            method="POST",
            path=f"/admin/{operation}/{payment.pk}",
            parameters={**parameters, STAFF_WORDS: words},
            personal=personal,
            actor_id=f"{STAFF_PREFIX}{actor.id}",
            request_id=log.current_context().request_id,
            now=clock(),
        )
        if isinstance(claimed, Answer):
            return claimed
        try:
            return answer_request(claim=claimed, clock=clock)
        except FlorinError:
            raise
        except BaseException:
            claimed.release()
            raise


def sent_before(*, payment: Payment, form_key: str) -> bool:
    """Whether a form was sent before and not refused: sending it again then changes nothing."""
    row = IdempotencyKey.objects.filter(
        merchant=payment.merchant, livemode=payment.livemode, key=_key(form_key)
    ).first()
    return row is not None and (row.response_status or 0) < 400


def _key(form_key: str) -> str:
    return f"staff:{form_key}"


def ask_provider_now(*, payment_id: str, actor: log.Actor, clock: Clock) -> Payment:
    """Ask the PSP how a payment stands, instead of waiting for the poller; returns it as it then
    is. Raises FlorinError(operation_in_flight) while a call of ours is under way, whose own answer
    comes first.
    """
    payment = Payment.objects.get(pk=payment_id)
    if payment.operations.filter(finished_at__isnull=True).exists():
        raise FlorinError(ErrorCode.operation_in_flight, retry_after_seconds=2, payment=payment_id)
    with log.acting_as(actor):
        poll_payment(payment_id, clock=clock)
    return Payment.objects.get(pk=payment_id)
