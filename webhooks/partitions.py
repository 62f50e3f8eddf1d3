"""The inbox by months: made ahead, dropped whole when they are old, and the measure of both.

Mental model: a stored provider event is evidence for a while, its key in `webhooks_inbox_key` for
ever. So a month of the inbox may go as a whole, which costs nothing whatever it held, and the same
event coming again years later is still a duplicate. A month in which something still waits, for a
process or for a person, stays until that has ended. The application owns none of this: two
functions of the database make and drop months within limits of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.checks import Error
from django.db import connection, transaction

from audit import log
from audit.partitions import MONTHS_AHEAD, days_covered, partition_bounds
from webhooks.models import InboxEvent

TABLE = "webhooks_inbox_event"
UNPARTITIONED_COUNT_MAX = 100_000
# The database's function drops no younger month, whatever is asked (sql/inbox_partitions.sql).
RETENTION_MONTHS_MIN = 3

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Month:
    """One month of the inbox, both ends at midnight UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m}"


def check_retention(**_: Any) -> Sequence[Error]:
    """Django system check: no retention is asked for that the database would refuse each hour."""
    months = settings.FLORIN_INBOX_RETENTION_MONTHS
    if months >= RETENTION_MONTHS_MIN:
        return []
    return [
        Error(
            f"FLORIN_INBOX_RETENTION_MONTHS is {months}: the inbox of the last "
            f"{RETENTION_MONTHS_MIN} months is always kept.",
            hint=f"Set it to {RETENTION_MONTHS_MIN} or more; 13 is what Florin comes with.",
            id="webhooks.E005",
        )
    ]


def ensure_partitions(*, now: datetime, months_ahead: int = MONTHS_AHEAD) -> int:
    """Make the months from that of `now` on that are missing, and earlier ones with events that
    found no month; those events move there.

    Returns how many were made, usually 0. Safe to call at any time and from many places. Raises
    django.db.Error when the inbox was too busy for two seconds, when a month was detached, or
    `months_ahead` is not in 0 to 12.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT webhooks_ensure_inbox_partitions(%s, %s)", [now, months_ahead])
        (made,) = cursor.fetchone()
    return int(made)


def covered_days(*, now: datetime) -> float:
    """Days from `now` until the first moment whose events would have no month of their own."""
    return days_covered((TABLE,), now=now)


def unpartitioned_count() -> int:
    """Events that found no month and lie in the default partition. Counting stops at 100,000."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT FROM webhooks_inbox_event_default LIMIT %s) AS found",
            [UNPARTITIONED_COUNT_MAX],
        )
        (found,) = cursor.fetchone()
    return int(found)


def expired_months(*, now: datetime) -> list[Month]:
    """Months that are there although settings.FLORIN_INBOX_RETENTION_MONTHS full ones followed."""
    oldest = kept_since(now)
    return [
        Month(start=start, end=end)
        for _name, start, end in partition_bounds(TABLE)
        if end <= oldest
    ]


def kept_since(now: datetime) -> datetime:
    """The first moment of what is kept: settings.FLORIN_INBOX_RETENTION_MONTHS full months back."""
    return _months_before(now, settings.FLORIN_INBOX_RETENTION_MONTHS)


def drop_expired_months(*, now: datetime) -> list[Month]:
    """Drop the months that have expired and in which nothing waits; says which ones went.

    Each is one transaction with an audit event that tells how many events of each outcome went.
    A month with open or dead events stays, with a warning: dead letters are replayed or discarded
    by a person, open events end by themselves. Keys are never dropped.
    """
    return [month for month in expired_months(now=now) if _drop(month, now=now)]


def _drop(month: Month, *, now: datetime) -> bool:
    with transaction.atomic(durable=True):
        counts = _counts_by_status(month)
        waiting = {
            status: counts[status]
            for status in (*InboxEvent.OPEN, InboxEvent.Status.DEAD)
            if status in counts
        }
        if waiting:
            logger.warning("inbox.month_kept", month=str(month), waiting=waiting)
            return False
        log.append(
            event_type="inbox_month.dropped",
            stream_type="inbox_month",
            stream_id=str(month),
            body={"events": sum(counts.values()), "by_status": counts},
            occurred_at=now,
        )
        # Last, because nobody can use the inbox from here to the commit.
        with connection.cursor() as cursor:
            cursor.execute("SELECT webhooks_drop_inbox_month(%s)", [_first_day(month)])
    logger.info("inbox.month_dropped", month=str(month), events=sum(counts.values()))
    return True


def _counts_by_status(month: Month) -> dict[str, int]:
    """Reads the whole month, which may take longer than a statement is usually allowed to."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT status, count(*) FROM webhooks_inbox_event"
            " WHERE received_at >= %s AND received_at < %s GROUP BY status ORDER BY status",
            [month.start, month.end],
        )
        return dict(cursor.fetchall())


def _first_day(month: Month) -> date:
    return month.start.date()


def _months_before(now: datetime, months: int) -> datetime:
    """The first moment of the month that lies `months` before that of `now`."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(months):
        start = (start - timedelta(days=1)).replace(day=1)
    return start
