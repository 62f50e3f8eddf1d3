"""The merchant API as its users call it: Django's test client, real database, real sandbox."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from payments.models import Payment
from tests.payments.shop import Shop, new_key

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as HttpAnswer

CARD = "tok_visa"


@dataclass
class Api:
    """Calls the API with one key. Bodies are objects, or bytes that are sent as they are."""

    key: str
    headers: dict[str, str] = field(default_factory=dict)
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def get(self, path: str, **headers: str) -> HttpAnswer:
        return self._call("GET", path, None, headers)

    def post(
        self, path: str, body: Any = None, *, idempotency_key: str | None = "", **headers: str
    ) -> HttpAnswer:
        """A POST with a fresh Idempotency-Key; with None without one."""
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key or new_key()
        return self._call("POST", path, body, headers)

    def patch(self, path: str, body: Any) -> HttpAnswer:
        return self._call("PATCH", path, body, {})

    def delete(self, path: str) -> HttpAnswer:
        return self._call("DELETE", path, None, {})

    def create(self, **changes: Any) -> dict[str, Any]:
        """A payment of 4200 EUR, confirmed unless told otherwise; the answer's body."""
        answer = self.post("/v1/payments", payment_body(**changes))
        assert answer.status_code == 201, answer.content
        created: dict[str, Any] = answer.json()
        return created

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> HttpAnswer:
        sent = {**self.headers, **headers}
        if self.key:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        content = b"" if body is None else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        content_type = sent.pop("Content-Type", "application/json")
        answer: Any = self.client.generic(
            method, path, content, content_type=content_type, headers=sent
        )
        return answer


def payment_body(**changes: Any) -> dict[str, Any]:
    """A good request for a payment; `None` as a value leaves a member out."""
    body = {"amount_minor": 4200, "currency": "EUR", "confirm": True, "payment_method": CARD}
    return {name: value for name, value in (body | changes).items() if value is not None}


def error_of(answer: HttpAnswer) -> dict[str, Any]:
    """The error object of a refusal."""
    error: dict[str, Any] = json.loads(answer.content)["error"]
    return error


def payment_count(shop: Shop) -> int:
    """How many payments the shop has."""
    return Payment.objects.filter(merchant=shop.merchant).count()


@pytest.fixture
def api(shop: Shop) -> Api:
    """The API with the shop's secret key."""
    return Api(shop.secret_key)


@pytest.fixture
def another_api(another_shop: Shop) -> Api:
    """The API with another merchant's secret key."""
    return Api(another_shop.secret_key)
