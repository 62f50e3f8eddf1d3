"""What a payer's browser may read, and from where."""

from __future__ import annotations

import pytest

from tests.payments.api.conftest import Api, error_of
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
