"""Deliveries go long after they ended; what waits or is dead stays, and so do all events."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import Error, connection
from pytest_django import Settings
from typeid import TypeID
from uuid_utils import UUID

from audit import log
from audit.models import AuditEvent
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.webhooks.conftest import ACTOR, HANDLERS, drain_outbox
from webhooks import backfill, endpoints, retention
from webhooks.models import DeliveryAttempt, DomainEvent, EventDelivery, MerchantDelivery
from webhooks.statements import select_one

JOB = log.Actor(type="job", id="delete_old_deliveries")
LONG_AGO = timedelta(days=500)
ENDED = ("delivered", "discarded", "dead")


@pytest.fixture
def owner(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """What is old is of the whole database, so it is one of its own."""
    with own_database(databases) as connection_of_owner:
        connection_of_owner.execute(
            "CREATE TABLE test_effect (handler text, aggregate text, seq bigint)"
        )
        yield connection_of_owner


@pytest.fixture
def now() -> datetime:
    """The real time: what may go is decided by the database's clock too."""
    return datetime.now(UTC)


def id_of(prefix: str, moment: datetime) -> str:
    time_bits = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62
    return str(TypeID.from_uuid(UUID(int=time_bits | secrets.randbits(62)), prefix))


def emitted(aggregate: str, moment: datetime, *handlers: str, owner: str = "") -> str:
    """An event that was emitted at `moment`, promised to these handlers, which skip."""
    event_id = id_of("evt", moment)
    select_one(
        "SELECT webhooks_emit(%s,'order.placed','order',%s,%s,false,%s::jsonb,%s,%s,'',%s,%s)",
        [
            event_id,
            aggregate,
            owner,
            json.dumps({"id": aggregate}),
            moment,
            moment,
            list(handlers),
            ["skip"] * len(handlers),
        ],
    )
    return event_id


def promised(
    endpoint_id: str, event_id: str, status: str, created_at: datetime, **more: Any
) -> str:
    """A delivery of `created_at` with two requests."""
    ended = status in ENDED
    row = MerchantDelivery.objects.create(
        id=id_of("whd", created_at),
        endpoint_id=endpoint_id,
        event_id=event_id,
        created_at=created_at,
        status=status,
        reason="a test",
        due_at=None if ended else created_at,
        **{"finished_at": created_at if ended else None, **more},
    )
    DeliveryAttempt.objects.bulk_create(
        DeliveryAttempt(
            delivery=row, number=number, started_at=created_at, outcome="failed", url="x"
        )
        for number in (1, 2)
    )
    return row.pk


@pytest.fixture
def endpoint(owner: psycopg.Connection, now: datetime) -> str:
    with log.acting_as(ACTOR):
        view, _ = endpoints.create(
            owner="mer_retention",
            livemode=False,
            url="http://93.184.216.34/",
            event_types=["order.*"],
            now=now,
        )
    return view.id


def delete_old(now: datetime) -> retention.Deleted:
    with log.acting_as(JOB):
        return retention.delete_old(now=now)


