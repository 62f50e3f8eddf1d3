"""Sending again: one delivery, or several of a list, and a test event of one's own.

Mental model: a delivery keeps its row and its webhook-id for ever, so what is sent again is the
same message with further attempts, which the merchant knows by its id. Every verb is one
transaction with its audit record, finds only rows of the owner and mode it is given, and asks for
an endpoint that is enabled: what goes nowhere is not queued. webhooks.recovery sends everything
since a moment again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from audit import log
from webhooks import outbox, wakeup
from webhooks.endpoints import EndpointInvalid, EndpointNotFound
from webhooks.models import DeliveryAttempt, MerchantDelivery, WebhookEndpoint

ATTEMPTS_SHOWN = 100
TEST_EVENT = "endpoint.test"

Status = MerchantDelivery.Status


class DeliveryNotFound(LookupError):
    """No such delivery of this endpoint."""


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """One event on its way to one endpoint, as it stands."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    status: str
    attempts: int
    reason: str
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One request of a delivery and how it ended; the body is capped."""

    number: int
    started_at: datetime
    outcome: str
    response_status: int | None
    duration_ms: int | None
    response_body: str
    error: str


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """A page, newest first; `has_more` in the direction asked for."""

    data: list[DeliveryView]
    has_more: bool


def list_for(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    status: str = "",
    limit: int = 10,
    starting_after: str = "",
    ending_before: str = "",
) -> DeliveryPage:
    """Deliveries to an endpoint, newest first. Cursors are their ids. Raises EndpointNotFound."""
    rows = _deliveries(living_endpoint(owner, livemode, endpoint_id))
    if status:
        rows = rows.filter(status=status)
    if ending_before:
        found = list(rows.filter(pk__gt=ending_before).order_by("pk")[: limit + 1])
        data = found[:limit][::-1]
    else:
        if starting_after:
            rows = rows.filter(pk__lt=starting_after)
        found = list(rows.order_by("-pk")[: limit + 1])
        data = found[:limit]
    return DeliveryPage(data=[_view(row) for row in data], has_more=len(found) > limit)


def get(
    *, owner: str, livemode: bool, endpoint_id: str, delivery_id: str
) -> tuple[DeliveryView, list[AttemptView]]:
    """One delivery with its last attempts, the newest first.

    Raises EndpointNotFound, DeliveryNotFound.
    """
    row = _deliveries(living_endpoint(owner, livemode, endpoint_id)).filter(pk=delivery_id).first()
    if row is None:
        raise DeliveryNotFound(f"There is no delivery {delivery_id}.")
    attempts = row.attempt_log.order_by("-number")[:ATTEMPTS_SHOWN]
    return _view(row), [_attempt(attempt) for attempt in attempts]


def resend(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    delivery_id: str,
    now: datetime,
    within: Callable[[DeliveryView], None] | None = None,
) -> DeliveryView:
    """Send a delivery now, whatever became of it, with a fresh schedule; also a delivered one.

    One that is being sent just now is left alone. `within` is called in the transaction. Raises
    EndpointNotFound, DeliveryNotFound, EndpointInvalid (not enabled), audit.log.MissingActor.
    """
    with transaction.atomic():
        endpoint = enabled_endpoint(owner, livemode, endpoint_id)
        rows = _deliveries(endpoint).select_for_update(of=("self",))
        row = rows.filter(pk=delivery_id).first()
        if row is None:
            raise DeliveryNotFound(f"There is no delivery {delivery_id}.")
        _queue(row, endpoint, now=now)
        sent = _view(row)
        if within is not None:
            within(sent)
    return sent


def resend_many(delivery_ids: Collection[str], *, actor: log.Actor, now: datetime) -> int:
    """Send these deliveries again, whoever they are for; returns how many are queued.

    For staff. Those of endpoints that are not enabled, and those that are being sent just now, are
    passed over.
    """
    with transaction.atomic(), log.acting_as(actor):
        wanted = MerchantDelivery.objects.filter(pk__in=delivery_ids)
        enabled = WebhookEndpoint.objects.filter(
            pk__in=wanted.values("endpoint_id"), status=WebhookEndpoint.Status.ENABLED
        )
        # Endpoints before deliveries, as everywhere.
        known = {row.pk: row for row in enabled.select_for_update().order_by("pk")}
        rows = wanted.filter(endpoint_id__in=list(known)).select_for_update().order_by("pk")
        return sum(_queue(row, known[row.endpoint_id], now=now) for row in rows)


def send_test(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    now: datetime,
    within: Callable[[DeliveryView], None] | None = None,
) -> DeliveryView:
    """A signed `endpoint.test` event to this endpoint alone, whatever it has subscribed to.

    The delivery tells what came of it. Raises EndpointNotFound, EndpointInvalid (not enabled).
    """
    with transaction.atomic():
        endpoint = enabled_endpoint(owner, livemode, endpoint_id)
        event = outbox.emit(
            type="endpoint.test",
            aggregate_type="webhook_endpoint",
            aggregate_id=endpoint.pk,
            owner=endpoint.owner,
            livemode=endpoint.livemode,
            payload={"id": endpoint.pk, "object": "webhook_endpoint", "url": endpoint.url},
            occurred_at=now,
            now=now,
        )
        made = MerchantDelivery.objects.create(
            endpoint=endpoint, event_id=event.id, due_at=now, created_at=now
        )
        audit(endpoint, "tested", {"delivery": made.pk}, now=now)
        wakeup.notify_on_commit("deliveries")
        promised = _view(made)
        if within is not None:
            within(promised)
    return promised


def _queue(row: MerchantDelivery, endpoint: WebhookEndpoint, *, now: datetime) -> bool:
    """Let a locked delivery start anew; False for one that is being sent just now."""
    if row.lease_until is not None and row.lease_until > now:
        return False
    audit(endpoint, "resent", {"delivery": row.pk, "was": row.status}, now=now)
    row.status, row.reason, row.due_at = Status.PENDING, "", now
    row.lease_until, row.finished_at, row.attempts, row.interruptions = None, None, 0, 0
    row.save()
    wakeup.notify_on_commit("deliveries")
    return True


def _view(row: MerchantDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.pk,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event.type,
        status=row.status,
        attempts=row.attempts,
        reason=row.reason,
        due_at=row.due_at,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _attempt(row: DeliveryAttempt) -> AttemptView:
    return AttemptView(
        number=row.number,
        started_at=row.started_at,
        outcome=row.outcome,
        response_status=row.response_status,
        duration_ms=row.duration_ms,
        response_body=row.response_body,
        error=row.error,
    )


def _deliveries(endpoint: WebhookEndpoint) -> QuerySet[MerchantDelivery]:
    return MerchantDelivery.objects.filter(endpoint=endpoint).select_related("event")


def living_endpoint(owner: str, livemode: bool, endpoint_id: str) -> WebhookEndpoint:
    """An endpoint that was not deleted. Raises EndpointNotFound."""
    living = WebhookEndpoint.objects.filter(owner=owner, livemode=livemode, pk=endpoint_id)
    found = living.exclude(status=WebhookEndpoint.Status.DELETED).first()
    if found is None:
        raise EndpointNotFound(f"There is no webhook endpoint {endpoint_id}.")
    return found


def enabled_endpoint(owner: str, livemode: bool, endpoint_id: str) -> WebhookEndpoint:
    """The endpoint, locked so that it stays enabled until the commit.

    Raises EndpointNotFound, EndpointInvalid.
    """
    found = living_endpoint(owner, livemode, endpoint_id)
    found = WebhookEndpoint.objects.select_for_update().get(pk=found.pk)
    if found.status != WebhookEndpoint.Status.ENABLED:
        raise EndpointInvalid("id", "The endpoint is switched off; enable it first.")
    return found


def audit(endpoint: WebhookEndpoint, verb: str, body: dict[str, object], *, now: datetime) -> None:
    """Record what was done with an endpoint, in the transaction that does it."""
    log.append(
        event_type=f"webhook_endpoint.{verb}",
        stream_type="webhook_endpoint",
        stream_id=endpoint.pk,
        body=body,
        references=[("merchant", endpoint.owner)],
        occurred_at=now,
    )
