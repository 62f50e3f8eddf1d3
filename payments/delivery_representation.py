"""Deliveries of events to merchants in the API's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from payments.representation import timestamp
from webhooks.recovery import Recovery
from webhooks.redelivery import AttemptView, DeliveryView


def webhook_delivery_object(row: DeliveryView) -> dict[str, Any]:
    """One event on its way to one endpoint."""
    return {
        "id": row.id,
        "object": "webhook_delivery",
        "endpoint": row.endpoint_id,
        "event": row.event_id,
        "event_type": row.event_type,
        "status": row.status,
        "attempts": row.attempts,
        "reason": row.reason or None,
        "next_attempt_at": timestamp(row.due_at),
        "created_at": timestamp(row.created_at),
        "finished_at": timestamp(row.finished_at),
    }


def webhook_delivery_with_attempts(
    row: DeliveryView, attempts: Iterable[AttemptView]
) -> dict[str, Any]:
    """The same with its requests, the last first."""
    return {
        **webhook_delivery_object(row),
        "attempt_log": [
            {
                "number": attempt.number,
                "started_at": timestamp(attempt.started_at),
                "outcome": attempt.outcome,
                "response_status": attempt.response_status,
                "duration_ms": attempt.duration_ms,
                "response_body": attempt.response_body,
                "error": attempt.error or None,
            }
            for attempt in attempts
        ],
    }


def webhook_recovery_object(endpoint_id: str, found: Recovery) -> dict[str, Any]:
    """How much is sent again."""
    return {
        "object": "webhook_recovery",
        "endpoint": endpoint_id,
        "recovered": found.recovered,
        "missing": found.missing,
        "has_more": found.has_more,
    }
