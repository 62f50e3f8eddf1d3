"""Requests that nobody will answer by themselves: told to staff, who try again or forget them.

Mental model: a request whose process died before it wrote anything is taken on by the completer,
three times (payments.idempotency). One that survives none of them is broken, or breaks us, and is
given up: it has no due time any more, and says so to staff once. Nothing of it was done, so both
ways out are safe: to be tried again, or to be forgotten, after which the merchant's repeat begins
anew. The merchant's own repeat under the same key is carried out at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from audit import log
from audit.log import Actor
from payments.idempotency import COMPLETIONS_MAX
from payments.models import GivenUpRequest, IdempotencyKey
from webhooks import outbox

Point = IdempotencyKey.RecoveryPoint
NO_PROCESS = "no process survived it"
COMPLETER = Actor(type="job", id="complete_dead_requests")


def give_up_hopeless(*, now: datetime, limit: int = 20) -> int:
    """Give up requests that the completer has tried to the end; returns how many. Each is one
    transaction: the mark, an audit record, the event that tells staff.
    """
    hopeless = IdempotencyKey.objects.filter(
        Q(locked_until__isnull=True) | Q(locked_until__lt=now),
        recovery_point=Point.STARTED,
        completion_due_at__lte=now,
        completion_count__gte=COMPLETIONS_MAX,
    )
    found = list(hopeless.order_by("completion_due_at").values_list("pk", flat=True)[:limit])
    count = 0
    for row_id in found:
        with log.acting_as(COMPLETER), transaction.atomic(durable=True):
            row = hopeless.select_for_update(skip_locked=True).filter(pk=row_id).first()
            if row is None:  # another completer was faster, or the merchant's repeat
                continue
            row.completion_due_at = None
            row.completion_error = row.completion_error or NO_PROCESS
            row.save(update_fields=["completion_due_at", "completion_error"])
            _audit(row, "request.given_up", row.completion_error, now=now)
            _tell(row, now=now)
            count += 1
    return count


def try_again(row_id: int, *, actor: Actor, now: datetime) -> None:
    """Let the completer take a given-up request on again, three times. Raises ValueError when it is
    not given up any more.
    """

    def change(row: IdempotencyKey) -> None:
        row.completion_count, row.completion_due_at = 0, now
        row.save(update_fields=["completion_count", "completion_due_at"])

    _mend(row_id, change, "request.tried_again", "", actor=actor, now=now)


def forget(row_id: int, *, reason: str, actor: Actor, now: datetime) -> None:
    """Forget a given-up request, with words: nothing was done, and the key is new again. Raises
    ValueError without words, or when it is not given up any more.
    """
    if not reason.strip():
        raise ValueError("Say why this request is forgotten; the words stay in the audit trail.")
    _mend(row_id, lambda row: row.delete(), "request.forgotten", reason, actor=actor, now=now)


def _mend(
    row_id: int,
    change: Callable[[IdempotencyKey], object],
    what: str,
    words: str,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    with log.acting_as(actor), transaction.atomic(durable=True):
        row = GivenUpRequest.objects.select_for_update().filter(pk=row_id).first()
        in_use = row is not None and row.locked_until is not None and row.locked_until > now
        if row is None or in_use:
            raise ValueError("It does not wait any more: the merchant has repeated it.")
        _audit(row, what, words, now=now)
        change(row)


def _audit(row: IdempotencyKey, what: str, words: str, *, now: datetime) -> None:
    payment_id = _payment_of(row)
    log.append(
        event_type=what,
        stream_type="payment" if payment_id else "merchant",
        stream_id=payment_id or row.merchant_id,
        body={"operation": row.operation, "request": row.request_id, "reason": words},
        references=[("request", row.request_id)] if row.request_id else [],
        occurred_at=now,
    )


def _tell(row: IdempotencyKey, *, now: datetime) -> None:
    number = str(row.pk)
    outbox.emit(
        type="request.given_up",
        aggregate_type="request",
        aggregate_id=number,
        owner="",
        livemode=row.livemode,
        payload={
            "id": number,
            "operation": row.operation,
            "merchant": row.merchant_id,
            "payment": _payment_of(row),
            "request": row.request_id,
        },
        occurred_at=now,
        now=now,
    )


def _payment_of(row: IdempotencyKey) -> str:
    return row.payment_id or str(row.parameters.get("payment", ""))
