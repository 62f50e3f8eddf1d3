"""Requests to endpoints as people look at them: how many succeeded, by day and in the last day.

Mental model: webhooks.health counts each answer under its endpoint and hour; here they are summed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum

from webhooks.models import EndpointHour


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Requests to one endpoint that ended within some time."""

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.succeeded + self.failed

    @property
    def success_ratio(self) -> float | None:
        """Between 0 and 1, None when there were none."""
        return self.succeeded / self.total if self.total else None

    @property
    def success_percentage(self) -> str:
        """Rounded down, so that 100 means all; "" when there were none."""
        return str(100 * self.succeeded // self.total) if self.total else ""


def of_last_day(endpoint_ids: Collection[str], *, now: datetime) -> dict[str, Tally]:
    """Endpoint id -> the requests of the last 24 hours, in whole hours; an entry for every id."""
    rows = (
        EndpointHour.objects.filter(
            endpoint_id__in=list(endpoint_ids), hour__gt=whole_hour(now - timedelta(days=1))
        )
        .values("endpoint_id")
        .annotate(good=Sum("succeeded"), bad=Sum("failed"))
    )
    found = {row["endpoint_id"]: Tally(succeeded=row["good"], failed=row["bad"]) for row in rows}
    return {endpoint_id: found.get(endpoint_id, Tally()) for endpoint_id in endpoint_ids}


def by_day(endpoint_id: str, *, days: int, now: datetime) -> list[tuple[datetime, Tally]]:
    """The last `days` days (UTC) of one endpoint, oldest first, empty ones too; at most 30."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=days - 1)
    counts = {first + timedelta(days=number): [0, 0] for number in range(days)}
    for row in EndpointHour.objects.filter(endpoint_id=endpoint_id, hour__gte=first):
        day = counts.get(row.hour.replace(hour=0))
        if day is not None:
            day[0] += row.succeeded
            day[1] += row.failed
    return [(day, Tally(succeeded=good, failed=bad)) for day, (good, bad) in counts.items()]


def whole_hour(moment: datetime) -> datetime:
    """The beginning of the hour (UTC) under which a request is counted."""
    return moment.replace(minute=0, second=0, microsecond=0)
