"""Money given back: reserved first, never more than there is, free again when it fails."""

from __future__ import annotations

import psycopg
import pytest

from ledger.sources import position
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment, Refund
from tests.payments.shop import Shop, new_key


@pytest.fixture
def payment(shop: Shop) -> Payment:
    """A settled payment of 4200, with more money of the merchant's beside it."""
    return settled(shop)


def settled(shop: Shop, **parameters: object) -> Payment:
    """A settled payment; another one of 500.00 covers what refunds take beyond it."""
    payment = shop.created(**parameters)
    shop.create(amount_minor=50_000)
    shop.later(minutes=2)
    assert shop.payment(payment.pk).settled_at is not None
    return shop.payment(payment.pk)


def given_back(shop: Shop, payment: Payment) -> int:
    """What the sandbox says it gave the payer back."""
    return sum(m["amount_minor"] for m in shop.movements(payment.pk) if m["kind"] == "refund")


def refusal_of(shop: Shop, payment: Payment, amount_minor: int | None = None) -> ErrorCode:
    with pytest.raises(FlorinError) as refusal:
        shop.refund(payment.pk, amount_minor)
    return refusal.value.code


def test_a_full_refund_gives_everything_back_and_ends_the_payment(
    shop: Shop, payment: Payment
) -> None:
    available = shop.balance("merchant:available")
    answer = shop.refund(payment.pk)
    after = shop.payment(payment.pk)
    assert (answer.status, answer.body["status"]) == (201, "succeeded")
    assert (after.state, after.amount_refunded_minor) == ("refunded", 4200)
    assert given_back(shop, payment) == 4200
    assert shop.balance("merchant:available") == available - 4200
    assert shop.balance("psp:refunds_in_transit") == 0


def test_partial_refunds_add_up_to_the_whole(shop: Shop, payment: Payment) -> None:
    for amount in (1000, 200, 3000):
        assert shop.refund(payment.pk, amount).status == 201
    assert shop.payment(payment.pk).state == "refunded"
    assert given_back(shop, payment) == 4200
    assert refusal_of(shop, payment) is ErrorCode.payment_state_conflict


def test_without_an_amount_what_is_left_is_refunded(shop: Shop, payment: Payment) -> None:
    shop.refund(payment.pk, 1200)
    assert shop.refund(payment.pk).body["amount_minor"] == 3000


@pytest.mark.parametrize("amount_minor", [4201, 0, -1])
def test_more_than_there_is_or_nothing_is_refused(
    shop: Shop, payment: Payment, amount_minor: int
) -> None:
    assert refusal_of(shop, payment, amount_minor) is ErrorCode.refund_amount_invalid
    assert not payment.refunds.exists()
    assert given_back(shop, payment) == 0


def test_a_refund_that_waits_keeps_its_amount_reserved(shop: Shop) -> None:
    payment = settled(shop, payment_method="tok_async_refund")
    assert shop.refund(payment.pk, 3000).body["status"] == "pending"
    assert shop.payment(payment.pk).amount_refund_pending_minor == 3000
    assert shop.balance("psp:refunds_in_transit") == 3000
    assert refusal_of(shop, payment, 1201) is ErrorCode.refund_amount_invalid
    shop.later(minutes=1)
    assert payment.refunds.get().state == "succeeded"
    assert shop.balance("psp:refunds_in_transit") == 0


def test_a_refused_refund_frees_its_amount(shop: Shop) -> None:
    payment = settled(shop, payment_method="tok_refund_refused")
    before = shop.balance("merchant:available")
    answer = shop.refund(payment.pk)
    assert answer.status in (400, 402)
    assert payment.refunds.get().state == "failed"
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_refund_pending_minor) == ("settled", 0)
    assert shop.balance("merchant:available") == before


def test_a_refund_that_fails_late_makes_the_money_refundable_again(shop: Shop) -> None:
    payment = settled(shop, payment_method="tok_refund_fails_late")
    before = shop.balance("merchant:available")
    shop.refund(payment.pk)
    shop.later(minutes=1)
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_refunded_minor) == ("settled", 0)
    assert payment.refunds.get().state == "failed"
    assert shop.balance("merchant:available") == before
    shop.settings(refund_behaviour="at_once")
    assert shop.refund(payment.pk).body["status"] == "succeeded"


