"""What fails, by whom: our handlers, the appliers of provider events, merchants' endpoints.

Mental model: read-only figures for a page. Each is read from an index of failures or dead rows, or
from one row per endpoint, and stops at a bound, so that a bad day costs no more than a good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from webhooks.models import EndpointHealth

_ROWS_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Source:
    """Tries that did not go well of one handler (kind handler) or one provider (kind inbox)."""

    kind: str
    name: str
    failed: int
    interrupted: int

    @property
    def total(self) -> int:
        return self.failed + self.interrupted


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A merchant's endpoint that fails: since when, how often in a row."""

    id: str
    url: str
    owner: str
    status: str
    failures_in_a_row: int
    failing_since: datetime | None
    last_success_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DeadByAge:
    """Dead letters of a kind by how long they have been dead."""

    kind: str
    hour: int
    day: int
    week: int
    older: int

    @property
    def total(self) -> int:
        return self.hour + self.day + self.week + self.older


def by_source(*, since: datetime, limit: int) -> list[Source]:
    """The worst handlers and providers since then, of the newest 100,000 failed tries."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT kind, source, count(*) FILTER (WHERE outcome = 'failed'),
                count(*) FILTER (WHERE outcome = 'interrupted')
            FROM (SELECT kind, source, outcome FROM webhooks_failed_attempt
                  WHERE recorded_at >= %s ORDER BY recorded_at DESC LIMIT %s) AS newest
            GROUP BY 1, 2 ORDER BY count(*) DESC, 2 LIMIT %s
            """,
            [since, _ROWS_MAX, limit],
        )
        return [
            Source(kind=kind, name=name, failed=failed, interrupted=interrupted)
            for kind, name, failed, interrupted in cursor.fetchall()
        ]


def failing_endpoints(*, limit: int) -> list[Endpoint]:
    """The endpoints with most failures in a row; one row per endpoint is looked at."""
    rows = (
        EndpointHealth.objects.filter(consecutive_failures__gt=0)
        .exclude(endpoint__status="deleted")
        .select_related("endpoint")
        .order_by("-consecutive_failures", "pk")[:limit]
    )
    return [
        Endpoint(
            id=row.endpoint.pk,
            url=row.endpoint.url,
            owner=row.endpoint.owner,
            status=row.endpoint.status,
            failures_in_a_row=row.consecutive_failures,
            failing_since=row.failing_since,
            last_success_at=row.last_success_at,
        )
        for row in rows
    ]


def endpoint_counts() -> dict[str, int]:
    """Endpoints that are not deleted: healthy, failing (the last request failed), disabled."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT CASE WHEN endpoint.status = 'disabled' THEN 'disabled'
                        WHEN health.consecutive_failures > 0 THEN 'failing' ELSE 'healthy' END,
                count(*)
            FROM webhooks_endpoint AS endpoint
            LEFT JOIN webhooks_endpoint_health AS health ON health.endpoint_id = endpoint.id
            WHERE endpoint.status <> 'deleted' GROUP BY 1
            """
        )
        return {"healthy": 0, "failing": 0, "disabled": 0} | dict(cursor.fetchall())


_DEAD = {
    "inbox": "webhooks_inbox_event",
    "handler": "webhooks_event_delivery",
    "merchant": "webhooks_merchant_delivery",
}


def dead_by_age(*, now: datetime) -> list[DeadByAge]:
    """Dead letters per kind and age, along the indexes of dead rows, up to 100,000 of each."""
    hour, day, week = (now - timedelta(hours=hours) for hours in (1, 24, 168))
    found = []
    for kind, table in _DEAD.items():
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT count(*) FILTER (WHERE finished_at >= %(hour)s),
                    count(*) FILTER (WHERE finished_at < %(hour)s AND finished_at >= %(day)s),
                    count(*) FILTER (WHERE finished_at < %(day)s AND finished_at >= %(week)s),
                    count(*) FILTER (WHERE finished_at < %(week)s)
                FROM (SELECT finished_at FROM {table} WHERE status = 'dead' LIMIT %(limit)s) AS dead
                """,  # noqa: S608
                {"hour": hour, "day": day, "week": week, "limit": _ROWS_MAX},
            )
            counts = cursor.fetchone()
        found.append(
            DeadByAge(kind=kind, hour=counts[0], day=counts[1], week=counts[2], older=counts[3])
        )
    return found
