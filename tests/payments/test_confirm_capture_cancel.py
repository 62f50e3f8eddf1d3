"""Confirming, capturing and canceling an existing payment."""

from __future__ import annotations

import pytest

from payments.errors import ErrorCode, FlorinError
from tests.payments.shop import Shop, new_key


def test_a_payment_is_confirmed_by_the_merchant(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    answer = shop.confirm(payment.pk)
    assert (answer.status, answer.body["status"]) == (200, "captured")


def test_a_second_card_after_a_decline_is_a_second_attempt_on_the_same_object(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    answer = shop.confirm(payment.pk)
    attempts = list(shop.payment(payment.pk).attempts.order_by("number"))
    assert answer.body["status"] == "captured"
    assert [attempt.state for attempt in attempts] == ["declined", "succeeded"]
    assert attempts[0].provider_reference == attempts[1].provider_reference


def test_a_declined_confirmation_answers_402(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    answer = shop.confirm(payment.pk, "tok_expired_card")
    assert answer.status == 402
    assert shop.payment(payment.pk).state == "created"


def test_a_payment_is_failed_when_too_many_tries_were_declined(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_do_not_honor")
    for _ in range(9):
        shop.confirm(payment.pk, "tok_do_not_honor")
    assert shop.payment(payment.pk).state == "failed"


def test_held_money_is_captured_in_full(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    answer = shop.capture(payment.pk, 4200)
    assert (answer.status, answer.body["status"]) == (200, "captured")
    assert answer.body["amount_captured_minor"] == 4200
    assert shop.edges(payment.pk)[-2:] == ["capture_requested", "psp_captured"]


@pytest.mark.parametrize("amount_minor", [-1, 4201, 9_000_000])
def test_more_than_the_held_money_is_refused(shop: Shop, amount_minor: int) -> None:
    payment = shop.created(capture_method="manual")
    with pytest.raises(FlorinError) as refusal:
        shop.capture(payment.pk, amount_minor)
    assert refusal.value.code is ErrorCode.capture_amount_invalid
    assert shop.payment(payment.pk).state == "authorized"


@pytest.mark.parametrize("fault", ["fail_before_commit", "drop_after_commit"])
def test_a_capture_of_unknown_outcome_is_captured_once(shop: Shop, fault: str) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(**{fault: 1})
    key = new_key()
    assert shop.capture(payment.pk, key=key).status == 202
    assert shop.payment(payment.pk).state == "capture_pending"
    assert shop.capture(payment.pk, key=key).body["status"] == "captured"
    captures = [m for m in shop.movements(payment.pk) if m["kind"] == "capture"]
    assert [move["amount_minor"] for move in captures] == [4200]


def test_a_capture_that_was_done_at_the_provider_already_is_a_yes(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    reference = shop.provider_reference(payment.pk)
    shop.sandbox("POST", f"/v1/payments/{reference}/capture", {})
    answer = shop.capture(payment.pk)
    assert (answer.status, answer.body["status"]) == (200, "captured")


def test_a_capture_is_refused_when_the_hold_is_gone(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    reference = shop.provider_reference(payment.pk)
    shop.sandbox("POST", f"/v1/payments/{reference}/cancel", {})
    answer = shop.capture(payment.pk)
    assert answer.status in (400, 402)
    assert shop.payment(payment.pk).state in ("failed", "canceled")
    assert "capture" not in [move["kind"] for move in shop.movements(payment.pk)]


def test_an_unconfirmed_payment_is_canceled_at_the_provider_too(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    answer = shop.cancel(payment.pk, "duplicate")
    at_provider = shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")
    assert (answer.status, answer.body["status"]) == (200, "canceled")
    assert answer.body["cancellation_reason"] == "duplicate"
    assert at_provider["status"] == "canceled"


def test_a_hold_is_released(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    answer = shop.cancel(payment.pk)
    assert answer.body["status"] == "canceled"
    assert answer.body["amount_capturable_minor"] == 0
    assert shop.edges(payment.pk)[-1] == "void"


def test_a_payment_waiting_for_the_payer_is_canceled(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    assert shop.cancel(payment.pk).body["status"] == "canceled"


@pytest.mark.parametrize("verb", ["confirm", "capture"])
def test_a_captured_payment_takes_none_of_these_verbs(shop: Shop, verb: str) -> None:
    payment = shop.created()
    with pytest.raises(FlorinError) as refusal:
        getattr(shop, verb)(payment.pk)
    assert refusal.value.code is ErrorCode.payment_state_conflict
    assert shop.payment(payment.pk).state == "captured"


def test_a_refusal_is_remembered_with_its_key(shop: Shop) -> None:
    payment = shop.created()
    key = new_key()
    with pytest.raises(FlorinError):
        shop.capture(payment.pk, key=key)
    again = shop.capture(payment.pk, key=key)
    assert (again.status, again.replayed) == (409, True)
    assert again.body["error"]["code"] == "payment_state_conflict"


def test_only_one_operation_is_open_at_a_time_and_a_refusal_for_now_is_forgotten(
    shop: Shop,
) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(fail_before_commit=1)
    shop.capture(payment.pk)
    key = new_key()
    with pytest.raises(FlorinError) as refusal:
        shop.capture(payment.pk, key=key)
    assert refusal.value.code is ErrorCode.operation_in_flight
    shop.resume(payment.pk)
    with pytest.raises(FlorinError) as conflict:
        shop.capture(payment.pk, key=key)
    assert conflict.value.code is ErrorCode.payment_state_conflict


@pytest.mark.parametrize("verb", ["confirm", "capture", "cancel"])
def test_another_merchants_payment_is_not_there(shop: Shop, another_shop: Shop, verb: str) -> None:
    payment = shop.created(capture_method="manual")
    with pytest.raises(FlorinError) as foreign:
        getattr(another_shop, verb)(payment.pk)
    with pytest.raises(FlorinError) as absent:
        getattr(another_shop, verb)("pay_00000000000000000000000000")
    assert foreign.value.code is absent.value.code is ErrorCode.not_found
    assert shop.payment(payment.pk).state == "authorized"
