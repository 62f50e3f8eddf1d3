"""PostgreSQL refuses a commit in which a payment's money and its ledger entries disagree."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from ledger.posting import post_many
from payments import bookkeeping
from payments.machines import move
from payments.models import Capture, Payment
from tests.payments.shop import Shop


def change(payment: Payment, **amounts: Any) -> None:
    """Write amounts past all code, as a forgetful action would."""
    Payment.objects.filter(pk=payment.pk).update(**amounts)


def captured_row(payment: Payment, shop: Shop, amount_minor: int) -> Capture:
    """A succeeded capture, inserted past all code."""
    capture = Capture(payment=payment, number=1, amount_minor=amount_minor, created_at=shop.now())
    move(capture, "succeed")
    capture.save(force_insert=True)
    return capture


def book(payment: Payment, capture: Capture, shop: Shop) -> None:
    """Post what payments.bookkeeping describes for a capture."""
    posting = bookkeeping.captured(payment, capture=capture, now=shop.now())
    assert posting is not None
    post_many([posting])


def test_a_capture_that_is_not_booked_cannot_be_committed(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")

    def capture_and_book_nothing() -> None:
        with transaction.atomic():
            captured_row(payment, shop, 4200)
            change(payment, amount_captured_minor=F("amount_minor"))

    with pytest.raises(IntegrityError, match="its ledger entries disagree"):
        capture_and_book_nothing()
    assert shop.payment(payment.pk).amount_captured_minor == 0


def test_a_capture_without_a_row_of_its_own_cannot_be_committed(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    with pytest.raises(IntegrityError):
        change(payment, amount_captured_minor=F("amount_minor"))
    with pytest.raises(IntegrityError, match="its rows say captured 4200"):
        captured_row(payment, shop, 4200)


def test_a_capture_that_is_booked_over_another_amount_cannot_be_committed(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")

    def capture_one_thing_and_book_another() -> None:
        with transaction.atomic():
            change(payment, amount_captured_minor=F("amount_minor"))
            captured_row(payment, shop, 4200)
            book(payment, Capture(id="cap_other", amount_minor=4199), shop)

    with pytest.raises(IntegrityError, match="its ledger entries disagree"):
        capture_one_thing_and_book_another()


def test_the_order_of_payment_and_entry_within_the_transaction_is_free(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    with transaction.atomic():
        book(payment, captured_row(payment, shop, 4200), shop)
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
        {"amount_refunded_minor": F("amount_captured_minor")},
    ],
    ids=lambda amounts: next(iter(amounts)),
)
def test_no_booked_amount_changes_alone(shop: Shop, amounts: dict[str, Any]) -> None:
    payment = shop.created()
    with pytest.raises(IntegrityError, match="its ledger entries disagree"):
        change(payment, **amounts)


def test_an_entry_at_another_merchant_does_not_count(shop: Shop, another_shop: Shop) -> None:
    payment = shop.created(capture_method="manual")

    def capture_for_the_wrong_one() -> None:
        with transaction.atomic():
            change(payment, amount_captured_minor=F("amount_minor"))
            capture = captured_row(payment, shop, 4200)
            payment.merchant = another_shop.merchant
            book(payment, capture, shop)

    with pytest.raises(IntegrityError, match="its ledger entries disagree"):
        capture_for_the_wrong_one()


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

    with pytest.raises(
        IntegrityError, match=r"its ledger entries disagree|its rows say captured 0"
    ):
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