@pytest.mark.parametrize("fault", ["drop_before_commit", "fail_after_commit", "drop_after_commit"])
def test_a_refund_of_unknown_outcome_is_made_once(shop: Shop, payment: Payment, fault: str) -> None:
    shop.settings(**{fault: 1})
    key = new_key()
    assert shop.refund(payment.pk, 700, key=key).status == 202
    assert shop.payment(payment.pk).amount_refund_pending_minor == 700
    answer = shop.refund(payment.pk, 700, key=key)
    assert answer.body["status"] == "succeeded"
    assert shop.refund(payment.pk, 700, key=key).body == answer.body
    assert given_back(shop, payment) == 700


def test_a_refund_nobody_can_tell_of_ends_with_a_person(shop: Shop, payment: Payment) -> None:
    shop.settings(drop_before_commit=1)
    shop.refund(payment.pk, 700)
    shop.settings(outage=True)
    shop.ahead_by(days=3)
    shop.resume(payment.pk)
    assert payment.cases.get().kind == "outcome_unknown"
    assert payment.refunds.get().state == "requested"
    shop.settings(outage=False)


def test_a_refund_made_in_the_providers_dashboard_is_booked_as_seen(
    shop: Shop, payment: Payment
) -> None:
    shop.stage(payment.pk, "refund", amount_minor=500)
    shop.deliver_events()
    refund = payment.refunds.get()
    assert (refund.source, refund.state, refund.amount_minor) == ("psp", "succeeded", 500)
    assert shop.payment(payment.pk).amount_refunded_minor == 500


def test_a_bank_debit_is_not_refunded_before_it_is_settled(shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    payment = shop.created(payment_method="tok_bank")
    shop.later(minutes=1)
    assert refusal_of(shop, payment) is ErrorCode.bank_debit_not_settled


def test_a_refund_that_the_merchants_money_does_not_cover_is_refused(shop: Shop) -> None:
    payment, other = shop.created(), shop.created()
    shop.later(minutes=2)
    shop.stage(other.pk, "dispute")
    shop.deliver_events()
    assert refusal_of(shop, payment) is ErrorCode.balance_insufficient
    assert not payment.refunds.exists()
    assert given_back(shop, payment) == 0


def test_only_the_fee_that_the_platform_keeps_may_be_owed(shop: Shop) -> None:
    payment = shop.created()
    shop.later(minutes=2)
    assert shop.refund(payment.pk).status == 201
    assert shop.balance("merchant:available") == 0
    assert shop.balance("merchant:receivable") == payment.platform_fee_minor == 83


def test_the_platforms_fee_goes_back_when_that_is_asked(shop: Shop, payment: Payment) -> None:
    shop.refund(payment.pk, 2100, refund_platform_fee=True)
    shop.refund(payment.pk, 2100, refund_platform_fee=True)
    after = shop.payment(payment.pk)
    assert after.platform_fee_minor == 0
    assert position("payment", payment.pk, "EUR").credit("platform_fee_income") == 0


def test_a_refund_takes_pending_money_first(shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    payment = shop.created()
    shop.refund(payment.pk, 4000)
    assert shop.balance("merchant:pending") == 4200 - 83 - 4000
    assert shop.balance("merchant:available") == 0


def test_given_back_more_than_captured_is_refused_by_the_database(
    shop: Shop, payment: Payment, second_connection: psycopg.Connection
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="payment_given_back_at_most_captured"):
        second_connection.execute(
            "UPDATE payments_payment SET amount_refunded_minor = 4201 WHERE id = %s", [payment.pk]
        )


def test_a_refund_is_neither_changed_nor_deleted(
    shop: Shop, payment: Payment, owner_connection: psycopg.Connection
) -> None:
    refund = Refund.objects.get(pk=shop.refund(payment.pk, 100).body["id"])
    with pytest.raises(psycopg.errors.CheckViolation, match="never change"):
        owner_connection.execute(
            "UPDATE payments_refund SET amount_minor = 1 WHERE id = %s", [refund.pk]
        )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner_connection.execute("DELETE FROM payments_refund WHERE id = %s", [refund.pk])
