"""Deliveries to merchants: claimed fairly, one stable id, recorded by the fence's holder."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
import standardwebhooks
from django.db import connection
from pytest_django import Settings
from structlog.testing import capture_logs

from audit import log
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from tests.webhooks.receiver import Receiver, receiving
from webhooks import claims, delivery, endpoints, retries, transport
from webhooks.models import (
    DeliveryAttempt,
    DomainEvent,
    EndpointHealth,
    MerchantDelivery,
    WebhookEndpoint,
)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    with receiving(0) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        yield server


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


def endpoint(owner: str, url: str, now: datetime) -> tuple[str, str]:
    with log.acting_as(ACTOR):
        view, secret = endpoints.create(
            owner=owner, livemode=False, url=url, event_types=["order.*"], now=now
        )
    return view.id, secret


def promised(owner: str, aggregate: str, now: datetime, *, events: int = 1) -> None:
    for _ in range(events):
        emit(aggregate, now, owner=owner)
    drain_outbox(now)


def claim_of(
    endpoint_id: str, now: datetime, *, limit: int = 100
) -> list[delivery.ClaimedDelivery]:
    return [
        claimed
        for claimed in delivery.claim(now=now, limit=limit)
        if claimed.endpoint_id == endpoint_id
    ]


def send_all(now: datetime) -> None:
    delivery.deliver(clock=lambda: now, stopping=lambda: False)


def row_of(endpoint_id: str) -> MerchantDelivery:
    return MerchantDelivery.objects.get(endpoint_id=endpoint_id)


OK = transport.Answer(status=200, body="ok", duration_ms=12, address="127.0.0.1")
BUSY = transport.Answer(status=503, error="status 503", retry_after="900")


def test_an_event_arrives_signed_in_its_envelope_and_is_logged(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, settings: Settings
) -> None:
    endpoint_id, secret = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    send_all(now)
    (request,) = receiver.requests
    event = DomainEvent.objects.get(aggregate_id=aggregate)
    assert json.loads(request.body) == {
        "id": event.pk,
        "object": "event",
        "type": "order.changed",
        "api_version": settings.FLORIN_API_VERSION,
        "created": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "livemode": False,
        "data": {"object": {"id": aggregate}},
    }
    assert request.headers["webhook-id"] == event.pk
    assert request.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert request.headers["content-type"] == "application/json"
    resigned = standardwebhooks.Webhook(secret).sign(event.pk, now, request.body.decode())
    assert request.headers["webhook-signature"] == resigned
    row = row_of(endpoint_id)
    attempt = DeliveryAttempt.objects.get(delivery=row)
    assert (row.status, row.attempts, row.finished_at) == ("delivered", 1, now)
    assert (attempt.outcome, attempt.response_status, attempt.response_body) == (
        "succeeded",
        200,
        "ok",
    )
    assert attempt.duration_ms is not None
    assert EndpointHealth.objects.get(pk=endpoint_id).last_success_at == now


def test_a_failure_is_tried_again_with_the_same_id_and_body_and_a_new_timestamp(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    receiver.answer = (500, {}, b"no")
    send_all(now)
    row = row_of(endpoint_id)
    assert (row.status, row.attempts, row.reason) == ("retrying", 1, "status 500")
    assert row.due_at is not None
    assert 4 <= (row.due_at - now).total_seconds() <= 6
    receiver.answer = (204, {}, b"")
    send_all(row.due_at)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert row_of(endpoint_id).status == "delivered"


def test_ten_failures_over_three_days_make_a_dead_letter_that_can_be_replayed(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    receiver.answer = (500, {}, b"no")
    moment: datetime = now
    for _ in range(retries.MERCHANT_ATTEMPT_LIMIT):
        send_all(moment)
        last, moment = moment, row_of(endpoint_id).due_at or moment
    row = row_of(endpoint_id)
    assert (row.status, row.attempts, len(receiver.requests)) == ("dead", 10, 10)
    assert "10 attempts failed" in row.reason
    assert timedelta(hours=56) < last - now < timedelta(hours=90)
    assert DomainEvent.objects.filter(aggregate_id=f"merchant:{row.pk}").count() == 1
    receiver.answer = (200, {}, b"")
    assert delivery.replay([row.pk], actor=ACTOR, now=moment) == 1
    send_all(moment)
    assert row_of(endpoint_id).status == "delivered"
    assert receiver.requests[-1].headers["webhook-id"] == row.event_id


def test_a_dead_delivery_is_discarded_only_with_words(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    MerchantDelivery.objects.filter(endpoint_id=endpoint_id).update(
        status="dead", due_at=None, reason="test"
    )
    row = row_of(endpoint_id)
    with pytest.raises(ValueError, match="Say why"):
        delivery.discard([row.pk], reason="", actor=ACTOR, now=now)
    assert delivery.discard([row.pk], reason="merchant left", actor=ACTOR, now=now) == 1
    assert (row_of(endpoint_id).status, row_of(endpoint_id).reason) == (
        "discarded",
        "merchant left",
    )


def test_retry_after_moves_the_next_attempt(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    (claimed,) = claim_of(endpoint_id, now)
    delivery.record(claimed, BUSY, now=now)
    assert row_of(endpoint_id).due_at == now + timedelta(seconds=900)


def test_410_disables_the_endpoint_and_gives_up_its_deliveries(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now, events=3)
    receiver.answer = (410, {}, b"gone")
    send_all(now)
    row = WebhookEndpoint.objects.get(pk=endpoint_id)
    assert (row.status, row.disabled_reason) == ("disabled", "it answered 410 Gone")
    open_ones = MerchantDelivery.objects.filter(
        endpoint_id=endpoint_id, status__in=("pending", "retrying")
    )
    assert not open_ones.exists()
    assert DomainEvent.objects.filter(aggregate_id=endpoint_id).count() == 1


def test_a_claim_is_a_lease_that_runs_out_and_is_then_taken_by_another(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    (first,) = claim_of(endpoint_id, now)
    assert claim_of(endpoint_id, now + timedelta(seconds=59)) == []
    (second,) = claim_of(endpoint_id, now + timedelta(seconds=61))
    assert (first.fence, second.fence) == (1, 2)
    assert row_of(endpoint_id).interruptions == 1


def test_an_answer_that_comes_after_the_lease_was_taken_over_is_not_accepted(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    (late,) = claim_of(endpoint_id, now)
    later = now + timedelta(seconds=61)
    (current,) = claim_of(endpoint_id, later)
    assert delivery.record(current, OK, now=later)
    assert not delivery.record(late, BUSY, now=later)
    assert row_of(endpoint_id).status == "delivered"
    outcomes = DeliveryAttempt.objects.filter(delivery=row_of(endpoint_id)).order_by("number")
    assert [attempt.outcome for attempt in outcomes] == ["stale", "succeeded"]


def test_a_delivery_that_kills_its_sender_twenty_times_is_a_dead_letter(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    for number in range(retries.INTERRUPTION_LIMIT):
        assert len(claim_of(endpoint_id, now + timedelta(minutes=2 * number))) == 1
    assert claim_of(endpoint_id, now + timedelta(minutes=60)) == []
    assert row_of(endpoint_id).status == "dead"


def test_one_endpoint_gets_no_more_than_its_share_of_requests_at_a_time(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, settings: Settings
) -> None:
    settings.FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT = 2
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now, events=5)
    first = claim_of(endpoint_id, now)
    assert len(first) == 2
    assert claim_of(endpoint_id, now) == []
    delivery.record(first[0], OK, now=now)
    assert len(claim_of(endpoint_id, now)) == 1


def test_a_claim_deals_to_every_endpoint_before_any_gets_a_second(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    busy, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now - timedelta(minutes=5), events=4)
    quiet, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    MerchantDelivery.objects.exclude(endpoint_id__in=(busy, quiet)).filter(
        status__in=("pending", "retrying")
    ).update(status="discarded", due_at=None, lease_until=None, reason="of another test")
    claimed = delivery.claim(now=now, limit=2)
    assert {one.endpoint_id for one in claimed} == {busy, quiet}


def test_a_promise_to_an_endpoint_that_was_switched_off_meanwhile_is_not_sent(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    WebhookEndpoint.objects.filter(pk=endpoint_id).update(status="disabled")
    assert claim_of(endpoint_id, now) == []
    assert (row_of(endpoint_id).status, row_of(endpoint_id).reason) == (
        "discarded",
        "the endpoint is disabled",
    )


def test_failures_in_a_row_are_counted_from_the_first(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    (claimed,) = claim_of(endpoint_id, now)
    delivery.record(claimed, BUSY, now=now)
    later = now + timedelta(hours=1)
    (claimed,) = claim_of(endpoint_id, later)
    delivery.record(claimed, BUSY, now=later)
    health = EndpointHealth.objects.get(pk=endpoint_id)
    assert (health.consecutive_failures, health.failing_since) == (2, now)


def test_two_senders_at_once_send_every_delivery_once(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, settings: Settings
) -> None:
    settings.FLORIN_WEBHOOK_CONCURRENCY = 4
    endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now, events=30)

    def work() -> None:
        try:
            send_all(now)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert (len(ids), len(set(ids))) == (30, 30)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 x\r\nRetry-After: Mon, 01 Jan 2024 00:00:00 +" + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 503 x\r\nRetry-After: Mon, 01 Jan " + b"9" * 30 + b" 00:00:00 GMT\r\n\r\n",
        b"no \x00 HTTP\r\n\r\n",
    ],
)
def test_an_answer_made_to_break_its_sender_is_a_failure_like_any_other(
    owner: str, aggregate: str, now: datetime, receiver: Receiver, answer: bytes
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    receiver.answer = lambda handler: handler.wfile.write(answer) and None  # type: ignore[assignment]
    send_all(now)
    row = row_of(endpoint_id)
    assert (row.status, row.attempts, row.interruptions) == ("retrying", 1, 0)
    assert row.reason


def test_an_answer_that_cannot_be_stored_costs_no_other_answer(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    bad, _ = endpoint(owner, f"{receiver.url}?bad", now)
    good, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)

    def send(claimed: delivery.ClaimedDelivery) -> transport.Answer:
        return transport.Answer(status=200, body="\x00") if claimed.endpoint_id == bad else OK

    delivery.deliver(clock=lambda: now, stopping=lambda: False, send=send)
    assert (row_of(good).status, row_of(bad).status) == ("delivered", "pending")
    (again,) = claim_of(bad, now + timedelta(seconds=61))
    assert delivery.record(again, OK, now=now + timedelta(seconds=61))


def stored_elsewhere(endpoint_id: str) -> DeliveryAttempt:
    return DeliveryAttempt.objects.get(delivery__endpoint_id=endpoint_id)


def test_an_answer_whose_row_is_held_costs_no_other_answer_and_is_left_to_its_lease(
    owner: str,
    aggregate: str,
    now: datetime,
    receiver: Receiver,
    second_connection: psycopg.Connection,
) -> None:
    held, _ = endpoint(owner, f"{receiver.url}?held", now)
    free, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    with second_connection.transaction():
        second_connection.execute(
            "SELECT FROM webhooks_endpoint_health WHERE endpoint_id = %s FOR UPDATE", [held]
        )
        assert delivery.deliver(clock=lambda: now, stopping=lambda: False) == 2
        assert (row_of(free).status, row_of(held).status) == ("delivered", "pending")
        assert stored_elsewhere(held).outcome == "started"
    later = now + timedelta(seconds=61)
    (again,) = claim_of(held, later)
    assert delivery.record(again, OK, now=later)
    assert len(receiver.requests) == 2


def test_an_answer_that_loses_a_deadlock_is_stored_a_moment_later(
    owner: str,
    aggregate: str,
    now: datetime,
    receiver: Receiver,
    second_connection: psycopg.Connection,
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    delivery_id, has_lock = row_of(endpoint_id).pk, threading.Event()

    def meet() -> None:
        """Hold what the answer takes second, and ask for what it takes first."""
        with contextlib.suppress(psycopg.errors.DeadlockDetected), second_connection.transaction():
            second_connection.execute(
                "SELECT FROM webhooks_endpoint_health WHERE endpoint_id = %s FOR UPDATE",
                [endpoint_id],
            )
            has_lock.set()
            wait_for_a_waiter(second_connection)
            second_connection.execute(
                "SELECT FROM webhooks_merchant_delivery WHERE id = %s FOR UPDATE", [delivery_id]
            )

    meeting = threading.Thread(target=meet)
    meeting.start()
    assert has_lock.wait(30)
    with capture_logs() as said:
        assert delivery.deliver(clock=lambda: now, stopping=lambda: False) == 1
    meeting.join()
    row = row_of(endpoint_id)
    assert (row.status, row.attempts, row.interruptions) == ("delivered", 1, 0)
    assert stored_elsewhere(endpoint_id).outcome == "succeeded"
    assert len(receiver.requests) == 1
    met = [entry for entry in said if entry["event"] == "delivery.record_met_another"]
    assert [(entry["delivery"], entry["last"]) for entry in met] == [(delivery_id, False)]


def wait_for_a_waiter(watching: psycopg.Connection) -> None:
    """Until somebody waits for a lock that this connection holds."""
    deadline = time.monotonic() + 30
    waiters = "SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    while watching.execute(waiters).fetchone() is None:
        assert time.monotonic() < deadline, "nobody ever waited"
        time.sleep(0.01)


def test_an_endpoint_whose_secret_cannot_be_read_holds_up_no_other(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    unreadable, _ = endpoint(owner, f"{receiver.url}?unreadable", now)
    readable, _ = endpoint(owner, receiver.url, now)
    WebhookEndpoint.objects.filter(pk=unreadable).update(secret=b"of a key that is lost")
    promised(owner, aggregate, now)
    send_all(now)
    assert (row_of(readable).status, row_of(unreadable).status) == ("delivered", "dead")
    assert "secret cannot be read" in row_of(unreadable).reason


def test_no_transaction_is_open_while_a_request_is_made(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    seen: list[object] = []

    def answer(handler: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
                " AND datname = current_database()"
            )
            seen.append(cursor.fetchone())
        connection.close()
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]

    receiver.answer = answer
    send_all(now)
    assert seen == [(0,)]
    assert row_of(endpoint_id).status == "delivered"


def test_sending_stops_when_asked_and_leaves_the_rest_due(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    assert delivery.deliver(clock=lambda: now, stopping=lambda: True) == 0
    assert delivery.claim(now=now, limit=0) == []
    assert row_of(endpoint_id).status == "pending"


@pytest.mark.parametrize(("filling", "thin"), [(200_000, False), (262_144, True)])
def test_an_object_too_large_for_a_body_goes_as_its_id_alone(
    owner: str,
    aggregate: str,
    now: datetime,
    receiver: Receiver,
    filling: int,
    thin: bool,
) -> None:
    endpoint(owner, receiver.url, now)
    emit(aggregate, now, owner=owner, object="order", note="x" * filling)
    drain_outbox(now)
    send_all(now)
    (request,) = receiver.requests
    assert len(request.body) <= claims.BODY_BYTES_MAX
    data = json.loads(request.body)["data"]
    if thin:
        assert data == {"object": {"id": aggregate, "object": "order"}, "thin": True}
    else:
        assert len(data["object"]["note"]) == filling
