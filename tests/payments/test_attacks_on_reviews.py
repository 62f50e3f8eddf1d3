"""Reviews attacked: each has a way out, and old news ends none of them."""

from __future__ import annotations

import psycopg
import pytest

from payments.actions.resolve_review import accept_provider, cancel_reviewed_payment, close_case
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment, ReviewCase
from tests.payments.altered_news import (
    document_of,
    learn_nothing_of,
    polled,
    unversioned,
)
from tests.payments.shop import Shop
from tests.payments.test_contradictory_news import tell
from tests.payments.test_reviews import decide


def close(shop: Shop, case: ReviewCase, words: str = "Their mistake.") -> None:
    with shop.acting():
        close_case(case.pk, words=words, clock=shop.now)


def of_unknown_capture(shop: Shop, fault: str) -> Payment:
    """A payment in review because nobody learnt whether its capture was made."""
    payment = shop.created(capture_method="manual")
    shop.settings(**{fault: 1})
    shop.capture(payment.pk)
    learn_nothing_of(shop, payment, days=5)
    after = shop.payment(payment.pk)
    assert after.state == "in_review"
    return after


def of_unknown_creation(shop: Shop) -> Payment:
    """A payment in review because nobody learnt of its creation, which took the payer's money."""
    shop.settings(drop_after_commit=1)
    payment = shop.created()
    learn_nothing_of(shop, payment, days=5)
    after = shop.payment(payment.pk)
    assert after.state == "in_review"
    return after


def test_a_capture_that_was_never_made_is_over_when_a_person_says_so(shop: Shop) -> None:
    payment = of_unknown_capture(shop, "drop_before_commit")
    assert decide(shop, accept_provider, payment).state == "authorized"
    assert not payment.captures.filter(state__in=["requested", "pending"]).exists()
    assert shop.capture(payment.pk).status == 200


def test_a_capture_of_another_amount_than_was_asked_for_is_taken_over(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(drop_before_commit=1)
    shop.capture(payment.pk, 1000)
    reference = shop.provider_reference(payment.pk)
    shop.sandbox("POST", f"/v1/payments/{reference}/capture", {"amount_minor": 3000})
    learn_nothing_of(shop, payment, days=5)
    assert shop.payment(payment.pk).state == "in_review"
    after = decide(shop, accept_provider, payment)
    assert (after.state, after.amount_captured_minor) == ("captured", 3000)


def test_an_old_hold_does_not_end_the_review_of_an_unknown_capture(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    old = document_of(shop, payment)
    shop.settings(drop_after_commit=1)
    shop.capture(payment.pk)
    learn_nothing_of(shop, payment, days=5)
    assert shop.payment(payment.pk).state == "in_review"
    tell(shop, payment, **unversioned(old))
    assert shop.payment(payment.pk).state == "in_review"


def test_an_unknown_refund_that_the_provider_never_made_frees_its_amount(shop: Shop) -> None:
    payment = shop.created()
    shop.create(amount_minor=50_000)
    shop.later(minutes=2)
    shop.settings(drop_before_commit=1)
    shop.refund(payment.pk, 700)
    learn_nothing_of(shop, payment, days=3)
    shop.poll(payment.pk)
    close(shop, payment.cases.get(kind="outcome_unknown"), "The provider has no refund.")
    after = shop.poll(payment.pk)
    assert payment.refunds.get().state == "failed"
    assert after.amount_refund_pending_minor == 0


def test_a_payment_of_unknown_outcome_is_not_called_canceled_unasked(shop: Shop) -> None:
    payment = of_unknown_creation(shop)
    shop.settings(outage=True)
    with pytest.raises(FlorinError) as refusal:
        decide(shop, cancel_reviewed_payment, payment)
    shop.settings(outage=False)
    assert refusal.value.code is ErrorCode.review_state_conflict
    assert shop.payment(payment.pk).state == "in_review"


def test_a_payment_of_unknown_outcome_is_canceled_at_the_provider(shop: Shop) -> None:
    payment = of_unknown_creation(shop)
    assert decide(shop, cancel_reviewed_payment, payment).state == "canceled"
    moved = {(move["kind"], move["amount_minor"]) for move in shop.movements(payment.pk)}
    assert moved & {("void", 4200), ("capture_voided", 4200)}


def test_a_payment_is_asked_about_again_once_its_contradiction_is_closed(shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    payment = shop.created()
    after = polled(shop, payment, document_of(shop, payment) | {"amount_minor": 9})
    assert after.poll_due_at is None
    close(shop, payment.cases.get(kind="contradiction"))
    assert shop.payment(payment.pk).poll_due_at is not None


def test_a_contradiction_that_a_person_settled_is_not_opened_again(shop: Shop) -> None:
    payment = shop.created()
    tell(shop, payment, amount_minor=9)
    case = payment.cases.get(kind="contradiction")
    close(shop, case)
    tell(shop, payment, amount_minor=9)
    assert payment.cases.get(kind="contradiction").pk == case.pk


def test_the_last_case_of_a_payment_in_review_is_not_closed_behind_its_back(
    shop: Shop, second_connection: psycopg.Connection
) -> None:
    payment = shop.created(payment_method="tok_amount_mismatch")
    assert payment.state == "in_review"
    with pytest.raises(psycopg.errors.CheckViolation, match="in review without an open case"):
        second_connection.execute(
            "UPDATE payments_reviewcase SET resolved_at = now(), resolution = 'x' "
            "WHERE payment_id = %s",
            [payment.pk],
        )
