"""What tests about customers and saved payment methods ask for, through the API as merchants do."""

from __future__ import annotations

from typing import Any

from audit.log import Actor, acting_as
from payments.actions.method_calls import lease_method_operation, resume_method_operation
from payments.idempotency import Answer
from payments.models import MethodOperation
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop

AGREED = {
    "accepted_at": "2026-11-20T12:00:00Z",
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11)",
}


def customer(api: Api, **members: Any) -> dict[str, Any]:
    """A new customer."""
    answer = api.post("/v1/customers", members)
    assert answer.status_code == 201, answer.content
    created: dict[str, Any] = answer.json()
    return created


def save(api: Api, customer_id: str, token: str = "tok_visa", **more: Any) -> dict[str, Any]:
    """A saved payment method of the customer."""
    answer = api.post(f"/v1/customers/{customer_id}/payment_methods", {"token": token, **more})
    assert answer.status_code == 201, answer.content
    saved: dict[str, Any] = answer.json()
    return saved


def events_of(api: Api, *types: str) -> list[dict[str, Any]]:
    """The merchant's events, oldest first, of some types only where told."""
    found = api.get("/v1/events?limit=100").json()["data"][::-1]
    return [event for event in found if not types or event["type"] in types]


def resume(shop: Shop, method_id: str) -> Answer:
    """Drive the method's open call on, as the periodic job does when it is due."""
    operation = MethodOperation.objects.get(method_id=method_id, finished_at=None)
    with acting_as(Actor(type="job", id="test")):
        leased = lease_method_operation(operation.pk, now=shop.now())
        assert leased is not None
        return resume_method_operation(leased, clock=shop.now)


def methods_at_the_provider(shop: Shop, reference: str) -> list[dict[str, Any]]:
    """What the sandbox keeps under the id of one of our payment methods."""
    found: list[dict[str, Any]] = shop.sandbox("GET", f"/v1/methods?reference={reference}")["data"]
    return found
