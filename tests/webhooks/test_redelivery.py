"""Sent again: one delivery, what was given up, a test event; the owner's own, audited."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import standardwebhooks
from pytest_django import Settings

from audit import log
from audit.models import AuditEvent
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.test_delivery import (
    OK,
    claim_of,
    endpoint,
    promised,
    row_of,
    send_all,
)
from webhooks import delivery, endpoints, recovery, redelivery, tallies, transport
from webhooks.models import DomainEvent, EndpointHealth, MerchantDelivery, WebhookEndpoint

FAILED = transport.Answer(status=500, error="status 500", duration_ms=5)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    with receiving(0) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        yield server


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


def of(owner: str, endpoint_id: str) -> dict[str, object]:
    return {"owner": owner, "livemode": False, "endpoint_id": endpoint_id}


def audited(endpoint_id: str) -> list[str]:
    rows = AuditEvent.objects.filter(stream_type="webhook_endpoint", stream_id=endpoint_id)
    return list(rows.order_by("id").values_list("event_type", flat=True))


def test_a_delivered_one_is_sent_again_under_the_same_id_and_says_so_in_the_trail(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    send_all(now)
    with log.acting_as(ACTOR):
        row = redelivery.resend(
            **of(owner, endpoint_id),  # type: ignore[arg-type]
            delivery_id=row_of(endpoint_id).pk,
            now=now,
        )
    assert row.status == "pending"
    send_all(now)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    found, attempts = redelivery.get(**of(owner, endpoint_id), delivery_id=row.id)  # type: ignore[arg-type]
    assert (found.status, [attempt.number for attempt in attempts]) == ("delivered", [2, 1])
    assert "webhook_endpoint.resent" in audited(endpoint_id)


def test_one_that_is_being_sent_is_left_alone(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    (claimed,) = claim_of(endpoint_id, now)
    with log.acting_as(ACTOR):
        redelivery.resend(**of(owner, endpoint_id), delivery_id=claimed.id, now=now)  # type: ignore[arg-type]
    assert delivery.record(claimed, OK, now=now)


def test_everything_given_up_since_a_moment_is_recovered_once_and_nothing_older(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now - timedelta(hours=3))
    promised(owner, aggregate, now - timedelta(hours=1), events=2)
    with log.acting_as(ACTOR):
        endpoints.disable(endpoint_id=endpoint_id, reason="a test", now=now)
        with pytest.raises(endpoints.EndpointInvalid, match="enable it"):
            recovery.recover(
                **of(owner, endpoint_id),  # type: ignore[arg-type]
                since=now - timedelta(hours=2),
                now=now,
            )
        endpoints.update(**of(owner, endpoint_id), enabled=True, now=now)  # type: ignore[arg-type]
        counts = [
            recovery.recover(
                **of(owner, endpoint_id),  # type: ignore[arg-type]
                since=now - timedelta(hours=2),
                now=now,
            ).recovered
            for _ in range(2)
        ]
    assert counts == [2, 0]
    send_all(now)
    assert len(receiver.requests) == 2
    assert MerchantDelivery.objects.filter(endpoint_id=endpoint_id, status="discarded").count() == 1


@pytest.mark.parametrize("ago", [timedelta(days=15), timedelta(seconds=-1)])
def test_a_moment_out_of_reach_is_refused_with_its_field(
    owner: str, now: datetime, receiver: Receiver, ago: timedelta
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    with pytest.raises(endpoints.EndpointInvalid) as refused:
        recovery.recover(**of(owner, endpoint_id), since=now - ago, now=now)  # type: ignore[arg-type]
    assert refused.value.field == "since"


def test_a_test_event_goes_signed_to_one_endpoint_only_whatever_it_subscribed_to(
    owner: str, now: datetime, receiver: Receiver
) -> None:
    tested, secret = endpoint(owner, f"{receiver.url}/tested", now)
    endpoint(owner, f"{receiver.url}/other", now)
    with log.acting_as(ACTOR):
        made = redelivery.send_test(**of(owner, tested), now=now)  # type: ignore[arg-type]
    drain_outbox(now)
    send_all(now)
    (request,) = receiver.requests
    assert request.path.endswith("/tested")
    signed = standardwebhooks.Webhook(secret).sign(made.event_id, now, request.body.decode())
    assert request.headers["webhook-signature"] == signed
    assert redelivery.get(**of(owner, tested), delivery_id=made.id)[0].status == "delivered"  # type: ignore[arg-type]
    assert "webhook_endpoint.tested" in audited(tested)


def test_nobody_reaches_anothers_or_the_other_modes(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    row = row_of(endpoint_id)
    for who in (
        {"owner": "mer_other", "livemode": False, "endpoint_id": endpoint_id},
        {"owner": owner, "livemode": True, "endpoint_id": endpoint_id},
    ):
        for verb in (
            lambda who=who: redelivery.list_for(**who),
            lambda who=who: redelivery.get(**who, delivery_id=row.pk),
            lambda who=who: redelivery.resend(**who, delivery_id=row.pk, now=now),
            lambda who=who: recovery.recover(**who, since=now, now=now),
            lambda who=who: redelivery.send_test(**who, now=now),
        ):
            with pytest.raises(endpoints.EndpointNotFound):
                verb()
    other, _ = endpoint(owner, receiver.url, now)
    with pytest.raises(redelivery.DeliveryNotFound):
        redelivery.get(**of(owner, other), delivery_id=row.pk)  # type: ignore[arg-type]


def test_a_day_of_failures_is_told_once_and_a_success_ends_it(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    for hours, answer in ((0, FAILED), (23, FAILED), (25, FAILED), (26, FAILED), (27, OK)):
        moment = now + timedelta(hours=hours)
        promised(owner, aggregate, moment)
        delivery.record(claim_of(endpoint_id, moment)[0], answer, now=moment)
    told = DomainEvent.objects.filter(aggregate_id=endpoint_id).order_by("seq")
    assert [event.type for event in told] == ["endpoint.failing", "endpoint.recovered"]
    assert told[0].payload["consecutive_failures"] == 3
    assert EndpointHealth.objects.get(pk=endpoint_id).warned_at is None


def test_five_days_of_nothing_but_failures_disable_the_endpoint(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    for hours in (0, 119, 120):
        moment = now + timedelta(hours=hours)
        promised(owner, aggregate, moment)
        delivery.record(claim_of(endpoint_id, moment)[0], FAILED, now=moment)
        row = WebhookEndpoint.objects.get(pk=endpoint_id)
        assert row.status == ("enabled" if hours < 120 else "disabled")
    assert "3 requests failed since" in row.disabled_reason
    types = DomainEvent.objects.filter(aggregate_id=endpoint_id).order_by("seq")
    assert [event.type for event in types] == ["endpoint.failing", "endpoint.disabled"]


def test_one_that_was_enabled_again_is_warned_of_again_before_it_is_disabled_again(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)

    def fail(*hours: int) -> None:
        for hour in hours:
            moment = now + timedelta(hours=hour)
            promised(owner, aggregate, moment)
            delivery.record(claim_of(endpoint_id, moment)[0], FAILED, now=moment)

    fail(0, 119, 120)
    with log.acting_as(ACTOR):
        endpoints.update(
            **of(owner, endpoint_id),  # type: ignore[arg-type]
            enabled=True,
            now=now + timedelta(hours=121),
        )
    fail(122, 147)
    told = DomainEvent.objects.filter(aggregate_id=endpoint_id).order_by("seq")
    failing, disabled = "endpoint.failing", "endpoint.disabled"
    assert [event.type for event in told] == [failing, disabled, failing]


def test_requests_are_counted_by_hour_and_forgotten_after_a_month(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    for days, answer in ((0, FAILED), (2, OK), (2, FAILED), (33, OK)):
        moment = now + timedelta(days=days)
        promised(owner, aggregate, moment)
        delivery.record(claim_of(endpoint_id, moment)[0], answer, now=moment)
        if days == 2:
            tally = tallies.of_last_day([endpoint_id], now=moment)[endpoint_id]
    assert (tally.succeeded, tally.failed, tally.success_ratio) == (1, 1, 0.5)
    days_shown = tallies.by_day(endpoint_id, days=30, now=now + timedelta(days=33))
    assert (len(days_shown), days_shown[-1][1].succeeded) == (30, 1)
    assert EndpointHealth.objects.get(pk=endpoint_id).endpoint.hours.count() == 1


def test_what_was_never_promised_is_recovered_once_and_nobody_elses(
    owner: str, aggregate: str, now: datetime, receiver: Receiver
) -> None:
    for hours in (30, 2, 1):
        emit(aggregate, now - timedelta(hours=hours), owner=owner)
    emit(aggregate, now, owner=owner, type="invoice.sent")
    emit(aggregate, now, owner=f"{owner}x")
    drain_outbox(now)
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    which = of(owner, endpoint_id)
    since = now - timedelta(hours=3)
    found = recovery.count(**which, since=since, now=now)  # type: ignore[arg-type]
    assert (found.failed, found.missing) == (0, 2)
    with log.acting_as(ACTOR):
        counts = [
            recovery.recover(**which, since=since, include=include, now=now)  # type: ignore[arg-type]
            for include in (["failed"], ["failed", "missing"], ["missing"])
        ]
        with pytest.raises(endpoints.EndpointInvalid) as refused:
            recovery.recover(**which, since=since, include=["all"], now=now)  # type: ignore[arg-type]
    assert refused.value.field == "include"
    assert [(each.recovered, each.missing) for each in counts] == [(0, 0), (2, 2), (0, 0)]
    send_all(now)
    assert len(receiver.requests) == 2
    with log.acting_as(ACTOR):
        endpoints.update(**which, event_types=["*"], now=now)  # type: ignore[arg-type]
        widened = recovery.recover(**which, since=since, include=["missing"], now=now)  # type: ignore[arg-type]
    assert (widened.missing, widened.has_more) == (1, False)


def test_more_than_fit_into_one_call_are_recovered_by_the_next(
    owner: str,
    aggregate: str,
    now: datetime,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "PER_CALL", 2)
    endpoint_id, _ = endpoint(owner, receiver.url, now)
    promised(owner, aggregate, now)
    MerchantDelivery.objects.filter(endpoint_id=endpoint_id).update(
        status="dead", reason="a test", due_at=None
    )
    for _ in range(2):
        emit(aggregate, now, owner=owner)
    which: dict[str, object] = {**of(owner, endpoint_id), "since": now, "now": now}
    with log.acting_as(ACTOR):
        counts = [
            recovery.recover(**which, include=recovery.KINDS)  # type: ignore[arg-type]
            for _ in range(2)
        ]
    assert [(each.recovered, each.missing, each.has_more) for each in counts] == [
        (2, 1, True),
        (1, 1, False),
    ]
