"""Proof that the audit log is what was written: its hashes, its search index, its walls.

Nothing here trusts what the owner of the tables could have replaced. The hashes are recomputed by
PostgreSQL, for speed, but by an expression that stands in this file and uses built-in functions
only, not by the trigger that wrote them; audit.canonical says the same in Python and the tests
compare the two. The walls (triggers, rights, partitions: audit.walls) are compared with what this
version installs. What this cannot prove, that nobody with all rights took the walls down, rewrote
rows with fitting hashes and put the walls up again, needs a hash kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from audit.partitions import covered_days, partition_bounds
from audit.walls import Violation, wall_violations

__all__ = ["LeafCheck", "Violation", "check_leaves", "verify", "verify_leaves", "verify_references"]

_BATCH_IDS = 100_000
_LONGEST_REPORT = 1_000
_DAYS_THAT_MUST_BE_COVERED = 14

# The same lines as audit.canonical.EventFields.evidence.
_LEAF_HASH = r"""
    sha256('\x00'::bytea || convert_to(concat_ws(E'\n', 'florin-audit-event-v1', id,
        (extract(epoch FROM recorded_at) * 1000000)::bigint, xid,
        (extract(epoch FROM occurred_at) * 1000000)::bigint, event_type, actor_type, actor_id,
        actor_display, stream_type, stream_id, trace_id, request_id, reason, redacted,
        reference_list, body), 'UTF8'))
"""
_CHECK_BATCH = f"""
    SELECT count(*),
           array_agg(id) FILTER (
               WHERE leaf_hash IS DISTINCT FROM {_LEAF_HASH}
                  -- Text moved from one field to the next one, with a line break, keeps the hash.
                  OR strpos(body, E'\\n') > 0
                  OR strpos(concat(event_type, actor_type, actor_id, actor_display, stream_type,
                                   stream_id, trace_id, request_id, reason, reference_list),
                            E'\\n') > 0)
    FROM public.audit_event
    WHERE id > %(after)s AND id <= %(until)s AND recorded_at >= %(since)s
"""  # noqa: S608 - no value is written into it
# References as the events tell them, and as the search index holds them, of one month.
_TOLD = """
    SELECT event.id AS event_id, event.recorded_at,
           reference ->> 0 AS type, reference ->> 1 AS value
    FROM public.audit_event event, jsonb_array_elements(reference_list::jsonb) AS reference
    WHERE event.recorded_at >= %(from)s AND event.recorded_at < %(until)s
"""
_INDEXED = """
    SELECT event_id, recorded_at, type, value FROM public.audit_reference
    WHERE recorded_at >= %(from)s AND recorded_at < %(until)s
"""


@dataclass(frozen=True, slots=True)
class LeafCheck:
    """How many events were recomputed, and which of them are not what was written."""

    rows: int
    violations: list[Violation]


def verify(*, now: datetime, since: datetime | None = None) -> list[Violation]:
    """Everything below, and that partitions are there for the next weeks. Empty when all is well.

    `since` limits the rows that are looked at to those recorded from then on.
    """
    violations = wall_violations()
    days = covered_days(now=now)
    if days < _DAYS_THAT_MUST_BE_COVERED:
        violations.append(
            Violation(
                kind="partitions_end_soon",
                object="audit_event",
                detail=f"nothing can be recorded in {days:.1f} days: run ensure_partitions",
            )
        )
    return [*violations, *verify_leaves(since=since), *verify_references(since=since)]


def verify_leaves(*, since: datetime | None = None) -> list[Violation]:
    """Recompute the hash of every event from its stored bytes; the events that do not fit."""
    return check_leaves(since=since).violations


def check_leaves(*, since: datetime | None = None) -> LeafCheck:
    """As `verify_leaves`, with the number of events; at most 1,000 violations are listed."""
    rows = 0
    modified: list[int] = []
    with connection.cursor() as cursor:
        for batch in _batches(cursor, since):
            cursor.execute(_CHECK_BATCH, batch)
            count, wrong = cursor.fetchone()
            rows += count
            modified += sorted(wrong or [])
    violations = [
        Violation(
            kind="event_modified",
            object=f"audit_event {number}",
            detail="the stored bytes do not have the stored hash",
        )
        for number in modified[:_LONGEST_REPORT]
    ]
    return LeafCheck(rows=rows, violations=violations)


def verify_references(*, since: datetime | None = None) -> list[Violation]:
    """Compare the search index with the reference lists in the events; what only one side has.

    A month is compared by a sum over both sides, which needs no memory; only where the sums
    differ are the rows themselves compared.
    """
    violations: list[Violation] = []
    for _table, start, end in partition_bounds("audit_event"):
        if since is not None and end <= since:
            continue
        # A partition may take longer than a statement of the application is allowed to.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            violations += _differing_references(cursor, {"from": start, "until": end})
    return violations


def _batches(cursor: Any, since: datetime | None) -> Iterator[dict[str, Any]]:
    """Ranges of ids that together hold every event recorded since, as query parameters."""
    since_text = since.isoformat() if since is not None else "-infinity"
    cursor.execute(
        "SELECT min(id), max(id) FROM public.audit_event WHERE recorded_at >= %s::timestamptz",
        [since_text],
    )
    first, last = cursor.fetchone()
    if first is None:
        return
    for after in range(first - 1, last, _BATCH_IDS):
        yield {"after": after, "until": min(after + _BATCH_IDS, last), "since": since_text}


def _differing_references(cursor: Any, month: dict[str, datetime]) -> Iterator[Violation]:
    sums = []
    for side in (_TOLD, _INDEXED):
        cursor.execute(
            "SELECT count(*), sum(hashtextextended("  # noqa: S608 - no value is written into it
            "concat_ws(E'\\n', event_id, extract(epoch FROM recorded_at), type, value), 0)) "
            f"FROM ({side}) side",
            month,
        )
        sums.append(cursor.fetchone())
    if sums[0] == sums[1]:
        return
    for kind, left, right in (
        ("reference_missing", _TOLD, _INDEXED),
        ("reference_forged", _INDEXED, _TOLD),
    ):
        cursor.execute(f"{left} EXCEPT ALL {right} ORDER BY 1 LIMIT {_LONGEST_REPORT}", month)
        for event_id, _recorded_at, reference_type, value in cursor.fetchall():
            yield Violation(
                kind=kind,
                object=f"audit_event {event_id}",
                detail=f"{reference_type} {value}",
            )
