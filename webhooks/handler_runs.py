"""Running handlers: one drain's transaction over the lanes it has locked.

Mental model: a drain locks some lanes (one per stream), runs each due delivery and marks it in
the same transaction, so an effect in this database happens exactly once. Where one raises, each
gets a savepoint of its own, and only what the raising one did is undone.

    pending --ok--> done
       |--raises--> failed --due again--> ... third failure --> dead --replay--> pending
       |                                                          |--discard--> discarded
       |--held behind a failed or dead one (policy block): pending, not due before it

The handlers of one event run in the order of FLORIN_EVENT_HANDLERS. That order says who begins, not
who depends on whom: where one fails, or is held back by its policy, the others go on without it.

A failure is the handler's: it raised, or its process died while it alone ran. An interruption is
ours (others ran in the process that was killed, two transactions met in a deadlock): counted apart,
twenty are allowed. What was interrupted once is suspected of killing its process and runs alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import QuerySet

from audit import log
from webhooks import attempts, deaths, lanes, retries
from webhooks.handlers import EventView, by_name
from webhooks.models import EventDelivery
from webhooks.statements import check_constraints

LANES_PER_TRANSACTION = 16
DELIVERIES_PER_TRANSACTION = 128

_CUT_OFF = "its process ended, or lost the database, while running it or others with it"
_DIED_ALONE = "its process ended while running it and nothing else"
_EVENT_FIELDS = tuple(EventView.__dataclass_fields__)

logger = structlog.get_logger(__name__)


@dataclass
class DrainResult:
    """What one call of `drain` did, in deliveries."""

    done: int = 0
    failed: int = 0
    dead: int = 0
    postponed: int = 0

    @property
    def total(self) -> int:
        return self.done + self.failed + self.dead + self.postponed


@dataclass
class _Row:
    event: EventView
    id: int
    lane: str
    handler: str
    policy: str
    status: str
    due_at: datetime | None
    failures: int
    interruptions: int
    backoff_seconds: float

    @property
    def blocks(self) -> bool:
        return self.policy == EventDelivery.Policy.BLOCK

    def is_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at <= now


def run_due_lanes(result: DrainResult, *, now: datetime) -> bool:
    """Lock due lanes and run what is due on them; False when nothing was due or free."""
    handlers = by_name()
    locked = _lock_due_lanes(handlers, now=now)
    if not locked:
        return False
    rows = _load(locked, handlers, now=now)
    interruptions = lanes.interruptions_of(locked)
    suspects = {row.lane for row in rows if row.interruptions and row.is_due(now)}
    suspects.update(interruptions)
    if suspects:  # what may kill this process runs alone, so that it takes nobody along
        lane = min(suspects)
        of_lane = _load([lane], handlers, now=now)  # all of it: `rows` may end before this lane
        _run_alone(lane, of_lane, interruptions.get(lane), result, now=now)
        return True
    with lanes.run_on(locked, now=now):
        if not _run_together(rows, now=now):
            rows = list(_run_one_by_one(rows, result, now=now))
        _mark_done([row.id for row in rows], result, now=now)
    return True


def _lock_due_lanes(registered: Collection[str], *, now: datetime) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT delivery.lane
            FROM webhooks_event_delivery AS delivery
            JOIN webhooks_lane AS lane ON lane.key = delivery.lane
            WHERE delivery.status IN ('pending', 'failed') AND delivery.due_at <= %s
              AND delivery.handler = ANY(%s)
            ORDER BY delivery.due_at LIMIT %s
            FOR UPDATE OF lane SKIP LOCKED
            """,
            [now, list(registered), LANES_PER_TRANSACTION],
        )
        return {lane for (lane,) in cursor.fetchall()}


