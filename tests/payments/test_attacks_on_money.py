"""Money given back attacked: refunds and disputes that end otherwise than anybody expected."""

from __future__ import annotations

import pytest

from payments.models import Payment
from tests.payments.altered_news import (
    dispute_in,
    document_of,
    failures,
    refund_in,
    use_own_account,
)
from tests.payments.shop import Shop
from tests.payments.test_contradictory_news import tell
from tests.payments.test_refunds import settled


def test_a_failed_refund_that_succeeds_after_all_is_not_dropped(shop: Shop) -> None:
    payment = settled(shop)
    shop.settings(drop_before_commit=1)
    shop.refund(payment.pk, 700)
    shop.ahead_by(hours=25)  # the provider has forgotten the key
    shop.resume(payment.pk)
    refund = payment.refunds.get()
    assert refund.state == "failed"
    document = document_of(shop, payment)
    version = document["version"] + 1
    late = refund_in(document, id="sbr_late", reference=refund.pk, version=version)
    tell(shop, payment, version=version, refunds=[late])
    assert failures(shop) == []
    assert shop.payment(payment.pk).amount_refunded_minor == 0
    assert refund.pk in payment.cases.get(kind="contradiction").words


def test_a_refund_that_fails_after_the_rest_was_lost_is_ours_again(shop: Shop) -> None:
    payment = settled(shop)
    document = document_of(shop, payment)
    refund = refund_in(document, amount_minor=1000)
    lost = dispute_in(document, status="lost", amount_minor=3200, funds_withdrawn_minor=3200)
    tell(shop, payment, refunds=[refund], disputes=[lost])
    assert shop.payment(payment.pk).state == "reversed"
    tell(shop, payment, refunds=[{**refund, "status": "failed"}], disputes=[lost])
    after = shop.payment(payment.pk)
    assert (after.amount_refunded_minor, after.state) == (0, "settled")
    assert shop.refund(payment.pk, 500).status == 201


def test_an_accepted_dispute_whose_withdrawal_was_not_told_before_is_lost(shop: Shop) -> None:
    payment = shop.created()
    shop.later(minutes=2)
    shop.stage(payment.pk, "dispute")
    told = document_of(shop, payment)["disputes"][0]
    early = {**told, "funds_withdrawn_minor": 0, "version": 0}
    tell(shop, payment, version=0, disputes=[early])
    dispute = payment.disputes.get()
    assert (dispute.withdrawn_minor, shop.payment(payment.pk).state) == (0, "disputed")
    assert shop.accept_dispute(dispute.pk).status == 200
    shop.deliver_events()
    assert shop.poll(payment.pk).state == "reversed"


@pytest.mark.parametrize("token", ["tok_visa", "tok_async_refund", "tok_refund_fails_late"])
@pytest.mark.parametrize("with_fee", [True, False])
def test_refunds_on_the_merchants_own_account_leave_nothing_in_clearing(
    shop: Shop, token: str, with_fee: bool
) -> None:
    use_own_account(shop)
    payment = settled(shop, payment_method=token)
    for amount_minor in (1000, None):
        shop.refund(payment.pk, amount_minor, refund_platform_fee=with_fee)
        shop.later(minutes=2)
    assert failures(shop) == []
    after = shop.payment(payment.pk)
    assert after.state == ("settled" if token == "tok_refund_fails_late" else "refunded")
    assert shop.balance("psp:clearing") == 0


def disputed_on_own_account(shop: Shop, *, settled_before: bool) -> Payment:
    use_own_account(shop)
    if not settled_before:
        shop.settings(settle_after_seconds=86_400)
    payment = shop.created()
    shop.later(minutes=2)
    shop.stage(payment.pk, "dispute")
    shop.deliver_events()
    return payment


@pytest.mark.parametrize(("result", "state"), [("won", "settled"), ("lost", "reversed")])
@pytest.mark.parametrize("settled_before", [True, False])
def test_a_dispute_on_the_merchants_own_account_ends_and_settles(
    shop: Shop, result: str, state: str, settled_before: bool
) -> None:
    payment = disputed_on_own_account(shop, settled_before=settled_before)
    shop.stage_dispute(payment.disputes.get().pk, result)
    shop.deliver_events()
    assert failures(shop) == []
    shop.later(days=2)
    assert failures(shop) == []
    assert shop.payment(payment.pk).state == state
    assert shop.balance("psp:disputed_funds") == 0
    assert shop.balance("psp:clearing") == 0
