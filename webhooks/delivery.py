"""Events on their way to merchants: promised once per endpoint, tried over three days.

Mental model: three steps, never a network call inside a transaction.

    claim   one committed statement gives a lease and a new fence to due deliveries, fairly
            between endpoints, and opens an attempt in the log
    send    HTTP in a thread that knows no database (webhooks.transport)
    record  the answer, accepted from the holder of the current fence only

A worker that dies between claim and record leaves a lease that runs out; the delivery is then
sent again under the same webhook-id, which is what the merchant deduplicates by.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce

from audit import log
from webhooks import deaths, endpoints, events, retries, signing, transport, wakeup
from webhooks.handlers import EventView, patterns_covering
from webhooks.models import (
    DeliveryAttempt,
    EndpointHealth,
    MerchantDelivery,
    WebhookEndpoint,
)

LEASE = timedelta(seconds=60)
GONE = 410

Status = MerchantDelivery.Status
Clock = Callable[[], datetime]
Send = Callable[..., transport.Answer]

logger = structlog.get_logger(__name__)
_ACTOR = log.Actor(type="job", id="merchant_webhooks")


@dataclass(frozen=True)
class ClaimedDelivery:
    """Everything one HTTP request needs, and the fence that its result must show."""

    id: str
    fence: int
    attempts: int
    endpoint_id: str
    event: EventView
    url: str
    livemode: bool
    headers: dict[str, str]
    body: bytes


def fan_out(event: EventView, *, now: datetime) -> None:
    """Event handler: promise `event` to every enabled endpoint of its owner that asks for it."""
    if not event.owner:
        return
    listening = WebhookEndpoint.objects.filter(
        owner=event.owner,
        livemode=event.livemode,
        status=WebhookEndpoint.Status.ENABLED,
        event_types__overlap=sorted(patterns_covering(event.type)),
    )
    promised = [
        MerchantDelivery(endpoint_id=endpoint_id, event_id=event.id, due_at=now, created_at=now)
        for endpoint_id in listening.values_list("pk", flat=True)
    ]
    if promised:
        MerchantDelivery.objects.bulk_create(promised, ignore_conflicts=True)
        wakeup.notify_on_commit("deliveries")


def claim(*, now: datetime, limit: int) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries, each endpoint in turn, and commit that they are taken.

    No endpoint gets more than its share of requests at the same time, so a slow one cannot use
    up the senders. Raises nothing that is a delivery's fault.
    """
    if limit <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "now": now,
                "lease_until": now + LEASE,
                "limit": limit,
                "per_endpoint": settings.FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT,
            },
        )
        taken = [delivery_id for (delivery_id,) in cursor.fetchall()]
    rows = MerchantDelivery.objects.filter(pk__in=taken).select_related("endpoint", "event")
    return [claimed for row in rows if (claimed := _prepare(row, now=now)) is not None]


# The recursive part walks from endpoint to endpoint over the index of open deliveries, without
# reading what lies between; "turn" then deals one delivery to each endpoint before a second one.
_CLAIM = """
    WITH RECURSIVE waiting (endpoint_id) AS (
        (SELECT endpoint_id FROM webhooks_merchant_delivery
         WHERE status IN ('pending', 'retrying') ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT next.endpoint_id FROM webhooks_merchant_delivery AS next
                WHERE next.status IN ('pending', 'retrying')
                  AND next.endpoint_id > waiting.endpoint_id
                ORDER BY next.endpoint_id LIMIT 1)
        FROM waiting WHERE waiting.endpoint_id IS NOT NULL
    ), locked AS (
        SELECT due.id, waiting.endpoint_id, due.due_at
        FROM waiting CROSS JOIN LATERAL (
            SELECT id, due_at FROM webhooks_merchant_delivery
            WHERE endpoint_id = waiting.endpoint_id AND status IN ('pending', 'retrying')
              AND due_at <= %(now)s
            ORDER BY due_at
            LIMIT greatest(0, %(per_endpoint)s - (
                SELECT count(*) FROM webhooks_merchant_delivery AS leased
                WHERE leased.endpoint_id = waiting.endpoint_id AND leased.lease_until > %(now)s
            ))
            FOR UPDATE SKIP LOCKED
        ) AS due
    ), dealt AS (
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY endpoint_id ORDER BY due_at) AS turn
            FROM locked
        ) AS numbered
        ORDER BY turn, random() LIMIT %(limit)s
    ), taken AS (
        UPDATE webhooks_merchant_delivery AS delivery
        SET interruptions = interruptions + (lease_until IS NOT NULL)::int,
            fence = fence + 1, lease_until = %(lease_until)s, due_at = %(lease_until)s
        FROM dealt WHERE delivery.id = dealt.id
        RETURNING delivery.id, delivery.endpoint_id, delivery.fence
    ), opened AS (
        INSERT INTO webhooks_delivery_attempt (
            delivery_id, number, started_at, outcome, url, address, response_body, error
        )
        SELECT taken.id, taken.fence, %(now)s, 'started', endpoint.url, '', '', ''
        FROM taken JOIN webhooks_endpoint AS endpoint ON endpoint.id = taken.endpoint_id
    )
    SELECT id FROM taken
"""


