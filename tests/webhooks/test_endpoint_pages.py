"""Merchants' endpoints in the back office: sent again, tested, recovered, switched off and on."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from audit import log
from audit.models import AuditEvent
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from tests.webhooks.test_dead_letters import staff
from webhooks import endpoints
from webhooks.models import MerchantDelivery, WebhookEndpoint

LOOKS = ("view_merchantdelivery", "view_webhookendpoint")
MENDS = (*LOOKS, "change_merchantdelivery", "change_webhookendpoint")


@pytest.fixture
def now() -> datetime:
    """The real time: it is what the pages act at."""
    return datetime.now(UTC)


@pytest.fixture
def endpoint(aggregate: str, now: datetime) -> str:
    """An endpoint with one delivered, one dead and one discarded delivery, the last of today."""
    with log.acting_as(ACTOR):
        made, _ = endpoints.create(
            owner=f"mer_{secrets.token_hex(6)}",
            livemode=False,
            url="http://93.184.216.34/",
            event_types=["order.*"],
            now=now,
        )
    for _ in range(3):
        emit(aggregate, now, owner=made.owner)
    drain_outbox(now)
    rows = MerchantDelivery.objects.filter(endpoint_id=made.id).order_by("pk")
    for row, status in zip(rows, ("delivered", "dead", "discarded"), strict=True):
        MerchantDelivery.objects.filter(pk=row.pk).update(
            status=status, reason="a test", due_at=None, finished_at=now
        )
    return made.id


def deliveries(endpoint_id: str) -> list[MerchantDelivery]:
    return list(MerchantDelivery.objects.filter(endpoint_id=endpoint_id).order_by("pk"))


def verb(endpoint_id: str, name: str) -> str:
    return reverse(f"admin:webhooks_webhookendpoint_{name}", args=[endpoint_id])


def audited(endpoint_id: str, user: User) -> list[str]:
    """What this person did with the endpoint, by the audit trail."""
    rows = AuditEvent.objects.filter(
        stream_type="webhook_endpoint",
        stream_id=endpoint_id,
        actor_id=str(user.pk),
        actor_display=user.get_username(),
        event_type__startswith="webhook_endpoint.",
    )
    return list(rows.order_by("id").values_list("event_type", flat=True))


def said(client: Client, url: str, data: dict[str, object] | None = None) -> str:
    response = client.post(url, data or {}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_a_delivered_one_is_sent_again_from_its_page(endpoint: str) -> None:
    client, user = staff(*MENDS)
    row = deliveries(endpoint)[0]
    url = reverse("admin:webhooks_merchantdelivery_send_again", args=[row.pk])
    assert url in client.get(reverse("admin:webhooks_merchantdelivery_change", args=[row.pk])).text
    assert "93.184.216.34" in client.get(url).text
    assert "It is sent again now" in said(client, url)
    assert deliveries(endpoint)[0].status == "pending"
    assert audited(endpoint, user) == ["webhook_endpoint.resent"]


def test_selected_ones_are_sent_again_and_those_of_a_disabled_endpoint_are_not(
    endpoint: str, now: datetime
) -> None:
    client, user = staff(*MENDS)
    asked = {
        "action": "send_selected_again",
        "_selected_action": [row.pk for row in deliveries(endpoint)],
        "index": 0,
    }
    changelist = reverse("admin:webhooks_merchantdelivery_changelist")
    assert "3 queued again" in said(client, changelist, asked)
    assert {row.status for row in deliveries(endpoint)} == {"pending"}
    assert audited(endpoint, user) == ["webhook_endpoint.resent"] * 3
    with log.acting_as(ACTOR):
        endpoints.disable(endpoint_id=endpoint, reason="a test", now=now)
    page = said(client, changelist, asked)
    assert "0 queued again" in page
    assert "3 left alone" in page
    row = deliveries(endpoint)[0]
    refused = said(client, reverse("admin:webhooks_merchantdelivery_send_again", args=[row.pk]))
    assert "enable it first" in refused


def test_a_test_event_leads_to_the_page_of_its_delivery(endpoint: str) -> None:
    client, user = staff(*MENDS)
    response = client.post(verb(endpoint, "send_test"))
    made = deliveries(endpoint)[-1]
    assert response["Location"] == reverse("admin:webhooks_merchantdelivery_change", args=[made.pk])
    assert (made.event.type, made.status) == ("endpoint.test", "pending")
    assert audited(endpoint, user) == ["webhook_endpoint.tested"]


def test_what_failed_and_what_is_missing_is_counted_and_then_sent(
    endpoint: str, aggregate: str, now: datetime
) -> None:
    client, user = staff(*MENDS)
    owner = WebhookEndpoint.objects.get(pk=endpoint).owner
    emit(aggregate, now, owner=owner)  # and nobody has fanned it out yet
    since = (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    page = client.get(verb(endpoint, "recover"), {"since": since}).text
    assert [f'florin-number">{count}</td>' in page for count in (2, 1)] == [True, True]
    assert {row.status for row in deliveries(endpoint)} == {"delivered", "dead", "discarded"}
    asked: dict[str, object] = {"since": since, "include": ["failed", "missing"]}
    answer = said(client, verb(endpoint, "recover"), asked)
    assert "3 queued, 1 of them never promised before" in answer
    assert sorted(row.status for row in deliveries(endpoint)) == ["delivered", *["pending"] * 3]
    assert audited(endpoint, user) == ["webhook_endpoint.recovered"]
    assert "Name one or both" in said(client, verb(endpoint, "recover"), {"since": since})
    old = client.get(verb(endpoint, "recover"), {"since": "2020-01-01T00:00:00"}).text
    assert "Give a moment of the last 14 days" in old


def test_it_is_disabled_with_words_and_enabled_again(endpoint: str) -> None:
    client, user = staff(*MENDS)
    said(client, verb(endpoint, "disable"), {"reason": " "})
    assert WebhookEndpoint.objects.get(pk=endpoint).status == "enabled"
    assert "It is disabled" in said(client, verb(endpoint, "disable"), {"reason": "asked by phone"})
    page = client.get(reverse("admin:webhooks_webhookendpoint_change", args=[endpoint])).text
    assert "asked by phone" in page
    assert verb(endpoint, "send_test") not in page
    assert verb(endpoint, "enable") in page
    assert "It is enabled" in said(client, verb(endpoint, "enable"))
    row = WebhookEndpoint.objects.get(pk=endpoint)
    assert (row.status, row.disabled_reason) == ("enabled", "")
    assert audited(endpoint, user) == ["webhook_endpoint.disabled", "webhook_endpoint.updated"]


@pytest.mark.parametrize("name", ["send_test", "recover", "disable", "enable"])
def test_who_may_only_look_sees_no_button_and_reaches_no_verb(endpoint: str, name: str) -> None:
    client, user = staff(*LOOKS)
    page = client.get(reverse("admin:webhooks_webhookendpoint_change", args=[endpoint])).text
    assert verb(endpoint, name) not in page
    for answer in (client.get(verb(endpoint, name)), client.post(verb(endpoint, name))):
        assert answer.status_code == 403
    assert audited(endpoint, user) == []


def test_who_may_only_look_sends_no_delivery_again(endpoint: str) -> None:
    client, _ = staff(*LOOKS)
    row = deliveries(endpoint)[1]
    url = reverse("admin:webhooks_merchantdelivery_send_again", args=[row.pk])
    assert client.post(url).status_code == 403
    client.post(
        reverse("admin:webhooks_merchantdelivery_changelist"),
        {"action": "send_selected_again", "_selected_action": [row.pk], "index": 0},
    )
    assert deliveries(endpoint)[1].status == "dead"


def test_a_deleted_or_absent_one_has_no_verbs(endpoint: str, now: datetime) -> None:
    client, _ = staff(*MENDS)
    owner = WebhookEndpoint.objects.get(pk=endpoint).owner
    with log.acting_as(ACTOR):
        endpoints.delete(owner=owner, livemode=False, endpoint_id=endpoint, now=now)
    for one in (endpoint, "we_none"):
        assert client.get(verb(one, "disable")).status_code == 404
