"""Creating a payment: the straight path, declines, unknown outcomes and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, IdempotencyKey, Payment, ProviderOperation
from tests.payments.shop import Shop, new_key


def test_a_confirmed_card_payment_is_captured_and_booked(shop: Shop) -> None:
    answer = shop.create()
    payment = shop.payment(answer.payment_id)
    assert answer.status == 201
    assert answer.body["status"] == payment.state == "captured"
    assert shop.edges(payment.pk) == ["create", "confirm", "psp_captured"]
    fee = 4200 * 150 // 10_000 + 20
    assert payment.platform_fee_minor == fee
    assert shop.balance("merchant:pending") == 4200 - fee


def test_the_providers_fee_lowers_what_the_provider_owes_us(shop: Shop) -> None:
    payment = shop.created()
    assert payment.provider_fee_minor is not None
    assert payment.provider_fee_minor > 0
    assert shop.balance("psp:clearing") == 4200 - payment.provider_fee_minor


def test_the_provider_moved_the_money_once(shop: Shop) -> None:
    payment = shop.created()
    captures = [move for move in shop.movements(payment.pk) if move["kind"] == "capture"]
    assert [move["amount_minor"] for move in captures] == [4200]


def test_a_payment_is_created_without_confirming_and_has_the_providers_client_secret(
    shop: Shop,
) -> None:
    answer = shop.create(confirm=False, payment_method="")
    attempt = Attempt.objects.get(payment_id=answer.payment_id)
    assert answer.status == 201
    assert answer.body["status"] == "created"
    assert attempt.provider_reference == answer.body["provider"]["reference"]
    assert attempt.reveal_client_secret() not in ("", str(answer.body))
    assert shop.movements(answer.payment_id) == []


def test_the_stored_answer_holds_no_secret(shop: Shop) -> None:
    key = new_key()
    answer = shop.create(confirm=False, payment_method="", key=key)
    row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
    secret = Attempt.objects.get(payment_id=answer.payment_id).reveal_client_secret()
    assert row.response_body is not None
    assert "client_secret" not in row.response_body
    assert secret not in str(row.response_body)


def test_a_decline_answers_402_and_leaves_the_payment_open_for_another_try(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_insufficient_funds")
    payment = shop.payment(answer.payment_id)
    assert answer.status == 402
    assert answer.body["error"]["code"] == "payment_declined"
    assert answer.body["error"]["decline_code"] == "insufficient_funds"
    assert answer.body["error"]["payment"]["id"] == payment.pk
    assert payment.state == "created"
    assert shop.edges(payment.pk) == ["create", "confirm", "psp_declined_retryable"]


def test_a_hard_decline_fails_the_payment(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_lost_card")
    assert answer.status == 402
    assert answer.body["error"]["advice_code"] == "do_not_try_again"
    assert shop.payment(answer.payment_id).state == "failed"


def test_a_card_that_asks_for_3d_secure_waits_for_the_payer(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_3ds", return_url="https://shop.example/back")
    assert answer.status == 201
    assert answer.body["status"] == "requires_action"
    assert answer.body["next_action"]


def test_a_bank_debit_is_processing_until_the_bank_answers(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_bank")
    assert answer.status == 201
    assert (answer.body["status"], answer.body["outcome"]) == ("processing", "pending")


def test_a_manual_capture_holds_the_money(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    assert payment.state == "authorized"
    assert payment.amount_capturable_minor == 4200
    assert payment.amount_captured_minor == 0
    assert shop.balance("merchant:pending") == 0


@pytest.mark.parametrize(
    "fault", ["fail_before_commit", "fail_after_commit", "drop_before_commit", "drop_after_commit"]
)
def test_an_unknown_outcome_is_202_and_the_same_key_finds_out(shop: Shop, fault: str) -> None:
    shop.settings(**{fault: 1})
    key = new_key()
    first = shop.create(key=key)
    assert first.status == 202
    assert (first.body["status"], first.body["outcome"]) == ("processing", "unknown")
    second = shop.create(key=key)
    assert (second.status, second.payment_id) == (201, first.payment_id)
    assert second.body["status"] == "captured"
    assert len([m for m in shop.movements(first.payment_id) if m["kind"] == "capture"]) == 1
    third = shop.create(key=key)
    assert third.replayed
    assert third.body == second.body


def test_a_provider_that_is_not_there_costs_time_and_nothing_else(shop: Shop) -> None:
    shop.change_account(api_base="http://127.0.0.1:9")
    key = new_key()
    first = shop.create(key=key)
    assert first.status == 202
    assert (first.body["status"], first.body["outcome"]) == ("processing", "not_sent")
    shop.change_account(api_base="")
    second = shop.create(key=key)
    assert (second.status, second.body["status"]) == (201, "captured")


@pytest.mark.parametrize("token", ["tok_amount_mismatch", "tok_currency_mismatch"])
def test_another_amount_or_currency_than_ours_is_held_for_review(shop: Shop, token: str) -> None:
    answer = shop.create(payment_method=token)
    payment = shop.payment(answer.payment_id)
    assert payment.state == "in_review"
    assert "provider reports" in payment.review_reason
    assert shop.balance("merchant:pending") == 0


def test_a_status_we_do_not_know_changes_nothing_and_stays_open(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_unknown_status")
    operation = ProviderOperation.objects.get(payment_id=answer.payment_id)
    assert answer.status == 202
    assert shop.payment(answer.payment_id).state == "processing"
    assert operation.finished_at is None


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"currency": "XXQ"}, ErrorCode.currency_invalid),
        ({"amount_minor": 10**12}, ErrorCode.amount_invalid),
    ],
)
def test_what_the_provider_cannot_take_is_refused_before_anything_is_written(
    shop: Shop, parameters: dict[str, Any], code: ErrorCode
) -> None:
    with pytest.raises(FlorinError) as refusal:
        shop.create(**parameters)
    assert refusal.value.code is code
    assert not Payment.objects.filter(merchant=shop.merchant).exists()


def test_a_merchant_without_an_account_is_told_so(shop: Shop) -> None:
    shop.change_account(active=False, is_default=False)
    with pytest.raises(FlorinError) as refusal:
        shop.create()
    assert refusal.value.code is ErrorCode.provider_account_missing


def test_a_merchant_reference_is_used_once(shop: Shop) -> None:
    first = shop.created(merchant_reference="order-7")
    with pytest.raises(FlorinError) as refusal:
        shop.create(merchant_reference="order-7")
    assert refusal.value.code is ErrorCode.merchant_reference_taken
    assert refusal.value.extra["payment"] == first.pk
    assert Payment.objects.filter(merchant=shop.merchant).count() == 1
