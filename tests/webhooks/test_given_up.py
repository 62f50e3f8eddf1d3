"""A merchant is told of a delivery that was given up: elsewhere, once an hour, never in turn."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from audit import log
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from tests.webhooks.receiver import Receiver, receiving
from webhooks import delivery, endpoints, given_up, recovery, retries
from webhooks.models import DomainEvent, MerchantDelivery

HOUR = timedelta(hours=1)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    with receiving(0) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        yield server


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


def endpoint(owner: str, url: str, now: datetime, *types: str) -> str:
    with log.acting_as(ACTOR):
        view, _ = endpoints.create(
            owner=owner, livemode=False, url=url, event_types=list(types) or ["*"], now=now
        )
    return view.id


def exhaust(owner: str) -> None:
    """The next failure is the last one, for everything that is open."""
    MerchantDelivery.objects.filter(
        endpoint__owner=owner, status__in=("pending", "retrying")
    ).update(attempts=retries.MERCHANT_ATTEMPT_LIMIT - 1)


def send_all(now: datetime) -> None:
    delivery.deliver(clock=lambda: now, stopping=lambda: False)


def told_of(endpoint_id: str) -> list[DomainEvent]:
    return list(DomainEvent.objects.filter(aggregate_id=endpoint_id, type=given_up.EVENT))


def fails(receiver: Receiver, path: str) -> None:
    """Requests to `path` get 500, others 200."""

    def answer(handler: object) -> None:
        bad = handler.path == path  # type: ignore[attr-defined]
        handler.send_response(500 if bad else 200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]

    receiver.answer = answer


def test_the_other_endpoint_that_listens_is_told_which_delivery_was_given_up_and_why(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    failing = endpoint(owner, f"{receiver.url}?failing", now)
    endpoint(owner, f"{receiver.url}?books", now, "endpoint.delivery_failed")
    endpoint(owner, f"{receiver.url}?else", now, "payment.*")
    fails(receiver, "/hook?failing")
    emitted = emit(aggregate, now, owner=owner)
    drain_outbox(now)
    exhaust(owner)
    send_all(now)
    given = MerchantDelivery.objects.get(endpoint_id=failing, event_id=emitted.id)
    assert given.status == "dead"
    drain_outbox(now)
    send_all(now)
    (told,) = [request for request in receiver.requests if request.path == "/hook?books"]
    body = json.loads(told.body)
    assert body["type"] == "endpoint.delivery_failed"
    assert body["data"]["object"] == {
        "id": failing,
        "object": "webhook_endpoint",
        "url": f"{receiver.url}?failing",
        "delivery": given.pk,
        "event": emitted.id,
        "event_type": "order.changed",
        "attempts": retries.MERCHANT_ATTEMPT_LIMIT,
        "reason": "10 attempts failed, the last with: status 500",
    }
    assert [request.path for request in receiver.requests if request is not told] == [
        "/hook?failing"
    ]


def test_an_endpoint_is_told_of_once_an_hour(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    failing = endpoint(owner, receiver.url, now, "order.*")
    receiver.answer = (500, {}, b"")
    moments = (now, now + timedelta(minutes=59), now + timedelta(minutes=60))
    for moment, count in zip(moments, (1, 1, 2), strict=True):
        for _ in range(2):
            emit(aggregate, moment, owner=owner)
        drain_outbox(moment)
        exhaust(owner)
        send_all(moment)
        assert len(told_of(failing)) == count
    dead = MerchantDelivery.objects.filter(endpoint_id=failing, status="dead")
    assert dead.count() == 6


def test_two_endpoints_that_are_both_down_do_not_tell_of_each_other_for_ever(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    pair = [endpoint(owner, f"{receiver.url}?{name}", now) for name in ("one", "two")]
    receiver.answer = (500, {}, b"")
    emit(aggregate, now, owner=owner)
    drain_outbox(now)
    exhaust(owner)
    send_all(now)
    for hours in range(1, 6):
        moment = now + hours * HOUR
        drain_outbox(moment)
        exhaust(owner)
        send_all(moment)
    assert [len(told_of(one)) for one in pair] == [1, 1]
    assert not MerchantDelivery.objects.filter(
        endpoint_id__in=pair, status__in=("pending", "retrying")
    ).exists()


def test_an_endpoint_is_never_told_of_itself_not_by_a_recovery_either(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    failing = endpoint(owner, receiver.url, now)
    receiver.answer = (500, {}, b"")
    emit(aggregate, now, owner=owner)
    drain_outbox(now)
    exhaust(owner)
    send_all(now)
    drain_outbox(now)
    (told,) = told_of(failing)
    later = now + HOUR
    with log.acting_as(ACTOR):
        recovery.recover(
            owner=owner,
            livemode=False,
            endpoint_id=failing,
            since=now - HOUR,
            include=recovery.KINDS,
            now=later,
        )
    assert not MerchantDelivery.objects.filter(endpoint_id=failing, event=told).exists()


def test_one_whose_sender_died_too_often_is_told_of_too(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    failing = endpoint(owner, receiver.url, now, "order.*")
    emit(aggregate, now, owner=owner)
    drain_outbox(now)
    MerchantDelivery.objects.filter(endpoint_id=failing).update(
        interruptions=retries.INTERRUPTION_LIMIT
    )
    send_all(now)
    (told,) = told_of(failing)
    assert (
        told.payload["reason"] == f"its sender was interrupted {retries.INTERRUPTION_LIMIT} times"
    )
