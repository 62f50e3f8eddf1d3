"""How endpoints are doing: noted with every answer, told to their owners before it is too late.

Mental model: one hot row per endpoint says what the claim needs to know (failures in a row, how
long answers take, whether it asked for a pause); one row per endpoint and hour counts requests for
people. A streak of nothing but failures is announced once (`endpoint.failing`) and, when it has
lasted for days, ends with the endpoint disabled; a success ends it (`endpoint.recovered`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from webhooks import outbox, retries, transport
from webhooks.claims import ClaimedDelivery
from webhooks.models import WebhookEndpoint
from webhooks.tallies import whole_hour

WARN_AFTER = timedelta(hours=24)
DISABLE_AFTER = timedelta(days=5)
HOURS_KEPT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Streak:
    """Failures in a row with no success between: how many, and since when."""

    failures: int
    since: datetime

    def has_lasted_too_long(self, *, now: datetime) -> bool:
        """Whether the endpoint is to be disabled."""
        return now - self.since >= DISABLE_AFTER


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What an answer makes of its delivery; `due_at` only when it is tried again."""

    status: str
    reason: str
    due_at: datetime | None


def store(
    claimed: ClaimedDelivery, answer: transport.Answer, ending: Ending, *, now: datetime
) -> tuple[bool, Streak | None]:
    """Store an answer with its delivery, its attempt and its endpoint's health, in one statement.

    Whether it came from the holder of the current fence and lease (otherwise only the attempt is
    completed, and one that is complete stays as it is, so an answer that is stored twice counts
    once), and the streak of failures that it is part of. In the caller's transaction, which also
    gets the announcement of a streak that has lasted for a day, once, and of the success that ends
    it.
    """
    pause_seconds = retries.throttle_seconds(
        answer.status,
        retry_after_seconds=retries.parse_retry_after(answer.retry_after, now=now),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _PATIENCE + _STORE,
            {
                "id": claimed.id,
                "fence": claimed.fence,
                "endpoint": claimed.endpoint_id,
                "now": now,
                "status": ending.status,
                "reason": ending.reason,
                "due_at": ending.due_at,
                "succeeded": answer.succeeded,
                "address": answer.address,
                "ms": answer.duration_ms,
                "answered": answer.status,
                "body": answer.body,
                "error": answer.error,
                "throttled_until": pause_seconds and now + timedelta(seconds=pause_seconds),
                "warn_before": now - WARN_AFTER,
                "hour": whole_hour(now),
                "oldest_hour": now - HOURS_KEPT,
            },
        )
        cursor.nextset()
        row = cursor.fetchone()
    if row is None:
        return False, None
    failures, since, warned_now, was_warned = row
    if answer.succeeded:
        if was_warned:
            outbox.emit(type="endpoint.recovered", **_about(claimed.endpoint_id, {}, now=now))
        return True, None
    streak = Streak(failures=failures, since=since)
    if warned_now:
        said = {
            "consecutive_failures": failures,
            "failing_since": since.isoformat(),
            "disabled_after": (since + DISABLE_AFTER).isoformat(),
            "error": answer.error,
        }
        outbox.emit(type="endpoint.failing", **_about(claimed.endpoint_id, said, now=now))
    return True, streak


# One thread stores all answers: where a lock is held it comes back later rather than waiting long.
_PATIENCE = "SET LOCAL lock_timeout = '1s';"
# The average forgets half with every answer: one of ten seconds is noticed at once, and two or
# three quick ones make up for it.
_STORE = """
    WITH settled AS (
        UPDATE webhooks_merchant_delivery SET
            status = %(status)s, reason = %(reason)s, attempts = attempts + 1, lease_until = NULL,
            due_at = %(due_at)s::timestamptz,
            finished_at = CASE WHEN %(due_at)s::timestamptz IS NULL THEN %(now)s END
        WHERE id = %(id)s AND fence = %(fence)s AND status IN ('pending', 'retrying')
          AND lease_until IS NOT NULL
        RETURNING endpoint_id
    ), logged AS (
        UPDATE webhooks_delivery_attempt SET
            outcome = CASE WHEN NOT EXISTS (SELECT FROM settled) THEN 'stale'
                           WHEN %(succeeded)s THEN 'succeeded' ELSE 'failed' END,
            address = %(address)s, duration_ms = %(ms)s, response_status = %(answered)s,
            response_body = %(body)s, error = %(error)s
        WHERE delivery_id = %(id)s AND number = %(fence)s AND outcome = 'started'
    ), counted AS (
        INSERT INTO webhooks_endpoint_hour AS known (endpoint_id, hour, succeeded, failed)
        SELECT endpoint_id, %(hour)s, (%(succeeded)s)::int, (NOT %(succeeded)s)::int FROM settled
        ON CONFLICT (endpoint_id, hour) DO UPDATE SET
            succeeded = known.succeeded + excluded.succeeded,
            failed = known.failed + excluded.failed
        RETURNING known.xmax = 0 AS is_new
    ), forgotten AS (
        DELETE FROM webhooks_endpoint_hour USING counted
        WHERE counted.is_new AND endpoint_id = %(endpoint)s AND hour < %(oldest_hour)s
    ), before AS (
        SELECT health.endpoint_id, warned_at IS NOT NULL AS was_warned
        FROM webhooks_endpoint_health AS health
        JOIN settled ON settled.endpoint_id = health.endpoint_id
        FOR UPDATE OF health
    )
    UPDATE webhooks_endpoint_health AS health SET
        consecutive_failures = CASE WHEN %(succeeded)s THEN 0 ELSE consecutive_failures + 1 END,
        failing_since = CASE WHEN NOT %(succeeded)s THEN coalesce(failing_since, %(now)s) END,
        last_success_at = CASE WHEN %(succeeded)s THEN %(now)s ELSE last_success_at END,
        last_failure_at = CASE WHEN %(succeeded)s THEN last_failure_at ELSE %(now)s END,
        average_ms = (average_ms + %(ms)s) / 2,
        throttled_until = %(throttled_until)s::timestamptz,
        warned_at = CASE WHEN %(succeeded)s THEN NULL
                         WHEN warned_at IS NULL AND failing_since <= %(warn_before)s THEN %(now)s
                         ELSE warned_at END
    FROM before WHERE health.endpoint_id = before.endpoint_id
    RETURNING consecutive_failures, failing_since,
              NOT was_warned AND warned_at IS NOT NULL, was_warned
"""


def _about(endpoint_id: str, said: dict[str, object], *, now: datetime) -> dict[str, Any]:
    """What every event about an endpoint's health has, besides its type."""
    endpoint = WebhookEndpoint.objects.get(pk=endpoint_id)
    return {
        "aggregate_type": "webhook_endpoint",
        "aggregate_id": endpoint.pk,
        "owner": endpoint.owner,
        "livemode": endpoint.livemode,
        "payload": {"id": endpoint.pk, "object": "webhook_endpoint", "url": endpoint.url, **said},
        "occurred_at": now,
        "now": now,
    }
