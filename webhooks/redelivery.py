"""Sending again: one delivery, everything that was given up, and a test event of one's own.

Mental model: a delivery keeps its row and its webhook-id for ever, so what is sent again is the
same message with further attempts, which the merchant knows by its id. Every verb is one
transaction with its audit record, finds only rows of the owner and mode it is given, and asks for
an endpoint that is enabled: what goes nowhere is not queued.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from audit import log
from webhooks import outbox, wakeup
from webhooks.endpoints import EndpointInvalid, EndpointNotFound
from webhooks.models import DeliveryAttempt, MerchantDelivery, WebhookEndpoint

RECOVER_DAYS_MAX = 14
RECOVER_PER_CALL = 1000
ATTEMPTS_SHOWN = 100
TEST_EVENT = "endpoint.test"

Status = MerchantDelivery.Status


class DeliveryNotFound(LookupError):
    """No such delivery of this endpoint."""


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """A page, newest first; `has_more` in the direction asked for."""

    data: list[MerchantDelivery]
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How many deliveries are queued again; `has_more` when another call would find some."""

    recovered: int
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
    rows = _deliveries(_endpoint(owner, livemode, endpoint_id))
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
    return DeliveryPage(data=data, has_more=len(found) > limit)


def get(
    *, owner: str, livemode: bool, endpoint_id: str, delivery_id: str
) -> tuple[MerchantDelivery, list[DeliveryAttempt]]:
    """One delivery with its last attempts, the newest first.

    Raises EndpointNotFound, DeliveryNotFound.
    """
    row = _deliveries(_endpoint(owner, livemode, endpoint_id)).filter(pk=delivery_id).first()
    if row is None:
        raise DeliveryNotFound(f"There is no delivery {delivery_id}.")
    return row, list(row.attempt_log.order_by("-number")[:ATTEMPTS_SHOWN])


def resend(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    delivery_id: str,
    now: datetime,
    within: Callable[[MerchantDelivery], None] | None = None,
) -> MerchantDelivery:
    """Send a delivery now, whatever became of it, with a fresh schedule; also a delivered one.

    One that is being sent just now is left alone. `within` is called in the transaction. Raises
    EndpointNotFound, DeliveryNotFound, EndpointInvalid (not enabled), audit.log.MissingActor.
    """
    with transaction.atomic():
        endpoint = _enabled(owner, livemode, endpoint_id)
        rows = _deliveries(endpoint).select_for_update(of=("self",))
        row = rows.filter(pk=delivery_id).first()
        if row is None:
            raise DeliveryNotFound(f"There is no delivery {delivery_id}.")
        if row.lease_until is None or row.lease_until <= now:
            _audit(endpoint, "resent", {"delivery": row.pk, "was": row.status}, now=now)
            row.status, row.reason, row.due_at = Status.PENDING, "", now
            row.finished_at, row.attempts, row.interruptions = None, 0, 0
            row.save()
            wakeup.notify_on_commit("deliveries")
        if within is not None:
            within(row)
    return row


def recover(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    since: datetime,
    now: datetime,
    within: Callable[[Recovery], None] | None = None,
) -> Recovery:
    """Queue every dead or discarded delivery made since `since` again, the oldest first.

    At most RECOVER_PER_CALL at a time; a call that repeats finds what is left. Raises
    EndpointNotFound, EndpointInvalid (not enabled; `since` over 14 days ago or in the future).
    """
    if not now - timedelta(days=RECOVER_DAYS_MAX) <= since <= now:
        raise EndpointInvalid("since", f"Give a moment of the last {RECOVER_DAYS_MAX} days.")
    with transaction.atomic():
        endpoint = _enabled(owner, livemode, endpoint_id)
        lost = MerchantDelivery.objects.filter(
            endpoint=endpoint, status__in=(Status.DEAD, Status.DISCARDED), created_at__gte=since
        )
        ids = list(
            lost.select_for_update()
            .order_by("created_at", "pk")
            .values_list("pk", flat=True)[: RECOVER_PER_CALL + 1]
        )
        found = Recovery(
            recovered=min(len(ids), RECOVER_PER_CALL), has_more=len(ids) > RECOVER_PER_CALL
        )
        if ids:
            MerchantDelivery.objects.filter(pk__in=ids[:RECOVER_PER_CALL]).update(
                status=Status.PENDING,
                reason="",
                due_at=now,
                finished_at=None,
                attempts=0,
                interruptions=0,
            )
            wakeup.notify_on_commit("deliveries")
        said = {"since": since.isoformat(), "recovered": found.recovered}
        _audit(endpoint, "recovered", said, now=now)
        if within is not None:
            within(found)
    return found


def send_test(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    now: datetime,
    within: Callable[[MerchantDelivery], None] | None = None,
) -> MerchantDelivery:
    """A signed `endpoint.test` event to this endpoint alone, whatever it has subscribed to.

    The delivery tells what came of it. Raises EndpointNotFound, EndpointInvalid (not enabled).
    """
    with transaction.atomic():
        endpoint = _enabled(owner, livemode, endpoint_id)
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
        _audit(endpoint, "tested", {"delivery": made.pk}, now=now)
        wakeup.notify_on_commit("deliveries")
        if within is not None:
            within(made)
    return made


def _deliveries(endpoint: WebhookEndpoint) -> QuerySet[MerchantDelivery]:
    return MerchantDelivery.objects.filter(endpoint=endpoint).select_related("event")


def _endpoint(owner: str, livemode: bool, endpoint_id: str) -> WebhookEndpoint:
    living = WebhookEndpoint.objects.filter(owner=owner, livemode=livemode, pk=endpoint_id)
    found = living.exclude(status=WebhookEndpoint.Status.DELETED).first()
    if found is None:
        raise EndpointNotFound(f"There is no webhook endpoint {endpoint_id}.")
    return found


def _enabled(owner: str, livemode: bool, endpoint_id: str) -> WebhookEndpoint:
    """The endpoint, locked so that it stays enabled until the commit."""
    found = _endpoint(owner, livemode, endpoint_id)
    found = WebhookEndpoint.objects.select_for_update().get(pk=found.pk)
    if found.status != WebhookEndpoint.Status.ENABLED:
        raise EndpointInvalid("id", "The endpoint is switched off; enable it first.")
    return found


def _audit(endpoint: WebhookEndpoint, verb: str, body: dict[str, object], *, now: datetime) -> None:
    log.append(
        event_type=f"webhook_endpoint.{verb}",
        stream_type="webhook_endpoint",
        stream_id=endpoint.pk,
        body=body,
        references=[("merchant", endpoint.owner)],
        occurred_at=now,
    )
