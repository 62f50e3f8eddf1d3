"""Domain events: written with the change they tell of, handed to each handler in order.

Mental model: `emit` adds one event to its aggregate's stream and one delivery per listening
handler, in the caller's transaction and one round trip; from the commit on they will be handled,
whatever dies. `drain` hands due deliveries to their handlers (webhooks.handler_runs); a person
replays or discards what died.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from audit import log
from webhooks import changes, handler_runs, lanes, wakeup
from webhooks.handler_runs import DrainResult
from webhooks.handlers import listening_to
from webhooks.models import EventDelivery
from webhooks.models.outbox import new_event_id
from webhooks.statements import select_one

__all__ = ["DrainResult", "EmittedEvent", "NotInTransaction", "discard", "drain", "emit", "replay"]

_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class NotInTransaction(RuntimeError):
    """An event was emitted outside the transaction of the change it tells of."""


@dataclass(frozen=True)
class EmittedEvent:
    """The id of a new event and its place in its aggregate's stream (from 1, without gaps)."""

    id: str
    seq: int


def emit(
    *,
    type: str,
    aggregate_type: str,
    aggregate_id: str,
    owner: str,
    livemode: bool,
    payload: Mapping[str, Any],
    occurred_at: datetime,
    now: datetime,
    causation_id: str = "",
) -> EmittedEvent:
    """Append an event to the stream of (aggregate_type, aggregate_id), in the open transaction.

    `type` is `noun.verb_past`; `owner` the merchant it belongs to, "" for internal events, which
    no merchant receives; `payload` a JSON snapshot of the changed row; `causation_id` names what
    made it happen. One round trip; the stream's head stays locked until the caller commits.
    Raises NotInTransaction, ValueError for a malformed type or a payload that is not JSON.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(f"Bug! {type} was emitted outside the transaction it tells of")
    if not _TYPE.fullmatch(type):
        raise ValueError(f"Bug! An event type reads noun.verb_past, not {type!r}")
    listening = listening_to(type)
    event_id = new_event_id()
    seq = select_one(
        "SELECT webhooks_emit(%s,%s,%s,%s,%s,%s,%s::jsonb,%s,%s,%s,%s::text[],%s::text[])",
        [
            event_id,
            type,
            aggregate_type,
            aggregate_id,
            owner,
            livemode,
            json.dumps(payload, allow_nan=False, ensure_ascii=False),
            occurred_at,
            now,
            causation_id,
            [handler.name for handler in listening],
            [handler.policy for handler in listening],
        ],
    )
    wakeup.notify_on_commit("outbox")
    changes.tell_on_commit(aggregate_id)
    return EmittedEvent(id=event_id, seq=seq)


def drain(*, now: datetime, limit: int = 1000) -> DrainResult:
    """Hand due events to their handlers until nothing is due at `now` or about `limit` are done.

    Safe to run in any number of processes at once, killed at any moment. Must not be called in a
    transaction. Deliveries of handlers this process does not know (it may be older than the one
    that made them) are left to others. Raises only what is not a handler's doing (the database is
    gone).
    """
    result = DrainResult()
    while result.total < limit:
        with transaction.atomic(durable=True):
            if not handler_runs.run_due_lanes(result, now=now):
                break
    return result


def replay(delivery_ids: Collection[int], *, actor: log.Actor, now: datetime) -> int:
    """Queue dead deliveries again with a fresh count of failures; returns how many were dead."""
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        _audit(rows, "handler_delivery.replayed", now=now)
        _move(
            rows,
            now=now,
            status=EventDelivery.Status.PENDING,
            due_at=now,
            finished_at=None,
            failures=0,
            interruptions=0,
            backoff_seconds=0,
        )
    return len(rows)


def discard(delivery_ids: Collection[int], *, reason: str, actor: log.Actor, now: datetime) -> int:
    """Give dead deliveries up for good, with words; lets the events held behind them pass.

    Returns how many were dead. Raises ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Say why these deliveries are given up; the words stay with them.")
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        _audit(rows, "handler_delivery.discarded", reason=reason, now=now)
        _move(
            rows,
            now=now,
            status=EventDelivery.Status.DISCARDED,
            finished_at=now,
            reason=reason,
        )
    return len(rows)


def _move(rows: Sequence[EventDelivery], *, now: datetime, **columns: Any) -> None:
    """Change locked dead rows alike, and let what they held be due."""
    EventDelivery.objects.filter(pk__in=[row.pk for row in rows]).update(**columns)
    for lane, handler in sorted({(row.lane, row.handler) for row in rows}):
        handler_runs.release_held(lane, handler, now=now)
    wakeup.notify_on_commit("outbox")


def _locked_dead(delivery_ids: Collection[int]) -> list[EventDelivery]:
    dead = EventDelivery.objects.filter(id__in=delivery_ids, status=EventDelivery.Status.DEAD)
    lanes.lock(list(dead.values_list("lane", flat=True)))
    return list(dead.select_related("event").order_by("id"))


def _audit(
    rows: Sequence[EventDelivery], event_type: str, *, now: datetime, reason: str = ""
) -> None:
    """One record per row; without a `reason` of the person's, with why it died."""
    log.append_many(
        [
            log.Record(
                event_type=event_type,
                stream_type="dead_letter",
                stream_id=f"handler:{row.pk}",
                body={
                    "event": row.event_id,
                    "handler": row.handler,
                    "reason": reason or row.reason,
                },
                references=[
                    ("event", row.event_id),
                    (row.event.aggregate_type, row.event.aggregate_id),
                ],
                occurred_at=now,
            )
            for row in rows
        ]
    )
