"""A payer's bank objects: what is withdrawn, answered, won, lost, and refused meanwhile."""

from __future__ import annotations

import base64

import pytest

from payments.errors import ErrorCode, FlorinError
from payments.models import Dispute, Payment
from tests.payments.shop import Shop


@pytest.fixture
def payment(shop: Shop) -> Payment:
    """A settled payment of 4200, with more money of the merchant's beside it."""
    payment = shop.created()
    shop.create(amount_minor=50_000)
    shop.later(minutes=2)
    return shop.payment(payment.pk)


def disputed(shop: Shop, payment: Payment, **body: object) -> Dispute:
    """The newest dispute of the payment, just opened by the payer's bank."""
    shop.stage(payment.pk, "dispute", **body)
    shop.deliver_events()
    return payment.disputes.order_by("-pk")[0]


def test_a_chargeback_withdraws_money_and_its_fee(shop: Shop, payment: Payment) -> None:
    available = shop.balance("merchant:available")
    dispute = disputed(shop, payment)
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_disputed_minor) == ("disputed", 4200)
    assert (dispute.state, dispute.withdrawn_minor) == ("needs_response", 4200)
    assert after.dispute_fee_minor == dispute.fee_minor > 0
    assert shop.balance("merchant:available") == available - 4200 - dispute.fee_minor
    assert shop.balance("merchant:reserve") == shop.balance("psp:disputed_funds") == 4200


def test_evidence_is_handed_in_once_and_wins(shop: Shop, payment: Payment) -> None:
    available = shop.balance("merchant:available")
    dispute = disputed(shop, payment)
    file = {
        "kind": "receipt",
        "filename": "receipt.pdf",
        "content_type": "application/pdf",
        "content_base64": base64.b64encode(b"%PDF-1.7 thank you").decode(),
    }
    assert shop.ask("disputes.add_file", {"dispute": dispute.pk, **file}).status == 201
    answer = shop.submit_evidence(dispute.pk, product_description="A bicycle, delivered.")
    assert (answer.status, answer.body["evidence_fields"]) == (200, ["product_description"])
    with pytest.raises(FlorinError) as again:
        shop.submit_evidence(dispute.pk)
    assert again.value.code is ErrorCode.dispute_state_conflict
    shop.stage_dispute(dispute.pk, "won")
    shop.deliver_events()
    dispute.refresh_from_db()
    assert (dispute.state, dispute.withdrawn_minor) == ("won", 0)
    assert shop.payment(payment.pk).state == "settled"
    assert shop.balance("merchant:available") == available - dispute.fee_minor
    assert shop.balance("merchant:reserve") == 0


def test_an_accepted_dispute_is_lost(shop: Shop, payment: Payment) -> None:
    dispute = disputed(shop, payment)
    assert shop.accept_dispute(dispute.pk).status == 200
    shop.deliver_events()
    dispute.refresh_from_db()
    assert (dispute.state, dispute.lost_minor) == ("accepted", 4200)
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_reversed_minor) == ("reversed", 4200)
    assert shop.balance("merchant:reserve") == shop.balance("psp:disputed_funds") == 0


def test_a_part_that_is_lost_leaves_the_rest_settled(shop: Shop, payment: Payment) -> None:
    dispute = disputed(shop, payment)
    shop.stage_dispute(dispute.pk, "lost_in_part", lost_minor=1000)
    shop.deliver_events()
    after = shop.payment(payment.pk)
    assert (after.state, after.amount_reversed_minor) == ("settled", 1000)
    assert shop.refund(payment.pk).body["amount_minor"] == 3200


def test_an_inquiry_moves_neither_money_nor_the_payment(shop: Shop, payment: Payment) -> None:
    dispute = disputed(shop, payment, stage="inquiry")
    assert (dispute.stage, dispute.withdrawn_minor) == ("inquiry", 0)
    assert shop.payment(payment.pk).state == "settled"
    assert shop.refund(payment.pk, 100).status == 201


def test_an_inquiry_that_escalates_disputes_the_payment(shop: Shop, payment: Payment) -> None:
    dispute = disputed(shop, payment, stage="inquiry")
    shop.stage_dispute(dispute.pk, "escalated")
    shop.deliver_events()
    dispute.refresh_from_db()
    assert dispute.stage == "chargeback"
    assert shop.payment(payment.pk).state == "disputed"