def test_deliveries_to_merchants_go_in_batches_and_what_has_not_ended_stays(
    endpoint: str, aggregate: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = now - LONG_AGO
    events = [emitted(aggregate, old) for _ in range(9)]
    gone = [
        promised(endpoint, event_id, status, old)
        for event_id, status in zip(events, ["delivered"] * 4 + ["discarded"], strict=False)
    ]
    stays = [
        promised(endpoint, events[5], "dead", old),
        promised(endpoint, events[6], "retrying", old),
        promised(endpoint, events[7], "delivered", old, finished_at=now - timedelta(days=1)),
        promised(endpoint, events[8], "delivered", now - timedelta(days=399)),
    ]
    monkeypatch.setattr(retention, "_BATCH", 2)
    assert delete_old(now) == retention.Deleted(to_merchants=5, attempts=10)
    assert delete_old(now) == retention.Deleted()
    assert not MerchantDelivery.objects.filter(pk__in=gone).exists()
    assert set(MerchantDelivery.objects.values_list("pk", flat=True)) == set(stays)
    assert set(DeliveryAttempt.objects.values_list("delivery_id", flat=True)) == set(stays)
    assert DomainEvent.objects.filter(pk__in=events).count() == 9
    told = AuditEvent.objects.filter(event_type="deliveries.deleted")
    assert sorted(json.loads(event.body)["to_merchants"] for event in told) == [1, 2, 2]


def test_deliveries_to_handlers_go_and_a_backfill_does_not_promise_them_anew(
    owner: psycopg.Connection, aggregate: str, now: datetime, settings: Settings
) -> None:
    old, young = now - LONG_AGO, now - timedelta(days=300)
    first, dead = (emitted(aggregate, old, "skipping") for _ in range(2))
    EventDelivery.objects.filter(event_id=dead).update(
        status="dead", due_at=None, reason="poison", finished_at=old
    )
    drain_outbox(old)
    kept = emitted(aggregate, young, "skipping")
    drain_outbox(young)
    assert EventDelivery.objects.get(event_id=first).finished_at == old
    assert delete_old(now) == retention.Deleted(to_handlers=1)
    left = EventDelivery.objects.values_list("event_id", flat=True)
    assert sorted(left) == sorted([dead, kept])
    assert retention.promises_deleted_until("skipping") == first

    def run(name: str, since: datetime) -> dict[str, int]:
        portions = backfill.backfill(
            handler_name=name,
            since=since,
            until=now - timedelta(minutes=3),
            actor=ACTOR,
            clock=lambda: now,
        )
        return list(portions)[-1].counts

    with pytest.raises(ValueError, match="Promises to skipping were deleted"):
        run("skipping", old - timedelta(days=1))
    assert run("skipping", young - timedelta(days=1))["known"] == 1
    settings.FLORIN_EVENT_HANDLERS = [*HANDLERS, {**HANDLERS[1], "name": "added_later"}]
    assert run("added_later", old - timedelta(days=1))["promised"] == 3


def test_what_goes_while_a_backfill_runs_is_not_promised_anew(
    owner: psycopg.Connection, aggregate: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = now - LONG_AGO
    events = [emitted(aggregate, old + timedelta(days=day), "skipping") for day in range(3)]
    for day in range(3):
        drain_outbox(old + timedelta(days=day))
    portions = backfill.backfill(
        handler_name="skipping",
        since=old - timedelta(days=1),
        until=now - timedelta(minutes=3),
        actor=ACTOR,
        clock=lambda: now,
        portion=1,
    )
    assert next(portions).known == 1
    assert delete_old(now).to_handlers == 3
    with pytest.raises(ValueError, match="were deleted after their time"):
        list(portions)
    assert not EventDelivery.objects.filter(event_id__in=events).exists()


FORBIDDEN = psycopg.errors.InsufficientPrivilege
KEPT = psycopg.errors.IntegrityConstraintViolation
TABLES = (
    "webhooks_merchant_delivery",
    "webhooks_delivery_attempt",
    "webhooks_event_delivery",
    "webhooks_deleted_promises",
)


def test_the_application_deletes_nothing_but_by_the_function(
    second_connection: psycopg.Connection,
) -> None:
    for table in TABLES:
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(FORBIDDEN):
                second_connection.execute(statement.encode())
    with pytest.raises(FORBIDDEN):
        second_connection.execute("INSERT INTO webhooks_deleted_promises VALUES ('x', '')")
    with pytest.raises(FORBIDDEN):
        second_connection.execute("UPDATE webhooks_deleted_promises SET last_event_id = ''")


def test_the_database_lets_nobody_delete_what_is_young_or_has_not_ended(
    owner: psycopg.Connection, endpoint: str, aggregate: str, now: datetime
) -> None:
    with connection.cursor() as cursor:
        for arguments in (
            "now() - interval '2 months', '~', '~', 10",
            "'1999-01-01', '~', '~', 100000",
        ):
            with pytest.raises(Error, match="last three months"):
                cursor.execute(f"SELECT webhooks_delete_old_deliveries({arguments})")
    old = now - LONG_AGO
    event_id = emitted(aggregate, old, "skipping")
    dead = promised(endpoint, event_id, "dead", old)
    for attack in (
        "DELETE FROM webhooks_delivery_attempt",
        "DELETE FROM webhooks_merchant_delivery",
        "DELETE FROM webhooks_event_delivery",
    ):
        with pytest.raises(KEPT, match="three months ago"):
            owner.execute(attack.encode())
    young = promised(
        endpoint, emitted(aggregate, old), "delivered", old, finished_at=now - timedelta(days=80)
    )
    with pytest.raises(KEPT, match="three months ago"):
        owner.execute("DELETE FROM webhooks_delivery_attempt WHERE delivery_id = %s", [young])
    assert set(MerchantDelivery.objects.values_list("pk", flat=True)) == {dead, young}


def test_a_retention_that_the_database_would_refuse_stops_the_start(settings: Settings) -> None:
    settings.FLORIN_DELIVERY_RETENTION_DAYS = 91
    (error,) = retention.check_retention()
    assert error.id == "webhooks.E006"
    settings.FLORIN_DELIVERY_RETENTION_DAYS = 92
    assert retention.check_retention() == []
