"""Who may ask: keys by kind, mode, state and scheme."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest

from audit.log import Actor
from payments.actions.api_keys import issue_api_key, revoke_api_key
from payments.api.authentication import CACHE_SECONDS
from payments.models import ApiKey, Merchant
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.shop import Shop

ACTOR = Actor(type="system", id="test")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "authentication_required"),
        ("Bearer", "authentication_required"),
        ("Token {key}", "authentication_required"),
        ("Basic !!!", "authentication_required"),
        ("Bearer {key}x", "api_key_invalid"),
        ("Bearer sk_test_unknown", "api_key_invalid"),
        ("Bearer \xff", "api_key_invalid"),
    ],
)
def test_without_a_valid_key_it_is_401(shop: Shop, header: str, code: str) -> None:
    answer = Api("").get("/v1/payments", Authorization=header.format(key=shop.secret_key))
    assert (answer.status_code, error_of(answer)["code"]) == (401, code)
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_key_comes_as_bearer_or_as_basic_user(shop: Shop) -> None:
    for header in (
        f"Bearer {shop.secret_key}",
        f"bearer   {shop.secret_key}",
        basic(f"{shop.secret_key}:"),
    ):
        assert Api("").get("/v1/payments", Authorization=header).status_code == 200
    with_password = basic(f"{shop.secret_key}:password")
    assert Api("").get("/v1/payments", Authorization=with_password).status_code == 401


def test_a_publishable_key_opens_nothing_of_the_merchants(shop: Shop, api: Api) -> None:
    payment = api.create()
    page = Api(shop.publishable_key)
    path = f"/v1/payments/{payment['id']}"
    for answer in (
        page.get("/v1/payments"),
        page.get(path),
        page.get("/v1/balance"),
        page.get("/v1/events"),
        page.get("/v1/webhook_endpoints"),
        page.post("/v1/payments", payment_body()),
        page.post(f"{path}/confirm"),
        page.post(f"{path}/capture"),
        page.post(f"{path}/cancel"),
    ):
        assert (answer.status_code, error_of(answer)["code"]) == (403, "secret_key_required")


def test_a_revoked_key_is_refused_within_seconds(shop: Shop) -> None:
    now = datetime.now(UTC)
    row, clear = issue_api_key(
        merchant=shop.merchant, kind="secret", livemode=False, name="", actor=ACTOR, now=now
    )
    assert Api(clear).get("/v1/payments").status_code == 200
    revoke_api_key(key=row, actor=ACTOR, now=now)
    deadline = time.monotonic() + CACHE_SECONDS + 30
    while (answer := Api(clear).get("/v1/payments")).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert error_of(answer)["code"] == "api_key_invalid"


def test_a_suspended_merchant_is_403(shop: Shop) -> None:
    Merchant.objects.filter(pk=shop.merchant.pk).update(status="suspended")
    answer = Api(shop.secret_key).get("/v1/payments")
    assert (answer.status_code, error_of(answer)["code"]) == (403, "merchant_suspended")


def test_test_keys_and_live_keys_see_different_worlds(shop: Shop, api: Api) -> None:
    payment = api.create()
    _, live = issue_api_key(
        merchant=shop.merchant,
        kind="secret",
        livemode=True,
        name="",
        actor=ACTOR,
        now=datetime.now(UTC),
    )
    assert live.startswith("sk_live_")
    live_api = Api(live)
    assert live_api.get(f"/v1/payments/{payment['id']}").status_code == 404
    assert live_api.get("/v1/payments").json()["data"] == []
    assert live_api.get("/v1/events").json()["data"] == []
    refused = live_api.post("/v1/payments", payment_body())
    assert error_of(refused)["code"] == "provider_account_missing"


def test_a_key_is_stored_as_a_hash_only(shop: Shop) -> None:
    row = ApiKey.objects.get(hashed_key=ApiKey.digest(shop.secret_key))
    stored = " ".join(str(value) for value in row.__dict__.values())
    assert shop.secret_key not in stored
    assert shop.secret_key[len(row.prefix) :] not in stored
