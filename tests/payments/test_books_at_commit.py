"""PostgreSQL refuses a commit in which a payment's money and its ledger entries disagree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from ledger.posting import Posting, post_many
from payments import bookkeeping
from payments.models import Payment
from tests.payments.shop import Shop


def change(payment: Payment, **amounts: Any) -> None:
    """Write amounts past all code, as a forgetful action would."""
    Payment.objects.filter(pk=payment.pk).update(**amounts)


def book(describe: Callable[..., Posting | None], payment: Payment, shop: Shop) -> None:
    """Post what a function of payments.bookkeeping describes."""
    posting = describe(payment, now=shop.now())
    assert posting is not None
    post_many([posting])


def test_a_capture_that_is_not_booked_cannot_be_committed(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    with pytest.raises(IntegrityError, match="its ledger entries say captured 0"):
        change(payment, amount_captured_minor=F("amount_minor"))
    assert shop.payment(payment.pk).amount_captured_minor == 0


def test_a_capture_that_is_booked_over_another_amount_cannot_be_committed(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    payment.amount_captured_minor = payment.amount_minor - 1

    def capture_one_thing_and_book_another() -> None:
        with transaction.atomic():
            change(payment, amount_captured_minor=F("amount_minor"))
            book(bookkeeping.captured, payment, shop)

    with pytest.raises(IntegrityError, match="its ledger entries say captured 4199"):
        capture_one_thing_and_book_another()


def test_the_order_of_payment_and_entry_within_the_transaction_is_free(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    payment.amount_captured_minor = payment.amount_minor
    with transaction.atomic():
        book(bookkeeping.captured, payment, shop)
        change(payment, amount_captured_minor=1)
        change(payment, amount_captured_minor=F("amount_minor"))
    assert shop.payment(payment.pk).amount_captured_minor == payment.amount_minor


@pytest.mark.parametrize(
    "amounts",
    [
        {"amount_settled_minor": F("amount_captured_minor")},
        {"provider_fee_minor": F("provider_fee_minor") + 1},
        {"provider_fee_minor": None},
        {"platform_fee_minor": F("platform_fee_minor") + 1},
        {"amount_captured_minor": F("amount_captured_minor") - 1},
    ],
    ids=lambda amounts: next(iter(amounts)),
)
def test_no_booked_amount_changes_alone(shop: Shop, amounts: dict[str, Any]) -> None:
    payment = shop.created()
    with pytest.raises(IntegrityError, match="its ledger entries say"):
        change(payment, **amounts)


def test_an_entry_at_another_merchant_does_not_count(shop: Shop, another_shop: Shop) -> None:
    payment = shop.created()
    payment.merchant = another_shop.merchant
    payment.amount_settled_minor = payment.amount_captured_minor

    def settle_for_the_wrong_one() -> None:
        with transaction.atomic():
            change(payment, amount_settled_minor=F("amount_captured_minor"))
            book(bookkeeping.settled, payment, shop)

    with pytest.raises(IntegrityError, match="released to the merchant 0"):
        settle_for_the_wrong_one()


def test_a_payment_that_is_inserted_with_money_needs_its_entries_too(shop: Shop) -> None:
    payment = shop.created()

    def copy() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO payments_payment
                SELECT (jsonb_populate_record(p, '{"id": "pay_copied"}')).*
                  FROM payments_payment p WHERE id = %s
                """,
                [payment.pk],
            )
            cursor.execute(
                """
                INSERT INTO payments_transition (payment_id, version, event, from_state, to_state,
                  cause_type, cause_id, actor_type, actor_id, occurred_at)
                SELECT 'pay_copied', version, event, from_state, to_state, cause_type, cause_id,
                       actor_type, actor_id, occurred_at
                  FROM payments_transition WHERE payment_id = %s
                """,
                [payment.pk],
            )

    with pytest.raises(IntegrityError, match="its ledger entries say captured 0"):
        copy()


def test_other_changes_are_not_checked_and_stay_cheap(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) UPDATE payments_payment SET description = 'x' "
            "WHERE id = %s",
            [payment.pk],
        )
        plan = str(cursor.fetchone())
    assert "payment_guard" in plan
    assert "payment_agrees_with_books" not in plan
