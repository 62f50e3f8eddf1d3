"""Stripe's list of events, swept: what no webhook told us is found, and applied to our payment."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from audit.log import Actor
from payments.actions.provider_accounts import create_provider_account
from payments.actions.sweep_events import pages_of
from payments.models import EventSweep, Payment
from tests.payments.providers.drivers import StripeStandInDriver
from tests.payments.shop import Shop
from tests.processes import RunningProcess
from webhooks.models import InboxEvent


@pytest.fixture
def stripe(stripe_stand_in: RunningProcess) -> StripeStandInDriver:
    """A fresh account at Stripe, without any webhook endpoint."""
    return StripeStandInDriver(stripe_stand_in.url)


@pytest.fixture
def stripe_shop(shop: Shop, stripe: StripeStandInDriver) -> Shop:
    """A shop that takes its payments through Stripe, two minutes ahead of it."""
    shop.account = create_provider_account(
        provider="stripe",
        name="Stripe",
        livemode=False,
        merchant=shop.merchant,
        secret_key=stripe.credentials().secret_key,
        publishable_key=stripe.credentials().publishable_key,
        webhook_secrets=[stripe.new_webhook_secret()],
        api_base=stripe.url,
        actor=Actor(type="system", id="test"),
        now=datetime.now(UTC),
    )
    shop.ahead_by(minutes=2)
    return shop


def sweep(shop: Shop) -> None:
    with shop.acting():
        for page in pages_of(shop.account.pk, clock=shop.now):
            page()
    shop.drain()


def ask_where_a_hint_says_so(shop: Shop, payment: Payment) -> Payment:
    """Stripe counts no versions, so its events make the payment due for a look-up at once."""
    row = shop.payment(payment.pk)
    assert row.poll_due_at is not None
    assert row.poll_due_at <= shop.now()
    return shop.poll(payment.pk)


def test_a_refund_made_in_the_dashboard_without_a_webhook_is_found(
    stripe_shop: Shop, stripe: StripeStandInDriver
) -> None:
    payment = stripe_shop.created(payment_method="pm_card_visa")
    intent = stripe_shop.provider_reference(payment.pk)
    stripe.call("POST", "/_control/dashboard_refund", {"payment_intent": intent})
    sweep(stripe_shop)
    assert ask_where_a_hint_says_so(stripe_shop, payment).state == "refunded"
    stored = InboxEvent.objects.filter(account_id=stripe_shop.account.pk).order_by("arrival")
    listed = {event["id"]: event for event in map(json.loads, stripe.events())}
    assert len(stored) == EventSweep.objects.get(pk=stripe_shop.account.pk).found_count > 3
    assert all(json.loads(bytes(row.raw)) == listed[row.event_id] for row in stored)


def test_a_dispute_of_settled_money_is_found_and_its_loss_too(
    stripe_shop: Shop, stripe: StripeStandInDriver
) -> None:
    payment = stripe_shop.created(payment_method="pm_card_visa")
    intent = stripe_shop.provider_reference(payment.pk)
    stripe.call("POST", "/_control/settle")
    stripe_shop.poll(payment.pk)
    assert stripe_shop.payment(payment.pk).state == "settled"
    dispute = stripe.call("POST", "/_control/dispute", {"payment_intent": intent})
    sweep(stripe_shop)
    assert stripe_shop.payment(payment.pk).state == "disputed"
    stripe.call("POST", "/_control/decide", {"dispute": dispute["id"], "won": "false"})
    stripe_shop.ahead_by(minutes=1, seconds=1)
    sweep(stripe_shop)
    assert ask_where_a_hint_says_so(stripe_shop, payment).state == "reversed"


def test_an_event_about_no_payment_is_left_to_others(
    stripe_shop: Shop, stripe: StripeStandInDriver
) -> None:
    stripe_shop.created(payment_method="pm_card_visa")
    stripe.call("POST", "/_control/settle")
    stripe.call("POST", "/_control/payout")
    told = {json.loads(raw)["type"] for raw in stripe.events()}
    assert any(kind.startswith("payout.") for kind in told)
    sweep(stripe_shop)
    taken = InboxEvent.objects.filter(account_id=stripe_shop.account.pk)
    assert not any(row.event_type.startswith("payout.") for row in taken)


def test_an_account_whose_key_is_refused_says_so(shop: Shop, stripe_shop: Shop) -> None:
    stripe_shop.change_account(api_base=stripe_shop.sandbox_url())
    sweep(stripe_shop)
    row = EventSweep.objects.get(pk=stripe_shop.account.pk)
    assert (row.failures, row.last_swept_at) == (1, None)
    assert row.last_error != ""
