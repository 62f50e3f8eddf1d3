"""`expand[]`: more of a payment in the same answer, in a bounded number of queries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.log import Actor
from payments.actions.api_keys import issue_api_key
from payments.models import ApiKey
from tests.payments.api.conftest import Api, error_of
from tests.payments.api.whole_life import disputed, settled, shown
from tests.payments.shop import Shop

ALL = "expand[]=captures&expand[]=refunds&expand[]=disputes&expand[]=customer"


def test_parts_are_the_objects_that_their_own_addresses_show(api: Api, shop: Shop) -> None:
    customer = api.post("/v1/customers", {"email": "dana@example.com"}).json()
    payment = settled(api, shop, customer=customer["id"])
    refund = api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 100}).json()
    full = shown(api, payment["id"], f"?{ALL}")
    assert full["customer"] == customer
    assert full["refunds"] == {"object": "list", "data": [refund], "has_more": False}
    assert (
        full["captures"]["data"] == api.get(f"/v1/payments/{payment['id']}/captures").json()["data"]
    )
    assert full["disputes"]["data"] == []
    (listed,) = api.get(f"/v1/payments?{ALL}").json()["data"]
    hidden = {"client_secret", "provider_client_secret"}
    assert listed == {name: value for name, value in full.items() if name not in hidden}
    dispute = disputed(api, shop)
    (told,) = shown(api, dispute["payment"], "?expand[]=disputes")["disputes"]["data"]
    assert told == dispute


def test_nothing_is_expanded_unless_asked_and_no_customer_is_null(api: Api) -> None:
    payment = api.create()
    assert not {"captures", "refunds", "disputes"} & set(shown(api, payment["id"]))
    assert shown(api, payment["id"], f"?{ALL}")["customer"] is None


def test_the_newest_ten_are_shown_and_the_rest_is_told(api: Api, shop: Shop) -> None:
    payment = settled(api, shop)
    made = [
        api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 1}).json()["id"]
        for _ in range(11)
    ]
    refunds = shown(api, payment["id"], "?expand[]=refunds")["refunds"]
    assert [row["id"] for row in refunds["data"]] == made[:0:-1]
    assert refunds["has_more"] is True


def test_a_page_costs_as_many_queries_as_one_payment(api: Api, shop: Shop) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert api.get(f"/v1/payments?{ALL}").status_code == 200
        return len(seen)

    settled(api, shop)
    api.get("/v1/payments")
    one = queries()
    for _ in range(4):
        payment = api.create()
        api.post("/v1/refunds", {"payment": payment["id"], "amount_minor": 1})
    assert queries() <= one


@pytest.mark.parametrize("query", ["expand[]=attempts", "expand[]=", "expand=refunds"])
def test_what_cannot_be_expanded_is_refused(api: Api, query: str) -> None:
    for path in ("/v1/payments", f"/v1/payments/{api.create()['id']}"):
        answer = api.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert error_of(answer)["param"] in ("expand[]", "expand")


@pytest.mark.parametrize(
    ("name", "needed"),
    [("refunds", "refunds:read"), ("disputes", "disputes:read"), ("customer", "customers:read")],
)
def test_a_restricted_key_expands_what_it_may_read(
    api: Api, shop: Shop, name: str, needed: str
) -> None:
    payment = api.create()
    for path in ("/v1/payments", f"/v1/payments/{payment['id']}"):
        query = f"{path}?expand[]={name}"
        refused = restricted(shop, "payments:read").get(query)
        assert (refused.status_code, error_of(refused)["required_scope"]) == (403, needed)
        assert restricted(shop, "payments:read", needed).get(query).status_code == 200


def restricted(shop: Shop, *scopes: str) -> Api:
    made: tuple[Any, str] = issue_api_key(
        merchant=shop.merchant,
        kind=ApiKey.Kind.RESTRICTED,
        livemode=False,
        name="",
        actor=Actor(type="user", id="1"),
        now=datetime.now(UTC),
        scopes=scopes,
    )
    return Api(made[1])