def send(
    claimed: ClaimedDelivery, *, post: Send = transport.post, **options: object
) -> transport.Answer:
    """Make the request of a claimed delivery. Touches no database; never raises."""
    return post(
        url=claimed.url,
        livemode=claimed.livemode,
        headers=claimed.headers,
        body=claimed.body,
        **options,
    )


def record(claimed: ClaimedDelivery, answer: transport.Answer, *, now: datetime) -> bool:
    """Store what came of a request; False when another worker has taken over since.

    2xx is success. 410 disables the endpoint. Everything else is tried again on the schedule of
    webhooks.retries, and then waits for a person.
    """
    with transaction.atomic(), log.acting_as(_ACTOR):
        accepted = _settle(claimed, answer, now=now)
        if not accepted:
            outcome = DeliveryAttempt.Outcome.STALE
        elif answer.succeeded:
            outcome = DeliveryAttempt.Outcome.SUCCEEDED
        else:
            outcome = DeliveryAttempt.Outcome.FAILED
        DeliveryAttempt.objects.filter(delivery_id=claimed.id, number=claimed.fence).update(
            outcome=outcome,
            address=answer.address,
            duration_ms=answer.duration_ms,
            response_status=answer.status,
            response_body=answer.body,
            error=answer.error,
        )
        if accepted:
            _note_health(claimed.endpoint_id, answer, now=now)
    if accepted and answer.status == GONE:
        with log.acting_as(_ACTOR):
            endpoints.disable(
                endpoint_id=claimed.endpoint_id, reason="it answered 410 Gone", now=now
            )
    return accepted


def deliver(
    *,
    clock: Clock,
    stopping: Callable[[], bool],
    idle_pause_seconds: float | None = None,
    send: Send = send,
) -> int:
    """Claim, send and record until nothing is due; returns how many requests were made.

    With `idle_pause_seconds` it waits for more work instead, until `stopping()`. Requests run in
    threads; this thread alone talks to the database.
    """
    made = 0
    running: dict[Future[transport.Answer], ClaimedDelivery] = {}
    concurrency = settings.FLORIN_WEBHOOK_CONCURRENCY
    with ThreadPoolExecutor(concurrency, thread_name_prefix="deliver") as pool:
        while True:
            if not stopping():
                for claimed in claim(now=clock(), limit=concurrency - len(running)):
                    running[pool.submit(partial(send, claimed))] = claimed
            if running:
                ended, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in ended:
                    record(running.pop(future), future.result(), now=clock())
                    made += 1
            elif idle_pause_seconds is None or stopping():
                return made
            else:
                time.sleep(idle_pause_seconds)


def replay(delivery_ids: Collection[str], *, actor: log.Actor, now: datetime) -> int:
    """Queue dead deliveries again with a fresh schedule; returns how many were dead."""
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        for row in rows:
            _audit(row, "merchant_delivery.replayed", reason=row.reason, now=now)
            row.status, row.due_at, row.finished_at = Status.PENDING, now, None
            row.attempts, row.interruptions = 0, 0
            row.save(update_fields=["status", "due_at", "finished_at", "attempts", "interruptions"])
        wakeup.notify_on_commit("deliveries")
    return len(rows)


