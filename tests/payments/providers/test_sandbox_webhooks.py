"""The sandbox PSP's webhooks: signed, in order, retried, and broken exactly as asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from payments.providers import provider_for
from payments.providers.base import InvalidSignature
from tests.payments.providers.receiver import Received, Receiver, eventually, webhook_receiver
from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess


@pytest.fixture
def account(sandbox_psp: RunningProcess) -> SandboxAccount:
    account = SandboxAccount(sandbox_psp.url)
    account.set(settle_after_seconds=86_400)
    return account


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


def _pay(account: SandboxAccount, reference: str, token: str = "tok_visa") -> dict[str, object]:
    body = {
        "amount_minor": 1_000,
        "currency": "EUR",
        "reference": reference,
        "confirm": True,
        "token": token,
    }
    return account.call("POST", "/v1/payments", body)[1]


def _types(received: list[Received]) -> list[str]:
    return [json.loads(one.raw)["type"] for one in received]


def test_events_arrive_in_order_signed_so_that_a_strangers_library_accepts_them(
    account: SandboxAccount, receiver: Receiver
) -> None:
    secret = account.add_webhook(receiver.url)
    _pay(account, "pay_1")
    account.advance(86_400)
    received = receiver.wait_for(3)
    assert _types(received) == ["payment.created", "payment.captured", "payment.settled"]
    for one in received:
        Webhook(secret).verify(one.raw, one.headers)
        provider_for("sandbox").verify_webhook(
            one.raw, one.headers, secrets=[secret], now=datetime.now(UTC)
        )
    versions = [json.loads(one.raw)["data"]["payment"]["version"] for one in received]
    assert versions == [1, 2, 3]


def test_an_endpoint_gets_the_types_it_asked_for(
    account: SandboxAccount, receiver: Receiver
) -> None:
    account.add_webhook(receiver.url, events=["payment.capt*", "payment.settled"])
    _pay(account, "pay_1")
    account.advance(86_400)
    assert _types(receiver.wait_for(2)) == ["payment.captured", "payment.settled"]


def test_a_delivery_is_repeated_until_it_is_accepted(
    account: SandboxAccount, receiver: Receiver
) -> None:
    receiver.statuses.extend([500, 302])
    account.add_webhook(receiver.url, events=["payment.captured"])
    _pay(account, "pay_1")
    received = receiver.wait_for(3)
    assert len({one.headers["webhook-id"] for one in received}) == 1
    eventually(lambda: _deliveries(account)[0]["state"] == "delivered")
    assert _deliveries(account)[0]["attempts"] == 3


def test_an_event_can_be_lost_doubled_delayed_reordered_and_badly_signed(
    account: SandboxAccount, receiver: Receiver
) -> None:
    secret = account.add_webhook(receiver.url)
    account.set(webhook_drop=1, webhook_copies=1)
    _pay(account, "pay_1")
    received = receiver.wait_for(2)
    assert _types(received) == ["payment.captured"] * 2
    assert received[0].headers["webhook-id"] == received[1].headers["webhook-id"]

    account.set(webhook_copies=None, webhook_reorder=2)
    _pay(account, "pay_2")
    assert _types(receiver.wait_for(4)[2:]) == ["payment.captured", "payment.created"]

    account.set(webhook_bad_signature=1, webhook_stale_timestamp=1)
    receiver.statuses.extend([400, 400])
    _pay(account, "pay_3")
    received = receiver.wait_for(8)[4:]
    refused = [one for one in received if not _accepted(one, secret)]
    assert len(refused) == 2
    assert {one.headers["webhook-id"] for one in refused} == {
        one.headers["webhook-id"] for one in received if _accepted(one, secret)
    }


def test_an_old_event_can_be_sent_again(account: SandboxAccount, receiver: Receiver) -> None:
    _pay(account, "pay_1")
    account.add_webhook(receiver.url)
    event = account.events()[0]
    status, answer = account.call("POST", f"/v1/events/{event['id']}/resend", {})
    assert (status, answer) == (200, {"deliveries": 1})
    assert json.loads(receiver.wait_for(1)[0].raw)["id"] == event["id"]


def test_a_dead_endpoint_does_not_hold_up_another_account(
    account: SandboxAccount, receiver: Receiver
) -> None:
    dead = SandboxAccount(account.url)
    dead.add_webhook("http://127.0.0.1:9/nobody")
    for number in range(20):
        _pay(dead, f"pay_{number}")
    account.add_webhook(receiver.url, events=["payment.captured"])
    for number in range(8):
        _pay(account, f"pay_{number}")
    receiver.wait_for(8)


def _accepted(one: Received, secret: str) -> bool:
    try:
        provider_for("sandbox").verify_webhook(
            one.raw, one.headers, secrets=[secret], now=datetime.now(UTC)
        )
    except InvalidSignature:
        return False
    return True


def _deliveries(account: SandboxAccount) -> list[dict[str, object]]:
    return list(account.call("GET", "/v1/control/deliveries")[1]["data"])
