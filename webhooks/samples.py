"""Take a sample of every queue once a minute, and read the samples back in equal stretches.

Mental model: `take` is a periodic job. It notes waiting, lateness and dead of each queue, and how
many rows came since the last sample, found by key. What was handled follows: what came in is either
still there (waiting or dead) or was handled, so handled = arrived - growth of (waiting + dead); a
death is no handling and a replay none backwards. What became of a minute's rows is counted ten
minutes later and for good; younger minutes are counted when they are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from webhooks import backlog
from webhooks.keys_in_time import first_id
from webhooks.models import FlowMinute, QueueSample

KEPT = timedelta(days=14)
# Older than this, the last sample says nothing about the pace since.
GAP_MAX = timedelta(minutes=10)
SETTLED_AFTER = timedelta(minutes=10)
CATCH_UP_MAX = timedelta(days=1)
MINUTES_PER_RUN = 120
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(2020, 1, 6, tzinfo=UTC)  # a Monday

# flow -> table, column with a key that begins with its time, prefix of that key, further condition.
# The inbox is partitioned by the time of arrival, so that is said too.
_FLOWS = {
    "inbox": ("webhooks_inbox_event", "id", "inb", "received_at >= %(lower)s"),
    "outbox": ("webhooks_event_delivery", "event_id", "evt", "true"),
    "merchant_webhooks": ("webhooks_merchant_delivery", "id", "whd", "true"),
}
FLOWS = tuple(_FLOWS)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """One queue in one stretch of time; None where nothing was sampled or could be counted."""

    start: datetime
    waiting: int | None
    late_seconds: float | None
    dead: int | None
    arrived: int | None
    handled: int | None


def take(*, now: datetime) -> None:
    """Periodic job: one sample per queue, what became of settled minutes, and nothing too old."""
    with transaction.atomic():
        for queue in backlog.queues(now=now):
            _sample(queue, now=now)
    for flow in FLOWS:
        _settle(flow, now=now)
    QueueSample.objects.filter(sampled_at__lt=now - KEPT).delete()
    FlowMinute.objects.filter(minute__lt=now - KEPT).delete()


def _sample(queue: backlog.Queue, *, now: datetime) -> None:
    known = QueueSample.objects.filter(queue=queue.name, sampled_at__lt=now)
    before = known.order_by("-sampled_at").first()
    arrived = handled = None
    if before and queue.name in _FLOWS and now - before.sampled_at <= GAP_MAX:
        arrived = sum(_by_status(queue.name, before.sampled_at, now).values())
        counts = (queue.waiting, queue.dead, before.waiting, before.dead)
        if max(counts) < backlog.COUNT_MAX:
            grown = queue.waiting + queue.dead - before.waiting - before.dead
            handled = max(0, arrived - grown)
    QueueSample.objects.bulk_create(
        [
            QueueSample(
                queue=queue.name,
                sampled_at=now,
                waiting=queue.waiting,
                late_seconds=queue.late_seconds,
                dead=queue.dead,
                arrived=arrived,
                handled=handled,
            )
        ],
        ignore_conflicts=True,
    )


def _settle(flow: str, *, now: datetime) -> None:
    """Count the minutes that have had their time and were not counted yet, the oldest first."""
    end = _floor(now - SETTLED_AFTER)
    last = FlowMinute.objects.filter(flow=flow).aggregate(last=Max("minute"))["last"]
    start = max(last + _MINUTE, _floor(now - CATCH_UP_MAX)) if last else end - _MINUTE * 30
    for number, minute in enumerate(_minutes(start, end)):
        if number == MINUTES_PER_RUN:
            break
        counts = _by_status(flow, minute, minute + _MINUTE) or {"": 0}
        FlowMinute.objects.bulk_create(
            [
                FlowMinute(flow=flow, minute=minute, status=status, count=count)
                for status, count in counts.items()
            ],
            ignore_conflicts=True,
        )


def history(*, start: datetime, step: timedelta, now: datetime) -> dict[str, list[Stretch]]:
    """Queue -> its stretches from `start` to now: the worst of each, and sums of what moved."""
    asked: dict[str, Any] = {"step": step, "start": start, "now": now, "queues": list(FLOWS)}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT queue, date_bin(%(step)s, sampled_at, %(start)s), max(waiting),
                max(late_seconds), max(dead), sum(arrived), sum(handled)
            FROM webhooks_queue_sample
            WHERE queue = ANY(%(queues)s) AND sampled_at >= %(start)s AND sampled_at <= %(now)s
            GROUP BY 1, 2
            """,
            asked,
        )
        found = {(queue, bucket): rest for queue, bucket, *rest in cursor.fetchall()}
    nothing = [None] * 5
    return {
        queue: [
            Stretch(start=begin, waiting=w, late_seconds=late, dead=d, arrived=a, handled=h)
            for begin in _steps(start, step, now)
            for w, late, d, a, h in [found.get((queue, begin), nothing)]
        ]
        for queue in FLOWS
    }


def inflow(
    flow: str, *, start: datetime, step: timedelta, now: datetime
) -> list[tuple[datetime, dict[str, int]]]:
    """(start of a stretch, status -> rows that came in) up to now."""
    counted: dict[datetime, dict[str, int]] = {begin: {} for begin in _steps(start, step, now)}

    def add(minute: datetime, status: str, count: int) -> None:
        begin = start + step * ((minute - start) // step)
        if count and begin in counted:
            counted[begin][status] = counted[begin].get(status, 0) + count

    asked: list[Any] = [step, start, flow, start, now]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_bin(%s, minute, %s), status, sum(count)::bigint FROM webhooks_flow_minute"
            " WHERE flow = %s AND minute >= %s AND minute <= %s GROUP BY 1, 2",
            asked,
        )
        for begin, status, count in cursor.fetchall():
            add(begin, status, count)
    settled = FlowMinute.objects.filter(flow=flow).aggregate(last=Max("minute"))["last"]
    young = max(start, _floor(now - SETTLED_AFTER))
    if settled:
        young = max(young, settled + _MINUTE)
    for minute in _minutes(young, now):
        for status, count in _by_status(flow, minute, minute + _MINUTE).items():
            add(minute, status, count)
    return sorted(counted.items())


def stretches_start(*, step: timedelta, count: int, now: datetime) -> datetime:
    """Where the first of `count` stretches begins, the last of which holds now."""
    return _EPOCH + step * ((now - _EPOCH) // step - count + 1)


def _by_status(flow: str, since: datetime, until: datetime) -> dict[str, int]:
    """Status -> rows whose key was made in [since, until), along the index of the keys."""
    table, column, prefix, condition = _FLOWS[flow]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT status, count(*) FROM {table} WHERE {column} >= %(first)s "  # noqa: S608
            f"AND {column} < %(behind)s AND {condition} GROUP BY status",
            {
                "first": first_id(prefix, since),
                "behind": first_id(prefix, until),
                "lower": since - timedelta(hours=1),
            },
        )
        return dict(cursor.fetchall())


def _steps(start: datetime, step: timedelta, now: datetime) -> Iterator[datetime]:
    while start <= now:
        yield start
        start += step


def _minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += _MINUTE


def _floor(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
