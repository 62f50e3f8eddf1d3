"""What a payer's browser may read and tell, and from where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from payments.models import IdempotencyKey, Payment
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.shop import Shop

WAITING = {"confirm": None, "payment_method": None}


@pytest.fixture
def page(shop: Shop) -> Api:
    """A page of the shop, with its publishable key."""
    return Api(shop.publishable_key)


def test_a_page_reads_what_it_needs_to_confirm_at_the_provider(
    api: Api, page: Api, shop: Shop
) -> None:
    payment = api.create(**WAITING, description="Order 7")
    headers = {"Client-Secret": payment["client_secret"], "Origin": "https://shop.example"}
    answer = page.get(f"/v1/client/payments/{payment['id']}", **headers)
    seen = answer.json()
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cache-Control"] == "no-store"
    assert seen["provider_client_secret"] == payment["provider_client_secret"]
    assert seen["provider"]["publishable_key"] == shop.account.publishable_key
    assert (seen["status"], seen["amount_minor"]) == ("created", 4200)
    hidden = {"merchant", "metadata", "platform_fee_minor", "provider_fee_minor", "client_secret"}
    assert not hidden & set(seen)


def test_a_browser_may_ask_beforehand(page: Api) -> None:
    answer = page.client.options(
        "/v1/client/payments/pay_0",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,client-secret",
        },
    )
    assert answer.status_code == 200
    assert "client-secret" in answer["Access-Control-Allow-Headers"]


def test_the_merchants_own_routes_answer_no_browser(api: Api) -> None:
    answer = api.get("/v1/payments", Origin="https://shop.example")
    assert "Access-Control-Allow-Origin" not in answer


def test_a_wrong_secret_is_the_same_404_as_no_payment(api: Api, page: Api) -> None:
    payment, other = api.create(**WAITING), api.create(**WAITING)
    absent = "pay_" + "0" * 26
    answers = set()
    for payment_id, secret in (
        (payment["id"], other["client_secret"]),
        (payment["id"], payment["id"] + "_secret_x"),
        (absent, payment["client_secret"]),
    ):
        answer = page.get(f"/v1/client/payments/{payment_id}", **{"Client-Secret": secret})
        assert answer.status_code == 404
        error = error_of(answer)
        answers.add((error["code"], error["message"].replace(payment_id, "ID")))
    assert len(answers) == 1


def test_another_merchants_page_sees_nothing_even_with_the_secret(
    api: Api, another_shop: Shop
) -> None:
    payment = api.create(**WAITING)
    answer = Api(another_shop.publishable_key).get(
        f"/v1/client/payments/{payment['id']}", **{"Client-Secret": payment["client_secret"]}
    )
    assert answer.status_code == 404


def test_the_secret_comes_in_its_header_and_nowhere_else(api: Api, page: Api) -> None:
    payment = api.create(**WAITING)
    path = f"/v1/client/payments/{payment['id']}"
    missing = error_of(page.get(path))
    assert (missing["code"], missing["param"]) == ("parameter_invalid", "Client-Secret")
    in_address = error_of(page.get(f"{path}?client_secret={payment['client_secret']}"))
    assert (in_address["code"], in_address["param"]) == ("parameter_unknown", "client_secret")


def test_a_secret_key_in_a_browser_is_refused(api: Api) -> None:
    payment = api.create(**WAITING)
    answer = api.get(
        f"/v1/client/payments/{payment['id']}", **{"Client-Secret": payment["client_secret"]}
    )
    assert (answer.status_code, error_of(answer)["code"]) == (403, "publishable_key_required")


def returned(page: Api, payment: dict[str, Any], **headers: str) -> Any:
    """The answer to a page that tells of its payer's return."""
    sent = {"Client-Secret": payment["client_secret"], **headers}
    return page.post(
        f"/v1/client/payments/{payment['id']}/return", None, idempotency_key=None, **sent
    )


def waiting_for_the_payer(api: Api) -> dict[str, Any]:
    answer = api.post("/v1/payments", payment_body(payment_method="tok_3ds"))
    assert answer.status_code == 201, answer.content
    payment: dict[str, Any] = answer.json()
    assert payment["status"] == "requires_action"
    return payment


def test_a_payer_who_is_back_is_noted_and_the_provider_asked_at_once(
    api: Api, page: Api, shop: Shop
) -> None:
    payment = waiting_for_the_payer(api)
    shop.authenticate(payment["id"], "succeed")
    answer = returned(page, payment, Origin="https://shop.example")
    seen = answer.json()
    assert (answer.status_code, seen["status"], seen["next_action"]) == (200, "processing", None)
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cache-Control"] == "no-store"
    assert "merchant" not in seen
    row = Payment.objects.get(pk=payment["id"])
    assert row.poll_due_at is not None
    assert row.poll_due_at <= datetime.now(UTC)
    assert shop.poll(payment["id"]).state == "captured"


def test_telling_it_twice_or_too_late_changes_nothing(api: Api, page: Api, shop: Shop) -> None:
    payment = waiting_for_the_payer(api)
    first = returned(page, payment)
    edges = shop.edges(payment["id"])
    assert edges[-1] == "client_completed"
    again = returned(page, payment, **{"Idempotency-Key": "not-looked-at"})
    assert (again.status_code, again.json()) == (200, first.json())
    assert shop.edges(payment["id"]) == edges
    done = api.create()
    assert returned(page, done).json()["status"] == "captured"
    assert "client_completed" not in shop.edges(done["id"])
    assert not IdempotencyKey.objects.filter(key="not-looked-at").exists()


def test_a_tampered_secret_moves_nothing(
    api: Api, page: Api, shop: Shop, another_shop: Shop
) -> None:
    payment, other = waiting_for_the_payer(api), api.create(**WAITING)
    before = shop.edges(payment["id"])
    secret = payment["client_secret"]
    last = "0" if secret[-1] != "0" else "1"
    for tampered in (secret[:-1] + last, secret[:-1], secret + "0", secret.upper(), "x"):
        answer = returned(page, payment, **{"Client-Secret": tampered})
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert returned(page, payment, **{"Client-Secret": other["client_secret"]}).status_code == 404
    assert returned(Api(another_shop.publishable_key), payment).status_code == 404
    missing = returned(page, payment, **{"Client-Secret": ""})
    assert (missing.status_code, error_of(missing)["param"]) == (400, "Client-Secret")
    refused = returned(api, payment)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "publishable_key_required")
    assert shop.edges(payment["id"]) == before


def test_a_browser_may_tell_it_from_any_page(page: Api) -> None:
    answer = page.client.options(
        "/v1/client/payments/pay_0/return",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,client-secret,content-type",
        },
    )
    assert answer.status_code == 200
    assert "POST" in answer["Access-Control-Allow-Methods"]
