"""Reading back what came in and what went out about one thing: for people, never for decisions.

Mental model: small frozen records instead of rows, so that whoever tells the story (the back
office, a command) needs none of this app's tables. Every read follows an index and is bounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webhooks.lanes import inbox_lane
from webhooks.models import (
    DeliveryAttempt,
    DomainEvent,
    EventDelivery,
    InboxEvent,
    InboxKey,
    MerchantDelivery,
)

# Kept with what was received: the endpoint that took it in, or where else it was read.
ENDPOINT_HEADER = "florin-endpoint"
SOURCE_HEADER = "florin-source"


@dataclass(frozen=True, kw_only=True)
class InboundLine:
    """One provider event as it was received, and what became of it.

    `came_by` is the id of our endpoint that took it in, or words of how else it was read; "" where
    that was not kept.
    """

    id: str
    provider: str
    account_id: str
    event_id: str
    event_type: str
    subject: str
    received_at: datetime
    status: str
    reason: str
    failures: int
    deferrals: int
    due_at: datetime | None
    finished_at: datetime | None
    payment_id: str
    came_by: str
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class HandlerLine:
    """What one of our own handlers did with a domain event."""

    handler: str
    status: str
    reason: str
    failures: int
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AttemptLine:
    """One HTTP request to a merchant. `duration_ms` and `response_status` are None without one."""

    number: int
    started_at: datetime
    outcome: str
    url: str
    duration_ms: int | None
    response_status: int | None
    error: str


@dataclass(frozen=True, kw_only=True)
class MerchantDeliveryLine:
    """One domain event on its way to one endpoint of the merchant, with its attempts in order."""

    id: str
    endpoint_id: str
    url: str
    status: str
    reason: str
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: tuple[AttemptLine, ...]


@dataclass(frozen=True, kw_only=True)
class EventLine:
    """One domain event, who handled it, and where it was delivered."""

    id: str
    seq: int
    type: str
    occurred_at: datetime
    causation_id: str
    payload: Mapping[str, Any]
    handlers: tuple[HandlerLine, ...]
    deliveries: tuple[MerchantDeliveryLine, ...]


def inbound_of(payment_id: str, *, limit: int) -> list[InboundLine]:
    """Provider events that were applied to this payment, in order of arrival."""
    rows = InboxEvent.objects.filter(payment_id=payment_id).exclude(payment_id="")
    return [_inbound(row) for row in rows.order_by("arrival")[:limit]]


def stuck_inbound_of(
    *, provider: str, account_id: str, subject: str, limit: int
) -> list[InboundLine]:
    """Provider events about one provider object that have had no effect: waiting, or dead."""
    lane = inbox_lane(provider=provider, account_id=account_id, subject=subject, event_id="")
    waiting = InboxEvent.objects.filter(status__in=InboxEvent.OPEN, lane=lane)
    dead = InboxEvent.objects.filter(
        status=InboxEvent.Status.DEAD, provider=provider, account_id=account_id, subject=subject
    )
    rows = [*waiting.order_by("arrival")[:limit], *dead.order_by("id")[:limit]]
    return [_inbound(row) for row in rows]


def inbound(inbox_id: str) -> InboundLine | None:
    """One stored delivery of a provider; None when there is none of this id."""
    row = InboxEvent.objects.filter(pk=inbox_id).first()
    return _inbound(row) if row else None


def other_inbound_of(line: InboundLine, *, limit: int) -> list[InboundLine]:
    """Further deliveries of the same provider event, in order of arrival."""
    rows = InboxEvent.objects.filter(
        event_id=line.event_id, provider=line.provider, account_id=line.account_id
    ).exclude(pk=line.id)
    return [_inbound(row) for row in rows.order_by("arrival")[:limit]]


def had_its_effect(line: InboundLine) -> str:
    """Which delivery of this provider event had its effect; "" as long as none had."""
    key = InboxKey.objects.filter(
        provider=line.provider, account_id=line.account_id, event_id=line.event_id
    ).first()
    return key.inbox_id if key else ""


def events_of_aggregate(
    aggregate_type: str, aggregate_id: str, *, limit: int, causation_id: str = ""
) -> list[EventLine]:
    """Domain events of one aggregate by seq, with their handlers and merchant deliveries; with a
    `causation_id` only those that this one made happen.
    """
    rows = DomainEvent.objects.filter(aggregate_type=aggregate_type, aggregate_id=aggregate_id)
    if causation_id:
        rows = rows.filter(causation_id=causation_id)
    events = list(rows.order_by("seq")[:limit])
    ids = [event.pk for event in events]
    handlers = _handlers_of(ids)
    deliveries = _deliveries_of(ids)
    return [
        EventLine(
            id=event.pk,
            seq=event.seq,
            type=event.type,
            occurred_at=event.occurred_at,
            causation_id=event.causation_id,
            payload=event.payload,
            handlers=tuple(handlers[event.pk]),
            deliveries=tuple(deliveries[event.pk]),
        )
        for event in events
    ]


def aggregates_of(value: str, *, limit: int = 20) -> list[tuple[str, str]]:
    """What an id of this app leads to, as (type, id) pairs without repetition.

    Takes ids of domain events (evt_), merchant deliveries (whd_), inbox events (inb_) and the
    providers' own event ids. An inbox event that was never applied leads to ("inbox_event", id).
    """
    if value.startswith("evt_"):
        found = DomainEvent.objects.filter(pk=value).order_by()
        own = list(found.values_list("aggregate_type", "aggregate_id"))
        if own:
            return own
    if value.startswith("whd_"):
        deliveries = MerchantDelivery.objects.filter(pk=value).order_by()
        return list(deliveries.values_list("event__aggregate_type", "event__aggregate_id"))
    ours = value.startswith("inb_")
    inbound = InboxEvent.objects.order_by()
    inbound = inbound.filter(pk=value) if ours else inbound.filter(event_id=value)
    pairs = (
        ("payment", payment_id) if payment_id else ("inbox_event", inbox_id)
        for inbox_id, payment_id in inbound.values_list("id", "payment_id")[:limit]
    )
    return list(dict.fromkeys(pairs))


def _inbound(row: InboxEvent) -> InboundLine:
    return InboundLine(
        id=row.pk,
        provider=row.provider,
        account_id=row.account_id,
        event_id=row.event_id,
        event_type=row.event_type,
        subject=row.subject,
        received_at=row.received_at,
        status=row.status,
        reason=row.reason,
        failures=row.failures,
        deferrals=row.deferrals,
        due_at=row.due_at,
        finished_at=row.finished_at,
        payment_id=row.payment_id,
        came_by=row.headers.get(ENDPOINT_HEADER, "") or row.headers.get(SOURCE_HEADER, ""),
        raw=bytes(row.raw),
    )


def _handlers_of(event_ids: Collection[str]) -> dict[str, list[HandlerLine]]:
    lines: dict[str, list[HandlerLine]] = defaultdict(list)
    for row in EventDelivery.objects.filter(event_id__in=event_ids).order_by("handler"):
        lines[row.event_id].append(
            HandlerLine(
                handler=row.handler,
                status=row.status,
                reason=row.reason,
                failures=row.failures,
                finished_at=row.finished_at,
            )
        )
    return lines


def _deliveries_of(event_ids: Collection[str]) -> dict[str, list[MerchantDeliveryLine]]:
    rows = list(
        MerchantDelivery.objects.filter(event_id__in=event_ids)
        .select_related("endpoint")
        .order_by("id")
    )
    attempts: dict[str, list[AttemptLine]] = defaultdict(list)
    ids = [row.pk for row in rows]
    for attempt in DeliveryAttempt.objects.filter(delivery_id__in=ids).order_by("number"):
        attempts[attempt.delivery_id].append(
            AttemptLine(
                number=attempt.number,
                started_at=attempt.started_at,
                outcome=attempt.outcome,
                url=attempt.url,
                duration_ms=attempt.duration_ms,
                response_status=attempt.response_status,
                error=attempt.error,
            )
        )
    lines: dict[str, list[MerchantDeliveryLine]] = defaultdict(list)
    for row in rows:
        lines[row.event_id].append(
            MerchantDeliveryLine(
                id=row.pk,
                endpoint_id=row.endpoint_id,
                url=row.endpoint.url,
                status=row.status,
                reason=row.reason,
                due_at=row.due_at,
                created_at=row.created_at,
                finished_at=row.finished_at,
                attempts=tuple(attempts[row.pk]),
            )
        )
    return lines
