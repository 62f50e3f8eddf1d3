"""Merchants' endpoints in the back office: every verb, its permission and its audit record."""

from __future__ import annotations

import html
import json
import re
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
ROTATES = (*LOOKS, "rotate_webhookendpoint_secret")
DELETES = (*LOOKS, "delete_webhookendpoint")


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


def test_what_is_changed_is_changed_and_the_rest_stays(endpoint: str) -> None:
    client, user = staff(*MENDS)
    row = WebhookEndpoint.objects.get(pk=endpoint)
    page = client.get(verb(endpoint, "change_endpoint")).text
    assert row.url in page
    assert "order.*" in page
    asked: dict[str, object] = {
        "url": row.url,
        "event_types": "payment.settled, refund.*\norder.placed",
        "description": "books",
    }
    assert "It is changed" in said(client, verb(endpoint, "change_endpoint"), asked)
    changed = WebhookEndpoint.objects.get(pk=endpoint)
    assert changed.event_types == ["order.placed", "payment.settled", "refund.*"]
    assert (changed.url, changed.description, changed.status) == (row.url, "books", "enabled")
    assert "Nothing was changed" in said(client, verb(endpoint, "change_endpoint"), asked)
    assert audited(endpoint, user) == ["webhook_endpoint.updated"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"url": "https://169.254.169.254/latest"}, "url", "not on the public internet"),
        ({"url": "http://127.0.0.1:5432/"}, "url", "Use one of the ports"),
        ({"url": "nonsense"}, "url", "begins with https://"),
        ({"event_types": "payment settled!"}, "event_types", "is no event type"),
        ({"event_types": " "}, "event_types", "This field is required"),
        ({"description": "x" * 501}, "description", "at most 500 characters"),
    ],
)
def test_a_refusal_stands_at_its_field_and_nothing_is_changed(
    endpoint: str, changes: dict[str, object], field: str, words: str
) -> None:
    client, user = staff(*MENDS)
    good: dict[str, object] = {
        "url": "http://93.184.216.34/other",
        "event_types": "*",
        "description": "",
    }
    answer = client.post(verb(endpoint, "change_endpoint"), good | changes)
    assert any(words in error for error in answer.context["form"].errors[field])
    assert words in html.unescape(answer.text)
    assert WebhookEndpoint.objects.get(pk=endpoint).url == "http://93.184.216.34/"
    assert audited(endpoint, user) == []


