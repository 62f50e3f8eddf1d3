"""Stripe's disputes: inquiries, chargebacks, evidence and files, what they cost, how they end."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe

from payments.providers.base import ObservedStatus, Outcome
from payments.providers.objects import (
    DisputeStage,
    DisputeStatus,
    EvidenceFile,
    RefundStatus,
)
from payments.providers.stripe import disputes, events, refunds
from payments.providers.stripe.disputes import read_dispute
from payments.providers.stripe.errors import REFUND_FAILURES
from payments.providers.stripe.refunds import read_refund
from tests.payments.providers.conformance import AMOUNT_MINOR
from tests.payments.providers.stripe_world import StripeWorld
from tests.processes import RunningProcess

RECEIPT = EvidenceFile(
    kind="receipt",
    filename='a "receipt".pdf',
    content_type="application/pdf",
    content=bytes(range(256)) * 40 + b"\r\n--x\r\n",
)
DISPUTE: dict[str, Any] = {
    "id": "dp_1",
    "object": "dispute",
    "amount": 1_000,
    "balance_transactions": [],
    "charge": "ch_1",
    "currency": "usd",
    "evidence": {},
    "evidence_details": {"due_by": 1_763_640_000, "submission_count": 0},
    "payment_intent": "pi_1",
    "reason": "fraudulent",
    "status": "needs_response",
}


@pytest.fixture
def world(stripe_stand_in: RunningProcess) -> StripeWorld:
    return StripeWorld(stripe_stand_in.url)


def _literals(module: str, name: str) -> set[str]:
    source = Path(stripe.__file__).with_name(module).read_text()
    listed = source.partition(f"    {name}: Union[\n        Literal[")[2].partition("]")[0]
    return set(re.findall(r'"(\w+)"', listed))


def test_every_dispute_status_the_sdk_knows_has_a_meaning() -> None:
    assert _literals("_dispute.py", "status") == set(disputes.STATUSES)


def test_every_reason_for_a_failed_refund_has_a_meaning() -> None:
    source = Path(stripe.__file__).with_name("_refund.py").read_text()
    listed = re.search(r"reason for the refund failure\. Possible values are: (.*)\n", source)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == set(REFUND_FAILURES)


def test_a_chargeback_takes_the_money_and_a_fee(world: StripeWorld) -> None:
    paid = world.paid("pm_card_createDispute")
    (dispute,) = world.disputes(paid)
    assert (dispute.stage, dispute.status) == (
        DisputeStage.CHARGEBACK,
        DisputeStatus.NEEDS_RESPONSE,
    )
    assert (dispute.funds_withdrawn_minor, dispute.fee_minor) == (AMOUNT_MINOR, 1_500)
    assert dispute.payment_reference == paid.provider_reference
    assert dispute.charge_reference == paid.charge_reference
    assert dispute.evidence_due_at is not None
    assert world.fetch(paid).status == ObservedStatus.CAPTURED
    assert world.fetch(paid).fee_minor == 88  # the dispute's fee is the dispute's
    refused = world.refund(paid, 100)
    assert refused.outcome == Outcome.DECLINED
    assert refused.error is not None
    assert refused.error.code == "provider_payment_disputed"


def test_an_inquiry_takes_nothing_and_may_grow_into_a_chargeback(world: StripeWorld) -> None:
    paid = world.paid("pm_card_createDisputeInquiry")
    (inquiry,) = world.disputes(paid)
    assert (inquiry.stage, inquiry.status) == (DisputeStage.INQUIRY, DisputeStatus.NEEDS_RESPONSE)
    assert (inquiry.funds_withdrawn_minor, inquiry.fee_minor) == (0, 0)
    assert world.submit(inquiry).outcome == Outcome.OK
    assert world.disputes(paid)[0].status == DisputeStatus.UNDER_REVIEW
    world.control("escalate", dispute=inquiry.provider_reference)
    (grown,) = world.disputes(paid)
    assert (grown.stage, grown.status) == (DisputeStage.CHARGEBACK, DisputeStatus.NEEDS_RESPONSE)
    assert grown.funds_withdrawn_minor == AMOUNT_MINOR


def test_an_inquiry_that_ends_is_closed_and_cannot_be_given_up(world: StripeWorld) -> None:
    paid = world.paid("pm_card_createDisputeInquiry")
    (inquiry,) = world.disputes(paid)
    refused = world.accept(inquiry)
    assert refused.outcome == Outcome.DECLINED
    assert refused.dispute == inquiry
    assert refused.error is not None
    assert refused.error.code == "provider_operation_unsupported"
    world.control("decide", dispute=inquiry.provider_reference)
    assert world.disputes(paid)[0].status == DisputeStatus.CLOSED
    assert world.refund(paid, 100).outcome == Outcome.OK


def test_a_dispute_that_an_alert_prevented_takes_nothing(world: StripeWorld) -> None:
    dispute = world.open_dispute(world.paid(), status="prevented")
    assert dispute.status == DisputeStatus.PREVENTED
    assert (dispute.funds_withdrawn_minor, dispute.fee_minor) == (0, 0)


def test_evidence_with_a_file_is_handed_in_and_wins(world: StripeWorld) -> None:
    paid = world.paid("pm_card_createDispute")
    (dispute,) = world.disputes(paid)
    answered = world.submit(dispute, RECEIPT, words="winning_evidence")
    assert answered.outcome == Outcome.OK
    assert answered.exchange.request["evidence"] == [
        "customer_name", "receipt", "uncategorized_text",
    ]  # fmt: skip
    assert "Ada" not in repr(answered.exchange)
    (won,) = world.disputes(paid)
    assert won.status == DisputeStatus.WON
    assert won.evidence_submitted
    assert won.funds_withdrawn_minor == 0
    (file,) = world.objects("file")
    assert file["size"] == len(RECEIPT.content)
    assert file["purpose"] == "dispute_evidence"
    (kept,) = world.objects("dispute")
    assert kept["evidence"]["receipt"] == file["id"]


def test_evidence_sent_again_with_its_key_is_one_file_and_one_submission(
    world: StripeWorld,
) -> None:
    dispute = world.open_dispute(world.paid())
    files = (RECEIPT, replace(RECEIPT, kind="refund_policy", content=b"another"))
    world.driver.break_next("drop_after_commit")  # the first upload's answer is lost
    assert world.submit(dispute, *files, key="k").outcome == Outcome.UNKNOWN
    for _ in range(2):
        assert world.submit(dispute, *files, key="k").outcome == Outcome.OK
    assert [one["size"] for one in world.objects("file")] == [len(RECEIPT.content), 7]
    (kept,) = world.objects("dispute")
    assert kept["evidence_details"]["submission_count"] == 1


def test_a_second_answer_is_refused_and_shows_the_dispute(world: StripeWorld) -> None:
    dispute = world.open_dispute(world.paid())
    assert world.submit(dispute).outcome == Outcome.OK
    refused = world.submit(dispute)
    assert refused.outcome == Outcome.DECLINED
    assert refused.dispute is not None
    assert refused.dispute.status == DisputeStatus.UNDER_REVIEW
    assert refused.error is not None
    assert refused.error.code == "provider_state_conflict"


def test_a_file_that_stripe_does_not_take_hands_nothing_in(world: StripeWorld) -> None:
    dispute = world.open_dispute(world.paid())
    program = EvidenceFile(
        kind="receipt", filename="a.exe", content_type="application/pdf", content=b"MZ"
    )
    assert world.submit(dispute, program).outcome == Outcome.DECLINED
    (kept,) = world.objects("dispute")
    assert kept["evidence_details"]["submission_count"] == 0


def test_a_dispute_is_lost_by_decision_or_in_part(world: StripeWorld) -> None:
    paid = world.paid()
    whole, part = world.open_dispute(paid, amount="500"), world.open_dispute(paid, amount="300")
    world.control("decide", dispute=whole.provider_reference)
    world.control("decide", dispute=part.provider_reference, reinstated="100")
    found = {one.amount_minor: one for one in world.disputes(paid)}
    assert {one.status for one in found.values()} == {DisputeStatus.LOST}
    assert found[500].funds_withdrawn_minor == 500
    assert found[300].funds_withdrawn_minor == 200


def test_giving_up_loses_and_may_be_said_twice(world: StripeWorld) -> None:
    paid = world.paid()
    dispute = world.open_dispute(paid)
    for key in ("a", "a", "b"):
        accepted = world.accept(dispute, key=key)
        assert accepted.outcome == Outcome.OK
        assert accepted.dispute is not None
        assert accepted.dispute.status == DisputeStatus.LOST
    assert world.disputes(paid)[0].funds_withdrawn_minor == AMOUNT_MINOR


def test_a_dispute_that_nobody_knows_is_declined(world: StripeWorld) -> None:
    dispute = world.open_dispute(world.paid())
    stranger = read_dispute(DISPUTE)
    for result in (world.accept(stranger), world.submit(stranger)):
        assert result.outcome == Outcome.DECLINED
        assert result.error is not None
        assert result.error.code == "provider_not_found"
    assert dispute.status == DisputeStatus.NEEDS_RESPONSE


def test_every_dispute_is_fetched_however_many_there_are(world: StripeWorld) -> None:
    paid = world.paid()
    for number in range(12):
        world.control("dispute", payment_intent=paid.provider_reference, amount=str(10 + number))
    assert sorted(one.amount_minor for one in world.disputes(paid)) == list(range(10, 22))


def test_every_event_of_refunds_disputes_and_reviews_leads_to_its_payment(
    world: StripeWorld,
) -> None:
    paid = world.paid("pm_card_riskLevelElevated", manual=True)
    world.capture(paid, 1_000, final=False)
    world.capture(paid, 500)
    world.control("close_review", payment_intent=paid.provider_reference)
    world.refund(paid, 100, reference="re_a")
    world.control("refund", status="failed")
    won = world.open_dispute(paid, amount="200")
    world.submit(won, words="winning_evidence")
    world.accept(world.open_dispute(paid, amount="300"))
    seen = world.observations()
    assert {one.event_type for one in seen} >= {
        "review.opened", "review.closed", "charge.captured", "charge.refunded", "refund.created",
        "refund.updated", "refund.failed", "charge.refund.updated", "charge.dispute.created",
        "charge.dispute.updated", "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated", "charge.dispute.closed",
    }  # fmt: skip
    for one, raw in zip(seen, world.driver.events(), strict=True):
        assert one.relevant
        assert one.provider_reference == paid.provider_reference
        assert world.provider.read_webhook(raw).subject == paid.provider_reference
        told = (one.snapshot, one.refund, one.dispute)
        assert one.fetch_needed or any(told)
        assert (one.refund is not None) is (one.event_type in events.REFUNDS)
        assert (one.dispute is not None) is one.event_type.startswith("charge.dispute.")
        assert one.dispute is None or one.fetch_needed
    last = {one.dispute.provider_reference: one.dispute for one in seen if one.dispute}
    assert tuple(last.values()) == world.disputes(paid)
    refunded = {one.refund.provider_reference: one.refund for one in seen if one.refund}
    assert tuple(refunded.values()) == world.refunds(paid)


def test_a_refund_or_dispute_without_a_payment_intent_is_not_ours() -> None:
    refund = {"object": "refund", "id": "re_1", "payment_intent": None}
    for event_type, subject in (
        ("refund.created", refund),
        ("charge.dispute.created", DISPUTE | {"payment_intent": None}),
        ("review.opened", {"object": "review", "id": "prv_1"}),
    ):
        event = {"object": "event", "id": "evt_1", "type": event_type, "created": 1}
        raw = json.dumps(event | {"data": {"object": subject}}).encode()
        assert not events.read_observation(raw).relevant


@pytest.mark.parametrize(
    ("status", "moves", "is_told"),
    [
        ("needs_response", [], False),
        ("under_review", [], False),
        ("needs_response", [{"amount": -1_000, "fee": 1_500, "currency": "usd"}], True),
        ("warning_needs_response", [], True),
        ("lost", [], True),
    ],
)
def test_an_event_of_a_chargeback_whose_money_is_not_told_only_asks_to_fetch(
    status: str, moves: list[dict[str, Any]], is_told: bool
) -> None:
    subject = DISPUTE | {"status": status, "balance_transactions": moves}
    event = {"object": "event", "id": "evt_1", "type": "charge.dispute.created", "created": 1}
    raw = json.dumps(event | {"data": {"object": subject}}).encode()
    observation = events.read_observation(raw)
    assert (observation.dispute is not None) is is_told
    assert observation.fetch_needed
    assert observation.provider_reference == "pi_1"


@pytest.mark.parametrize(
    ("status", "stage"),
    [("warning_in_2030", DisputeStage.INQUIRY), ("in_2030", DisputeStage.CHARGEBACK)],
)
def test_an_unknown_status_is_kept_in_its_own_words(status: str, stage: DisputeStage) -> None:
    dispute = read_dispute(DISPUTE | {"status": status})
    assert (dispute.status, dispute.raw_status) == (DisputeStatus.UNRECOGNISED, status)
    assert dispute.stage == stage
    refund = {"object": "refund", "id": "re_1", "amount": 1, "currency": "usd", "status": status}
    assert read_refund(refund).status == RefundStatus.UNRECOGNISED
    assert read_refund(refund | {"status": None}).status == RefundStatus.UNRECOGNISED
    assert set(refunds.STATUSES.values()) == set(RefundStatus) - {RefundStatus.UNRECOGNISED}


def test_an_appeal_is_a_stage_of_its_own_and_stays_one_when_it_is_decided() -> None:
    appeal = {"appeal": {"card": {"reason_for_filing": "x"}}}
    asked = read_dispute(DISPUTE | {"status": "appeal_needs_response"})
    decided = read_dispute(DISPUTE | {"status": "won", "evidence": appeal})
    assert asked.stage == decided.stage == DisputeStage.PRE_ARBITRATION


def test_a_balance_in_another_currency_tells_only_whether_the_money_is_out() -> None:
    out = {"amount": -920, "fee": 1_500, "currency": "eur"}
    back = {"amount": 910, "fee": 0, "currency": "eur"}
    gone = read_dispute(DISPUTE | {"balance_transactions": [out]})
    assert (gone.funds_withdrawn_minor, gone.fee_minor) == (1_000, None)
    returned = read_dispute(DISPUTE | {"balance_transactions": [out, back | {"amount": 920}]})
    assert (returned.funds_withdrawn_minor, returned.fee_minor) == (0, None)


def test_more_that_came_back_than_was_taken_is_nothing_withdrawn() -> None:
    out = {"amount": -1_000, "fee": 1_500, "currency": "usd"}
    back = {"amount": 1_020, "fee": -1_500, "currency": "usd"}
    dispute = read_dispute(DISPUTE | {"status": "won", "balance_transactions": [out, back]})
    assert (dispute.funds_withdrawn_minor, dispute.fee_minor) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"object": "charge"},
        {"status": 7},
        {"status": None},
        {"amount": "1000"},
        {"currency": None},
        {"balance_transactions": "txn_1"},
        {"balance_transactions": ["txn_1"]},
        {"balance_transactions": [{"amount": 1.5, "currency": "usd"}]},
        {"evidence": []},
        {"evidence_details": {"due_by": "tomorrow"}},
    ],
)
def test_a_dispute_of_another_shape_is_unreadable(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_dispute(DISPUTE | wrong)
