"""Which deliveries go out next, and holding them while they do.

Mental model: a claim is a lease and a fence, committed before any request is made. Two lanes keep
merchants apart from each other: an endpoint that has lately been slow or failing is *strained*, and
strained endpoints share a bounded part of the senders however many they are. An endpoint with a
request open for more than a second counts as strained at once, so a newly dead one can occupy one
sender of the others, not four. Within a lane each endpoint gets one before any gets a second.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import F

from audit import log
from audit.encryption import DecryptionFailed
from webhooks import deaths, endpoints, events, given_up, retries, signing
from webhooks.handlers import EventView
from webhooks.models import MerchantDelivery, WebhookEndpoint

LEASE = timedelta(seconds=60)
# Strained: this many failures in a row, answers that take this long on average, or a request that
# has been open for this long.
STRAINED_FAILURES = 2
STRAINED_AVERAGE_MILLISECONDS = 2000
STRAINED_OPEN_FOR = timedelta(seconds=1)
# Strained endpoints together get one in so many senders.
STRAINED_PART = 4
# What is larger is sent without its object. A payment with all the metadata it may have takes
# 160 kB when every character has to be escaped.
BODY_BYTES_MAX = 256 * 1024

ACTOR = log.Actor(type="job", id="merchant_webhooks")

logger = structlog.get_logger(__name__)

Status = MerchantDelivery.Status


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
    strained: bool
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Senders:
    """How many requests may be open at a time: to endpoints in good health, to strained ones."""

    healthy: int
    strained: int


def senders() -> Senders:
    """The parts of settings.FLORIN_WEBHOOK_CONCURRENCY; neither is ever empty."""
    strained = max(1, settings.FLORIN_WEBHOOK_CONCURRENCY // STRAINED_PART)
    return Senders(max(1, settings.FLORIN_WEBHOOK_CONCURRENCY - strained), strained)


def claim(*, now: datetime, limit: int, strained_limit: int | None = None) -> list[ClaimedDelivery]:
    """Take due deliveries, each endpoint in turn, and commit that they are taken.

    Up to `limit` for endpoints in good health and up to `strained_limit` (by default as many) for
    strained ones. No endpoint gets more than its share of requests at the same time, whoever
    sends them. Raises nothing that is a delivery's fault.
    """
    strained_limit = limit if strained_limit is None else strained_limit
    if limit <= 0 and strained_limit <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "now": now,
                "lease_until": now + LEASE,
                "open_long": now + LEASE - STRAINED_OPEN_FOR,
                "limit": limit,
                "strained_limit": strained_limit,
                "per_endpoint": settings.FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT,
                "failures": STRAINED_FAILURES,
                "average_ms": STRAINED_AVERAGE_MILLISECONDS,
            },
        )
        strained = dict(cursor.fetchall())
    rows = MerchantDelivery.objects.filter(pk__in=strained).select_related("endpoint", "event")
    return [
        claimed
        for row in rows
        if (claimed := _prepare_alone(row, strained=strained[row.pk], now=now)) is not None
    ]


# The recursive part walks from endpoint to endpoint over the index of open deliveries, without
# reading what lies between, so a hundred thousand parked retries cost nothing. Candidates are
# chosen without a lock; only what is dealt is locked, and looked at again under the lock.
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
    ), due AS MATERIALIZED (
        SELECT oldest.id, waiting.endpoint_id,
               row_number() OVER (PARTITION BY waiting.endpoint_id ORDER BY oldest.due_at) AS turn
        FROM waiting CROSS JOIN LATERAL (
            SELECT id, due_at FROM webhooks_merchant_delivery
            WHERE endpoint_id = waiting.endpoint_id AND status IN ('pending', 'retrying')
              AND due_at <= %(now)s
            ORDER BY due_at LIMIT %(per_endpoint)s
        ) AS oldest
    ), judged AS MATERIALIZED (
        SELECT known.endpoint_id, %(per_endpoint)s - running.requests AS room,
               running.open_long OR coalesce(
                   health.consecutive_failures >= %(failures)s
                   OR health.average_ms >= %(average_ms)s, false
               ) AS strained
        FROM (SELECT endpoint_id FROM due WHERE turn = 1) AS known
        LEFT JOIN webhooks_endpoint_health AS health ON health.endpoint_id = known.endpoint_id
        CROSS JOIN LATERAL (
            SELECT count(*) AS requests,
                   coalesce(bool_or(lease_until < %(open_long)s), false) AS open_long
            FROM webhooks_merchant_delivery AS leased
            WHERE leased.endpoint_id = known.endpoint_id AND leased.lease_until > %(now)s
        ) AS running
        WHERE coalesce(health.throttled_until <= %(now)s, true)
    ), dealt AS MATERIALIZED (
        SELECT id, strained FROM (
            SELECT due.id, judged.strained,
                   row_number() OVER (PARTITION BY judged.strained ORDER BY due.turn, random())
                       AS place
            FROM due JOIN judged ON judged.endpoint_id = due.endpoint_id
            WHERE due.turn <= judged.room
        ) AS queued
        WHERE place <= CASE WHEN strained THEN %(strained_limit)s ELSE %(limit)s END
    ), locked AS MATERIALIZED (
        SELECT id FROM webhooks_merchant_delivery
        WHERE id = ANY (ARRAY(SELECT id FROM dealt))
          AND status IN ('pending', 'retrying') AND due_at <= %(now)s
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE webhooks_merchant_delivery AS delivery
        SET interruptions = interruptions + (lease_until IS NOT NULL)::int,
            fence = fence + 1, lease_until = %(lease_until)s, due_at = %(lease_until)s
        WHERE delivery.id = ANY (ARRAY(SELECT id FROM locked))
        RETURNING delivery.id, delivery.endpoint_id, delivery.fence
    ), opened AS (
        INSERT INTO webhooks_delivery_attempt (
            delivery_id, number, started_at, outcome, url, address, response_body, error
        )
        SELECT taken.id, taken.fence, %(now)s, 'started', endpoint.url, '', '', ''
        FROM taken JOIN webhooks_endpoint AS endpoint ON endpoint.id = taken.endpoint_id
    )
    SELECT taken.id, dealt.strained FROM taken JOIN dealt ON dealt.id = taken.id
"""


