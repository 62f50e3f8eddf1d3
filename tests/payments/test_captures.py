"""Held money taken in parts, raised, released, taken back before it settles."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payments.actions.expire_payment import expire_payment
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment
from tests.payments.shop import Shop


@pytest.fixture
def held(shop: Shop) -> Payment:
    """A hold of 4200."""
    shop.settings(settle_after_seconds=86_400)
    return shop.created(capture_method="manual")


def taken(shop: Shop, payment: Payment) -> list[int]:
    """The captures that the sandbox made."""
    return [m["amount_minor"] for m in shop.movements(payment.pk) if m["kind"] == "capture"]


def test_a_final_part_releases_the_rest(shop: Shop, held: Payment) -> None:
    answer = shop.capture(held.pk, 1000)
    assert answer.body["status"] == "captured"
    assert answer.body["amount_captured_minor"] == 1000
    assert answer.body["amount_capturable_minor"] == 0
    assert "release" in [m["kind"] for m in shop.movements(held.pk)]


def test_parts_are_captured_one_after_the_other(shop: Shop, held: Payment) -> None:
    for amount in (1000, 500):
        assert shop.capture(held.pk, amount, final=False).body["status"] == "partially_captured"
    after = shop.capture(held.pk).body
    assert (after["status"], after["amount_captured_minor"]) == ("captured", 4200)
    assert taken(shop, held) == [1000, 500, 2700]
    captures = held.captures.order_by("number")
    assert [(c.number, c.amount_minor, c.state) for c in captures] == [
        (1, 1000, "succeeded"),
        (2, 500, "succeeded"),
        (3, 2700, "succeeded"),
    ]


def test_the_platforms_fee_of_parts_is_that_of_the_whole(shop: Shop, held: Payment) -> None:
    for amount in (1001, 999):
        shop.capture(held.pk, amount, final=False)
    shop.capture(held.pk)
    assert shop.payment(held.pk).platform_fee_minor == 4200 * 150 // 10_000 + 20
    assert sum(c.platform_fee_minor for c in held.captures.all()) == 83


def test_what_is_left_of_a_partly_captured_payment_is_released(shop: Shop, held: Payment) -> None:
    shop.capture(held.pk, 1000, final=False)
    answer = shop.cancel(held.pk)
    assert (answer.body["status"], answer.body["amount_captured_minor"]) == ("captured", 1000)
    assert shop.edges(held.pk)[-1] == "release_remainder"
    assert answer.body["cancellation_reason"] is None


def test_a_refused_capture_leaves_the_hold(shop: Shop) -> None:
    payment = shop.created(capture_method="manual", payment_method="tok_capture_refused")
    assert shop.capture(payment.pk).status in (400, 402)
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_capturable_minor) == ("authorized", 4200)
    assert payment.captures.get().state == "failed"


def test_a_refused_second_part_leaves_the_first(shop: Shop, held: Payment) -> None:
    shop.capture(held.pk, 1000, final=False)
    shop.settings(capture_behaviour="refused")
    assert shop.capture(held.pk).status in (400, 402)
    after = shop.payment(held.pk)
    assert (after.state, after.amount_captured_minor) == ("partially_captured", 1000)
    assert shop.edges(held.pk)[-1] == "capture_failed_partial"


def test_a_capture_that_loses_its_hold_fails_the_payment(shop: Shop) -> None:
    payment = shop.created(capture_method="manual", payment_method="tok_async_capture_hold_lost")
    shop.capture(payment.pk)
    shop.later(minutes=1)
    assert shop.payment(payment.pk).state == "failed"
    assert payment.captures.get().state == "failed"


def test_an_unsettled_capture_is_taken_back(shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    payment = shop.created()
    answer = shop.cancel(payment.pk)
    after = shop.payment(payment.pk)
    assert (answer.body["status"], after.amount_captured_minor) == ("canceled", 0)
    assert shop.edges(payment.pk)[-1] == "post_capture_void"
    assert payment.captures.get().state == "voided"
    assert shop.balance("merchant:pending") == 0
    assert after.platform_fee_minor == 0


def test_a_settled_capture_is_not_taken_back(shop: Shop) -> None:
    payment = shop.created()
    shop.later(minutes=2)
    with pytest.raises(FlorinError) as refusal:
        shop.cancel(payment.pk)
    assert refusal.value.code is ErrorCode.payment_state_conflict


def test_a_hold_is_raised_and_captured_as_a_whole(shop: Shop, held: Payment) -> None:
    answer = shop.increment(held.pk, 6000)
    assert answer.body["amount_capturable_minor"] == 6000
    assert shop.capture(held.pk).body["amount_captured_minor"] == 6000


@pytest.mark.parametrize("amount_minor", [4200, 1, 10**12])
def test_a_hold_is_not_raised_to_less_or_to_the_moon(
    shop: Shop, held: Payment, amount_minor: int
) -> None:
    with pytest.raises(FlorinError) as refusal:
        shop.increment(held.pk, amount_minor)
    assert refusal.value.code is ErrorCode.authorization_amount_invalid


def test_a_refused_raise_leaves_the_old_hold(shop: Shop) -> None:
    payment = shop.created(capture_method="manual", payment_method="tok_increment_refused")
    assert shop.increment(payment.pk, 6000).status in (400, 402)
    assert shop.payment(payment.pk).amount_authorized_minor == 4200


@pytest.mark.parametrize("fault", ["fail_before_commit", "drop_after_commit"])
def test_a_raise_of_unknown_outcome_is_made_once(shop: Shop, held: Payment, fault: str) -> None:
    shop.settings(**{fault: 1})
    assert shop.increment(held.pk, 6000).status == 202
    shop.ahead_by(minutes=1)
    shop.resume(held.pk)
    assert shop.payment(held.pk).amount_authorized_minor == 6000
    assert shop.payment(held.pk).state == "authorized"


def test_a_held_amount_that_the_provider_changes_is_followed(shop: Shop, held: Payment) -> None:
    shop.stage(held.pk, "adjust", amount_minor=3000)
    shop.deliver_events()
    after = shop.payment(held.pk)
    assert (after.state, after.amount_capturable_minor) == ("authorized", 3000)
    assert shop.edges(held.pk)[-1] == "psp_auth_adjusted"


def test_a_capture_made_in_the_providers_dashboard_is_taken_in(shop: Shop, held: Payment) -> None:
    shop.stage(held.pk, "capture", amount_minor=1000, final=False)
    shop.deliver_events()
    after = shop.payment(held.pk)
    assert (after.state, after.amount_captured_minor) == ("partially_captured", 1000)


def test_captured_money_that_does_not_hold_waits_for_a_person(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_capture_fails_late")
    shop.later(minutes=1)
    after = shop.payment(payment.pk)
    assert after.state == "in_review"
    assert payment.cases.get(resolved_at=None).kind == "capture_failed_late"
    assert after.amount_reversed_minor == 0


def test_an_unpaid_payment_is_given_up_at_the_provider_too(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    shop.ahead += timedelta(days=8)
    with shop.acting():
        expire_payment(payment.pk, clock=shop.now)
    after = shop.payment(payment.pk)
    assert (after.state, after.cancellation_reason) == ("canceled", "intent_expired")
    assert shop.edges(payment.pk)[-1] == "expire"
    at_provider = shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")
    assert at_provider["status"] == "canceled"


def test_a_payment_that_was_paid_at_the_last_moment_is_not_given_up(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    shop.settle()
    shop.ahead += timedelta(days=8)
    with shop.acting():
        expire_payment(payment.pk, clock=shop.now)
    assert shop.payment(payment.pk).amount_captured_minor == 4200
