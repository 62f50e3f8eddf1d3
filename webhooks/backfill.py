"""Events of the past for a handler that was added later: promised by time range, in portions.

Mental model: an event is promised to a handler by a delivery row, written with the event for every
handler known then. Back-filling writes the rows that are missing, along the keys of the events,
which begin with their time, so nothing outside the range is read. A portion locks the lanes of its
streams, looks again, writes, and commits by itself; what is promised already is passed over, so a
run that was cut off is mended by running it again. From then on the drains do as with any event.

The promises to a handler go long after they were kept (webhooks.retention), and then nobody can
tell which there were: events as old as those are refused.

A handler that blocks has been told that it never sees an event after a later one of its stream.
So what precedes an event it has done is left out, and counted as `overtaken`; PostgreSQL refuses
such a row too. A handler that skips has no such promise: its past may come after its present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from audit import log
from webhooks import lanes, retention, wakeup
from webhooks.handlers import Handler, by_name
from webhooks.keys_in_time import first_id, id_after, moment_of
from webhooks.models import DomainEvent, EventDelivery

# Events are visible when their transaction commits, which may be this much later than their id.
SETTLED_AFTER = timedelta(minutes=2)
PORTION = 500

Clock = Callable[[], datetime]


class UnknownHandler(LookupError):
    """No handler of this name is registered in FLORIN_EVENT_HANDLERS."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How far a run has come, in events of the handler's types.

    `promised` were missing and are written (or would be, when only counting), `known` had been
    promised before, `overtaken` precede one that a blocking handler has done. Everything before
    `reached` has been looked at.
    """

    reached: datetime
    promised: int = 0
    known: int = 0
    overtaken: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The three numbers by name."""
        return {name: n for name, n in asdict(self).items() if name != "reached"}


def backfill(
    *,
    handler_name: str,
    since: datetime,
    until: datetime,
    actor: log.Actor,
    clock: Clock,
    portion: int = PORTION,
) -> Iterator[Tally]:
    """Promise the events emitted from `since` to before `until` to one registered handler.

    Yields after each committed portion, of `portion` events at most, so the caller sets the pace;
    whoever stops in between has promised what was counted. Two audit records: ordered, and ended
    with the counts. Safe beside emitters, drains and another run. Not in a transaction. Raises
    UnknownHandler, and ValueError for a range that is empty, lacks a zone, has not settled, or
    reaches back to promises that have been deleted.
    """
    handler = _checked(handler_name, since=since, until=until, now=clock())
    _audit(handler, "ordered", since, until, {}, actor=actor, now=clock())
    tally = Tally(reached=since)
    for tally in _portions(handler, since, until, portion, clock):
        yield tally
    _audit(handler, "ended", since, until, tally.counts, actor=actor, now=clock())


def preview(
    *, handler_name: str, since: datetime, until: datetime, clock: Clock, portion: int = PORTION
) -> Iterator[Tally]:
    """What `backfill` would do now, portion by portion, writing nothing. Raises as it does."""
    handler = _checked(handler_name, since=since, until=until, now=clock())
    yield from _portions(handler, since, until, portion, clock, write=False)


def _checked(name: str, *, since: datetime, until: datetime, now: datetime) -> Handler:
    handler = by_name().get(name)
    if handler is None:
        known = ", ".join(sorted(by_name()))
        raise UnknownHandler(f"No handler is named {name}; FLORIN_EVENT_HANDLERS has {known}.")
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("Give both times with a zone.")
    if since >= until:
        raise ValueError("The range is empty: `since` has to be before `until`.")
    if until > now - SETTLED_AFTER:
        raise ValueError(
            "`until` has to be two minutes ago or earlier: an event of the last moments may not "
            "be committed yet, and would be left out."
        )
    _refuse_deleted(handler, first_id("evt", since))
    return handler


def _refuse_deleted(handler: Handler, event_id: str) -> None:
    """Raises ValueError for an event that may have been promised before."""
    last = retention.promises_deleted_until(handler.name)
    if event_id <= last:
        raise ValueError(
            f"Promises to {handler.name} were deleted after their time, up to {moment_of(last)}; "
            "nobody can tell any more which events it has had. Begin later."
        )


