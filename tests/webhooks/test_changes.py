"""What changed is told through Redis after the commit, once, and never waited for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import transaction

from webhooks import changes, events, outbox
from webhooks.models.outbox import new_event_id
from webhooks.wakeup import Waker


@pytest.fixture
def heard() -> Iterator[Any]:
    """A subscription to what changes in this test process's installation."""
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    with client, client.pubsub() as pubsub:
        pubsub.subscribe(changes.channel(settings.REDIS_URL))
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        yield pubsub


def emit(aggregate_id: str) -> None:
    now = datetime.now(UTC)
    outbox.emit(
        type="thing.changed",
        aggregate_type="thing",
        aggregate_id=aggregate_id,
        owner="",
        livemode=False,
        payload={},
        occurred_at=now,
        now=now,
    )


def next_told(pubsub: Any) -> str:
    message = pubsub.get_message(timeout=10)
    assert message is not None, "nothing was told"
    return str(message["data"])


def test_what_is_committed_is_told_and_what_is_rolled_back_is_not(heard: Any) -> None:
    lost, kept = new_event_id(), new_event_id()
    with transaction.atomic():
        emit(lost)
        transaction.set_rollback(True)
    with transaction.atomic():
        emit(kept)
    assert next_told(heard) == kept


def test_several_events_of_one_object_are_told_once_per_pass() -> None:
    told: list[str] = []
    waker = Waker(told.append)
    for _ in range(50):
        waker.flag("pay_1")
        waker.flag("pay_2")
    deadline = time.monotonic() + 60
    while set(told) != {"pay_1", "pay_2"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(told) < 20


def test_a_redis_that_swallows_everything_costs_its_thread_a_second_and_nobody_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        publish = changes.Publisher(f"redis://127.0.0.1:{black_hole.getsockname()[1]}/0")
        began = time.monotonic()
        with pytest.raises(redis.RedisError):
            publish("pay_1")
        assert time.monotonic() - began < 30
        waker = Waker(publish)
        began = time.monotonic()
        for number in range(1000):
            waker.flag(f"pay_{number}")
        assert time.monotonic() - began < 30  # a second for each would be a quarter of an hour


def test_the_channel_is_that_of_the_database_in_the_address() -> None:
    assert changes.channel("redis://localhost:6379/3") == "florin:changed:3"
    assert changes.channel("redis://localhost:6379") == "florin:changed:0"


def test_heads_say_how_far_each_object_has_come() -> None:
    once, twice, never = new_event_id(), new_event_id(), new_event_id()
    for aggregate_id in (once, twice, twice):
        with transaction.atomic():
            emit(aggregate_id)
    assert events.heads("thing", [once, twice, never]) == {once: 1, twice: 2}
    assert events.heads("other", [once]) == {}
