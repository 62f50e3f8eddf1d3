"""Events over HTTP: what happened to the merchant's objects, in the shape webhooks have too."""

from __future__ import annotations

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.pagination import identifier, list_object, read_query
from payments.api.views.base import SecretKeyView
from payments.errors import ErrorCode, FlorinError
from webhooks import events


class EventList(SecretKeyView):
    """`/v1/events`"""

    resource = "events"

    @schema.list_events
    def get(self, request: Request) -> Response:
        """List events, newest first."""
        page, filters = read_query(request.query_params, filters=("type", "payment"))
        caller = caller_of(request)
        found = events.list_events(
            owner=caller.merchant.pk,
            livemode=caller.livemode,
            limit=page.limit,
            starting_after=page.starting_after,
            ending_before=page.ending_before,
            type=filters.get("type", ""),
            aggregate_id=identifier("payment", filters.get("payment", "")),
        )
        data = [
            events.envelope(event, api_version=settings.FLORIN_API_VERSION) for event in found.data
        ]
        return Response(list_object(data, has_more=found.has_more))


class EventDetail(SecretKeyView):
    """`/v1/events/{id}`"""

    resource = "events"

    @schema.retrieve_event
    def get(self, request: Request, event_id: str) -> Response:
        """Retrieve an event."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        try:
            event = events.get_event(
                owner=caller.merchant.pk, livemode=caller.livemode, event_id=event_id
            )
        except events.EventNotFound:
            raise FlorinError(
                ErrorCode.not_found, f"No such event: {event_id!r}.", param="id"
            ) from None
        return Response(events.envelope(event, api_version=settings.FLORIN_API_VERSION))
