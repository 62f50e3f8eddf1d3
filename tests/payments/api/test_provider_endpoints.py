"""Several endpoints of one account: rotating a secret or an address refuses no news."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from django.db import Error, connection
from django.test import Client
from standardwebhooks import Webhook

from audit.log import Actor
from audit.models import AuditEvent
from payments.actions.provider_endpoints import (
    WebhookSecret,
    add_endpoint,
    retire_endpoint,
    rotate_endpoint_secrets,
    secrets_of,
)
from payments.api import provider_events
from payments.errors import FlorinError
from payments.models import ProviderEndpoint, ProviderEndpointUse
from tests.payments.shop import Shop
from webhooks.models import InboxEvent

STAFF = Actor(type="user", id="1", display="alice")
DAY = timedelta(days=1)
NONE = timedelta()


def new_secret() -> str:
    return "whsec_" + secrets.token_hex(16)


def added(shop: Shop, *webhook_secrets: str) -> ProviderEndpoint:
    return add_endpoint(
        account=shop.account,
        name="Second",
        webhook_secrets=webhook_secrets,
        actor=STAFF,
        now=shop.now(),
    )


def rotated(shop: Shop, *webhook_secrets: str, overlap: timedelta = NONE) -> list[WebhookSecret]:
    rotate_endpoint_secrets(
        endpoint=shop.endpoint,
        webhook_secrets=webhook_secrets,
        overlap=overlap,
        actor=STAFF,
        now=shop.now(),
    )
    return secrets_of(shop.endpoint)


def retired(shop: Shop, endpoint: ProviderEndpoint, overlap: timedelta) -> ProviderEndpoint:
    return retire_endpoint(
        endpoint=endpoint, overlap=overlap, reason="moved", actor=STAFF, now=shop.now()
    )


def send(endpoint: ProviderEndpoint, secret: str, event_id: str) -> int:
    """What the endpoint answers to one event, as a process answers that has just started."""
    provider_events.forget_destinations()
    created_at = datetime.now(UTC).isoformat()
    raw = json.dumps(
        {
            "id": event_id,
            "type": "payment.succeeded",
            "created_at": created_at,
            "data": {"object": {"id": "sbx_pay_none"}},
        }
    )
    moment, message = datetime.now(UTC), f"msg_{secrets.token_hex(8)}"
    answer = Client(raise_request_exception=False).post(
        f"/webhooks/sandbox/{endpoint.token}",
        raw,
        content_type="application/json",
        headers={
            "webhook-id": message,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(secret).sign(message, moment, raw),
        },
    )
    return answer.status_code


def test_an_event_that_comes_in_by_two_endpoints_is_one_event(shop: Shop) -> None:
    secret, event_id = new_secret(), f"evt_{secrets.token_hex(8)}"
    second = added(shop, secret)
    assert send(shop.endpoint, shop.webhook_secret, event_id) == 200
    assert send(second, secret, event_id) == 200
    shop.drain()
    rows = InboxEvent.objects.filter(event_id=event_id).order_by("arrival")
    assert {row.account_id for row in rows} == {shop.account.pk}
    assert [row.status for row in rows][1:] == ["duplicate"]


def test_a_secret_opens_its_own_endpoint_only(shop: Shop) -> None:
    secret = new_secret()
    second = added(shop, secret)
    assert send(shop.endpoint, secret, "evt_x") == 400
    assert send(second, shop.webhook_secret, "evt_x") == 400
    assert not InboxEvent.objects.filter(account_id=shop.account.pk).exists()


def test_an_endpoint_without_a_secret_takes_nothing_until_it_is_given_one(shop: Shop) -> None:
    second, secret = added(shop), new_secret()
    assert send(second, secret, "evt_y") == 400
    rotate_endpoint_secrets(
        endpoint=second, webhook_secrets=[secret], overlap=NONE, actor=STAFF, now=shop.now()
    )
    assert send(second, secret, f"evt_{secrets.token_hex(8)}") == 200


def test_former_secrets_hold_until_their_overlap_ends(shop: Shop) -> None:
    former, before = shop.webhook_secret, shop.now()
    new, old = rotated(shop, "whsec_new", overlap=DAY)
    assert (new, old.secret) == (WebhookSecret(secret="whsec_new"), former)
    assert old.expires_at is not None
    assert timedelta() <= old.expires_at - before - DAY < timedelta(minutes=1)
    assert old.holds(old.expires_at - timedelta(microseconds=1))
    assert not old.holds(old.expires_at)
    # One that is ending is not given more time by another change, and goes once it has expired.
    newest, middle, oldest = rotated(shop, "whsec_3", overlap=2 * DAY)
    assert [newest.secret, middle.secret, oldest.secret] == ["whsec_3", "whsec_new", former]
    assert oldest.expires_at == old.expires_at
    shop.ahead_by(days=3)
    assert [known.secret for known in rotated(shop, "whsec_4")] == ["whsec_4"]


def test_a_retiring_endpoint_takes_news_until_its_overlap_ends_and_is_then_unknown(
    shop: Shop,
) -> None:
    first, secret = shop.endpoint, shop.webhook_secret
    added(shop, new_secret())
    ending = retired(shop, first, DAY)
    assert send(ending, secret, f"evt_{secrets.token_hex(8)}") == 200
    assert retired(shop, first, 7 * DAY).retires_at == ending.retires_at
    ended = retired(shop, first, NONE)
    assert send(ended, secret, "evt_z") == 404
    unknown = ProviderEndpoint(account=shop.account, token="unknown")
    assert send(unknown, secret, "evt_z") == 404
    with pytest.raises(FlorinError, match="has retired"):
        retired(shop, first, NONE)


def test_the_last_endpoint_of_an_account_cannot_retire(shop: Shop) -> None:
    with pytest.raises(FlorinError, match="last endpoint"):
        retired(shop, shop.endpoint, DAY)


@pytest.mark.parametrize("overlap", [8 * DAY, -DAY])
def test_an_overlap_is_zero_to_seven_days(shop: Shop, overlap: timedelta) -> None:
    added(shop)
    for change in (
        lambda: rotated(shop, "whsec_x", overlap=overlap),
        lambda: retired(shop, shop.endpoint, overlap),
    ):
        with pytest.raises(FlorinError, match="0 to 7 days"):
            change()


def test_the_database_keeps_an_endpoint_retired_and_its_address(shop: Shop) -> None:
    added(shop)
    first = retired(shop, shop.endpoint, DAY)
    for column, value in (("retires_at", None), ("token", "another"), ("account_id", "pacc_x")):
        with pytest.raises(Error, match="stays retired"):
            ProviderEndpoint.objects.filter(pk=first.pk).update(**{column: value})
    with pytest.raises(Error, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM payments_providerendpoint WHERE id = %s", [first.pk])


def test_when_an_endpoint_was_last_used_is_known_to_a_minute(shop: Shop) -> None:
    assert send(shop.endpoint, new_secret(), "evt_no") == 400
    assert shop.endpoint.last_event_at is None
    send(shop.endpoint, shop.webhook_secret, f"evt_{secrets.token_hex(8)}")
    known = ProviderEndpointUse.objects.get(endpoint=shop.endpoint).last_event_at
    send(shop.endpoint, shop.webhook_secret, f"evt_{secrets.token_hex(8)}")
    assert shop.endpoint.last_event_at == known


def test_every_change_is_audited_without_a_secret_or_an_address(shop: Shop) -> None:
    secret = new_secret()
    second = added(shop, secret)
    rotated(shop, "whsec_new", overlap=DAY)
    retired(shop, shop.endpoint, DAY)
    told = AuditEvent.objects.filter(stream_type="provider_account", stream_id=shop.account.pk)
    kinds = [event.event_type for event in told.order_by("id")]
    assert kinds[-3:] == [
        "provider_endpoint.added",
        "provider_endpoint.secrets_rotated",
        "provider_endpoint.retired",
    ]
    for event in told:
        for hidden in (secret, "whsec_new", shop.endpoint.token, second.token):
            assert hidden not in event.body