def secret_in(page: str) -> str:
    (found,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", html.unescape(page))
    return str(found)


def ticket_of(client: Client, endpoint_id: str) -> str:
    (found,) = re.findall(
        r'name="ticket" value="([^"]+)"', client.get(verb(endpoint_id, "rotate_secret")).text
    )
    return html.unescape(found)


def test_a_new_secret_is_shown_once_and_the_old_one_signs_until_the_overlap_ends(
    endpoint: str,
) -> None:
    client, user = staff(*ROTATES)
    old = endpoints.secrets_of(WebhookEndpoint.objects.get(pk=endpoint), now=datetime.now(UTC))
    asked = {"ticket": ticket_of(client, endpoint), "overlap": "72"}
    answer = client.post(verb(endpoint, "rotate_secret"), asked)
    assert "no-store" in answer["Cache-Control"]
    secret = secret_in(answer.text)
    row = WebhookEndpoint.objects.get(pk=endpoint)
    moment = datetime.now(UTC)
    assert endpoints.secrets_of(row, now=moment + timedelta(hours=71)) == [secret, *old]
    assert endpoints.secrets_of(row, now=moment + timedelta(hours=73)) == [secret]
    again = client.post(verb(endpoint, "rotate_secret"), asked).text
    assert "changed meanwhile" in again
    page = client.get(reverse("admin:webhooks_webhookendpoint_change", args=[endpoint])).text
    assert "whsec_" not in again + page
    assert endpoints.secrets_of(WebhookEndpoint.objects.get(pk=endpoint), now=moment)[0] == secret
    assert audited(endpoint, user) == ["webhook_endpoint.secret_rotated"]
    record = AuditEvent.objects.get(
        stream_id=endpoint, event_type="webhook_endpoint.secret_rotated"
    )
    assert json.loads(record.body)["overlap_seconds"] == 72 * 3600
    assert secret not in record.body


def test_without_an_overlap_the_old_secret_ends_at_once(endpoint: str) -> None:
    client, _ = staff(*ROTATES)
    asked = {"ticket": ticket_of(client, endpoint), "overlap": "0"}
    secret = secret_in(client.post(verb(endpoint, "rotate_secret"), asked).text)
    row = WebhookEndpoint.objects.get(pk=endpoint)
    assert endpoints.secrets_of(row, now=row.updated_at) == [secret]
    for wrong in ({"overlap": "24"}, {"overlap": "24", "ticket": "x"}):
        assert "not complete" in client.post(verb(endpoint, "rotate_secret"), wrong).text
    refused = client.post(verb(endpoint, "rotate_secret"), {**asked, "overlap": "9999"}).context[
        "form"
    ]
    assert "overlap" in refused.errors


def live_endpoint(now: datetime) -> str:
    with log.acting_as(ACTOR):
        made, _ = endpoints.create(
            owner=f"mer_{secrets.token_hex(6)}",
            livemode=True,
            url="https://93.184.216.34/",
            event_types=["*"],
            now=now,
        )
    return made.id


def test_the_secret_of_a_live_endpoint_needs_a_permission_of_its_own(now: datetime) -> None:
    made = live_endpoint(now)
    client, _ = staff(*ROTATES)
    assert client.get(verb(made, "rotate_secret")).status_code == 403
    trusted, _ = staff(*ROTATES, "see_live_webhookendpoint_secret")
    assert trusted.get(verb(made, "rotate_secret")).status_code == 200


def test_where_live_events_go_is_changed_by_those_who_handle_live_secrets(now: datetime) -> None:
    made = live_endpoint(now)
    client, _ = staff(*MENDS)
    asked = {"url": "https://93.184.216.34/", "event_types": "refund.*", "description": ""}
    assert client.post(verb(made, "change_endpoint"), asked).status_code == 302
    elsewhere = {**asked, "url": "https://93.184.216.35/"}
    assert client.post(verb(made, "change_endpoint"), elsewhere).status_code == 403
    row = WebhookEndpoint.objects.get(pk=made)
    assert (row.url, row.event_types) == ("https://93.184.216.34/", ["refund.*"])
    trusted, _ = staff(*MENDS, "see_live_webhookendpoint_secret")
    assert trusted.post(verb(made, "change_endpoint"), elsewhere).status_code == 302
    assert WebhookEndpoint.objects.get(pk=made).url == "https://93.184.216.35/"


def test_a_deleted_one_is_gone_for_the_merchant_and_its_deliveries_stay(endpoint: str) -> None:
    client, user = staff(*DELETES)
    row = WebhookEndpoint.objects.get(pk=endpoint)
    said(client, verb(endpoint, "delete_endpoint"), {"reason": " "})
    assert WebhookEndpoint.objects.get(pk=endpoint).status == "enabled"
    words: dict[str, object] = {"reason": "moved to another shop"}
    assert "It is deleted" in said(client, verb(endpoint, "delete_endpoint"), words)
    with pytest.raises(endpoints.EndpointNotFound):
        endpoints.get(owner=row.owner, livemode=False, endpoint_id=endpoint, now=datetime.now(UTC))
    assert len(deliveries(endpoint)) == 3
    assert audited(endpoint, user) == ["webhook_endpoint.deleted"]
    record = AuditEvent.objects.get(stream_id=endpoint, event_type="webhook_endpoint.deleted")
    assert record.reason == "moved to another shop"


VERBS = (
    *("send_test", "recover", "disable", "enable"),
    *("change_endpoint", "rotate_secret", "delete_endpoint"),
)


@pytest.mark.parametrize("name", ["change_endpoint", "rotate_secret", "delete_endpoint"])
def test_each_verb_has_a_permission_of_its_own(endpoint: str, name: str) -> None:
    held = {"change_endpoint": MENDS, "rotate_secret": ROTATES, "delete_endpoint": DELETES}
    for verb_name, permissions in held.items():
        client, _ = staff(*permissions)
        page = client.get(reverse("admin:webhooks_webhookendpoint_change", args=[endpoint])).text
        allowed = verb_name == name
        assert (verb(endpoint, name) in page) == allowed
        assert client.get(verb(endpoint, name)).status_code == (200 if allowed else 403)


@pytest.mark.parametrize("name", VERBS)
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
        for name in ("disable", "change_endpoint"):
            assert client.get(verb(one, name)).status_code == 404
