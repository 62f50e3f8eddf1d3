"""How far behind the event pipeline is: what waits, since when, and what gave up.

Mental model: read-only figures for health checks and metrics. Every figure is read from an index
of open or dead rows and counting stops at `COUNT_MAX`, so asking costs the same on a bad day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Max

from webhooks.models import Heartbeat

COUNT_MAX = 100_000

# queue -> (table, states that wait)
_QUEUES = {
    "inbox": ("webhooks_inbox_event", ("received", "deferred", "failed")),
    "outbox": ("webhooks_event_delivery", ("pending", "failed")),
    "merchant_webhooks": ("webhooks_merchant_delivery", ("pending", "retrying")),
}


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One queue: rows that wait, seconds by which the longest due one is late, rows that died."""

    name: str
    waiting: int
    late_seconds: float
    dead: int


def queues(*, now: datetime) -> list[Queue]:
    """The three queues as they stand. Counts stop at COUNT_MAX."""
    return [_queue(name, *source, now=now) for name, source in _QUEUES.items()]


def oldest_due(name: str) -> datetime | None:
    """Since when the longest due row of a queue has been due, None when nothing is open."""
    table, waiting = _QUEUES[name]
    with connection.cursor() as cursor:
        cursor.execute(_longest_due(table, waiting))
        row = cursor.fetchone()
    return None if row is None else row[0]


def last_heartbeats() -> dict[str, datetime]:
    """Role -> the last sign of life of any process of that role."""
    rows = Heartbeat.objects.values("role").annotate(latest=Max("beat_at"))
    return dict(rows.values_list("role", "latest"))


def _queue(name: str, table: str, waiting: tuple[str, ...], *, now: datetime) -> Queue:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ({_longest_due(table, waiting)}), "
            f"({_number(table, waiting)}), ({_number(table, ('dead',))})"
        )
        due_at, waiting_count, dead_count = cursor.fetchone()
    return Queue(
        name=name,
        waiting=waiting_count,
        late_seconds=0.0 if due_at is None else max(0.0, (now - due_at).total_seconds()),
        dead=dead_count,
    )


def _longest_due(table: str, waiting: tuple[str, ...]) -> str:
    return (
        f"SELECT due_at FROM {table} WHERE {_among(waiting)} AND due_at IS NOT NULL "  # noqa: S608
        "ORDER BY due_at LIMIT 1"
    )


def _number(table: str, states: tuple[str, ...]) -> str:
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM {table} "  # noqa: S608
        f"WHERE {_among(states)} LIMIT {COUNT_MAX}) AS found"
    )


def _among(states: tuple[str, ...]) -> str:
    """A condition in the words of the partial indexes; literals, so that they can be used."""
    listed = ", ".join(f"'{state}'" for state in states)
    return f"status IN ({listed})" if len(states) > 1 else f"status = {listed}"
