"""Refunds over HTTP: in full, in parts, refused in words, once per key, for their merchant."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from payments.models import Refund
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.api.whole_life import bring_on, disputed, settled, shown
from tests.payments.shop import Shop, new_key

ABSENT = "pay_" + "0" * 26


def refunded_minor(shop: Shop, payment_id: str) -> int:
    """What the sandbox says really went back to the payer."""
    moved = shop.movements(payment_id)
    return sum(move["amount_minor"] for move in moved if move["kind"] == "refund")


def test_a_refund_gives_the_money_back_and_is_read_back(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    body = {"payment": payment["id"], "reason": "duplicate", "metadata": {"return": "r-9"}}
    answer = api.post("/v1/refunds", body)
    refund = answer.json()
    assert (answer.status_code, refund["status"]) == (201, "succeeded")
    assert (refund["amount_minor"], refund["currency"]) == (4200, "EUR")
    assert (refund["reason"], refund["source"]) == ("duplicate", "api")
    assert refund["metadata"] == {"return": "r-9"}
    assert api.get(f"/v1/refunds/{refund['id']}").json() == refund
    after = shown(api, payment["id"])
    assert (after["status"], after["amount_refunded_minor"]) == ("refunded", 4200)
    assert refunded_minor(shop, payment["id"]) == 4200


def test_both_addresses_refund_and_the_second_part_takes_the_rest(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 1000})
    between = shown(api, payment["id"])
    assert (between["status"], between["amount_refundable_minor"]) == ("settled", 3200)
    rest = api.post(f"/v1/payments/{payment['id']}/refunds", {"refund_platform_fee": True})
    assert (rest.status_code, rest.json()["amount_minor"]) == (201, 3200)
    assert rest.json()["platform_fee_returned_minor"] == payment["platform_fee_minor"]
    assert shown(api, payment["id"])["status"] == "refunded"


@pytest.mark.parametrize("amount_minor", [4201, 9_007_199_254_740_991])
def test_more_than_there_is_is_not_refunded(api: Api, shop: Shop, amount_minor: int) -> None:
    payment = settled(api, shop)
    answer = api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": amount_minor})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "refund_amount_invalid")
    assert error["param"] == "amount_minor"
    assert "4200 EUR" in error["message"]
    assert not Refund.objects.filter(payment_id=payment["id"]).exists()


def test_forty_refunds_at_once_give_back_what_there_is(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    statuses: list[int] = []

    def ask() -> None:
        own = Api(shop.secret_key)
        for _ in range(10):
            answer = own.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 700})
            statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 40
    assert set(statuses) <= {201, 400, 409}
    for _ in range(6 - statuses.count(201)):
        api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 700})
    over = api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 1})
    assert error_of(over)["code"] in ("refund_amount_invalid", "payment_state_conflict")
    assert refunded_minor(shop, payment["id"]) == 4200
    assert shown(api, payment["id"])["amount_refundable_minor"] == 0


def test_what_is_not_captured_is_not_refunded(api: Api) -> None:
    held = api.create(capture_method="manual")
    answer = api.post("/v1/refunds", {"payment": held["id"]})
    assert (answer.status_code, error_of(answer)["code"]) == (409, "payment_state_conflict")


def test_a_bank_debit_is_refunded_once_it_is_settled(api: Api, shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    payment = api.post("/v1/payments", payment_body(payment_method="tok_bank")).json()
    bring_on(shop, 3600)
    assert shown(api, payment["id"])["status"] == "captured"
    early = api.post("/v1/refunds", {"payment": payment["id"]})
    assert (early.status_code, error_of(early)["code"]) == (409, "bank_debit_not_settled")
    bring_on(shop, 2 * 86_400)
    assert shown(api, payment["id"])["status"] == "settled"
    assert api.post("/v1/refunds", {"payment": payment["id"]}).status_code == 201


def test_a_disputed_payment_is_not_refunded(api: Api, shop: Shop) -> None:
    dispute = disputed(api, shop)
    answer = api.post("/v1/refunds", {"payment": dispute["payment"], "amount_minor": 1})
    assert (answer.status_code, error_of(answer)["code"]) == (409, "payment_disputed")


def test_a_refund_the_provider_refuses_frees_its_amount(api: Api, shop: Shop) -> None:
    payment = settled(api, shop, payment_method="tok_refund_refused")
    answer = api.post("/v1/refunds", {"payment": payment["id"]})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (402, "refund_declined")
    assert error["refund"]["status"] == "failed"
    assert shown(api, payment["id"])["amount_refundable_minor"] == 4200


def test_a_pending_refund_is_promised_until_it_is_done(api: Api, shop: Shop) -> None:
    payment = settled(api, shop, payment_method="tok_async_refund")
    refund = api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 1200}).json()
    assert refund["status"] == "pending"
    assert shown(api, payment["id"])["amount_refund_pending_minor"] == 1200
    bring_on(shop)
    assert api.get(f"/v1/refunds/{refund['id']}").json()["status"] == "succeeded"
    assert shown(api, payment["id"])["amount_refunded_minor"] == 1200


BAD_BODIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no payment": ({}, "parameter_invalid", "payment"),
    "payment is a number": ({"payment": 7}, "parameter_invalid", "payment"),
    "amount of nothing": ({"amount_minor": 0}, "amount_invalid", "amount_minor"),
    "amount below nothing": ({"amount_minor": -1}, "amount_invalid", "amount_minor"),
    "amount as text": ({"amount_minor": "12"}, "amount_invalid", "amount_minor"),
    "amount with a point": ({"amount_minor": 12.0}, "amount_invalid", "amount_minor"),
    "amount null": ({"amount_minor": None}, "amount_invalid", "amount_minor"),
    "another reason": ({"reason": "because"}, "parameter_invalid", "reason"),
    "empty reason": ({"reason": ""}, "parameter_invalid", "reason"),
    "fee as text": ({"refund_platform_fee": "yes"}, "parameter_invalid", "refund_platform_fee"),
    "metadata as list": ({"metadata": []}, "parameter_invalid", "metadata"),
    "unknown name": ({"amount": 5}, "parameter_unknown", "amount"),
    "source is ours": ({"source": "back_office"}, "parameter_unknown", "source"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_with_its_field(api: Api, name: str) -> None:
    changes, code, param = BAD_BODIES[name]
    payment = api.create()
    body = changes if name == "no payment" else {"payment": payment["id"], **changes}
    answer = api.post("/v1/refunds", body)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert not Refund.objects.filter(payment_id=payment["id"]).exists()


def test_what_is_foreign_is_what_is_absent(api: Api, another_api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    refund = api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 100}).json()
    words = set()
    calls: tuple[Callable[[str], Any], ...] = (
        lambda _: another_api.get(f"/v1/refunds/{refund['id']}"),
        lambda _: another_api.get("/v1/refunds/re_" + "0" * 26),
        lambda payment_id: another_api.post("/v1/refunds", {"payment": payment_id}),
        lambda payment_id: another_api.post(f"/v1/payments/{payment_id}/refunds", {}),
        lambda payment_id: another_api.get(f"/v1/payments/{payment_id}/refunds"),
    )
    for call in calls:
        for payment_id in (payment["id"], ABSENT):
            answer = call(payment_id)
            assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
            words.add(error_of(answer)["message"].split(":")[0])
    assert words == {"No such refund", "No such payment"}
    assert error_of(another_api.post("/v1/refunds", {"payment": ABSENT}))["param"] == "payment"
    assert another_api.get("/v1/refunds").json()["data"] == []
    filtered = another_api.get(f"/v1/refunds?payment={payment['id']}")
    assert filtered.json()["data"] == []


def test_a_repeat_gets_the_first_answer_and_moves_nothing(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    key, body = new_key(), {"payment": payment["id"], "amount_minor": 1000}
    first = api.post("/v1/refunds", body, idempotency_key=key)
    again = api.post("/v1/refunds", body, idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    other = api.post("/v1/refunds", {**body, "amount_minor": 1001}, idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    same = api.post(
        f"/v1/payments/{payment['id']}/refunds", {"amount_minor": 1000}, idempotency_key=key
    )
    assert (same.status_code, error_of(same)["code"]) == (422, "idempotency_key_reused")
    assert refunded_minor(shop, payment["id"]) == 1000


def test_while_one_is_on_its_way_its_key_and_its_payment_are_busy(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    shop.settings(latency_seconds=1.0)
    key, body = new_key(), {"payment": payment["id"], "amount_minor": 1000}
    answers: list[Any] = []

    def first() -> None:
        answers.append(Api(shop.secret_key).post("/v1/refunds", body, idempotency_key=key))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not Refund.objects.filter(payment_id=payment["id"]).exists():
        assert thread.is_alive()
    second = api.post("/v1/refunds", body, idempotency_key=key)
    other_key = api.post("/v1/refunds", body)
    thread.join()
    assert (second.status_code, error_of(second)["code"]) == (409, "idempotency_key_in_use")
    assert (other_key.status_code, error_of(other_key)["code"]) == (409, "operation_in_flight")
    assert "Retry-After" in second
    assert "Retry-After" in other_key
    assert answers[0].status_code == 201
    assert refunded_minor(shop, payment["id"]) == 1000


def test_refunds_come_in_pages_and_are_filtered(api: Api, shop: Shop) -> None:
    payment, other = settled(api, shop), settled(api, shop)
    ids = [
        api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 10}).json()["id"]
        for _ in range(3)
    ][::-1]
    api.post("/v1/refunds", {"payment": other["id"], "amount_minor": 10})
    first = api.get(f"/v1/refunds?payment={payment['id']}&limit=2").json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = api.get(f"/v1/payments/{payment['id']}/refunds?starting_after={ids[1]}").json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (ids[2:], False)
    assert len(api.get("/v1/refunds?status=succeeded").json()["data"]) == 4
    assert api.get("/v1/refunds?status=failed").json()["data"] == []
    made_at = first["data"][0]["created_at"]
    earlier = api.get(f"/v1/refunds?created_until={made_at}&payment={payment['id']}").json()
    assert [row["id"] for row in earlier["data"]] == ids[1:]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=done", "status"),
        ("payment=7", "payment"),
        ("created_from=yesterday", "created_from"),
        ("reason=duplicate", "reason"),
        ("status=failed&status=pending", "status"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(api: Api, query: str, param: str) -> None:
    answer = api.get(f"/v1/refunds?{query}")
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)
