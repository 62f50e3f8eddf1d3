"""Stripe's own list of events (docs.stripe.com/api/events/list): the newest first, for 30 days.

Every event of the account is in it, whichever types a webhook endpoint asks for, as Stripe rendered
it for the account's own API version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payments.providers import fields
from payments.providers.base import EventPage, ListedEvent, Outcome, Result
from payments.providers.fields import UnreadableObject
from payments.providers.strict_json import written
from payments.providers.stripe.call import LIST_LIMIT, Call, objects_of


def page(call: Call, *, since: datetime, cursor: str) -> Result:
    """One page of the events since a moment, by Stripe's whole seconds. The cursor is the id of the
    page's last event, so events that are made meanwhile move nothing.
    """
    params: dict[str, Any] = {"created": {"gte": int(since.timestamp())}, "limit": LIST_LIMIT}
    if cursor:
        params["starting_after"] = cursor
    answer = call.get(lambda v1, given, options: v1.events.list(given, options), params)
    found = objects_of(answer)
    more = bool(found) and answer.get("has_more") is True
    listed = EventPage(
        events=tuple(_listed(event) for event in reversed(found)),
        next_cursor=fields.required_text(found[-1], "id") if more else "",
    )
    return call.result(Outcome.OK, events=listed)


def _listed(event: Mapping[str, Any]) -> ListedEvent:
    created_at = fields.epoch(event, "created")
    if created_at is None:
        raise UnreadableObject("created is missing")
    return ListedEvent(raw=written(event), created_at=created_at)
