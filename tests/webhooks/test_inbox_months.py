"""Provider events lie in the month they came in; months are made ahead, and dropped whole."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import Error, connection
from pytest_django import Settings

from audit import log
from audit.models import AuditEvent
from audit.partitions import partition_bounds
from tests.databases import TestDatabases
from tests.payments.own_database import empty_database, own_database
from tests.webhooks.conftest import ACTOR
from webhooks import inbox, integrity, partitions
from webhooks.inbox import Applied, InboxEventView
from webhooks.inbox_runs import stored
from webhooks.models import DeadLetter, InboxEvent, InboxKey

JOB = log.Actor(type="job", id="drop_expired_inbox_months")


@pytest.fixture(scope="module")
def owner(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """Months are of the whole database, so it is one of its own."""
    with own_database(databases) as connection_of_owner:
        yield connection_of_owner


@pytest.fixture
def now(owner: psycopg.Connection) -> datetime:
    return datetime.now(UTC)


def receive(received_at: datetime, event_id: str = "") -> inbox.Received:
    subject = f"ord_{secrets.token_hex(8)}"
    return inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=event_id or f"e_{subject}",
        event_type="order.changed",
        subject=subject,
        raw=b"\x00{}",
        headers={"a": "b"},
        received_at=received_at,
    )


def processed(event: InboxEventView, *, now: datetime) -> Applied:
    return Applied("processed", "applied")


def poisoned(event: InboxEventView, *, now: datetime) -> Applied:
    raise ValueError("poison")


def drain(now: datetime) -> None:
    while inbox.drain(apply=processed, now=now).total:
        pass


def home_of(owner: psycopg.Connection, received: inbox.Received) -> str:
    row = owner.execute(
        "SELECT tableoid::regclass::text FROM webhooks_inbox_event WHERE id = %s", [received.id]
    ).fetchone()
    assert row is not None
    return str(row[0])


def month_name(moment: datetime) -> str:
    return f"webhooks_inbox_event_{moment:%Y_%m}"


def month_long_ago(now: datetime, *, days: int) -> datetime:
    """A moment in a month past its retention, which gets its partition."""
    return (now - timedelta(days=days)).replace(day=15)


def drop_expired(now: datetime) -> list[str]:
    with log.acting_as(JOB):
        return [str(month) for month in partitions.drop_expired_months(now=now)]


def test_the_migration_has_made_this_month_and_three_more(now: datetime) -> None:
    names = [name for name, _start, _end in partition_bounds("webhooks_inbox_event")]
    moment = now.replace(day=1)
    for _ in range(4):
        assert month_name(moment) in names
        moment = (moment + timedelta(days=32)).replace(day=1)
    assert partitions.covered_days(now=now) >= 88


def test_every_part_keeps_outcomes_and_is_reached_through_the_whole_only(
    owner: psycopg.Connection, now: datetime
) -> None:
    parts = owner.execute(
        "SELECT relname, reloptions, has_table_privilege('florin_app', oid, 'INSERT')"
        "       OR has_any_column_privilege('florin_app', oid, 'UPDATE')"
        "       OR has_table_privilege('florin_app', oid, 'DELETE'),"
        "       (SELECT array_agg(tgenabled::text) FROM pg_trigger WHERE tgrelid = pg_class.oid)"
        " FROM pg_class JOIN pg_inherits ON inhrelid = oid"
        " WHERE inhparent = 'webhooks_inbox_event'::regclass"
    ).fetchall()
    assert len(parts) >= 5
    for name, options, application_may_write, triggers in parts:
        assert {"fillfactor=85", "autovacuum_vacuum_scale_factor=0.02"} <= set(options), name
        assert not application_may_write, name
        assert triggers == ["A"], name
    assert list(integrity.inbox_partition_violations(now=now)) == []


def test_an_event_without_a_month_is_kept_applied_and_moved_when_the_month_is_made(
    owner: psycopg.Connection, now: datetime
) -> None:
    later = partition_bounds("webhooks_inbox_event")[-1][2] + timedelta(days=3)
    applied, waiting = receive(later), receive(later)
    assert home_of(owner, applied) == "webhooks_inbox_event_default"
    assert partitions.unpartitioned_count() == 2
    inbox.drain(apply=processed, now=later, limit=1)
    assert partitions.ensure_partitions(now=later, months_ahead=0) == 1
    assert partitions.ensure_partitions(now=later, months_ahead=0) == 0
    assert {home_of(owner, applied), home_of(owner, waiting)} == {month_name(later)}
    assert partitions.unpartitioned_count() == 0
    drain(later)
    for received in (applied, waiting):
        row = InboxEvent.objects.get(pk=received.id)
        assert (row.status, bytes(row.raw), row.received_at) == ("processed", b"\x00{}", later)


def test_a_missing_month_refuses_no_event_and_is_told(
    owner: psycopg.Connection, now: datetime
) -> None:
    name = month_name(now)
    (bounds,) = [
        (start, end) for part, start, end in partition_bounds(partitions.TABLE) if part == name
    ]
    owner.execute(f"ALTER TABLE webhooks_inbox_event DETACH PARTITION {name}")
    try:
        received = receive(now)
        drain(now)
        assert InboxEvent.objects.get(pk=received.id).status == "processed"
        assert partitions.covered_days(now=now) == 0
        kinds = [found.kind for found in integrity.inbox_partition_violations(now=now)]
        assert kinds == ["partitions_end_soon"]
        with pytest.raises(Error, match="was it detached"):
            partitions.ensure_partitions(now=now)
    finally:
        owner.execute("DELETE FROM webhooks_inbox_event_default")
        owner.execute(
            f"ALTER TABLE webhooks_inbox_event ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
        )


@pytest.mark.parametrize(("distance_days", "months_ahead"), [(0, 13), (0, -1), (500, 0), (-500, 0)])
def test_months_far_from_now_are_refused(
    now: datetime, distance_days: int, months_ahead: int
) -> None:
    with pytest.raises(Error, match="0 to 12 months"):
        partitions.ensure_partitions(
            now=now + timedelta(days=distance_days), months_ahead=months_ahead
        )


def test_an_old_month_goes_whole_with_its_counts_and_leaves_its_keys(
    owner: psycopg.Connection, now: datetime
) -> None:
    then = month_long_ago(now, days=500)
    first = receive(then, "evt_of_old")
    drain(then)
    assert receive(then, "evt_of_old").duplicate
    assert drop_expired(now) == []  # it lies in the default partition, and nothing there is lost
    partitions.ensure_partitions(now=now)
    assert home_of(owner, first) == month_name(then)
    assert drop_expired(now) == [f"{then:%Y-%m}"]
    assert not InboxEvent.objects.filter(event_id="evt_of_old").exists()
    assert InboxKey.objects.get(event_id="evt_of_old").inbox_id == first.id
    told = AuditEvent.objects.get(event_type="inbox_month.dropped", stream_id=f"{then:%Y-%m}")
    assert told.actor_id == JOB.id
    assert '"by_status":{"duplicate":1,"processed":1},"events":2' in told.body
    assert receive(now, "evt_of_old").duplicate
    assert list(integrity.inbox_violations(now=now)) == []


def test_a_month_in_which_something_waits_stays_until_a_person_has_ended_it(
    owner: psycopg.Connection, now: datetime
) -> None:
    then = month_long_ago(now, days=560)
    received = receive(then)
    partitions.ensure_partitions(now=now)
    assert drop_expired(now) == []
    while DeadLetter.objects.filter(row_id=received.id).count() == 0:
        row = InboxEvent.objects.get(pk=received.id)
        assert row.due_at is not None
        inbox.drain(apply=poisoned, now=max(row.due_at, then))
    assert drop_expired(now) == []
    assert [str(month) for month in partitions.expired_months(now=now)] == [f"{then:%Y-%m}"]
    with connection.cursor() as cursor, pytest.raises(Error, match="have not ended"):
        cursor.execute("SELECT webhooks_drop_inbox_month(%s)", [then.replace(day=1).date()])
    inbox.discard([received.id], reason="too old to matter", actor=ACTOR, now=now)
    assert drop_expired(now) == [f"{then:%Y-%m}"]


def test_the_database_itself_keeps_the_last_three_months(now: datetime) -> None:
    month = now.replace(day=1)
    for _ in range(4):
        with connection.cursor() as cursor, pytest.raises(Error, match="last three months"):
            cursor.execute("SELECT webhooks_drop_inbox_month(%s)", [month.date()])
        month = (month - timedelta(days=1)).replace(day=1)
    with connection.cursor() as cursor, pytest.raises(Error, match="not a partition"):
        cursor.execute("SELECT webhooks_drop_inbox_month('1999-01-01')")


def test_a_change_of_one_event_looks_into_one_month(now: datetime) -> None:
    received = receive(now)
    row = InboxEvent.objects.get(pk=received.id)
    plan = stored(row.pk, row.received_at).explain()
    assert set(re.findall(r"webhooks_inbox_event_\w+", plan)) == {
        month_name(now),
        f"{month_name(now)}_pkey",
    }
    drain(now)


def test_the_migration_moves_the_rows_that_were_there_to_their_months(
    databases: TestDatabases, owner: psycopg.Connection
) -> None:
    now = datetime.now(UTC)
    moments = [now, now - timedelta(days=40), now - timedelta(days=400)]
    with empty_database(databases) as owner_of_empty:
        call_command("migrate", "webhooks", "0005", database="owner", verbosity=0)
        received = [receive(moment) for moment in moments]
        inbox_rows = "SELECT * FROM webhooks_inbox_event ORDER BY arrival"
        before = owner_of_empty.execute(inbox_rows).fetchall()
        call_command("migrate", "webhooks", database="owner", verbosity=0)
        assert owner_of_empty.execute(inbox_rows).fetchall() == before
        homes = [home_of(owner_of_empty, event) for event in received]
        assert homes == [month_name(moment) for moment in moments]
        assert partitions.unpartitioned_count() == 0
        following = receive(now)
        drain(now)
        assert {row.status for row in InboxEvent.objects.all()} == {"processed"}
        assert InboxEvent.objects.get(pk=following.id).arrival == 4
        with pytest.raises(Error, match="has had its effect"):
            InboxEvent.objects.filter(pk=received[2].id).update(status="received", due_at=now)


@pytest.mark.parametrize("months", [2, 0, -1])
def test_a_retention_that_the_database_would_refuse_stops_the_start_with_words(
    settings: Settings, months: int
) -> None:
    settings.FLORIN_INBOX_RETENTION_MONTHS = months
    with pytest.raises(SystemCheckError, match="last 3 months is always kept"):
        call_command("check")


def test_the_shortest_retention_is_what_the_database_takes(
    settings: Settings, owner: psycopg.Connection
) -> None:
    """The two places that say three months say the same."""
    settings.FLORIN_INBOX_RETENTION_MONTHS = partitions.RETENTION_MONTHS_MIN
    call_command("check")
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(partitions.RETENTION_MONTHS_MIN):
        start = (start - timedelta(days=1)).replace(day=1)
    with pytest.raises(Error, match="last three months is kept"), connection.cursor() as cursor:
        cursor.execute("SELECT webhooks_drop_inbox_month(%s)", [start.date()])
    start = (start - timedelta(days=1)).replace(day=1)
    with pytest.raises(Error) as refused, connection.cursor() as cursor:
        cursor.execute("SELECT webhooks_drop_inbox_month(%s)", [start.date()])
    assert "last three months" not in str(refused.value)  # it is only not there
