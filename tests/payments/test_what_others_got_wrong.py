"""Failures of other payment systems that no other test of ours is named after; the whole list is
docs/what-others-got-wrong.md, and it names only tests that exist.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError

from payments.models import Attempt
from tests.payments.shop import Shop
from webhooks.models import DomainEvent

ROOT = Path(__file__).parents[2]


def test_every_rule_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "what-others-got-wrong.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", sources))
    assert named - defined == set()
    assert len(re.findall(r"^\| \d+ \|", page, re.M)) == 39


def test_a_payment_has_one_active_attempt(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    second = Attempt(
        payment=payment, number=2, provider_account=shop.account, created_at=shop.now()
    )
    with pytest.raises(IntegrityError, match="attempt_one"):
        second.save(force_insert=True)


def test_a_second_card_gets_a_key_of_its_own(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    assert shop.confirm(payment.pk).body["status"] == "captured"
    keys = set(payment.operations.values_list("provider_idempotency_key", flat=True))
    assert len(keys) == 2


def test_news_without_a_version_about_a_finished_payment_is_looked_up_first(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.deliver_events()
    held = shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")
    shop.cancel(payment.pk)
    shop.receive(
        {
            "object": "event",
            "id": f"sbe_old_{payment.pk}",
            "type": "payment.authorized",
            "created_at": held["created_at"],
            "account": "",
            "livemode": False,
            "data": {"payment": held | {"version": 0}},
        }
    )
    shop.drain()
    assert shop.payment(payment.pk).state == "canceled"
    assert shop.poll(payment.pk).state == "canceled"


def test_every_event_tells_the_state_that_its_version_had(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.capture(payment.pk)
    shop.later(minutes=2)
    said = {
        event.payload["version"]: event.payload["status"]
        for event in DomainEvent.objects.filter(aggregate_id=payment.pk, type__startswith="payment")
    }
    assert said == dict(payment.transitions.values_list("version", "to_state"))


def test_a_confirmation_the_provider_does_not_take_leaves_the_payment_payable(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    assert shop.confirm(payment.pk, "tok_nonsense").status in (400, 402)
    assert shop.payment(payment.pk).state == "created"
    assert shop.confirm(payment.pk).body["status"] == "captured"


def test_a_cancellation_at_the_provider_is_found_by_a_poll(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.stage(payment.pk, "cancel", reason="abandoned")
    assert shop.poll(payment.pk).state == "canceled"


def test_a_settled_debit_is_asked_about_as_long_as_it_can_be_returned(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    shop.later(minutes=1)
    shop.later(minutes=2)
    assert shop.payment(payment.pk).state == "settled"
    shop.ahead += timedelta(days=44)
    after = shop.poll(payment.pk)
    assert after.poll_due_at is not None
    assert after.poll_due_at <= shop.now() + timedelta(days=1)
    shop.ahead += timedelta(days=20)
    assert shop.poll(payment.pk).poll_due_at is None


def test_a_fee_that_is_told_with_the_settlement_is_booked_then(shop: Shop) -> None:
    shop.settings(fee_known="settlement")
    payment = shop.created()
    assert payment.provider_fee_minor is None
    assert payment.poll_due_at is not None
    shop.settle()
    after = shop.poll(payment.pk)
    assert (after.state, after.provider_fee_minor) == ("settled", 152)


@pytest.mark.parametrize(("currency", "amount_minor"), [("JPY", 500), ("EUR", 500), ("KWD", 500)])
def test_currencies_of_0_2_and_3_decimals_are_charged_to_the_unit(
    shop: Shop, currency: str, amount_minor: int
) -> None:
    payment = shop.created(currency=currency, amount_minor=amount_minor)
    moved = [(m["amount_minor"], m["currency"]) for m in shop.movements(payment.pk)]
    assert moved == [(amount_minor, currency)] * 2
    assert shop.payment(payment.pk).amount_captured_minor == amount_minor


def test_a_refund_touches_its_own_payment_only(shop: Shop) -> None:
    first, second = shop.created(), shop.created()
    shop.later(minutes=2)
    shop.refund(first.pk)
    assert shop.payment(first.pk).state == "refunded"
    assert shop.payment(second.pk).state == "settled"
