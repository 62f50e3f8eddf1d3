"""Bad endpoints do not slow the good ones: lanes, pauses, bells."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.test_delivery import BUSY, OK, claim_of, endpoint, promised, row_of
from webhooks import claims, delivery, destinations, transport
from webhooks.doorbell import Doorbell
from webhooks.models import EndpointHealth, MerchantDelivery


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    with receiving(0) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        yield server


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


@pytest.fixture
def nothing_else_waits() -> None:
    MerchantDelivery.objects.filter(status__in=("pending", "retrying")).update(
        status="discarded", due_at=None, lease_until=None, reason="of another test"
    )


def listening(
    owner: str, aggregate: str, now: datetime, url: str, *, count: int, events: int = 1
) -> list[str]:
    made = [endpoint(owner, url, now)[0] for _ in range(count)]
    promised(owner, aggregate, now, events=events)
    return made


def slow(seconds: float) -> transport.Answer:
    return transport.Answer(status=200, duration_ms=round(seconds * 1000))


@pytest.mark.usefixtures("nothing_else_waits")
def test_strained_endpoints_share_a_bounded_part_of_the_senders(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    bad = listening(owner, aggregate, now, receiver.url, count=6, events=2)
    EndpointHealth.objects.filter(pk__in=bad).update(consecutive_failures=2)
    (good,) = listening(f"{owner}b", aggregate, now, receiver.url, count=1)
    claimed = delivery.claim(now=now, limit=10, strained_limit=3)
    assert [one.endpoint_id for one in claimed if not one.strained] == [good]
    strained = [one.endpoint_id for one in claimed if one.strained]
    assert (len(strained), len(set(strained))) == (3, 3)
    assert delivery.claim(now=now, limit=10, strained_limit=0) == []


@pytest.mark.usefixtures("nothing_else_waits")
def test_an_endpoint_with_a_request_open_for_a_second_counts_as_strained_before_it_answers(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    (fresh,) = listening(owner, aggregate, now, receiver.url, count=1)
    assert [one.strained for one in claim_of(fresh, now)] == [False]
    promised(owner, aggregate, now)
    assert delivery.claim(now=now + timedelta(seconds=2), limit=10, strained_limit=0) == []
    assert [one.strained for one in claim_of(fresh, now + timedelta(seconds=2))] == [True]


def test_one_slow_answer_strains_an_endpoint_and_two_quick_ones_relieve_it(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    (one,) = listening(owner, aggregate, now, receiver.url, count=1, events=5)
    moment, seen = now, []
    for answer in (slow(10), slow(0.01), slow(0.01), slow(0.01)):
        first, *others = claim_of(one, moment)
        seen.append(first.strained)
        delivery.record(first, answer, now=moment)
        MerchantDelivery.objects.filter(pk__in=[other.id for other in others]).update(
            due_at=moment, lease_until=None
        )
        moment += timedelta(seconds=20)
    assert seen == [False, True, True, False]


@pytest.mark.parametrize("status", [429, 502, 504])
def test_who_asks_to_slow_down_gets_nothing_for_a_minute_and_loses_no_attempt_by_it(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, status: int
) -> None:
    (one,) = listening(owner, aggregate, now, receiver.url, count=1)
    (claimed,) = claim_of(one, now)
    delivery.record(claimed, transport.Answer(status=status, error=f"status {status}"), now=now)
    due_at = row_of(one).due_at
    assert due_at is not None
    assert 60 <= (due_at - now).total_seconds() <= 72
    promised(owner, aggregate, now)
    assert claim_of(one, now + timedelta(seconds=59)) == []
    (waited,) = claim_of(one, now + timedelta(seconds=60))
    assert waited.attempts == 0


def test_other_failures_do_not_pause_the_endpoint(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    (one,) = listening(owner, aggregate, now, receiver.url, count=1)
    (claimed,) = claim_of(one, now)
    delivery.record(claimed, BUSY, now=now)
    promised(owner, aggregate, now)
    assert len(claim_of(one, now)) == 1


def test_both_lanes_have_a_sender_however_few_there_are(settings: Settings) -> None:
    settings.FLORIN_WEBHOOK_CONCURRENCY = 1
    assert claims.senders() == claims.Senders(healthy=1, strained=1)
    settings.FLORIN_WEBHOOK_CONCURRENCY = 128
    assert claims.senders() == claims.Senders(healthy=96, strained=32)


def test_slow_endpoints_that_fill_their_lane_leave_the_others_free(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, settings: Settings
) -> None:
    settings.FLORIN_WEBHOOK_CONCURRENCY = 4
    bad = listening(owner, aggregate, now, receiver.url, count=4, events=3)
    EndpointHealth.objects.filter(pk__in=bad).update(average_ms=10_000)
    (good,) = listening(f"{owner}b", aggregate, now, receiver.url, count=1, events=6)
    held, sent = threading.Event(), []

    def send(claimed: delivery.ClaimedDelivery) -> transport.Answer:
        if claimed.endpoint_id in bad:
            held.wait(30)
            return slow(10)
        sent.append(claimed.endpoint_id)
        if sent.count(good) == 6:
            held.set()
        return OK

    delivery.deliver(clock=lambda: now, stopping=lambda: sent.count(good) >= 6, send=send)
    assert sent.count(good) == 6
    done = MerchantDelivery.objects.filter(endpoint_id__in=bad, status="delivered").count()
    assert done == claims.senders().strained


@pytest.mark.usefixtures("nothing_else_waits")
def test_one_owners_names_that_hang_leave_lookups_for_the_names_of_others(
    owner: str,
    aggregate: str,
    now: datetime,
    receiver: Receiver,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered, by_the_system = threading.Event(), socket.getaddrinfo
    answered.set()  # the name server answers while the endpoints are made

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host.endswith(".hangs.example"):
            answered.wait(60)
            raise OSError("nobody answered")
        where = "127.0.0.1" if host == "healthy.example" else host
        return by_the_system(where, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"healthy.example:{receiver.port}"]
    hanging = [
        endpoint(owner, f"http://{number}.hangs.example/", now)[0]
        for number in range(destinations.LOOKUPS_PER_OWNER + 2)
    ]
    healthy, _ = endpoint(f"{owner}b", f"http://healthy.example:{receiver.port}/hook", now)
    for one in (owner, f"{owner}b"):
        promised(one, aggregate, now)
    refused = MerchantDelivery.objects.filter(endpoint_id__in=hanging, status="retrying")

    def answer(handler: Any) -> None:
        deadline = time.monotonic() + 30
        while refused.count() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        connection.close()
        handler.send_response(200)
        handler.end_headers()
        answered.set()

    answered.clear()
    receiver.answer = answer
    delivery.deliver(clock=lambda: now, stopping=lambda: False)
    assert row_of(healthy).status == "delivered"
    said = ["other names of yours" in row_of(one).reason for one in hanging]
    assert (said.count(True), said.count(False)) == (2, destinations.LOOKUPS_PER_OWNER)


def test_a_task_that_winds_down_begins_nothing_that_may_take_long(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    (bad,) = listening(owner, aggregate, now, receiver.url, count=1)
    EndpointHealth.objects.filter(pk=bad).update(average_ms=10_000)
    delivery.deliver(clock=lambda: now, stopping=lambda: False, winding_down=lambda: True)
    assert row_of(bad).status == "pending"


def test_a_sender_that_waits_looks_at_once_when_the_bell_rings(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    (one,) = listening(owner, aggregate, now, receiver.url, count=1)
    over = threading.Event()

    def work(bell: Doorbell) -> None:
        delivery.deliver(
            clock=lambda: now, stopping=over.is_set, idle_pause_seconds=300, doorbell=bell
        )
        connection.close()

    with closing(Doorbell()) as bell:
        sender = threading.Thread(target=work, args=(bell,))
        sender.start()
        receiver.wait_for(1)
        promised(owner, aggregate, now)
        bell.ring()
        receiver.wait_for(2)
        over.set()
        bell.ring()
        sender.join(30)
    assert not sender.is_alive()
    assert MerchantDelivery.objects.filter(endpoint_id=one, status="delivered").count() == 2


def test_many_rings_are_one_and_a_ring_before_the_wait_is_heard() -> None:
    with closing(Doorbell()) as bell:
        for _ in range(200_000):
            bell.ring()
        assert bell.wait(0)
        assert not bell.wait(0)
