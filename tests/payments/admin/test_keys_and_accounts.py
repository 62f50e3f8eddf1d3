"""Restricted keys, rotation and provider accounts in the back office: who may, and what happens."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from payments.actions.lost_webhooks import lost_within_a_day
from payments.actions.provider_accounts import account_for_payment
from payments.actions.provider_endpoints import secrets_of
from payments.actions.sweep_events import pages_of
from payments.models import ApiKey, EventSweep, ProviderAccount, ProviderEndpoint
from payments.scopes import SCOPES
from tests.payments.admin.conftest import Staff, make_staff
from tests.payments.admin.test_verbs import audited, keys_in, send
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop


@pytest.fixture
def person(staff: Callable[[str], Staff]) -> Staff:
    return staff("Operations")


def issue(person: Staff, shop: Shop, **fields: Any) -> Any:
    url = reverse("admin:payments_merchant_issue_key", args=[shop.merchant.pk])
    return send(person, url, **({"kind": "restricted", "mode": "test", "name": "Till"} | fields))


def text_of(person: Staff, page: str, pk: str) -> str:
    return person.client.get(reverse(f"admin:{page}", args=[pk])).content.decode()


def test_a_restricted_key_is_issued_with_the_boxes_that_are_ticked(
    shop: Shop, person: Staff
) -> None:
    scopes = ["payments:write", "balance:read"]
    (key,) = keys_in(issue(person, shop, scopes=scopes, days="30"))
    row = ApiKey.objects.get(hashed_key=ApiKey.digest(key))
    assert key.startswith("rk_test_")
    assert (row.kind, row.scopes) == ("restricted", scopes)
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - datetime.now(UTC) < timedelta(days=31)
    assert Api(key).get("/v1/balance").status_code == 200
    assert Api(key).get("/v1/events").status_code == 403
    page = text_of(person, "payments_apikey_change", row.pk)
    assert "Read and change payments" in page
    assert "Valid until" in page
    assert key not in page


def test_the_form_offers_every_scope(shop: Shop, person: Staff) -> None:
    page = text_of(person, "payments_merchant_issue_key", shop.merchant.pk)
    assert all(f'value="{scope}"' in page for scope in SCOPES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "at least one scope"),
        ({"scopes": ["payments:steal"]}, "not one of the available choices"),
        ({"kind": "secret", "scopes": ["payments:read"]}, "Only restricted keys have scopes"),
        ({"scopes": ["payments:read"], "days": "0"}, "greater than or equal to 1"),
        ({"scopes": ["payments:read"], "days": "3651"}, "less than or equal to 3650"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_with_words(
    shop: Shop, person: Staff, fields: dict[str, Any], words: str
) -> None:
    before = shop.merchant.api_keys.count()
    answer = issue(person, shop, **fields)
    assert words in answer.content.decode()
    assert shop.merchant.api_keys.count() == before


def test_a_key_is_rotated_with_an_overlap_and_shown_once(shop: Shop, person: Staff) -> None:
    old = ApiKey.objects.get(merchant=shop.merchant, kind="secret")
    url = reverse("admin:payments_apikey_rotate", args=[old.pk])
    (key,) = keys_in(send(person, url, overlap="72"))
    old.refresh_from_db()
    assert old.expires_at is not None
    assert timedelta(hours=71) < old.expires_at - datetime.now(UTC) <= timedelta(hours=72)
    for clear in (key, shop.secret_key):
        assert Api(clear).get("/v1/balance").status_code == 200
    successor = ApiKey.objects.get(rotated_from=old)
    assert successor.pk in text_of(person, "payments_apikey_change", old.pk)
    assert old.pk in text_of(person, "payments_apikey_change", successor.pk)
    assert audited("merchant", shop.merchant.pk)["api_key.rotated"] == str(person.user.pk)
    again = send(person, url, overlap="1").content.decode()
    assert f"rotate its successor {successor.pk} instead" in again


def test_the_page_of_a_key_says_when_it_was_used(shop: Shop, person: Staff) -> None:
    key = ApiKey.objects.get(merchant=shop.merchant, kind="secret")
    assert Api(shop.secret_key).get("/v1/balance").status_code == 200
    key = ApiKey.objects.get(pk=key.pk)
    assert key.last_used_at is not None
    shown = key.last_used_at.strftime("%d %b %Y, %H:%M:%S")
    assert shown in text_of(person, "payments_apikey_change", key.pk)


def test_only_those_who_handle_live_keys_rotate_one(shop: Shop) -> None:
    trusted = make_staff("Operations", "Live keys")
    (clear,) = keys_in(issue(trusted, shop, mode="live", scopes=["balance:read"]))
    key = ApiKey.objects.get(hashed_key=ApiKey.digest(clear))
    url = reverse("admin:payments_apikey_rotate", args=[key.pk])
    assert make_staff("Operations").client.get(url).status_code == 403
    (successor,) = keys_in(send(trusted, url, overlap="0"))
    assert successor.startswith("rk_live_")


@pytest.mark.parametrize("group", ["Compliance", "Finance", ""])
def test_others_reach_none_of_these_verbs(
    shop: Shop, staff: Callable[[str], Staff], group: str
) -> None:
    key = ApiKey.objects.get(merchant=shop.merchant, kind="secret")
    pages = {
        "apikey_rotate": key.pk,
        "apikey_revoke": key.pk,
        "provideraccount_test_connection": shop.account.pk,
        "provideraccount_make_default": shop.account.pk,
        "provideraccount_open_or_close": shop.account.pk,
        "provideraccount_replace_key": shop.account.pk,
    }
    for name, pk in pages.items():
        url = reverse(f"admin:payments_{name}", args=[pk])
        assert staff(group).client.get(url).status_code == 403, url


def account_url(verb: str, account: ProviderAccount) -> str:
    return reverse(f"admin:payments_provideraccount_{verb}", args=[account.pk])


def endpoint_url(verb: str, endpoint: ProviderEndpoint) -> str:
    return reverse(f"admin:payments_providerendpoint_{verb}", args=[endpoint.pk])


def open_second(person: Staff, shop: Shop, **fields: str) -> ProviderAccount:
    answer = send(
        person,
        reverse("admin:payments_provideraccount_add_for", args=[shop.merchant.pk]),
        **{
            "provider": "sandbox",
            "name": "Second",
            "mode": "test",
            "secret_key": f"sbx_sk_{secrets.token_hex(16)}",
            "webhook_secrets": "whsec_a whsec_b",
            **fields,
        },
    )
    assert answer.status_code == 302, answer.content
    return ProviderAccount.objects.filter(merchant=shop.merchant).latest("pk")


def test_a_second_account_is_opened_made_the_default_and_the_first_one_closed(
    shop: Shop, person: Staff
) -> None:
    second = open_second(person, shop)
    assert account_for_payment(shop.merchant, False) == shop.account
    refused = send(person, account_url("open_or_close", shop.account), reason="moving")
    assert "make another the default first, such as Second" in refused.content.decode()
    assert send(person, account_url("make_default", second)).status_code == 302
    assert account_for_payment(shop.merchant, False) == second
    closed = send(person, account_url("open_or_close", shop.account), reason="moving")
    assert closed.status_code == 302
    assert ProviderAccount.objects.get(pk=shop.account.pk).active is False
    page = text_of(person, "payments_merchant_change", shop.merchant.pk)
    assert "Not in use" in page
    assert "Default" in page
    again = send(person, account_url("open_or_close", shop.account), reason="back")
    assert again.status_code == 302
    assert ProviderAccount.objects.get(pk=shop.account.pk).active is True
    who = audited("provider_account", shop.account.pk)
    assert who["provider_account.deactivated"] == str(person.user.pk)


def test_whom_the_provider_pays_is_said_when_a_merchants_account_is_opened(
    shop: Shop, person: Staff
) -> None:
    own = open_second(person, shop, owned_by_merchant="on")
    assert own.owned_by_merchant
    assert not open_second(person, shop).owned_by_merchant
    platforms = person.client.get(reverse("admin:payments_provideraccount_add")).content.decode()
    assert "pays the merchant itself" not in platforms


def test_an_endpoint_is_added_rotated_and_the_first_one_retired(shop: Shop, person: Staff) -> None:
    answer = send(person, account_url("add_endpoint", shop.account), name="Second")
    second = shop.account.endpoints.get(name="Second")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert f"/webhooks/sandbox/{second.token}" in answer.content.decode()
    rotating = endpoint_url("rotate_secrets", second)
    assert send(person, rotating, webhook_secrets="whsec_a", overlap="24").status_code == 302
    assert send(person, rotating, webhook_secrets="whsec_b", overlap="24").status_code == 302
    current, former = secrets_of(ProviderEndpoint.objects.get(pk=second.pk))
    assert (current.secret, current.expires_at, former.secret) == ("whsec_b", None, "whsec_a")
    ending = endpoint_url("retire", shop.endpoint)
    assert send(person, ending, overlap="24", reason="moved to the second").status_code == 302
    page = text_of(person, "payments_provideraccount_change", shop.account.pk)
    assert "In use" in page
    assert "Retires" in page
    last = send(person, endpoint_url("retire", second), overlap="0", reason="all")
    assert "last endpoint" in last.content.decode()
    shown = send(person, endpoint_url("show_address", shop.endpoint))
    assert shop.endpoint.token in shown.content.decode()
    who = audited("provider_account", shop.account.pk)
    for verb in ("added", "secrets_rotated", "retired", "address_shown"):
        assert who[f"provider_endpoint.{verb}"] == str(person.user.pk)


def test_a_connection_is_tested_in_words(shop: Shop, person: Staff) -> None:
    good = send(person, account_url("test_connection", shop.account))
    page = person.client.get(good["Location"]).content.decode()
    assert "The provider answered and took the credentials." in page
    bad = open_second(person, shop, secret_key="not-a-key")
    refused = send(person, account_url("test_connection", bad))
    page = person.client.get(refused["Location"]).content.decode()
    assert "The provider answered and took" not in page
    assert f"{bad.name}: " in page
    assert "provider_account.checked" in audited("provider_account", bad.pk)


def test_where_live_money_goes_is_decided_by_those_who_handle_live_keys(shop: Shop) -> None:
    trusted, everyday = make_staff("Operations", "Live keys"), make_staff("Operations")
    live = open_second(trusted, shop, mode="live", provider="stripe")
    for verb in ("make_default", "open_or_close", "replace_key", "add_endpoint"):
        assert everyday.client.get(account_url(verb, live)).status_code == 403
        assert trusted.client.get(account_url(verb, live)).status_code == 200
    assert everyday.client.get(account_url("test_connection", live)).status_code == 200
    endpoint = live.endpoints.get()
    for verb in ("show_address", "rotate_secrets", "retire"):
        assert everyday.client.get(endpoint_url(verb, endpoint)).status_code == 403
        assert trusted.client.get(endpoint_url(verb, endpoint)).status_code == 200


def test_an_account_shows_when_it_was_swept_and_what_was_lost(shop: Shop, person: Staff) -> None:
    page = text_of(person, "payments_provideraccount_change", shop.account.pk)
    assert "Not yet" in page
    shop.created()
    shop.ahead_by(minutes=2)
    shop.advance_sandbox(120)
    with shop.acting():
        for swept in pages_of(shop.account.pk, clock=shop.now):
            swept()
    page = text_of(person, "payments_provideraccount_change", shop.account.pk)
    lost = lost_within_a_day(shop.account.pk, now=shop.now())
    assert f"{lost} never came in time" in page
    assert "Not yet" not in page
    EventSweep.objects.filter(pk=shop.account.pk).update(last_error="No answer.")
    page = text_of(person, "payments_provideraccount_change", shop.account.pk)
    assert "The last try failed: No answer." in page
