"""Taking a payment over HTTP: create, confirm, capture, cancel, retrieve, list."""

from __future__ import annotations

import pytest

from tests.payments.api.conftest import CARD, Api, error_of, payment_body
from tests.payments.shop import FEE_FIXED_MINOR, Shop


def test_a_payment_is_taken_with_one_request(api: Api, shop: Shop) -> None:
    answer = api.post("/v1/payments", payment_body(metadata={"customer": "c-77"}))
    payment = answer.json()
    assert answer.status_code == 201
    assert (payment["object"], payment["status"]) == ("payment", "captured")
    assert payment["amount_captured_minor"] == 4200
    assert payment["metadata"] == {"customer": "c-77"}
    assert payment["client_secret"].startswith(payment["id"] + "_secret_")
    assert answer["Request-Id"].startswith("req_")
    assert answer["Florin-Version"] == "2026-11-20"
    moved = [(move["kind"], move["amount_minor"]) for move in shop.movements(payment["id"])]
    assert moved == [("hold", 4200), ("capture", 4200)]


def test_a_held_payment_is_captured_and_another_is_canceled(api: Api) -> None:
    held = api.create(capture_method="manual")
    assert held["status"] == "authorized"
    captured = api.post(f"/v1/payments/{held['id']}/capture").json()
    assert captured["status"] == "captured"
    given_up = api.create(capture_method="manual")
    canceled = api.post(f"/v1/payments/{given_up['id']}/cancel", {"reason": "duplicate"}).json()
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "duplicate")


def test_a_payment_is_confirmed_in_a_second_step(api: Api) -> None:
    created = api.create(confirm=None, payment_method=None)
    assert created["status"] == "created"
    assert created["provider_client_secret"]
    confirmed = api.post(f"/v1/payments/{created['id']}/confirm", {"payment_method": CARD})
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "captured")


def test_a_declined_card_is_402_with_the_reason_and_the_payment(api: Api) -> None:
    answer = api.post("/v1/payments", payment_body(payment_method="tok_insufficient_funds"))
    error = error_of(answer)
    assert answer.status_code == 402
    assert (error["type"], error["code"]) == ("payment_error", "payment_declined")
    assert error["request_id"] == answer["Request-Id"]
    assert error["doc_url"].endswith("/docs/errors#payment_declined")


def test_what_the_state_does_not_allow_is_409(api: Api) -> None:
    payment = api.create()
    answer = api.post(f"/v1/payments/{payment['id']}/capture")
    assert (answer.status_code, error_of(answer)["code"]) == (409, "payment_state_conflict")


def test_a_payment_is_read_back_with_its_secrets(api: Api) -> None:
    payment = api.create()
    read = api.get(f"/v1/payments/{payment['id']}")
    assert read.status_code == 200
    assert read.json() == payment


def test_a_list_has_no_secrets_and_the_rest_is_the_same(api: Api) -> None:
    payment = api.create()
    (listed,) = api.get("/v1/payments").json()["data"]
    secrets = {"client_secret", "provider_client_secret"}
    assert listed == {name: payment[name] for name in payment if name not in secrets}


def test_pages_follow_one_another_in_both_directions(api: Api) -> None:
    ids = [api.create(confirm=None, payment_method=None)["id"] for _ in range(5)][::-1]
    first = api.get("/v1/payments?limit=2").json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (ids[:2], True)
    second = api.get(f"/v1/payments?limit=2&starting_after={ids[1]}").json()
    assert ([row["id"] for row in second["data"]], second["has_more"]) == (ids[2:4], True)
    last = api.get(f"/v1/payments?limit=2&starting_after={ids[3]}").json()
    assert ([row["id"] for row in last["data"]], last["has_more"]) == (ids[4:], False)
    back = api.get(f"/v1/payments?limit=2&ending_before={ids[4]}").json()
    assert ([row["id"] for row in back["data"]], back["has_more"]) == (ids[2:4], True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("merchant_reference=order-7", True),
        ("merchant_reference=order-8", False),
        ("currency=EUR&status=captured", True),
        ("currency=USD", False),
        ("status=failed", False),
        ("created_from=2020-01-01T00:00:00Z&created_until=2100-01-01T00:00:00Z", True),
        ("created_until=2020-01-01T00:00:00Z", False),
    ],
)
def test_a_list_is_narrowed(api: Api, query: str, found: bool) -> None:
    api.create(merchant_reference="order-7")
    assert len(api.get(f"/v1/payments?{query}").json()["data"]) == int(found)


def test_another_merchants_payment_is_the_same_404_as_one_that_never_was(
    api: Api, another_api: Api
) -> None:
    foreign, absent = api.create()["id"], "pay_" + "0" * 26

    def answers(payment_id: str) -> list[tuple[int, str]]:
        path = f"/v1/payments/{payment_id}"
        found = [another_api.get(path)]
        found += [another_api.post(f"{path}/{verb}", {}) for verb in ("confirm", "capture")]
        found.append(another_api.post(f"{path}/cancel", {}))
        return [
            (
                answer.status_code,
                answer.content.decode()
                .replace(payment_id, "ID")
                .replace(answer["Request-Id"], "REQUEST"),
            )
            for answer in found
        ]

    assert answers(foreign) == answers(absent)
    assert {status for status, _ in answers(foreign)} == {404}
    assert another_api.get("/v1/payments").json()["data"] == []


def test_events_of_a_payment_are_listed_and_read(api: Api, another_api: Api) -> None:
    payment = api.create()
    events = api.get(f"/v1/events?payment={payment['id']}").json()["data"]
    assert [event["type"] for event in events][-1] == "payment.initiated"
    assert "payment.confirmed" in {event["type"] for event in events}
    event = events[0]
    assert api.get(f"/v1/events/{event['id']}").json() == event
    assert event["data"]["object"]["id"] == payment["id"]
    assert "client_secret" not in event["data"]["object"]
    assert another_api.get(f"/v1/events/{event['id']}").status_code == 404
    assert another_api.get("/v1/events").json()["data"] == []


def test_the_balance_is_what_the_ledger_says(api: Api) -> None:
    assert api.get("/v1/balance").json()["balances"] == []
    api.create()
    (euro,) = api.get("/v1/balance").json()["balances"]
    assert euro["currency"] == "EUR"
    assert euro["pending_minor"] == 4200 - 63 - FEE_FIXED_MINOR
    assert (euro["available_minor"], euro["reserve_minor"]) == (0, 0)