def announce_death(claimed: ClaimedDelivery, reason: str, *, now: datetime) -> None:
    """Say that a held delivery has become a dead letter, in the transaction that made it one: to
    staff, and to its merchant.
    """
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
    given_up.tell_owner(
        endpoint_id=claimed.endpoint_id,
        delivery_id=claimed.id,
        event=event,
        attempts=claimed.attempts + 1,
        reason=reason,
        now=now,
    )


def _close(claimed: ClaimedDelivery, status: Status, reason: str, *, now: datetime) -> bool:
    """End a delivery that is not to be sent; False when another worker has taken over since."""
    held = MerchantDelivery.objects.filter(
        pk=claimed.id, fence=claimed.fence, status__in=(Status.PENDING, Status.RETRYING)
    )
    return bool(
        held.update(
            status=status,
            attempts=F("attempts") + 1,
            due_at=None,
            lease_until=None,
            reason=reason,
            finished_at=now,
        )
    )


def _give_up(claimed: ClaimedDelivery, reason: str, *, now: datetime) -> None:
    """Let a delivery that cannot be sent wait for a person."""
    with transaction.atomic(), log.acting_as(ACTOR):
        if _close(claimed, Status.DEAD, reason, now=now):
            announce_death(claimed, reason, now=now)


def _prepare_alone(
    row: MerchantDelivery, *, strained: bool, now: datetime
) -> ClaimedDelivery | None:
    """`_prepare`, so that one that cannot be closed just now does not cost the others their turn:
    it is left to its lease.
    """
    try:
        return _prepare(row, strained=strained, now=now)
    except OperationalError as error:
        if not retries.is_transient(error):
            raise
        logger.warning("delivery.close_met_another", delivery=row.pk)
        return None


def _prepare(row: MerchantDelivery, *, strained: bool, now: datetime) -> ClaimedDelivery | None:
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
        strained=strained,
        headers={},
        body=b"",
    )
    if endpoint.status != WebhookEndpoint.Status.ENABLED:
        _close(claimed, Status.DISCARDED, f"the endpoint is {endpoint.status}", now=now)
        return None
    if row.interruptions >= retries.INTERRUPTION_LIMIT:
        reason = f"its sender was interrupted {row.interruptions} times"
        _give_up(claimed, reason, now=now)
        return None
    try:
        secrets = endpoints.secrets_of(endpoint, now=now)
    except DecryptionFailed as failure:  # of one endpoint; the others' deliveries go out
        _give_up(claimed, f"the endpoint's secret cannot be read: {failure}", now=now)
        return None
    body = _body(event, api_version=endpoint.api_version)
    signature = signing.headers(
        secrets=secrets,
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
    """The same bytes at every attempt. An object too large for most servers is left out: its id
    and kind go alone, and the merchant asks the API for the rest.
    """
    content = events.envelope(event, api_version=api_version)
    whole = _encoded(content)
    if len(whole) <= BODY_BYTES_MAX:
        return whole
    kind = event.payload.get("object", event.aggregate_type)
    thin = {"id": event.aggregate_id, "object": kind}
    return _encoded({**content, "data": {"object": thin, "thin": True}})


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
