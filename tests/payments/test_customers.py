"""Customers: made, found, changed and erased, with nothing personal where it does not belong."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError

from audit import encryption, rotation, timeline
from audit.log import Actor, acting_as
from payments.models import Customer, IdempotencyKey, MethodOperation, PaymentMethod
from tests.payments.api.conftest import Api, error_of
from tests.payments.api.test_card_numbers import in_the_database
from tests.payments.customers import AGREED, customer, events_of, resume, save
from tests.payments.shop import Shop, new_key


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.secret_key)


@pytest.fixture
def another_api(another_shop: Shop) -> Api:
    return Api(another_shop.secret_key)


def test_a_customer_is_created_shown_and_announced(api: Api, shop: Shop) -> None:
    created = customer(
        api,
        email="dana@example.com",
        name="Dana Reyes",
        merchant_reference="c-77",
        metadata={"tier": "gold"},
    )
    assert created["id"].startswith("cus_")
    assert (created["email"], created["name"]) == ("dana@example.com", "Dana Reyes")
    assert (created["object"], created["livemode"], created["deleted"]) == (
        "customer",
        False,
        False,
    )
    assert created["metadata"] == {"tier": "gold"}
    assert api.get(f"/v1/customers/{created['id']}").json() == created
    (event,) = events_of(api)
    assert event["type"] == "customer.created"
    assert event["data"]["object"]["id"] == created["id"]
    (record,) = timeline.timeline(stream_type="customer", stream_id=created["id"], limit=10)
    assert record.event_type == "customer.created"
    assert record.actor_type == "api_key"


def test_a_customer_may_be_nameless(api: Api) -> None:
    created = customer(api)
    assert (created["email"], created["name"], created["merchant_reference"]) == (None, None, None)


def test_name_and_address_are_stored_only_encrypted(
    api: Api, owner_connection: psycopg.Connection
) -> None:
    token = secrets.token_hex(8)
    email, name = f"dana.{token}@example.com", f"Dana {token}"
    key = new_key()
    created = api.post("/v1/customers", {"email": email, "name": name}, idempotency_key=key).json()
    api.post(f"/v1/customers/{created['id']}", {"name": f"{name} II"})
    save(api, created["id"], mandate={**AGREED, "user_agent": f"Browser {token}"})
    assert in_the_database(owner_connection, token) == []
    again = api.post("/v1/customers", {"email": email, "name": name}, idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json()["email"] == email


def test_customers_are_found_by_address_name_and_reference(api: Api, another_api: Api) -> None:
    token = secrets.token_hex(8)
    one = customer(api, email=f"Dana.{token}@Example.com", name=f"Dana  {token}")
    customer(api, email="someone@else.example", merchant_reference=f"c-{token}")
    customer(another_api, email=f"dana.{token}@example.com")

    def found(query: str) -> list[str]:
        return [row["id"] for row in api.get(f"/v1/customers?{query}").json()["data"]]

    assert found(f"email=dana.{token}@example.com") == [one["id"]]
    assert found(f"name=dana {token}".replace(" ", "%20")) == [one["id"]]
    assert len(found(f"merchant_reference=c-{token}")) == 1
    assert found("email=nobody@example.com") == []
    assert len(found("limit=10")) == 2


def test_an_update_changes_what_it_names_and_nothing_else(api: Api) -> None:
    created = customer(api, email="dana@example.com", name="Dana", metadata={"a": "1"})
    path = f"/v1/customers/{created['id']}"
    changed = api.post(path, {"email": "dana@work.example", "metadata": {"b": "2"}}).json()
    assert (changed["email"], changed["name"]) == ("dana@work.example", "Dana")
    assert changed["metadata"] == {"b": "2"}
    assert api.post(path, {"email": ""}).json()["email"] is None
    assert api.get("/v1/customers?email=dana@work.example").json()["data"] == []
    types = [event["type"] for event in events_of(api)]
    assert types == ["customer.created", "customer.updated", "customer.updated"]


def test_a_reference_belongs_to_one_customer(api: Api, another_api: Api) -> None:
    first = customer(api, merchant_reference="c-1")
    answer = api.post("/v1/customers", {"merchant_reference": "c-1"})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (409, "merchant_reference_taken")
    assert (error["param"], error["customer"]) == ("merchant_reference", first["id"])
    second = customer(api)
    answer = api.post(f"/v1/customers/{second['id']}", {"merchant_reference": "c-1"})
    assert error_of(answer)["code"] == "merchant_reference_taken"
    assert customer(another_api, merchant_reference="c-1")["merchant_reference"] == "c-1"


def test_a_foreign_customer_looks_like_none(api: Api, another_api: Api, another_shop: Shop) -> None:
    foreign = customer(another_api)["id"]
    absent = "cus_01kafr9c2be2prw8h6s1t0k4mz"
    for method, tail in [
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("GET", "/payment_methods"),
        ("POST", "/payment_methods"),
    ]:
        answers = []
        for customer_id in (foreign, absent):
            headers = {"Idempotency-Key": new_key()}
            body = {"token": "tok_visa"} if tail and method == "POST" else {}
            path = f"/v1/customers/{customer_id}{tail}"
            answer = api._call(method, path, body if method == "POST" else None, headers)
            error = error_of(answer)
            answers.append((answer.status_code, error["code"], error["param"]))
        assert answers == [(404, "not_found", "customer")] * 2, (method, tail)
    assert not IdempotencyKey.objects.filter(path__contains=foreign).exists()
    assert not IdempotencyKey.objects.filter(path__contains=absent).exists()


def test_the_same_request_makes_one_customer_and_another_is_refused(api: Api, shop: Shop) -> None:
    key = new_key()
    first = api.post("/v1/customers", {"name": "Dana"}, idempotency_key=key)
    second = api.post("/v1/customers", {"name": "Dana"}, idempotency_key=key)
    assert first.json() == second.json()
    other = api.post("/v1/customers", {"name": "Eve"}, idempotency_key=key)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    assert Customer.objects.filter(merchant=shop.merchant).count() == 1
    answer = api.post("/v1/customers", {"name": "Dana"}, idempotency_key=None)
    assert error_of(answer)["code"] == "idempotency_key_missing"


def test_a_deleted_customer_is_erased_and_its_methods_are_removed(
    api: Api, shop: Shop, owner_connection: psycopg.Connection
) -> None:
    token = secrets.token_hex(8)
    created = customer(
        api, email=f"{token}@example.com", merchant_reference=f"c-{token}", metadata={"a": "b"}
    )
    method = save(api, created["id"], "tok_bank", mandate=AGREED)
    path = f"/v1/customers/{created['id']}"
    assert api.delete(path).json() == {"id": created["id"], "object": "customer", "deleted": True}
    assert api.delete(path).status_code == 200
    shown = api.get(path).json()
    assert shown["deleted"] is True
    assert [shown[name] for name in ("email", "name", "merchant_reference")] == [None] * 3
    assert shown["metadata"] == {}
    assert created["id"] not in json.dumps(api.get("/v1/customers").json())
    removed = api.get(f"/v1/payment_methods/{method['id']}").json()
    assert (removed["status"], removed["mandate"]["status"]) == ("removed", "revoked")
    kept = PaymentMethod.objects.get(pk=method["id"])
    assert kept.mandate.reveal_acceptance() == {}
    assert resume(shop, method["id"]).status == 200
    assert MethodOperation.objects.filter(method=kept, finished_at=None).count() == 0
    types = [event["type"] for event in events_of(api)]
    assert types[-3:] == ["mandate.revoked", "payment_method.removed", "customer.deleted"]
    for verb in ("", "/payment_methods"):
        answer = api.post(f"{path}{verb}", {"token": "tok_visa"} if verb else {"name": "X"})
        assert error_of(answer)["code"] == "not_found"
    assert in_the_database(owner_connection, f"{token}@example.com") == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "@example.com"}, "email"),
        ({"email": "a b@example.com"}, "email"),
        ({"email": f"{'x' * 250}@example.com"}, "email"),
        ({"email": 5}, "email"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"phone": "1"}, "phone"),
    ],
)
def test_a_bad_customer_is_refused_and_leaves_nothing(
    body: dict[str, Any], param: str, api: Api, shop: Shop
) -> None:
    answer = api.post("/v1/customers", body)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param
    assert not Customer.objects.filter(merchant=shop.merchant).exists()
    assert not IdempotencyKey.objects.filter(merchant=shop.merchant).exists()


def test_the_database_keeps_customers_apart_and_deleted_ones_empty(
    api: Api, shop: Shop, another_shop: Shop
) -> None:
    kept = Customer.objects.get(pk=customer(api)["id"])
    kept.merchant = another_shop.merchant
    with pytest.raises(IntegrityError, match="never change"):
        kept.save()
    api.delete(f"/v1/customers/{kept.pk}")
    with pytest.raises(IntegrityError):
        Customer.objects.filter(pk=kept.pk).update(email_index="x")
    with pytest.raises(Exception, match="permission denied"):
        Customer.objects.filter(pk=kept.pk)._raw_delete("default")


def test_a_customer_is_found_and_read_after_the_key_was_rotated_away(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = f"{secrets.token_hex(8)}@example.com"
    created = customer(api, email=email, name="Dana")
    new_ring = ["rotated:" + base64.b64encode(secrets.token_bytes(32)).decode()]
    old_ring = list(settings.FLORIN_ENCRYPTION_KEYS)
    columns = {
        key: column for key, column in encryption._COLUMNS.items() if key[0] == "payments.Customer"
    }
    assert len(columns) == 2
    monkeypatch.setattr(encryption, "_COLUMNS", columns)
    settings.FLORIN_ENCRYPTION_KEYS = new_ring + old_ring
    with acting_as(Actor(type="system", id="test")):
        assert {column.remaining for column in rotation.rotate(now=datetime.now(UTC))} == {0}
    settings.FLORIN_ENCRYPTION_KEYS = new_ring
    (found,) = api.get(f"/v1/customers?email={email}").json()["data"]
    assert (found["id"], found["email"], found["name"]) == (created["id"], email, "Dana")
    settings.FLORIN_ENCRYPTION_KEYS = old_ring
    Customer.objects.filter(email_encrypted__isnull=False).update(
        email_encrypted=None, name_encrypted=None
    )