def _load(locked: Collection[str], registered: Collection[str], *, now: datetime) -> list[_Row]:
    """What is due on the locked lanes, and what blocks there, by seq and then in the order of
    `registered`.

    A new statement, so it sees everything that was committed before the locks were taken.
    """
    names = list(registered)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT d.id, d.lane, d.handler, d.policy, d.status, d.due_at, d.failures,
                d.interruptions, d.backoff_seconds, e.id, e.type, e.aggregate_type,
                e.aggregate_id, e.seq, e.owner, e.livemode, e.payload, e.causation_id,
                e.occurred_at, e.created_at
            FROM webhooks_event_delivery AS d JOIN webhooks_domain_event AS e ON e.id = d.event_id
            WHERE d.lane = ANY(%s) AND d.handler = ANY(%s)
              AND d.status IN ('pending', 'failed', 'dead')
              AND (d.due_at <= %s OR d.policy = 'block' AND d.status <> 'pending')
            ORDER BY d.lane, d.seq, array_position(%s::text[], d.handler) LIMIT %s
            """,
            [list(locked), names, now, names, DELIVERIES_PER_TRANSACTION],
        )
        return [_row(values) for values in cursor.fetchall()]


def _row(values: tuple[Any, ...]) -> _Row:
    event = dict(zip(_EVENT_FIELDS, values[9:], strict=True))
    event["payload"] = json.loads(event["payload"])
    return _Row(EventView(**event), *values[:9])


def _run_together(rows: list[_Row], *, now: datetime) -> bool:
    """Run everything in one savepoint; False, with nothing done, if anything is in the way.

    The common case saves five round trips per delivery; the other is repeated one by one.
    """
    if not all(row.is_due(now) for row in rows):
        return False
    handlers = by_name()
    try:
        with transaction.atomic():
            for row in rows:
                with log.acting_as(_handler_actor(row.handler)):
                    handlers[row.handler].load()(row.event, now=now)
            check_constraints()
    except Exception:  # noqa: BLE001  whose it is, is found out one by one
        return False
    return True


def _run_one_by_one(rows: list[_Row], result: DrainResult, *, now: datetime) -> Iterator[_Row]:
    """Run the due deliveries in their order; yields those that went well. One that did not holds
    its handler's later ones of the stream, if its policy is to block.
    """
    held: set[tuple[str, str]] = set()
    for row in rows:
        stream = (row.lane, row.handler)
        if stream in held:
            continue
        if row.is_due(now) and _run(row, result, now=now):
            yield row
        elif row.blocks:
            _hold_behind(row, now=now)
            held.add(stream)


def _run_alone(
    lane: str,
    rows: list[_Row],
    interruptions: lanes.Interruptions | None,
    result: DrainResult,
    *,
    now: datetime,
) -> None:
    """Run the next delivery of one lane and nothing else, after counting what went before."""
    if interruptions:
        _charge(rows, interruptions, result, now=now)
    row = _next_due(rows, now=now)
    if row is None:
        lanes.erase_footprints([lane])
        return
    with lanes.run_on([lane], alone=str(row.id), now=now):
        if _run(row, result, now=now):
            _mark_done([row.id], result, now=now)
        elif row.blocks:
            _hold_behind(row, now=now)


def _next_due(rows: list[_Row], *, now: datetime) -> _Row | None:
    """The first delivery that may run now; holds back what waits behind one that may not."""
    held: set[str] = set()
    for row in rows:
        if row.handler in held:
            continue
        if row.is_due(now):
            return row
        if row.blocks:
            _hold_behind(row, now=now)
            held.add(row.handler)
    return None


def _charge(
    rows: list[_Row], interruptions: lanes.Interruptions, result: DrainResult, *, now: datetime
) -> None:
    """Hold the runs that did not survive against what they ran: a death alone is a failure."""
    for row in rows:
        together = interruptions.together if row.is_due(now) else 0
        deaths = interruptions.alone.get(str(row.id), 0)
        if together:
            row.interruptions += together
            _remember(row, attempts.Outcome.INTERRUPTED, _CUT_OFF, "", now=now)
        if deaths:
            row.failures += deaths
            _remember(row, attempts.Outcome.INTERRUPTED, _DIED_ALONE, "", now=now)
            _fail(row, _DIED_ALONE, "", result, now=now)
        elif together:
            _pause_if_often_interrupted(row, result, now=now)


def _pause_if_often_interrupted(row: _Row, result: DrainResult, *, now: datetime) -> None:
    """The first time it is tried again at once."""
    if row.interruptions >= retries.INTERRUPTION_LIMIT:
        reason = f"its process was interrupted {row.interruptions} times while running it"
        _die(row, reason, "", result, now=now)
    elif row.interruptions > 1:
        _postpone(row, "interrupted, tried again after a pause", "", result, now=now)
    else:
        _rows_of(row).update(interruptions=row.interruptions)


def _run(row: _Row, result: DrainResult, *, now: datetime) -> bool:
    """Run one delivery in a savepoint; on an exception only what it did is undone."""
    began = time.monotonic()
    try:
        with transaction.atomic(), log.acting_as(_handler_actor(row.handler)):
            by_name()[row.handler].load()(row.event, now=now)
            check_constraints()  # what is only checked at commit fails here, not there
    except Exception as error:  # noqa: BLE001  a handler may raise anything
        _record_exception(row, error, result, began=began, now=now)
        return False
    row.status = EventDelivery.Status.DONE
    return True


def _record_exception(
    row: _Row, error: Exception, result: DrainResult, *, began: float, now: datetime
) -> None:
    reason, trace = retries.describe_error(error)
    logger.warning("handler.raised", handler=row.handler, event_id=row.event.id, error=reason)
    if retries.is_transient(error):
        row.interruptions += 1
        _remember(row, attempts.Outcome.INTERRUPTED, reason, trace, began=began, now=now)
        _postpone(row, reason, trace, result, now=now)
        return
    row.failures += 1
    _remember(row, attempts.Outcome.FAILED, reason, trace, began=began, now=now)
    _fail(row, reason, trace, result, now=now)


def _fail(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    """Try again later, or give it up, after a failure that is counted."""
    if row.failures >= retries.FAILURE_LIMIT:
        _die(row, reason, trace, result, now=now)
        return
    row.backoff_seconds = retries.decorrelated_backoff_seconds(row.backoff_seconds)
    row.due_at = now + timedelta(seconds=row.backoff_seconds)
    result.failed += 1
    _save(row, EventDelivery.Status.FAILED, reason, trace)


def _remember(
    row: _Row,
    outcome: attempts.Outcome,
    reason: str,
    trace: str,
    *,
    now: datetime,
    began: float | None = None,
) -> None:
    attempts.record(
        kind="handler",
        row_id=str(row.id),
        source=row.handler,
        number=row.failures + row.interruptions,
        outcome=outcome,
        reason=reason,
        trace=trace,
        began=began,
        now=now,
    )


def _postpone(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    row.due_at = now + timedelta(seconds=retries.interruption_seconds(row.interruptions))
    result.postponed += 1
    _save(row, EventDelivery.Status.FAILED, reason, trace)


def _die(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    row.due_at = None
    result.dead += 1
    _save(row, EventDelivery.Status.DEAD, reason, trace, finished_at=now)
    with log.acting_as(_handler_actor(row.handler)):
        deaths.announce(
            kind="handler",
            row_id=str(row.id),
            what=f"{row.event.type} to {row.handler}",
            reason=reason,
            livemode=row.event.livemode,
            about=row.event.aggregate_type,
            references=[
                ("event", row.event.id),
                (row.event.aggregate_type, row.event.aggregate_id),
            ],
            now=now,
        )


def _save(
    row: _Row, status: str, reason: str, trace: str, *, finished_at: datetime | None = None
) -> None:
    row.status = status
    _rows_of(row).update(
        status=status,
        due_at=row.due_at,
        failures=row.failures,
        interruptions=row.interruptions,
        backoff_seconds=row.backoff_seconds,
        reason=reason,
        error=trace,
        finished_at=finished_at,
    )


def _rows_of(row: _Row) -> QuerySet[EventDelivery]:
    return EventDelivery.objects.filter(pk=row.id)


def _mark_done(ids: list[int], result: DrainResult, *, now: datetime) -> None:
    if ids:
        EventDelivery.objects.filter(pk__in=ids).update(
            status=EventDelivery.Status.DONE, due_at=None, reason="", error="", finished_at=now
        )
    result.done += len(ids)


def _hold_behind(row: _Row, *, now: datetime) -> None:
    """Keep later deliveries of the same stream and handler out of the queue as long as `row` is."""
    EventDelivery.objects.filter(
        lane=row.lane,
        handler=row.handler,
        seq__gt=row.event.seq,
        status__in=(EventDelivery.Status.PENDING, EventDelivery.Status.FAILED),
        due_at__lte=now,
    ).update(due_at=row.due_at)


def release_held(lane: str, handler: str, *, now: datetime) -> None:
    """Let what a dead delivery held be due again; call it when that one is dead no more."""
    EventDelivery.objects.filter(
        lane=lane, handler=handler, status=EventDelivery.Status.PENDING, due_at__isnull=True
    ).update(due_at=now)


def _handler_actor(handler: str) -> log.Actor:
    return log.Actor(type="job", id=f"handler:{handler}")
