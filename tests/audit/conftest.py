"""What the audit tests share: ids nobody else uses, and one event appended and read back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import transaction
from typeid import TypeID

from audit import log
from audit.models import AuditEvent

NOW = datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=UTC)
ACTOR = log.Actor(type="api_key", id="key_test", display="Test key")


def fresh_id(prefix: str = "pay") -> str:
    """An id that no other test uses."""
    return str(TypeID(prefix=prefix))


def append_event(**fields: Any) -> AuditEvent:
    """Append and commit one event; what is not given is filled with something valid."""
    event: dict[str, Any] = {
        "event_type": "payment.captured",
        "stream_type": "payment",
        "stream_id": fresh_id(),
        "body": {"amount_minor": 1000, "currency": "EUR"},
        "actor": ACTOR,
        "occurred_at": NOW,
        **fields,
    }
    with transaction.atomic():
        number = log.append(**event)
    return AuditEvent.objects.get(pk=number)


@pytest.fixture
def event() -> AuditEvent:
    """One committed event."""
    return append_event(references=[("provider_payment", fresh_id("pi"))])


@pytest.fixture
def partition_of(owner_connection: psycopg.Connection) -> Callable[[AuditEvent], str]:
    """The name of the partition that holds an event."""

    def name(event: AuditEvent) -> str:
        row = owner_connection.execute(
            "SELECT tableoid::regclass::text FROM audit_event WHERE id = %s", [event.pk]
        ).fetchone()
        assert row is not None
        return str(row[0])

    return name
