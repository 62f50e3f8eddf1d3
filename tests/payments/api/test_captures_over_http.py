"""Captures over HTTP: a part, several parts, all; more held; a change before it is sent."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from payments.models import IdempotencyKey
from tests.payments.api.conftest import Api, error_of
from tests.payments.api.whole_life import shown
from tests.payments.shop import Shop, new_key


def held(api: Api, **changes: Any) -> str:
    """The id of a payment whose 4200 EUR are held."""
    payment = api.create(capture_method="manual", **changes)
    assert payment["status"] == "authorized"
    return str(payment["id"])


def captured_minor(shop: Shop, payment_id: str) -> int:
    """What the sandbox says was really taken."""
    moved = shop.movements(payment_id)
    return sum(move["amount_minor"] for move in moved if move["kind"] == "capture")


def test_a_part_is_taken_and_the_rest_released(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    answer = api.post(f"/v1/payments/{payment_id}/capture", {"amount_minor": 2100})
    payment = answer.json()
    assert (answer.status_code, payment["status"]) == (200, "captured")
    assert (payment["amount_captured_minor"], payment["amount_capturable_minor"]) == (2100, 0)
    assert captured_minor(shop, payment_id) == 2100


def test_parts_are_taken_one_after_the_other_until_nothing_is_left(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    path = f"/v1/payments/{payment_id}"
    part = {"amount_minor": 1000, "final_capture": False}
    first = api.post(f"{path}/capture", part).json()
    assert (first["status"], first["amount_capturable_minor"]) == ("partially_captured", 3200)
    api.post(f"{path}/capture", part)
    last = api.post(f"{path}/capture").json()
    assert (last["status"], last["amount_captured_minor"]) == ("captured", 4200)
    listed = api.get(f"{path}/captures").json()["data"]
    assert [row["number"] for row in listed] == [3, 2, 1]
    assert [row["amount_minor"] for row in listed] == [2200, 1000, 1000]
    assert [row["final"] for row in listed] == [True, False, False]
    assert {row["status"] for row in listed} == {"succeeded"}
    fees = sum(row["platform_fee_minor"] for row in listed)
    assert fees == shown(api, payment_id)["platform_fee_minor"]
    page = api.get(f"{path}/captures?limit=1&starting_after={listed[0]['id']}").json()
    assert (page["data"], page["has_more"]) == ([listed[1]], True)


def test_a_cancel_releases_what_is_left_of_a_part(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    part = {"amount_minor": 1000, "final_capture": False}
    api.post(f"/v1/payments/{payment_id}/capture", part)
    released = api.post(f"/v1/payments/{payment_id}/cancel").json()
    assert (released["status"], released["amount_captured_minor"]) == ("captured", 1000)
    assert captured_minor(shop, payment_id) == 1000


def test_more_than_is_held_is_not_taken(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    for amount_minor in (4201, 9_007_199_254_740_991):
        answer = api.post(f"/v1/payments/{payment_id}/capture", {"amount_minor": amount_minor})
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (400, "capture_amount_invalid")
        assert error["param"] == "amount_minor"
        assert "4200 EUR" in error["message"]
    assert captured_minor(shop, payment_id) == 0


def test_two_captures_at_once_never_take_more_than_is_held(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    body = {"amount_minor": 3000, "final_capture": False}
    statuses: list[int] = []

    def ask() -> None:
        answer = Api(shop.secret_key).post(f"/v1/payments/{payment_id}/capture", body)
        statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 400, 409}
    assert statuses.count(200) == 1
    assert captured_minor(shop, payment_id) == 3000


def test_more_is_held_up_to_a_new_total(api: Api, shop: Shop) -> None:
    payment_id = held(api)
    path = f"/v1/payments/{payment_id}"
    raised = api.post(f"{path}/increment_authorization", {"amount_minor": 5000})
    assert (raised.status_code, raised.json()["amount_capturable_minor"]) == (200, 5000)
    for amount_minor in (5000, 4999, 1):
        answer = api.post(f"{path}/increment_authorization", {"amount_minor": amount_minor})
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (400, "authorization_amount_invalid")
        assert error["param"] == "amount_minor"
    assert api.post(f"{path}/capture").json()["amount_captured_minor"] == 5000


def test_a_refused_increment_leaves_the_hold(api: Api) -> None:
    payment_id = held(api, payment_method="tok_increment_refused")
    path = f"/v1/payments/{payment_id}"
    answer = api.post(f"{path}/increment_authorization", {"amount_minor": 5000})
    assert (answer.status_code, error_of(answer)["code"]) == (402, "payment_declined")
    assert shown(api, payment_id)["amount_capturable_minor"] == 4200


def test_only_held_money_is_raised_or_taken(api: Api) -> None:
    taken = api.create()
    for verb in ("capture", "increment_authorization"):
        answer = api.post(f"/v1/payments/{taken['id']}/{verb}", {"amount_minor": 5000})
        assert (answer.status_code, error_of(answer)["code"]) == (409, "payment_state_conflict")


@pytest.mark.parametrize(
    ("verb", "body", "code", "param"),
    [
        ("capture", {"amount_minor": 0}, "amount_invalid", "amount_minor"),
        ("capture", {"amount_minor": "1"}, "amount_invalid", "amount_minor"),
        ("capture", {"amount_minor": None}, "amount_invalid", "amount_minor"),
        ("capture", {"final_capture": "no"}, "parameter_invalid", "final_capture"),
        ("capture", {"final": False}, "parameter_unknown", "final"),
        ("increment_authorization", {}, "amount_invalid", "amount_minor"),
        ("increment_authorization", {"amount_minor": 1.5}, "amount_invalid", "amount_minor"),
        ("increment_authorization", {"by": 1}, "parameter_unknown", "by"),
    ],
)
def test_a_bad_body_is_refused_with_its_field(
    api: Api, verb: str, body: dict[str, Any], code: str, param: str
) -> None:
    payment_id = held(api)
    answer = api.post(f"/v1/payments/{payment_id}/{verb}", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert shown(api, payment_id)["status"] == "authorized"


def test_a_repeat_of_a_part_takes_nothing_more(api: Api, shop: Shop) -> None:
    payment_id, key = held(api), new_key()
    path = f"/v1/payments/{payment_id}/capture"
    body = {"amount_minor": 1000, "final_capture": False}
    first = api.post(path, body, idempotency_key=key)
    again = api.post(path, body, idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    other = api.post(path, {**body, "final_capture": True}, idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    assert captured_minor(shop, payment_id) == 1000


def test_while_a_capture_is_on_its_way_its_key_is_in_use(api: Api, shop: Shop) -> None:
    payment_id, key = held(api), new_key()
    path = f"/v1/payments/{payment_id}/capture"
    shop.settings(latency_seconds=1.0)
    answers: list[Any] = []

    def first() -> None:
        answers.append(Api(shop.secret_key).post(path, {}, idempotency_key=key))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not IdempotencyKey.objects.filter(key=key).exists():
        assert thread.is_alive()
    second = api.post(path, {}, idempotency_key=key)
    thread.join()
    assert (second.status_code, error_of(second)["code"]) == (409, "idempotency_key_in_use")
    assert answers[0].status_code == 200


def test_foreign_payments_are_absent_ones(api: Api, another_api: Api) -> None:
    payment_id = held(api)
    for found in (payment_id, "pay_" + "0" * 26):
        for answer in (
            another_api.post(f"/v1/payments/{found}/capture", {"amount_minor": 1}),
            another_api.post(f"/v1/payments/{found}/increment_authorization", {"amount_minor": 1}),
            another_api.post(f"/v1/payments/{found}", {"description": "mine"}),
            another_api.get(f"/v1/payments/{found}/captures"),
        ):
            assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert shown(api, payment_id)["status"] == "authorized"


def test_a_payment_is_changed_before_it_is_sent(api: Api) -> None:
    created = api.create(confirm=None, payment_method=None, metadata={"order": "7"})
    path = f"/v1/payments/{created['id']}"
    changed = api.post(path, {"payment_method": "tok_visa", "description": "Order 7"})
    assert (changed.status_code, changed.json()["description"]) == (200, "Order 7")
    assert changed.json()["metadata"] == {"order": "7"}
    assert api.post(path, {"metadata": {}}).json()["metadata"] == {}
    assert shown(api, created["id"])["description"] == "Order 7"
    confirmed = api.post(f"{path}/confirm")
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "captured")
    late = api.post(path, {"description": "Order 8"})
    assert (late.status_code, error_of(late)["code"]) == (409, "payment_state_conflict")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "parameter_invalid", "payment_method"),
        ({"amount_minor": 1}, "parameter_unknown", "amount_minor"),
        ({"payment_method": ""}, "parameter_invalid", "payment_method"),
        ({"description": None}, "parameter_invalid", "description"),
        ({"metadata": {"a": 1}}, "parameter_invalid", "metadata.a"),
    ],
)
def test_a_change_of_nothing_or_of_what_stays_is_refused(
    api: Api, body: dict[str, Any], code: str, param: str
) -> None:
    created = api.create(confirm=None, payment_method=None)
    answer = api.post(f"/v1/payments/{created['id']}", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
