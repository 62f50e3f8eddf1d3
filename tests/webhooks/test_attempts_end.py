"""Failed tries go when the provider events of their time have gone; those of dead letters stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import Error, connection

from audit import log
from audit.models import AuditEvent
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from webhooks import attempts, inbox
from webhooks.inbox import Applied, InboxEventView
from webhooks.models import FailedAttempt, InboxEvent

JOB = log.Actor(type="job", id="delete_old_failed_attempts")
LONG_AGO = timedelta(days=31 * 15)


@pytest.fixture(scope="module")
def owner(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """What is old is of the whole database, so it is one of its own."""
    with own_database(databases) as connection_of_owner:
        yield connection_of_owner


def fail(row_id: str, recorded_at: datetime, *, kind: attempts.Kind = "inbox") -> None:
    attempts.record(
        kind=kind,
        row_id=row_id,
        source="testing",
        number=1,
        outcome=attempts.Outcome.FAILED,
        reason="ValueError: poison",
        now=recorded_at,
    )


def poisoned(event: InboxEventView, *, now: datetime) -> Applied:
    raise ValueError("poison")


def test_old_tries_go_in_batches_and_those_of_the_dead_stay(
    owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    received = inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id="e_dead",
        event_type="order.changed",
        subject="ord_dead",
        raw=b"{}",
        headers={},
        received_at=now - LONG_AGO,
    )
    for _ in range(3):
        due_at = InboxEvent.objects.get(pk=received.id).due_at
        assert due_at is not None
        inbox.drain(apply=poisoned, now=due_at)
    assert InboxEvent.objects.get(pk=received.id).status == "dead"
    for number in range(5):
        fail(f"inb_{number}", now - LONG_AGO)
        fail(str(number), now - LONG_AGO, kind="handler")
    fail("inb_young", now - timedelta(days=200))
    monkeypatch.setattr(attempts, "_BATCH", 4)

    with log.acting_as(JOB):
        assert attempts.delete_old(now=now) == 10
        assert attempts.delete_old(now=now) == 0
    left = set(FailedAttempt.objects.values_list("row_id", flat=True))
    assert left == {received.id, "inb_young"}
    told = AuditEvent.objects.filter(event_type="failed_attempts.deleted")
    assert sorted(json.loads(event.body)["count"] for event in told) == [2, 4, 4]


def test_the_database_lets_nobody_delete_what_is_young(owner: psycopg.Connection) -> None:
    fail("inb_safe", datetime.now(UTC) - timedelta(days=60))
    with connection.cursor() as cursor:
        for arguments in ("now() - interval '2 months', 10", "'1999-01-01', 100000"):
            with pytest.raises(Error, match="last three months"):
                cursor.execute(f"SELECT webhooks_delete_failed_attempts({arguments})")
    assert FailedAttempt.objects.filter(row_id="inb_safe").exists()
