"""Staff of each group, and a payment with a whole life: asked for over HTTP, settled, delivered."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.db import connection

from payments.models import Payment
from tests.payments.admin.people import Staff, make_staff
from tests.payments.admin.visiting import SCREENSHOTS, back_office, stranger, visit
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop
from tests.webhooks.receiver import receiving
from webhooks import delivery, outbox

__all__ = ["SCREENSHOTS", "Staff", "back_office", "make_staff", "stranger", "visit"]


@pytest.fixture(scope="session")
def staff(databases: object) -> Callable[[str], Staff]:
    """A person of a group by its name, "" for none, "superuser" for all rights; one each."""
    known: dict[tuple[str, str], Staff] = {}

    def person(group: str) -> Staff:
        here = (connection.settings_dict["NAME"], group)  # some tests have a database of their own
        if here not in known:
            superuser = group == "superuser"
            groups = [group] if group and not superuser else []
            known[here] = make_staff(*groups, superuser=superuser)
        return known[here]

    return person


@dataclass(frozen=True)
class Life:
    """A settled payment, the shop it belongs to, and the ids it is known by."""

    shop: Shop
    payment: Payment
    reference: str
    provider_reference: str
    request_id: str
    client_secret: str
    webhook_secret: str


@contextlib.contextmanager
def lived_payment(shop: Shop, receiver_port: int) -> Iterator[Life]:
    """Take a payment as a merchant does, let the provider settle it, tell the merchant."""
    api = Api(shop.secret_key)
    with receiving(receiver_port) as receiver:
        endpoint = api.post(
            "/v1/webhook_endpoints", {"url": receiver.url, "event_types": ["*"]}
        ).json()
        reference = f"order-{secrets.token_hex(4)}"
        answer = api.post(
            "/v1/payments",
            {
                "amount_minor": 123456,
                "currency": "EUR",
                "confirm": True,
                "payment_method": "tok_visa",
                "merchant_reference": reference,
                "description": "Two tickets",
            },
        )
        body = answer.json()
        assert answer.status_code == 201, body
        shop.deliver_events(payment=shop.provider_reference(body["id"]))
        shop.settle()
        shop.deliver_events(payment=shop.provider_reference(body["id"]))
        now = datetime.now(UTC)
        outbox.drain(now=now)
        delivery.deliver(clock=lambda: datetime.now(UTC), stopping=lambda: False)
        yield Life(
            shop=shop,
            payment=shop.payment(body["id"]),
            reference=reference,
            provider_reference=shop.provider_reference(body["id"]),
            request_id=answer["Request-Id"],
            client_secret=body["client_secret"],
            webhook_secret=endpoint["secret"],
        )


@pytest.fixture
def life(shop: Shop, receiver_port: int) -> Iterator[Life]:
    """A settled payment of a shop of its own."""
    with lived_payment(shop, receiver_port) as lived:
        yield lived
