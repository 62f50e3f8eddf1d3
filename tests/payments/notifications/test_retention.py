"""What was told long ago goes in batches; what waits, is dead or is young stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import Error, connection, transaction

from audit import log
from audit.models import AuditEvent
from payments.models import Notification
from payments.notifications import retention
from tests.databases import TestDatabases
from tests.payments.notifications.conftest import email_rule
from tests.payments.own_database import own_database

JOB = log.Actor(type="job", id="delete_old_notifications")
LONG_AGO = timedelta(days=31 * 15)


@pytest.fixture
def owner(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """What is old is of the whole database, so it is one of its own."""
    with own_database(databases) as connection_of_owner:
        yield connection_of_owner


def test_what_ended_long_ago_goes_and_nothing_else(
    owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    rule = email_rule("ada@shop.example")

    def told(title: str, status: str, at: datetime) -> None:
        is_open = status in ("pending", "retrying")
        Notification.objects.create(
            rule=rule,
            channel="email",
            recipient="ada@shop.example",
            kind="queue_late",
            title=title,
            content={"happened": title},
            status=status,
            reason="too old" if status == "discarded" else "",
            due_at=at if is_open else None,
            finished_at=None if is_open else at,
            created_at=at,
        )

    for number in range(4):
        told(f"sent {number}", "sent", now - LONG_AGO)
    told("given up", "discarded", now - LONG_AGO)
    told("dead", "dead", now - LONG_AGO)
    told("waits", "pending", now - LONG_AGO)
    told("young", "sent", now - timedelta(days=200))
    monkeypatch.setattr(retention, "_BATCH", 2)

    with log.acting_as(JOB):
        assert retention.delete_old(now=now) == 5
        assert retention.delete_old(now=now) == 0
    assert set(Notification.objects.values_list("title", flat=True)) == {"dead", "waits", "young"}
    counted = AuditEvent.objects.filter(event_type="notifications.deleted")
    assert sorted(json.loads(event.body)["count"] for event in counted) == [1, 2, 2]
    _refused(owner, now)


def _refused(owner: psycopg.Connection, now: datetime) -> None:
    """Neither the application nor the tables' owner deletes what may not go."""
    with (
        pytest.raises(Error, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM payments_notification")
    with pytest.raises(Error, match="last three months"), connection.cursor() as cursor:
        cursor.execute("SELECT payments_delete_notifications(%s, 10)", [now - timedelta(days=60)])
    for status in ("dead", "pending"):
        with pytest.raises(psycopg.Error, match="is forbidden"):
            owner.execute("DELETE FROM payments_notification WHERE status = %s", [status])
