"""Proofs about the event pipeline: streams without gaps, nothing left lying, nothing unexplained.

Mental model: read-only questions whose right answer is "no rows". A row that waits is explained
while it is not long overdue, or while it is held behind another one that is; a row that gave up is
explained by its reason, which the database demands. Each question is one statement over all rows
and its answer is streamed, so memory does not grow with the history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from webhooks import partitions

# A due row that nobody has taken for this long is not waiting its turn: nobody works.
OVERDUE_AFTER = timedelta(minutes=10)
_DAYS_THAT_MUST_BE_COVERED = 14


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One row that should not be: what is wrong, with which object, in words."""

    kind: str
    object: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """One event of one object, and the version of the row in its payload (None: it has none)."""

    aggregate_id: str
    seq: int
    type: str
    version: int | None


def stream_violations() -> Iterator[Violation]:
    """Streams whose events are not numbered 1, 2, 3 ... up to what their head says."""
    for aggregate_type, aggregate_id, count, lowest, highest, head in _stream(
        """
        SELECT aggregate_type, aggregate_id, coalesce(event.count, 0), event.lowest, event.highest,
               head.last_seq
          FROM (SELECT aggregate_type, aggregate_id, count(*), min(seq) AS lowest,
                       max(seq) AS highest
                  FROM webhooks_domain_event GROUP BY aggregate_id, aggregate_type) AS event
          FULL JOIN webhooks_event_stream AS head USING (aggregate_type, aggregate_id)
         WHERE (event.count, event.lowest, event.highest)
               IS DISTINCT FROM (head.last_seq, 1::bigint, head.last_seq)
        """,
        [],
    ):
        yield Violation(
            kind="stream_gap",
            object=f"{aggregate_type} {aggregate_id}",
            detail=f"{count} events numbered {lowest} to {highest}, the head says {head}",
        )


def outbox_violations(*, now: datetime) -> Iterator[Violation]:
    """Deliveries to handlers and to merchants that nobody works on, and held ones held by none."""
    overdue = now - OVERDUE_AFTER
    for delivery_id, event_id, handler, status, due_at in _stream(
        """
        SELECT id, event_id, handler, status, due_at FROM webhooks_event_delivery AS held
         WHERE status IN ('pending', 'failed')
           AND (due_at <= %s OR due_at IS NULL AND NOT EXISTS (
                 SELECT FROM webhooks_event_delivery AS holding
                  WHERE holding.lane = held.lane AND holding.handler = held.handler
                    AND holding.seq < held.seq AND holding.status IN ('pending', 'failed', 'dead')))
        """,
        [overdue],
    ):
        yield Violation(
            kind="delivery_overdue" if due_at else "delivery_held_by_none",
            object=f"{event_id} to {handler}",
            detail=f"delivery {delivery_id} is {status}, due {due_at or 'never'}",
        )
    for delivery_id, event_id, status, due_at in _stream(
        """
        SELECT id, event_id, status, due_at FROM webhooks_merchant_delivery
         WHERE status IN ('pending', 'retrying') AND due_at <= %s
           AND (lease_until IS NULL OR lease_until <= %s)
        """,
        [overdue, overdue],
    ):
        yield Violation(
            kind="merchant_delivery_overdue",
            object=delivery_id,
            detail=f"{event_id} is {status}, due {due_at}",
        )


def inbox_violations(*, now: datetime) -> Iterator[Violation]:
    """Provider events that nobody works on, and finished ones whose effect has no key."""
    for inbox_id, event_type, event_id, status, due_at in _stream(
        """
        SELECT id, event_type, event_id, status, due_at FROM webhooks_inbox_event
         WHERE status IN ('received', 'deferred', 'failed') AND due_at <= %s
        """,
        [now - OVERDUE_AFTER],
    ):
        yield Violation(
            kind="inbox_overdue",
            object=inbox_id,
            detail=f"{event_type} {event_id} is {status}, due {due_at}",
        )
    for inbox_id, event_type, event_id, status in _stream(
        """
        SELECT event.id, event.event_type, event.event_id, event.status
          FROM webhooks_inbox_event AS event
         WHERE event.status IN ('processed', 'superseded', 'ignored', 'duplicate', 'discarded')
           AND NOT EXISTS (SELECT FROM webhooks_inbox_key AS key
                            WHERE (key.provider, key.account_id, key.event_id)
                                  = (event.provider, event.account_id, event.event_id))
        """,
        [],
    ):
        yield Violation(
            kind="inbox_effect_without_key",
            object=inbox_id,
            detail=f"{event_type} {event_id} is {status}, but could have its effect again",
        )


def inbox_partition_violations(*, now: datetime) -> Iterator[Violation]:
    """Months that will be missing soon, and parts of the inbox whose guard does not stand."""
    days = partitions.covered_days(now=now)
    if days < _DAYS_THAT_MUST_BE_COVERED:
        yield Violation(
            kind="partitions_end_soon",
            object=partitions.TABLE,
            detail=f"events find no month of their own in {days:.1f} days: run ensure_partitions",
        )
    for (table,) in _stream(
        """
        SELECT relid::regclass::text FROM pg_partition_tree(to_regclass(%s))
         WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relid AND tgenabled = 'A'
                              AND tgname = 'inbox_event_keeps_its_outcome')
        """,
        [partitions.TABLE],
    ):
        yield Violation(
            kind="trigger_missing", object=table, detail="an outcome in it could be taken back"
        )


def announcements(*, aggregate_type: str, after: str, until: str | None) -> Iterator[Announcement]:
    """Every event of the objects whose id is above `after` and at most `until` (None: no end)."""
    upper = "" if until is None else "AND aggregate_id <= %s"
    rows = _stream(
        f"""
        SELECT aggregate_id, seq, type, (payload ->> 'version')::integer
          FROM webhooks_domain_event
         WHERE aggregate_type = %s AND aggregate_id > %s {upper}
         ORDER BY aggregate_id, seq
        """,  # noqa: S608
        [aggregate_type, after, *([] if until is None else [until])],
    )
    for aggregate_id, seq, type_, version in rows:
        yield Announcement(aggregate_id=aggregate_id, seq=seq, type=type_, version=version)


def _stream(query: str, parameters: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, fetched a few thousand at a time; in a transaction or outside."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(2000):
            yield from rows
