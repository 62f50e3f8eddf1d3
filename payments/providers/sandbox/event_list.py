"""A page of the sandbox's own list of events (`GET /v1/events`), read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import EventPage, ListedEvent
from payments.providers.fields import UnreadableObject
from payments.providers.strict_json import written


def read_event_page(document: Mapping[str, Any]) -> EventPage:
    """The events of a page, oldest first, each without the number that the list gives it.

    Raises UnreadableObject.
    """
    found = document.get("data")
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UnreadableObject("data is not a list of events")
    if not found or document.get("has_more") is not True:
        return EventPage(events=tuple(map(_listed, found)))
    last = found[-1].get("seq")
    if not isinstance(last, int):
        raise UnreadableObject("seq is not a whole number")
    return EventPage(events=tuple(map(_listed, found)), next_cursor=str(last))


def _listed(event: Mapping[str, Any]) -> ListedEvent:
    created_at = fields.moment(event, "created_at")
    if created_at is None:
        raise UnreadableObject("created_at is missing")
    body = {name: value for name, value in event.items() if name != "seq"}
    return ListedEvent(raw=written(body), created_at=created_at)
