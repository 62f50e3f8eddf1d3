"""Payments on their later ways, brought there through API and sandbox: settled, disputed."""

from __future__ import annotations

from typing import Any

from tests.payments.api.conftest import Api
from tests.payments.shop import Shop

PDF = "JVBERi0xLjcKJeLjz9MK"  # how a PDF begins, in base64


def settled(api: Api, shop: Shop, **changes: Any) -> dict[str, Any]:
    """A payment of 4200 EUR whose money the sandbox counts as ours."""
    payment = api.create(**changes)
    shop.settle()
    shop.deliver_events()
    return shown(api, payment["id"])


def disputed(api: Api, shop: Shop, token: str = "tok_dispute", **changes: Any) -> dict[str, Any]:
    """The dispute of a new settled payment of 4200 EUR."""
    payment = settled(api, shop, payment_method=token, **changes)
    (dispute,) = api.get(f"/v1/disputes?payment={payment['id']}").json()["data"]
    found: dict[str, Any] = dispute
    return found


def shown(api: Api, payment_id: str, query: str = "") -> dict[str, Any]:
    """The payment as the API shows it now."""
    answer = api.get(f"/v1/payments/{payment_id}{query}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def evidence_file(**changes: Any) -> dict[str, Any]:
    """A good file for a dispute's answer."""
    file = {
        "kind": "receipt",
        "filename": "receipt.pdf",
        "content_type": "application/pdf",
        "content_base64": PDF,
    }
    return file | changes


def bring_on(shop: Shop, seconds: float = 10) -> None:
    """Let the sandbox's time pass, and its news arrive."""
    shop.advance_sandbox(seconds)
    shop.deliver_events()
