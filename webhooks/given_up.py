"""Tell a merchant that a delivery was given up, by the other endpoints that ask for it.

Mental model: whoever makes a delivery a dead letter calls `tell_owner` in the same transaction. The
event `endpoint.delivery_failed` is about the endpoint and goes to every other one that listens to
it, never to itself (webhooks.delivery, webhooks.recovery). An endpoint that gives up many is told
of once an hour. A delivery that told of an endpoint is not told of in turn: two endpoints that are
both down would feed each other for ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from webhooks import outbox
from webhooks.handlers import EventView
from webhooks.models import EndpointHealth, WebhookEndpoint

EVENT = "endpoint.delivery_failed"
TOLD_ONCE_PER = timedelta(hours=1)
_ABOUT_ENDPOINTS = "webhook_endpoint"


def tell_owner(
    *,
    endpoint_id: str,
    delivery_id: str,
    event: EventView,
    attempts: int,
    reason: str,
    now: datetime,
) -> None:
    """Emit `endpoint.delivery_failed` unless that was done within the hour, or `event` is itself
    about an endpoint. In the transaction in which the delivery is given up.
    """
    if event.aggregate_type == _ABOUT_ENDPOINTS:
        return
    untold = Q(failure_told_at=None) | Q(failure_told_at__lte=now - TOLD_ONCE_PER)
    if not EndpointHealth.objects.filter(untold, pk=endpoint_id).update(failure_told_at=now):
        return
    endpoint = WebhookEndpoint.objects.get(pk=endpoint_id)
    outbox.emit(
        type="endpoint.delivery_failed",
        aggregate_type=_ABOUT_ENDPOINTS,
        aggregate_id=endpoint.pk,
        owner=endpoint.owner,
        livemode=endpoint.livemode,
        payload={
            "id": endpoint.pk,
            "object": "webhook_endpoint",
            "url": endpoint.url,
            "delivery": delivery_id,
            "event": event.id,
            "event_type": event.type,
            "attempts": attempts,
            "reason": reason,
        },
        occurred_at=now,
        now=now,
    )
