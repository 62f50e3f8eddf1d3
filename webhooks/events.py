"""Reading domain events: by owner, page by page, in the one shape merchants know.

Mental model: an event never changes, so what a merchant reads from the API and what is sent to the
merchant's endpoint are the same envelope around the same stored payload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from webhooks.handlers import EventView
from webhooks.models import DomainEvent


class EventNotFound(LookupError):
    """No such event for this owner and mode."""


@dataclass(frozen=True)
class EventPage:
    """A page, newest first; `has_more` in the direction asked for."""

    data: list[EventView]
    has_more: bool


def list_events(
    *,
    owner: str,
    livemode: bool,
    limit: int = 10,
    starting_after: str = "",
    ending_before: str = "",
    type: str = "",
    aggregate_id: str = "",
) -> EventPage:
    """Events of an owner, newest first. Cursors are event ids; give one of them at most.

    `type` is exact or a family (`payment.*`); `aggregate_id` narrows to one object.
    """
    rows = DomainEvent.objects.filter(owner=owner, livemode=livemode)
    if type.endswith(".*"):
        rows = rows.filter(type__startswith=type[:-1])
    elif type and type != "*":
        rows = rows.filter(type=type)
    if aggregate_id:
        rows = rows.filter(aggregate_id=aggregate_id)
    if ending_before:
        found = list(rows.filter(pk__gt=ending_before).order_by("pk")[: limit + 1])
        data = found[:limit][::-1]
    else:
        if starting_after:
            rows = rows.filter(pk__lt=starting_after)
        found = list(rows.order_by("-pk")[: limit + 1])
        data = found[:limit]
    return EventPage(data=[view(row) for row in data], has_more=len(found) > limit)


def get_event(*, owner: str, livemode: bool, event_id: str) -> EventView:
    """One event. Raises EventNotFound, also for another owner's or the other mode's."""
    row = DomainEvent.objects.filter(pk=event_id, owner=owner, livemode=livemode).first()
    if row is None:
        raise EventNotFound(f"There is no event {event_id}.")
    return view(row)


def envelope(event: EventView, *, api_version: str) -> dict[str, Any]:
    """The event as merchants see it, in an answer of the API and in a webhook."""
    return {
        "id": event.id,
        "object": "event",
        "type": event.type,
        "api_version": api_version,
        "created": _timestamp(event.occurred_at),
        "livemode": event.livemode,
        "data": {"object": event.payload},
    }


def view(row: DomainEvent) -> EventView:
    """A stored event as everyone outside this app's tables sees it."""
    return EventView(
        id=row.pk,
        type=row.type,
        aggregate_type=row.aggregate_type,
        aggregate_id=row.aggregate_id,
        seq=row.seq,
        owner=row.owner,
        livemode=row.livemode,
        payload=row.payload,
        causation_id=row.causation_id,
        occurred_at=row.occurred_at,
        created_at=row.created_at,
    )


def of_aggregates(aggregate_ids: Iterable[str]) -> list[EventView]:
    """Every event of some objects, in the order in which they were emitted."""
    rows = DomainEvent.objects.filter(aggregate_id__in=list(aggregate_ids))
    return [view(row) for row in rows.order_by("created_at", "aggregate_id", "seq")]


def heads(aggregate_type: str, aggregate_ids: Collection[str]) -> dict[str, int]:
    """How many events each of these objects has had, which is the `seq` of its last one. Objects
    without any are missing. One statement on one index, however many are asked for.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT aggregate_id, last_seq FROM webhooks_event_stream "
            "WHERE aggregate_type = %s AND aggregate_id = ANY(%s)",
            [aggregate_type, list(aggregate_ids)],
        )
        return dict(cursor.fetchall())


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
