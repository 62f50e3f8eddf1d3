"""What the tests of the event pipeline share: a time of their own, effects, handlers.

The tests live ten years from now, each a day of its own: so that a sweeper or worker that another
test of this process has started leaves their rows alone, and they its.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import transaction
from pytest_django import Settings

from audit.log import Actor
from tests.databases import TestDatabases
from tests.webhooks import effects
from webhooks import outbox

ACTOR = Actor(type="user", id="7", display="dora")
_days = itertools.count()

HANDLERS = [
    {
        "name": "blocking",
        "function": "tests.webhooks.effects.blocking_handler",
        "types": ["order.*"],
        "policy": "block",
    },
    {
        "name": "skipping",
        "function": "tests.webhooks.effects.skipping_handler",
        "types": ["order.placed"],
        "policy": "skip",
    },
    {
        "name": "merchant_webhooks",
        "function": "webhooks.delivery.fan_out",
        "types": ["*"],
        "policy": "skip",
    },
]


@pytest.fixture(scope="session", autouse=True)
def _effects_table(databases: TestDatabases) -> None:
    with psycopg.connect(databases.servers.database_owner_url, autocommit=True) as owner:
        make_effect_tables(owner)


def make_effect_tables(owner: psycopg.Connection) -> None:
    """The tables to which the handlers of tests write, where they are not there yet."""
    owner.execute(
        "CREATE TABLE IF NOT EXISTS test_effect (id bigserial, handler text, aggregate text,"
        " seq bigint, pid int DEFAULT pg_backend_pid())"
    )
    owner.execute(
        "CREATE TABLE IF NOT EXISTS test_late_check (one int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    )


@pytest.fixture(autouse=True)
def _handlers(settings: Settings) -> Iterator[None]:
    settings.FLORIN_EVENT_HANDLERS = HANDLERS
    yield
    effects.trouble.clear()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC) + timedelta(days=3650 + 10 * next(_days))


@pytest.fixture
def aggregate() -> str:
    """An aggregate that no other test knows."""
    return f"ord_{secrets.token_hex(8)}"


def emit(
    aggregate: str,
    now: datetime,
    *,
    type: str = "order.changed",
    owner: str = "",
    **payload: object,
) -> outbox.EmittedEvent:
    """Commit one event of an aggregate."""
    with transaction.atomic():
        return outbox.emit(
            type=type,
            aggregate_type="order",
            aggregate_id=aggregate,
            owner=owner,
            livemode=False,
            payload={"id": aggregate, **payload},
            occurred_at=now,
            now=now,
            causation_id="req_1",
        )


def drain_outbox(now: datetime) -> None:
    """Drain everything that is due, also what a drain makes due."""
    while outbox.drain(now=now).total:
        pass