def test_a_lost_case_that_is_won_after_all_gives_the_money_back(
    shop: Shop, payment: Payment
) -> None:
    available = shop.balance("merchant:available")
    dispute = disputed(shop, payment)
    for result in ("lost", "won"):
        shop.stage_dispute(dispute.pk, result)
        shop.deliver_events()
    assert shop.payment(payment.pk).state == "settled"
    assert shop.edges(payment.pk)[-1] == "reversal_undone"
    dispute.refresh_from_db()
    assert shop.balance("merchant:available") == available - dispute.fee_minor


def test_two_disputes_are_closed_one_after_the_other(shop: Shop, payment: Payment) -> None:
    first = disputed(shop, payment, amount_minor=1000)
    second = disputed(shop, payment, amount_minor=500)
    assert shop.payment(payment.pk).amount_disputed_minor == 1500
    shop.stage_dispute(first.pk, "won")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "disputed"
    shop.stage_dispute(second.pk, "won")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "settled"
    assert shop.edges(payment.pk)[-4:] == [
        "dispute_opened",
        "second_dispute_opened",
        "one_dispute_closed",
        "dispute_closed_for_us_settled",
    ]


def test_a_disputed_payment_is_not_refunded(shop: Shop, payment: Payment) -> None:
    disputed(shop, payment)
    with pytest.raises(FlorinError) as refusal:
        shop.refund(payment.pk)
    assert refusal.value.code is ErrorCode.payment_disputed


def test_a_dispute_of_refunded_money_tells_a_person_of_the_double_loss(
    shop: Shop, payment: Payment
) -> None:
    shop.refund(payment.pk)
    disputed(shop, payment)
    after = shop.payment(payment.pk)
    assert (after.state, after.double_loss_minor) == ("disputed", 4200)
    assert payment.cases.get(resolved_at=None).kind == "double_loss"


def test_evidence_after_the_deadline_is_refused(shop: Shop, payment: Payment) -> None:
    dispute = disputed(shop, payment)
    shop.ahead_by(days=8)
    with pytest.raises(FlorinError) as refusal:
        shop.submit_evidence(dispute.pk)
    assert refusal.value.code is ErrorCode.evidence_overdue


@pytest.mark.parametrize(
    "texts", [{"favourite_colour": "red"}, {"uncategorized_text": "x" * 150_001}]
)
def test_evidence_the_provider_does_not_take_is_refused(
    shop: Shop, payment: Payment, texts: dict[str, str]
) -> None:
    dispute = disputed(shop, payment)
    with pytest.raises(FlorinError) as refusal:
        shop.submit_evidence(dispute.pk, **texts)
    assert refusal.value.code is ErrorCode.evidence_invalid


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "selfie"},
        {"content_type": "text/html"},
        {"content_base64": "%%%"},
        {"content_base64": base64.b64encode(b"<html>").decode()},
        {"content_base64": base64.b64encode(b"%PDF-" + bytes(700_000)).decode()},
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    shop: Shop, payment: Payment, wrong: dict[str, str]
) -> None:
    dispute = disputed(shop, payment)
    file = {
        "kind": "receipt",
        "filename": "receipt.pdf",
        "content_type": "application/pdf",
        "content_base64": base64.b64encode(b"%PDF-1.7").decode(),
    }
    with pytest.raises(FlorinError) as refusal:
        shop.ask("disputes.add_file", {"dispute": dispute.pk, **file, **wrong})
    assert refusal.value.code is ErrorCode.evidence_invalid
    assert not dispute.files.exists()


@pytest.mark.parametrize("fault", ["fail_before_commit", "drop_after_commit"])
def test_evidence_of_unknown_outcome_is_handed_in_once(
    shop: Shop, payment: Payment, fault: str
) -> None:
    dispute = disputed(shop, payment)
    shop.settings(**{fault: 1})
    assert shop.submit_evidence(dispute.pk).status == 202
    shop.ahead_by(minutes=1)
    shop.resume(payment.pk)
    shop.deliver_events()
    dispute.refresh_from_db()
    assert dispute.state in ("submitted", "under_review", "won")


def test_another_merchants_dispute_is_not_there(
    shop: Shop, another_shop: Shop, payment: Payment
) -> None:
    dispute = disputed(shop, payment)
    for verb in (another_shop.submit_evidence, another_shop.accept_dispute):
        with pytest.raises(FlorinError) as refusal:
            verb(dispute.pk)
        assert refusal.value.code is ErrorCode.not_found