def _portions(
    handler: Handler,
    since: datetime,
    until: datetime,
    portion: int,
    clock: Clock,
    *,
    write: bool = True,
) -> Iterator[Tally]:
    tally = Tally(reached=since)
    first, end = first_id("evt", since), first_id("evt", until)
    ahead: set[str] = set()  # seen with an earlier portion, because of their streams' order
    while ids := _next_ids(first, end, portion):
        with transaction.atomic(durable=True):
            if write:
                _lock_lanes(ids)
            verdicts = _verdicts(handler, ids, end)
            missing = [one for one, verdict in verdicts.items() if verdict == "promised"]
            if missing:
                _refuse_deleted(handler, min(missing))  # what is missing may have gone just now
            if write:
                _promise(handler, missing, now=clock())
        fresh = [verdict for event_id, verdict in verdicts.items() if event_id not in ahead]
        ahead = {event_id for event_id in ahead | set(verdicts) if event_id > ids[-1]}
        tally = Tally(
            reached=moment_of(ids[-1]),
            **{name: n + fresh.count(name) for name, n in tally.counts.items()},
        )
        yield tally
        first = id_after(ids[-1])


def _next_ids(first: str, end: str, limit: int) -> list[str]:
    events = DomainEvent.objects.filter(pk__gte=first, pk__lt=end).order_by("pk")
    return list(events.values_list("pk", flat=True)[:limit])


def _lock_lanes(ids: list[str]) -> None:
    """Hold the streams of these events, so that nobody does one of theirs meanwhile."""
    streams = DomainEvent.objects.filter(pk__in=ids).values_list("aggregate_type", "aggregate_id")
    lanes.lock([lanes.outbox_lane(*stream) for stream in streams.order_by().distinct()])


def _verdicts(handler: Handler, ids: list[str], end: str) -> dict[str, str]:
    """Event -> what becomes of it, for those of the handler's types, stream by stream in order.

    With them comes what precedes them in their stream and has a later key, which happens when two
    processes' clocks differ: promised a portion later, it might be overtaken by then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH stream AS (
                SELECT aggregate_type, aggregate_id, max(seq) AS last FROM webhooks_domain_event
                WHERE id = ANY(%(ids)s) AND type LIKE ANY(%(types)s)
                GROUP BY aggregate_type, aggregate_id
            )
            SELECT event.id, CASE
                WHEN EXISTS (SELECT FROM webhooks_event_delivery
                             WHERE event_id = event.id AND handler = %(handler)s) THEN 'known'
                WHEN %(blocks)s AND EXISTS (
                    SELECT FROM webhooks_domain_event AS later
                    JOIN webhooks_event_delivery AS done ON done.event_id = later.id
                    WHERE later.aggregate_type = event.aggregate_type
                      AND later.aggregate_id = event.aggregate_id AND later.seq > event.seq
                      AND done.handler = %(handler)s AND done.status = 'done') THEN 'overtaken'
                ELSE 'promised' END
            FROM stream JOIN webhooks_domain_event AS event USING (aggregate_type, aggregate_id)
            WHERE event.seq <= stream.last AND event.id >= %(first)s AND event.id < %(end)s
              AND event.type LIKE ANY(%(types)s)
            ORDER BY aggregate_type, aggregate_id, event.seq
            """,
            {
                "ids": ids,
                "types": [_as_like(pattern) for pattern in handler.types],
                "handler": handler.name,
                "blocks": handler.policy == EventDelivery.Policy.BLOCK,
                "first": ids[0],
                "end": end,
            },
        )
        return dict(cursor.fetchall())


def _as_like(pattern: str) -> str:
    return pattern.replace("_", r"\_").replace("*", "%")


def _promise(handler: Handler, missing: list[str], *, now: datetime) -> None:
    """Write the missing deliveries as webhooks_emit would have, in the order that is given."""
    events = DomainEvent.objects.in_bulk(missing)
    EventDelivery.objects.bulk_create(
        [
            EventDelivery(
                event=events[event_id],
                lane=lanes.outbox_lane(
                    events[event_id].aggregate_type, events[event_id].aggregate_id
                ),
                seq=events[event_id].seq,
                handler=handler.name,
                policy=handler.policy,
                status=EventDelivery.Status.PENDING,
                due_at=now,
            )
            for event_id in missing
        ],
        ignore_conflicts=True,
    )
    if missing:
        wakeup.notify_on_commit("outbox")


def _audit(
    handler: Handler,
    what: str,
    since: datetime,
    until: datetime,
    counts: Mapping[str, int],
    *,
    actor: log.Actor,
    now: datetime,
) -> None:
    with transaction.atomic(), log.acting_as(actor):
        log.append(
            event_type=f"handler_backfill.{what}",
            stream_type="event_handler",
            stream_id=handler.name,
            body={"since": since.isoformat(), "until": until.isoformat(), **counts},
            occurred_at=now,
        )