def discard(delivery_ids: Collection[str], *, reason: str, actor: log.Actor, now: datetime) -> int:
    """Give dead deliveries up for good, with words; returns how many were dead.

    Raises ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Say why these deliveries are given up; the words stay with them.")
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(delivery_ids)
        for row in rows:
            _audit(row, "merchant_delivery.discarded", reason=reason, now=now)
            row.status, row.reason, row.finished_at = Status.DISCARDED, reason, now
            row.save(update_fields=["status", "reason", "finished_at"])
    return len(rows)


def _locked_dead(delivery_ids: Collection[str]) -> list[MerchantDelivery]:
    dead = MerchantDelivery.objects.filter(pk__in=delivery_ids, status=Status.DEAD)
    return list(dead.select_related("event").select_for_update(of=("self",)).order_by("pk"))


def _prepare(row: MerchantDelivery, *, now: datetime) -> ClaimedDelivery | None:
    """The request of a claimed row; None when it must not be sent and has been closed instead."""
    endpoint, event = row.endpoint, events.view(row.event)
    claimed = ClaimedDelivery(
        id=row.pk,
        fence=row.fence,
        attempts=row.attempts,
        endpoint_id=endpoint.pk,
        event=event,
        url=endpoint.url,
        livemode=endpoint.livemode,
        headers={},
        body=b"",
    )
    if endpoint.status != WebhookEndpoint.Status.ENABLED:
        _close(claimed, Status.DISCARDED, f"the endpoint is {endpoint.status}", now=now)
        return None
    if row.interruptions >= retries.INTERRUPTION_LIMIT:
        with transaction.atomic(), log.acting_as(_ACTOR):
            reason = f"its sender was interrupted {row.interruptions} times"
            _close(claimed, Status.DEAD, reason, now=now)
            _announce_death(claimed, reason, now=now)
        return None
    body = _body(event, api_version=endpoint.api_version)
    signature = signing.headers(
        secrets=endpoints.secrets_of(endpoint, now=now),
        message_id=event.id,
        attempted_at=now,
        body=body,
    )
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Florin-Webhooks/1.0",
        **signature,
    }
    return replace(claimed, headers=headers, body=body)


def _body(event: EventView, *, api_version: str) -> bytes:
    """The same bytes at every attempt."""
    content = events.envelope(event, api_version=api_version)
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _settle(claimed: ClaimedDelivery, answer: transport.Answer, *, now: datetime) -> bool:
    if answer.succeeded:
        return _close(claimed, Status.DELIVERED, "", now=now)
    attempts = claimed.attempts + 1
    delay_seconds = retries.merchant_delay_seconds(
        attempts, retry_after_seconds=retries.parse_retry_after(answer.retry_after, now=now)
    )
    if delay_seconds is None:
        reason = f"{attempts} attempts failed, the last with: {answer.error}"
        if accepted := _close(claimed, Status.DEAD, reason, now=now):
            _announce_death(claimed, reason, now=now)
        return accepted
    return bool(
        _held(claimed).update(
            status=Status.RETRYING,
            attempts=attempts,
            due_at=now + timedelta(seconds=delay_seconds),
            lease_until=None,
            reason=answer.error,
        )
    )


def _close(claimed: ClaimedDelivery, status: Status, reason: str, *, now: datetime) -> bool:
    return bool(
        _held(claimed).update(
            status=status,
            attempts=F("attempts") + 1,
            due_at=None,
            lease_until=None,
            reason=reason,
            finished_at=now,
        )
    )


def _held(claimed: ClaimedDelivery) -> QuerySet[MerchantDelivery]:
    """The row, if this claim is still the current one."""
    return MerchantDelivery.objects.filter(
        pk=claimed.id, fence=claimed.fence, status__in=(Status.PENDING, Status.RETRYING)
    )


def _note_health(endpoint_id: str, answer: transport.Answer, *, now: datetime) -> None:
    health = EndpointHealth.objects.filter(endpoint_id=endpoint_id)
    if answer.succeeded:
        health.update(consecutive_failures=0, failing_since=None, last_success_at=now)
    else:
        health.update(
            consecutive_failures=F("consecutive_failures") + 1,
            failing_since=Coalesce("failing_since", Value(now)),
            last_failure_at=now,
        )


def _announce_death(claimed: ClaimedDelivery, reason: str, *, now: datetime) -> None:
    event = claimed.event
    deaths.announce(
        kind="merchant",
        row_id=claimed.id,
        what=f"{event.type} to {claimed.url}",
        reason=reason,
        livemode=claimed.livemode,
        about=event.aggregate_type,
        references=[
            ("event", event.id),
            ("webhook_endpoint", claimed.endpoint_id),
            (event.aggregate_type, event.aggregate_id),
        ],
        now=now,
    )


def _audit(row: MerchantDelivery, event_type: str, *, reason: str, now: datetime) -> None:
    log.append(
        event_type=event_type,
        stream_type="dead_letter",
        stream_id=f"merchant:{row.pk}",
        body={"event": row.event_id, "endpoint": row.endpoint_id, "reason": reason},
        references=[("event", row.event_id), (row.event.aggregate_type, row.event.aggregate_id)],
        occurred_at=now,
    )
