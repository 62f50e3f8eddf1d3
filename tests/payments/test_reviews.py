"""What a person decides: each decision asks the PSP first and goes where its answer leads."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from payments.actions.resolve_review import (
    accept_provider,
    cancel_reviewed_payment,
    close_case,
    release_payment,
)
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment
from tests.payments.shop import Shop


def decide(shop: Shop, decision: Any, payment: Payment) -> Payment:
    with shop.acting():
        decision(payment.pk, words="Looked at it.", clock=shop.now)
    return shop.payment(payment.pk)


def screened(shop: Shop, **parameters: Any) -> Payment:
    """A payment that the merchant's own limit held."""
    shop.merchant.review_above_minor = 4000
    with shop.acting(), transaction.atomic():
        shop.merchant.save()
    return shop.created(**parameters)


def test_a_payment_above_the_limit_is_held_before_the_provider_is_asked(shop: Shop) -> None:
    payment = screened(shop)
    assert payment.state == "in_review"
    assert payment.cases.get().kind == "screening"
    assert shop.movements(payment.pk) == []


def test_a_released_payment_is_taken(shop: Shop) -> None:
    payment = decide(shop, release_payment, screened(shop))
    assert payment.state == "captured"
    assert shop.edges(payment.pk)[1:] == ["screening_hold", "approve_resume", "psp_captured"]
    assert payment.cases.get().resolved_at is not None


def test_a_held_confirmation_is_released_too(shop: Shop) -> None:
    payment = screened(shop, confirm=False, payment_method="")
    assert shop.confirm(payment.pk).body["status"] == "in_review"
    assert decide(shop, release_payment, payment).state == "captured"


def test_a_held_payment_is_rejected_without_the_provider(shop: Shop) -> None:
    payment = decide(shop, cancel_reviewed_payment, screened(shop))
    assert payment.state == "canceled"
    assert shop.edges(payment.pk)[-1] == "reject"


def test_a_payment_the_provider_never_heard_of_is_resolved_as_failed(shop: Shop) -> None:
    payment = decide(shop, accept_provider, screened(shop))
    assert (payment.state, shop.edges(payment.pk)[-1]) == ("failed", "resolve_failed")


@pytest.mark.parametrize(
    ("verdict", "state", "edge"),
    [("approve", "captured", "resolve_captured"), ("decline", "failed", "resolve_failed")],
)
def test_a_fraud_hold_ends_with_the_providers_verdict(
    shop: Shop, verdict: str, state: str, edge: str
) -> None:
    payment = shop.created(payment_method="tok_review")
    assert payment.state == "in_review"
    shop.stage(payment.pk, verdict)
    shop.deliver_events()
    assert (shop.payment(payment.pk).state, shop.edges(payment.pk)[-1]) == (state, edge)


def test_nothing_is_decided_while_the_fraud_desk_works(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_review")
    with pytest.raises(FlorinError) as refusal:
        decide(shop, accept_provider, payment)
    assert refusal.value.code is ErrorCode.review_state_conflict
    assert shop.payment(payment.pk).state == "in_review"


def test_another_amount_is_taken_over_when_a_person_accepts_it(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_amount_mismatch")
    assert payment.state == "in_review"
    after = decide(shop, accept_provider, payment)
    assert (after.state, after.amount_captured_minor) == ("captured", 4201)
    assert shop.balance("psp:clearing") > 0


def test_another_amount_on_hold_is_released_when_a_person_cancels(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_amount_mismatch", capture_method="manual")
    after = decide(shop, cancel_reviewed_payment, payment)
    assert (after.state, shop.edges(payment.pk)[-1]) == ("canceled", "reject")


def test_another_currency_is_never_taken_over(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_currency_mismatch")
    with pytest.raises(FlorinError, match="holds USD"):
        decide(shop, accept_provider, payment)
    assert shop.payment(payment.pk).state == "in_review"


def test_money_given_back_at_the_provider_meanwhile_is_told_so(shop: Shop) -> None:
    shop.settings(settle_after_seconds=86_400)
    shop.create(amount_minor=50_000)
    shop.advance_sandbox(90_000)
    shop.settings(settle_after_seconds=10**7)
    payment = shop.created(confirm=False, payment_method="")
    shop.cancel(payment.pk)
    shop.stage(payment.pk, "succeed_late")
    shop.stage(payment.pk, "refund")
    shop.deliver_events()
    after = decide(shop, accept_provider, payment)
    assert (after.state, shop.edges(payment.pk)[-1]) == ("refunded", "resolve_refunded")


def test_a_status_we_do_not_know_opens_a_case(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_unknown_status")
    assert payment.cases.get().kind == "status_unknown"
    assert "under_inspection" in payment.cases.get().words


def test_the_last_case_of_a_payment_in_review_is_not_closed_by_words(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_review")
    with shop.acting(), pytest.raises(FlorinError) as refusal:
        close_case(payment.cases.get().pk, words="Fine.", clock=shop.now)
    assert refusal.value.code is ErrorCode.payment_state_conflict
