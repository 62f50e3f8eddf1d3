"""Monthly partitions of the audit tables: made months ahead, and the measure of how far ahead.

The log fails closed, so a month that begins without a partition would stop every payment. The
database function that makes partitions may therefore be called by the application itself, from a
periodic job; `covered_days` is what alerts and `verify` look at. Reading bounds and coverage is the
same for every table that is partitioned by month, so other apps read theirs here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

MONTHS_AHEAD = 3
_BOUNDS = re.compile(r"FROM \('([^']+)'\) TO \('([^']+)'\)")


def ensure_partitions(*, now: datetime, months_ahead: int = MONTHS_AHEAD) -> int:
    """Make the partitions of the month of `now` and of the months after it that are missing.

    Returns how many tables were made, usually 0. Safe to call at any time and from many places;
    readers and writers of the log go on meanwhile. Raises django.db.Error when a partition was
    detached or `months_ahead` is not in 0 to 12.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT public.audit_ensure_partitions(%s, %s)", [now, months_ahead])
        (made,) = cursor.fetchone()
    return int(made)


def partition_bounds(parent: str) -> list[tuple[str, datetime, datetime]]:
    """(table, from, until) of the partitions of `parent`, in the order of time; until is open."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT child.relname, pg_get_expr(child.relpartbound, child.oid)
            FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
            WHERE inhparent = to_regclass('public.' || %s) ORDER BY child.relname
            """,
            [parent],
        )
        rows = cursor.fetchall()
    bounds = []
    for name, expression in rows:
        found = _BOUNDS.search(expression)
        if found:
            bounds.append(
                (name, datetime.fromisoformat(found[1]), datetime.fromisoformat(found[2]))
            )
    return sorted(bounds, key=lambda bound: bound[1])


def days_covered(tables: Sequence[str], *, now: datetime) -> float:
    """Days from `now` until the first moment for which one of `tables` has no monthly partition.

    0 when there is none for `now`. Gaps count: only what follows without one is covered, and a
    default partition covers nothing.
    """
    until = [_covered_until(table, now) for table in tables]
    return (min(until) - now).total_seconds() / 86_400


def covered_days(*, now: datetime) -> float:
    """Days from `now` until the first moment that an event could not be recorded any more."""
    return days_covered(("audit_event", "audit_reference"), now=now)


def _covered_until(table: str, now: datetime) -> datetime:
    covered = now
    for _name, start, end in partition_bounds(table):
        if start <= covered < end:
            covered = end
    return covered
