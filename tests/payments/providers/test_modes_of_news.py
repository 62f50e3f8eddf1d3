"""A provider's event of the other mode than its account's is kept, and never moves money."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.log import Actor
from payments.actions.provider_accounts import create_provider_account
from payments.models import Payment
from tests.payments.providers.drivers import StripeStandInDriver
from tests.payments.providers.test_stripe_sweep import stripe, stripe_shop, sweep
from tests.payments.shop import Shop
from tests.payments.test_provider_events import events_of, pay_as_payer
from webhooks import inbox
from webhooks.models import DomainEvent, InboxEvent

__all__ = ["stripe", "stripe_shop"]  # fixtures

LIVE_REASON = "a live event, and the account is not live"


def paid_without_our_knowledge(shop: Shop) -> Payment:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_visa")
    return payment


def told(payment: Payment) -> int:
    return DomainEvent.objects.filter(aggregate_id=payment.pk).count()


def test_a_live_event_at_a_test_account_of_the_sandbox_moves_nothing(shop: Shop) -> None:
    payment = paid_without_our_knowledge(shop)
    before, announced = shop.payment(payment.pk), told(payment)
    for event in events_of(shop, payment):
        shop.receive({**event, "livemode": True})
    shop.drain()
    after = shop.payment(payment.pk)
    assert (after.state, after.version, after.poll_due_at, told(payment)) == (
        before.state,
        before.version,
        before.poll_due_at,
        announced,
    )
    rows = InboxEvent.objects.filter(account_id=shop.account.pk)
    assert set(rows.values_list("status", "reason")) == {("ignored", LIVE_REASON)}


@pytest.mark.parametrize("mode", [{"livemode": False}, {"livemode": None}, {}])
def test_an_event_of_the_same_mode_or_without_one_is_applied(
    shop: Shop, mode: dict[str, Any]
) -> None:
    payment = paid_without_our_knowledge(shop)
    for event in events_of(shop, payment):
        without = {name: value for name, value in event.items() if name != "livemode"}
        shop.receive({**without, **mode})
    shop.drain()
    assert shop.payment(payment.pk).state == "captured"


def test_a_mode_that_is_neither_true_nor_false_is_unreadable(shop: Shop) -> None:
    payment = paid_without_our_knowledge(shop)
    shop.receive({**events_of(shop, payment)[-1], "livemode": "true"})
    shop.drain()
    row = InboxEvent.objects.get(account_id=shop.account.pk)
    assert (row.status, "livemode is neither true nor false" in row.reason) == ("failed", True)


def stripe_events(stripe: StripeStandInDriver) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in stripe.events()]


def test_a_live_event_at_a_test_account_of_stripe_moves_nothing(
    stripe_shop: Shop, stripe: StripeStandInDriver
) -> None:
    payment = stripe_shop.created(payment_method="pm_card_visa")
    intent = stripe_shop.provider_reference(payment.pk)
    stripe.call("POST", "/_control/dashboard_refund", {"payment_intent": intent})
    before = stripe_shop.payment(payment.pk)
    for event in stripe_events(stripe):
        inbox.receive(
            provider="stripe",
            account_id=stripe_shop.account.pk,
            event_id=event["id"],
            event_type=event["type"],
            subject=intent,
            raw=json.dumps({**event, "livemode": True}).encode(),
            headers={},
            received_at=stripe_shop.now(),
        )
    stripe_shop.drain()
    after = stripe_shop.payment(payment.pk)
    assert (after.version, after.poll_due_at) == (before.version, before.poll_due_at)
    rows = InboxEvent.objects.filter(account_id=stripe_shop.account.pk)
    reasons = set(rows.values_list("reason", flat=True))
    assert set(rows.values_list("status", flat=True)) == {"ignored"}
    assert LIVE_REASON in reasons
    sweep(stripe_shop)  # the list has nothing that the inbox lacks, so nothing is applied after all
    assert stripe_shop.payment(payment.pk).version == before.version


def test_a_test_event_at_a_live_account_moves_nothing(shop: Shop) -> None:
    payment = paid_without_our_knowledge(shop)
    before = shop.payment(payment.pk).version
    live = create_provider_account(
        provider="sandbox",
        name="Live",
        livemode=True,
        merchant=shop.merchant,
        secret_key="sk_x",
        publishable_key="pk_x",
        webhook_secrets=["whsec_" + "A" * 32],
        api_base="https://psp.example",
        actor=Actor(type="system", id="test"),
        now=datetime.now(UTC),
    )
    event = events_of(shop, payment)[-1]
    inbox.receive(
        provider="sandbox",
        account_id=live.pk,
        event_id=event["id"],
        event_type=event["type"],
        subject=event["data"]["payment"]["id"],
        raw=json.dumps(event).encode(),
        headers={},
        received_at=shop.now(),
    )
    shop.drain()
    assert shop.payment(payment.pk).version == before
    row = InboxEvent.objects.get(account_id=live.pk)
    assert (row.status, row.reason) == ("ignored", "a test event, and the account is not test")
