"""What the application cannot do to endpoints, deliveries and answers, whatever its code says."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import psycopg
import pytest

from audit import log
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from webhooks import delivery, endpoints, transport
from webhooks.models import DeliveryAttempt, EndpointHealth, MerchantDelivery, WebhookEndpoint

OK = transport.Answer(status=200, body="ok", duration_ms=12, address="93.184.216.34")
REFUSED = psycopg.errors.IntegrityConstraintViolation
FORBIDDEN = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def made(now: datetime) -> endpoints.EndpointView:
    with log.acting_as(ACTOR):
        view, _ = endpoints.create(
            owner=f"mer_{secrets.token_hex(8)}",
            livemode=False,
            url="http://93.184.216.34/",
            event_types=["order.*"],
            now=now,
        )
    return view


@pytest.fixture
def claimed(
    made: endpoints.EndpointView, aggregate: str, now: datetime
) -> delivery.ClaimedDelivery:
    """The one delivery of the endpoint, taken for the second time."""
    emit(aggregate, now, owner=made.owner)
    drain_outbox(now)
    for moment in (now, now + timedelta(minutes=2)):
        taken = delivery.claim(now=moment, limit=100)
    (mine,) = [one for one in taken if one.endpoint_id == made.id]
    return mine


@pytest.mark.parametrize("table", ["webhooks_endpoint", "webhooks_endpoint_health"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_an_endpoint_cannot_be_deleted(
    made: endpoints.EndpointView,
    second_connection: psycopg.Connection,
    table: str,
    statement: str,
) -> None:
    with pytest.raises(FORBIDDEN):
        second_connection.execute(statement.format(table).encode())
    assert WebhookEndpoint.objects.filter(pk=made.id).exists()
    assert EndpointHealth.objects.filter(pk=made.id).exists()


@pytest.mark.parametrize(
    "change",
    ["owner = 'mer_another'", "livemode = true", "id = 'we_other'", "created_at = now()"],
)
def test_an_endpoint_stays_its_owners_in_its_mode(
    made: endpoints.EndpointView, second_connection: psycopg.Connection, change: str
) -> None:
    with pytest.raises(REFUSED, match="its owner stays"):
        second_connection.execute(
            f"UPDATE webhooks_endpoint SET {change} WHERE id = %s".encode(), [made.id]
        )


def test_a_deleted_endpoint_does_not_come_back(
    made: endpoints.EndpointView, second_connection: psycopg.Connection, now: datetime
) -> None:
    with log.acting_as(ACTOR):
        endpoints.delete(owner=made.owner, livemode=False, endpoint_id=made.id, now=now)
    with pytest.raises(REFUSED, match="a deleted one is gone"):
        second_connection.execute(
            "UPDATE webhooks_endpoint SET status = 'enabled' WHERE id = %s", [made.id]
        )


@pytest.mark.parametrize("change", ["fence = 1", "fence = 0", "fence = 4", "fence = -1"])
def test_a_fence_grows_by_one_and_never_falls(
    claimed: delivery.ClaimedDelivery, second_connection: psycopg.Connection, change: str
) -> None:
    assert claimed.fence == 2
    with pytest.raises(REFUSED, match="its fence grows by one"):
        second_connection.execute(
            f"UPDATE webhooks_merchant_delivery SET {change} WHERE id = %s".encode(), [claimed.id]
        )


def test_a_delivery_is_not_turned_into_another(
    claimed: delivery.ClaimedDelivery,
    second_connection: psycopg.Connection,
    aggregate: str,
    now: datetime,
) -> None:
    other = emit(f"{aggregate}_other", now)
    for change, value in (("event_id", other.id), ("created_at", now - timedelta(days=400))):
        with pytest.raises(REFUSED, match="its event stays"):
            second_connection.execute(
                f"UPDATE webhooks_merchant_delivery SET {change} = %s WHERE id = %s".encode(),
                [value, claimed.id],
            )


@pytest.mark.parametrize(
    "change",
    ["response_body = 'other'", "outcome = 'failed'", "outcome = 'started'", "number = 7"],
)
def test_an_answer_that_was_written_stays_as_it_is(
    claimed: delivery.ClaimedDelivery,
    second_connection: psycopg.Connection,
    now: datetime,
    change: str,
) -> None:
    assert delivery.record(claimed, OK, now=now)
    with pytest.raises(REFUSED, match="an attempt ends once"):
        second_connection.execute(
            f"UPDATE webhooks_delivery_attempt SET {change}"
            " WHERE delivery_id = %s AND number = 2".encode(),
            [claimed.id],
        )


@pytest.mark.parametrize("change", ["url = 'http://else.example/'", "started_at = now()"])
def test_what_was_sent_where_and_when_stays_while_it_is_open(
    claimed: delivery.ClaimedDelivery, second_connection: psycopg.Connection, change: str
) -> None:
    with pytest.raises(REFUSED, match="an attempt ends once"):
        second_connection.execute(
            f"UPDATE webhooks_delivery_attempt SET {change} WHERE delivery_id = %s".encode(),
            [claimed.id],
        )


@pytest.mark.parametrize("answer", [OK, transport.Answer(status=500, error="status 500")])
def test_an_answer_that_is_stored_twice_counts_once(
    claimed: delivery.ClaimedDelivery, now: datetime, answer: transport.Answer
) -> None:
    """As after a commit whose success was never heard of."""
    assert delivery.record(claimed, answer, now=now)
    before = MerchantDelivery.objects.values().get(pk=claimed.id)
    assert not delivery.record(claimed, answer, now=now)
    assert MerchantDelivery.objects.values().get(pk=claimed.id) == before
    outcomes = DeliveryAttempt.objects.filter(delivery_id=claimed.id).order_by("number")
    assert [one.outcome for one in outcomes] == [
        "started",
        "succeeded" if answer.succeeded else "failed",
    ]
