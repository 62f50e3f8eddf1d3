"""Captured money attacked: captures in parts, of unlike amounts, that did not hold or came back."""

from __future__ import annotations

import time

import pytest

from payments.errors import ErrorCode, FlorinError
from payments.models import Payment
from tests.payments.altered_news import (
    accepted,
    document_of,
    failures,
    unversioned,
    use_own_account,
)
from tests.payments.shop import Shop
from tests.payments.test_contradictory_news import tell


def captured_in_part(shop: Shop, amount_minor: int = 2000) -> Payment:
    """A payment with a part of its 4200 captured and the rest on hold."""
    payment = shop.created(capture_method="manual")
    shop.capture(payment.pk, amount_minor, final=False)
    return shop.payment(payment.pk)


def unsettled(shop: Shop) -> Payment:
    """A captured payment that does not settle while the test lasts."""
    shop.settings(settle_after_seconds=86_400)
    return shop.created()


def lost(shop: Shop, payment: Payment) -> Payment:
    """The provider tells that nothing of what was captured did hold."""
    tell(shop, payment, status="capture_failed", amount_captured_minor=0)
    after = shop.payment(payment.pk)
    assert after.state == "in_review"
    return after


def test_a_settled_part_whose_remainder_is_released_is_settled(shop: Shop) -> None:
    payment = captured_in_part(shop)
    shop.later(minutes=2)
    assert shop.payment(payment.pk).amount_settled_minor == 2000
    shop.cancel(payment.pk)
    shop.later(minutes=2)
    assert shop.poll(payment.pk).state == "settled"


def test_a_refunded_part_whose_remainder_is_released_is_refunded(shop: Shop) -> None:
    shop.create(amount_minor=50_000)
    payment = captured_in_part(shop)
    shop.later(minutes=2)
    assert shop.refund(payment.pk, 2000).status == 201
    shop.cancel(payment.pk)
    shop.later(minutes=2)
    assert shop.poll(payment.pk).state == "refunded"


def test_the_settlement_of_one_part_does_not_settle_a_later_one(shop: Shop) -> None:
    payment = captured_in_part(shop)
    shop.later(minutes=2)
    old = document_of(shop, payment)
    shop.settings(settle_after_seconds=86_400)
    shop.capture(payment.pk, 1000, final=False)
    tell(shop, payment, **unversioned(old) | {"settled": True})
    after = shop.payment(payment.pk)
    assert (after.amount_captured_minor, after.amount_settled_minor) == (3000, 2000)


def test_fewer_captured_than_is_booked_takes_nothing_back_by_itself(shop: Shop) -> None:
    payment = captured_in_part(shop)
    tell(shop, payment, status="captured", amount_captured_minor=1000, amount_capturable_minor=0)
    assert failures(shop) == []
    assert shop.payment(payment.pk).amount_captured_minor == 2000
    assert "2000 are booked" in payment.cases.get(kind="contradiction").words


def test_a_review_that_finds_a_part_of_a_capture_gone_is_refused_in_words(shop: Shop) -> None:
    payment = lost(shop, shop.created())
    with pytest.raises(FlorinError) as refusal:
        accepted(shop, payment, status="captured", amount_captured_minor=2000)
    assert refusal.value.code is ErrorCode.review_state_conflict
    assert shop.payment(payment.pk).state == "in_review"


def test_more_captured_than_was_held_is_taken_over_when_a_person_accepts_it(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_amount_mismatch")
    assert payment.state == "in_review"
    after = accepted(
        shop, payment, status="captured", amount_minor=4200, amount_captured_minor=5000
    )
    assert (after.state, after.amount_captured_minor) == ("captured", 5000)
    assert after.amount_authorized_minor == 5000


def test_a_booked_part_that_is_held_again_is_reversed(shop: Shop) -> None:
    payment = lost(shop, captured_in_part(shop))
    after = accepted(
        shop,
        payment,
        status="authorized",
        amount_captured_minor=0,
        amount_capturable_minor=4200,
    )
    assert (after.state, after.amount_reversed_minor) == ("reversed", 2000)


def test_a_capture_that_came_back_and_was_canceled_then_changes_no_books(shop: Shop) -> None:
    payment = lost(shop, unsettled(shop))
    assert (
        accepted(shop, payment, status="capture_failed", amount_captured_minor=0).state
        == "reversed"
    )
    tell(shop, payment, status="captured", amount_captured_minor=4200)
    assert shop.payment(payment.pk).state == "captured"
    tell(shop, payment, status="canceled", amount_captured_minor=0)
    assert failures(shop) == []
    assert shop.payment(payment.pk).state == "captured"
    assert payment.cases.filter(kind="contradiction", resolved_at=None).exists()


def test_a_return_in_part_that_is_told_twice_is_taken_once(shop: Shop) -> None:
    payment = captured_in_part(shop, 3000)
    for _ in range(2):
        tell(shop, payment, status="returned", amount_returned_minor=1000, return_code="R01")
        assert failures(shop) == []
        assert shop.payment(payment.pk).amount_reversed_minor == 1000


def test_more_that_is_returned_later_is_taken_too(shop: Shop) -> None:
    payment = shop.created()
    shop.later(minutes=2)
    for amount_minor in (1000, 4200):
        tell(
            shop, payment, status="returned", amount_returned_minor=amount_minor, return_code="R01"
        )
        assert shop.payment(payment.pk).amount_reversed_minor == amount_minor


def test_a_loss_that_no_captures_make_up_is_refused_without_trying_all_of_them(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    for _ in range(22):
        shop.capture(payment.pk, 100, final=False)
    lost(shop, payment)
    begun = time.thread_time()
    with pytest.raises(FlorinError, match="no captures of ours") as refusal:
        accepted(shop, payment, status="capture_failed", amount_captured_minor=2050)
    assert time.thread_time() - begun < 0.5
    assert refusal.value.code is ErrorCode.review_state_conflict


def test_a_capture_on_the_merchants_own_account_is_voided_with_the_fee_left_owed(
    shop: Shop,
) -> None:
    use_own_account(shop)
    payment = unsettled(shop)
    assert payment.provider_fee_minor
    answer = shop.cancel(payment.pk)
    assert (answer.status, shop.payment(payment.pk).state) == (200, "canceled")
    assert shop.balance("merchant:pending") == 0
    assert shop.balance("merchant:receivable") == payment.provider_fee_minor


def test_a_capture_on_the_merchants_own_account_that_did_not_hold_goes_to_a_person(
    shop: Shop,
) -> None:
    use_own_account(shop)
    payment = unsettled(shop)
    tell(shop, payment, status="capture_failed", amount_captured_minor=0, version=0)
    assert failures(shop) == []
    assert shop.payment(payment.pk).state == "in_review"
