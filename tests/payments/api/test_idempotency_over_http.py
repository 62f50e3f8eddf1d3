"""One request happens once: the table of cases, over HTTP."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection

from payments.models import IdempotencyKey
from tests.payments.api.conftest import Api, error_of, payment_body, payment_count
from tests.payments.shop import Shop, new_key


def test_a_repeat_gets_the_first_answer_with_living_secrets(api: Api, shop: Shop) -> None:
    key = new_key()
    first = api.post("/v1/payments", payment_body(), idempotency_key=key)
    again = api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again["Request-Id"] != first["Request-Id"]
    assert payment_count(shop) == 1


def test_members_in_another_order_are_the_same_request(api: Api, shop: Shop) -> None:
    key = new_key()
    body = payment_body()
    api.post("/v1/payments", body, idempotency_key=key)
    backwards = dict(reversed(body.items()))
    again = api.post("/v1/payments", backwards, idempotency_key=f'"{key}"')
    assert again["Idempotent-Replayed"] == "true"
    assert payment_count(shop) == 1


def test_no_secret_is_in_a_stored_answer(api: Api, shop: Shop) -> None:
    payment = api.create()
    row = IdempotencyKey.objects.get(merchant=shop.merchant)
    assert payment["provider_client_secret"] not in str(row.response_body)
    assert payment["client_secret"] not in str(row.response_body)


def test_a_decline_is_replayed_and_asks_the_provider_once(api: Api, shop: Shop) -> None:
    key, body = new_key(), payment_body(payment_method="tok_insufficient_funds")
    first = api.post("/v1/payments", body, idempotency_key=key)
    again = api.post("/v1/payments", body, idempotency_key=key)
    assert (first.status_code, again.status_code) == (402, 402)
    assert again["Idempotent-Replayed"] == "true"
    one, other = error_of(first), error_of(again)
    assert other.pop("request_id") != one.pop("request_id")
    assert other == one
    assert payment_count(shop) == 1


def test_a_refused_state_is_replayed_although_the_state_has_changed(api: Api) -> None:
    payment = api.create(confirm=None, payment_method=None)
    path, key = f"/v1/payments/{payment['id']}", new_key()
    first = api.post(f"{path}/capture", idempotency_key=key)
    assert error_of(first)["code"] == "payment_state_conflict"
    again = api.post(f"{path}/capture", idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert error_of(again)["code"] == "payment_state_conflict"


@pytest.mark.parametrize("change", [{"amount_minor": 4201}, {"metadata": {"a": "b"}}])
def test_a_key_with_another_body_is_422(api: Api, shop: Shop, change: dict[str, object]) -> None:
    key = new_key()
    api.post("/v1/payments", payment_body(), idempotency_key=key)
    other = api.post("/v1/payments", payment_body(**change), idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    assert payment_count(shop) == 1


def test_a_key_at_another_address_is_422(api: Api) -> None:
    key = new_key()
    one, two = api.create(capture_method="manual"), api.create(capture_method="manual")
    api.post(f"/v1/payments/{one['id']}/capture", {}, idempotency_key=key)
    for path in (f"/v1/payments/{two['id']}/capture", f"/v1/payments/{one['id']}/cancel"):
        other = api.post(path, {}, idempotency_key=key)
        assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    assert api.get(f"/v1/payments/{two['id']}").json()["status"] == "authorized"


def test_two_merchants_may_use_the_same_key(api: Api, another_api: Api) -> None:
    key = new_key()
    one = api.post("/v1/payments", payment_body(), idempotency_key=key)
    other = another_api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert "Idempotent-Replayed" not in other
    assert one.json()["id"] != other.json()["id"]


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "idempotency_key_missing"),
        ("short", "idempotency_key_invalid"),
        ("x" * 256, "idempotency_key_invalid"),
        ("fünfzehn-und-eins", "idempotency_key_invalid"),
        ("with\ttab-and-more-text", "idempotency_key_invalid"),
    ],
)
def test_a_key_has_to_be_a_key(api: Api, shop: Shop, key: str | None, code: str) -> None:
    answer = api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    assert payment_count(shop) == 0


def test_a_request_that_is_wrong_leaves_no_key_behind(api: Api, shop: Shop) -> None:
    key = new_key()
    assert api.post("/v1/payments", {"amount_minor": 1}, idempotency_key=key).status_code == 400
    assert api.post("/v1/payments/pay_0/capture", idempotency_key=key).status_code == 404
    assert not IdempotencyKey.objects.filter(merchant=shop.merchant).exists()
    assert api.post("/v1/payments", payment_body(), idempotency_key=key).status_code == 201


def test_of_two_at_once_one_works_and_the_other_is_told_to_wait(api: Api, shop: Shop) -> None:
    shop.settings(latency_seconds=1.0)
    key = new_key()
    first_answer = []

    def first() -> None:
        other = Api(shop.secret_key)
        first_answer.append(other.post("/v1/payments", payment_body(), idempotency_key=key))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not IdempotencyKey.objects.filter(key=key).exists():
        assert thread.is_alive()
    second = api.post("/v1/payments", payment_body(), idempotency_key=key)
    thread.join()
    assert (second.status_code, error_of(second)["code"]) == (409, "idempotency_key_in_use")
    assert second["Retry-After"] == "1"
    assert first_answer[0].status_code == 201
    third = api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert third["Idempotent-Replayed"] == "true"
    assert payment_count(shop) == 1


def test_ten_at_once_make_one_payment(api: Api, shop: Shop) -> None:
    key = new_key()
    statuses: list[int] = []

    def ask() -> None:
        answer = Api(shop.secret_key).post("/v1/payments", payment_body(), idempotency_key=key)
        statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert payment_count(shop) == 1
    (_, captured) = shop.movements(api.get("/v1/payments").json()["data"][0]["id"])
    assert captured["kind"] == "capture"


def test_an_unknown_outcome_is_202_and_the_same_key_goes_on(api: Api, shop: Shop) -> None:
    key, body = new_key(), payment_body(payment_method="tok_500_after_commit")
    first = api.post("/v1/payments", body, idempotency_key=key)
    if first.status_code == 202:
        row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
        assert row.response_status is None
    deadline = datetime.now(UTC).timestamp() + 30
    while (again := api.post("/v1/payments", body, idempotency_key=key)).status_code != 201:
        assert again.status_code in (202, 409), again.content
        assert datetime.now(UTC).timestamp() < deadline
    assert again.json()["status"] == "captured"
    assert payment_count(shop) == 1
    moved = [move["kind"] for move in shop.movements(again.json()["id"])]
    assert moved == ["hold", "capture"]
