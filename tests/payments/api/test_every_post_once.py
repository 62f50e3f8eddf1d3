"""Every POST of a merchant goes through its Idempotency-Key; the routes are walked, not listed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from config.processes import BASE_DIR
from payments.api.openapi import document_text
from payments.models import IdempotencyKey
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.api.whole_life import disputed, settled
from tests.payments.shop import Shop, new_key

# Documented in docs/api.md: nothing is made or moved there.
EXEMPT = {"/v1/client/payments/{payment_id}/return"}

PATHS: dict[str, Any] = json.loads(document_text())["paths"]
POSTS = sorted(path for path, operations in PATHS.items() if "post" in operations)
ONCE = [path for path in POSTS if path not in EXEMPT]


def example_of(path: str) -> dict[str, Any]:
    """A request that the documentation shows for this address; empty where it takes nothing."""
    operation = PATHS[path]["post"]
    if "requestBody" not in operation:
        return {}
    content = operation["requestBody"]["content"]["application/json"]
    example: dict[str, Any] = next(iter(content["examples"].values()))["value"]
    return example


@pytest.fixture
def ids(api: Api, shop: Shop, receiver_port: int) -> dict[str, str]:
    """One object of every kind that an address may name."""
    endpoint = api.post(
        "/v1/webhook_endpoints", {"url": f"http://127.0.0.1:{receiver_port}/events"}
    )
    customer = api.post("/v1/customers", {}).json()["id"]
    method = api.post(f"/v1/customers/{customer}/payment_methods", {"token": "tok_visa"})
    delivery = api.post(f"/v1/webhook_endpoints/{endpoint.json()['id']}/test")
    return {
        "delivery_id": delivery.json()["id"],
        "payment_id": settled(api, shop)["id"],
        "dispute_id": disputed(api, shop)["id"],
        "customer_id": customer,
        "payment_method_id": method.json()["id"],
        "endpoint_id": endpoint.json()["id"],
    }


def request_for(path: str, ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The address with ids that exist, and a body that is valid there."""
    body = dict(example_of(path))
    if "payment" in body:
        body["payment"] = ids["payment_id"]
    return re.sub(r"\{(\w+)\}", lambda name: ids[name[1]], path), body


def test_no_post_is_done_without_a_key(api: Api, ids: dict[str, str]) -> None:
    for path in ONCE:
        address, body = request_for(path, ids)
        answer = api.post(address, body, idempotency_key=None)
        assert (answer.status_code, error_of(answer)["code"]) == (
            400,
            "idempotency_key_missing",
        ), path
        short = api.post(address, body, idempotency_key="short")
        assert error_of(short)["code"] == "idempotency_key_invalid", path


def test_a_key_that_was_used_for_something_else_is_refused_by_every_post(
    api: Api, ids: dict[str, str]
) -> None:
    key = new_key()
    first = api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert first.status_code == 201
    for path in ONCE:
        address, body = request_for(path, ids)
        answer = api.post(address, body, idempotency_key=key)
        assert (answer.status_code, error_of(answer)["code"]) == (
            422,
            "idempotency_key_reused",
        ), path


def test_a_repeat_of_every_post_gets_the_first_answer(
    api: Api, shop: Shop, ids: dict[str, str]
) -> None:
    for path in ONCE:
        key = new_key()
        address, body = request_for(path, ids)
        first = api.post(address, body, idempotency_key=key)
        assert first.status_code < 500, (path, first.content)
        again = api.post(address, body, idempotency_key=key)
        assert again["Idempotent-Replayed"] == "true", path
        assert again.status_code == first.status_code, path
        assert shown(again) == shown(first), path
        row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
        assert row.response_status == first.status_code, path


def shown(answer: Any) -> dict[str, Any]:
    """An answer without what each one has of its own, or only the first one has."""
    body: dict[str, Any] = answer.json()
    body.pop("secret", None)
    if "error" in body:
        body["error"].pop("request_id")
    return body


def test_what_needs_no_key_is_documented() -> None:
    guide = (BASE_DIR / "docs" / "api.md").read_text()
    part = guide.split("## Idempotency")[1].split("\n## ")[0]
    for path in EXEMPT:
        assert path in POSTS
        assert f"`POST {path}`" in part


def test_the_secret_of_an_endpoint_is_in_its_first_answer_alone(
    api: Api, shop: Shop, receiver_port: int
) -> None:
    key, body = new_key(), {"url": f"http://127.0.0.1:{receiver_port}/events"}
    first = api.post("/v1/webhook_endpoints", body, idempotency_key=key)
    again = api.post("/v1/webhook_endpoints", body, idempotency_key=key)
    secret = first.json()["secret"]
    assert first["Cache-Control"] == "no-store"
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert "secret" not in again.json()
    assert {**again.json(), "secret": secret} == first.json()
    assert len(api.get("/v1/webhook_endpoints").json()["data"]) == 1
    assert secret not in str(IdempotencyKey.objects.get(key=key).response_body)
    path, key = f"/v1/webhook_endpoints/{first.json()['id']}/rotate_secret", new_key()
    rotated = api.post(path, {}, idempotency_key=key)
    assert rotated.json()["secret"] != secret
    assert "secret" not in api.post(path, {}, idempotency_key=key).json()
