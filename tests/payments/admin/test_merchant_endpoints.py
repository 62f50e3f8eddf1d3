"""A merchant's webhook endpoint, added by staff on the merchant's page."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from payments.models import Merchant
from tests.payments.admin.conftest import Staff, make_staff
from tests.payments.admin.test_verbs import audited, ticket_of
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop


def address(merchant: Merchant) -> str:
    return reverse("admin:payments_merchant_add_endpoint", args=[merchant.pk])


@pytest.fixture
def person(staff: Callable[[str], Staff]) -> Staff:
    return staff("Operations")


def add(person: Staff, shop: Shop, **changes: Any) -> Any:
    fields = {
        "mode": "test",
        "url": "http://93.184.216.34/hooks",
        "event_types": "payment.*\nrefund.*",
        "description": "the till",
    }
    ticket = ticket_of(person.client.get(address(shop.merchant)))
    return person.client.post(address(shop.merchant), {"ticket": ticket, **(fields | changes)})


def test_it_is_added_under_the_persons_name_and_its_secret_is_shown_once(
    shop: Shop, person: Staff
) -> None:
    answer = add(person, shop)
    assert "no-store" in answer["Cache-Control"]
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", html.unescape(answer.content.decode()))
    (made,) = Api(shop.secret_key).get("/v1/webhook_endpoints").json()["data"]
    assert made["event_types"] == ["payment.*", "refund.*"]
    assert (made["url"], made["description"], made["livemode"]) == (
        "http://93.184.216.34/hooks",
        "the till",
        False,
    )
    assert audited("webhook_endpoint", made["id"])["webhook_endpoint.created"] == str(
        person.user.pk
    )
    page = person.client.get(reverse("admin:webhooks_webhookendpoint_change", args=[made["id"]]))
    assert secret not in page.content.decode()
    listed = person.client.get(
        reverse("admin:payments_merchant_show_endpoints", args=[shop.merchant.pk]), follow=True
    )
    assert made["id"] in listed.content.decode()


def test_a_form_that_is_sent_twice_adds_one(shop: Shop, person: Staff) -> None:
    fields = {
        "ticket": ticket_of(person.client.get(address(shop.merchant))),
        "mode": "test",
        "url": "http://93.184.216.34/",
        "event_types": "*",
    }
    for _ in range(2):
        person.client.post(address(shop.merchant), fields)
    assert len(Api(shop.secret_key).get("/v1/webhook_endpoints").json()["data"]) == 1


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"url": "http://169.254.169.254/latest"}, "url", "not on the public internet"),
        ({"url": "http://2130706433/"}, "url", "four decimal numbers"),
        ({"url": "http://inside.example/"}, "url", "off the public internet"),
        ({"event_types": "Payment!"}, "event_types", "is no event type"),
        ({"mode": "live"}, "mode", "not one of the available choices"),
    ],
)
def test_a_refusal_stands_at_its_field_and_nothing_is_added(
    shop: Shop,
    person: Staff,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    field: str,
    words: str,
) -> None:
    by_the_system = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        inside = host == "inside.example"
        return by_the_system("127.0.0.1" if inside else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    answer = add(person, shop, **changes)
    assert any(words in error for error in answer.context["form"].errors[field])
    assert words in html.unescape(answer.content.decode())
    assert Api(shop.secret_key).get("/v1/webhook_endpoints").json()["data"] == []


def test_live_ones_are_added_by_those_who_handle_live_keys(shop: Shop) -> None:
    trusted = make_staff("Operations", "Live keys")
    answer = add(trusted, shop, mode="live", url="https://93.184.216.34/")
    assert "whsec_" in answer.content.decode()


@pytest.mark.parametrize("role", ["", "Compliance", "Finance", "Live keys"])
def test_others_reach_neither_the_button_nor_the_page(
    shop: Shop, staff: Callable[[str], Staff], role: str
) -> None:
    client = staff(role).client
    assert client.get(address(shop.merchant)).status_code == 403
    page = client.get(reverse("admin:payments_merchant_change", args=[shop.merchant.pk]))
    assert address(shop.merchant) not in page.content.decode()
