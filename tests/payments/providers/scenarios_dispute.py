"""Scenarios of the contract: disputes, from the first question to the last decision."""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot
from payments.providers.objects import (
    DisputeSnapshot,
    DisputeStage,
    DisputeStatus,
    EvidenceFile,
)
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    IMPATIENT_SECONDS,
    Case,
    dispute_of,
    expect,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import GOOD_CARD, Driver

PART_MINOR = 700
RECEIPT = EvidenceFile(
    kind="receipt",
    filename="receipt.pdf",
    content_type="application/pdf",
    content=b"%PDF-1.4\n" + b"0" * 2_000,
)


def _disputed(
    case: Case, *, stage: str = "chargeback", amount_minor: int = 0
) -> tuple[PaymentSnapshot, DisputeSnapshot]:
    paid = snapshot_of(case.pay(GOOD_CARD))
    case.driver.settle()
    case.driver.open_dispute(paid, stage=stage, amount_minor=amount_minor)
    return paid, dispute_of(case.fetch(paid))


# --- what a dispute is -------------------------------------------------------------------------


@scenario
def a_chargeback_withdraws_the_money_and_leaves_the_payment_captured(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    assert (dispute.stage, dispute.status) == (
        DisputeStage.CHARGEBACK,
        DisputeStatus.NEEDS_RESPONSE,
    )
    assert dispute.amount_minor == dispute.funds_withdrawn_minor == AMOUNT_MINOR
    assert dispute.payment_reference == paid.provider_reference
    assert dispute.evidence_due_at is not None
    assert dispute.fee_minor
    assert dispute.reason
    after = snapshot_of(case.fetch(paid))
    assert (after.status, after.amount_captured_minor) == (ObservedStatus.CAPTURED, AMOUNT_MINOR)
    assert driver.balance(case.reference) == 0


@scenario
def an_inquiry_withdraws_nothing(driver: Driver) -> None:
    case = Case(driver)
    _, dispute = _disputed(case, stage="inquiry")
    assert dispute.stage == DisputeStage.INQUIRY
    assert dispute.funds_withdrawn_minor == 0
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_dispute_may_be_about_a_part(driver: Driver) -> None:
    case = Case(driver)
    _, dispute = _disputed(case, amount_minor=PART_MINOR)
    assert dispute.amount_minor == dispute.funds_withdrawn_minor == PART_MINOR
    assert driver.balance(case.reference) == AMOUNT_MINOR - PART_MINOR


@scenario
def a_payment_may_be_disputed_twice(driver: Driver) -> None:
    case = Case(driver)
    paid, first = _disputed(case)
    driver.decide_dispute(first, "won")
    driver.open_dispute(paid)
    disputes = snapshot_of(case.fetch(paid)).disputes
    assert disputes is not None
    assert len({one.provider_reference for one in disputes}) == 2
    statuses = {one.provider_reference: one.status for one in disputes}
    assert statuses.pop(first.provider_reference) == DisputeStatus.WON
    assert list(statuses.values()) == [DisputeStatus.NEEDS_RESPONSE]
    assert driver.balance(case.reference) == 0


@scenario
def an_unknown_dispute_status_is_unrecognised_never_guessed(driver: Driver) -> None:
    case = Case(driver)
    driver.break_next("dispute_unknown_status")
    _, dispute = _disputed(case)
    assert dispute.status == DisputeStatus.UNRECOGNISED
    assert dispute.raw_status


@scenario
def a_disputed_payment_cannot_be_refunded(driver: Driver) -> None:
    case = Case(driver)
    paid, _ = _disputed(case)
    expect(case.refund(paid, PART_MINOR), Outcome.DECLINED)
    assert driver.refunded(case.reference) == []


# --- how it ends -------------------------------------------------------------------------------


@scenario
def a_dispute_that_is_won_brings_the_money_back(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    driver.decide_dispute(dispute, "won")
    after = dispute_of(case.fetch(paid))
    assert (after.status, after.funds_withdrawn_minor) == (DisputeStatus.WON, 0)
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_dispute_that_is_lost_keeps_the_money(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    driver.decide_dispute(dispute, "lost")
    after = dispute_of(case.fetch(paid))
    assert (after.status, after.funds_withdrawn_minor) == (DisputeStatus.LOST, AMOUNT_MINOR)
    assert driver.balance(case.reference) == 0


@scenario
def a_dispute_may_be_lost_in_part(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    driver.decide_dispute(dispute, "lost_in_part", lost_minor=PART_MINOR)
    after = dispute_of(case.fetch(paid))
    assert after.funds_withdrawn_minor == PART_MINOR
    assert driver.balance(case.reference) == AMOUNT_MINOR - PART_MINOR


@scenario
def a_dispute_that_the_payer_takes_back_brings_the_money_back(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    driver.decide_dispute(dispute, "withdrawn")
    after = dispute_of(case.fetch(paid))
    assert after.status in {DisputeStatus.WITHDRAWN, DisputeStatus.WON}
    assert after.funds_withdrawn_minor == 0
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_dispute_whose_time_is_over_is_lost(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    driver.decide_dispute(dispute, "expired")
    after = dispute_of(case.fetch(paid))
    assert after.status in {DisputeStatus.EXPIRED, DisputeStatus.LOST}
    assert after.funds_withdrawn_minor == AMOUNT_MINOR


@scenario
def a_dispute_goes_forward_through_its_stages(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case, stage="inquiry")
    seen = [dispute.stage]
    for _ in range(3):
        driver.decide_dispute(dispute, "escalated")
        dispute = dispute_of(case.fetch(paid))
        assert dispute.status == DisputeStatus.NEEDS_RESPONSE
        assert dispute.funds_withdrawn_minor == AMOUNT_MINOR
        seen.append(dispute.stage)
    assert seen == list(DisputeStage)
    assert driver.balance(case.reference) == 0


@scenario
def an_inquiry_that_becomes_a_chargeback_withdraws_the_money(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case, stage="inquiry")
    driver.decide_dispute(dispute, "escalated")
    after = dispute_of(case.fetch(paid))
    assert after.provider_reference == dispute.provider_reference
    assert (after.stage, after.status) == (DisputeStage.CHARGEBACK, DisputeStatus.NEEDS_RESPONSE)
    assert after.funds_withdrawn_minor == AMOUNT_MINOR
    assert driver.balance(case.reference) == 0


@scenario
def an_inquiry_that_is_over_is_closed(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case, stage="inquiry")
    driver.decide_dispute(dispute, "won")
    assert dispute_of(case.fetch(paid)).status == DisputeStatus.CLOSED
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def an_alert_that_is_refunded_in_full_is_prevented(driver: Driver) -> None:
    case = Case(driver)
    paid, _ = _disputed(case, stage="inquiry")
    expect(case.refund(paid), Outcome.OK)
    assert dispute_of(case.fetch(paid)).status == DisputeStatus.PREVENTED
    assert driver.balance(case.reference) == 0


# --- answering it ------------------------------------------------------------------------------


@scenario
def evidence_is_handed_in_once(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    answered = case.answer(dispute, files=(RECEIPT,))
    expect(answered, Outcome.OK)
    assert dispute_of(answered).status == DisputeStatus.UNDER_REVIEW
    assert dispute_of(answered).evidence_submitted
    after = dispute_of(case.fetch(paid))
    assert (after.status, after.evidence_submitted) == (DisputeStatus.UNDER_REVIEW, True)
    again = case.answer(dispute)
    expect(again, Outcome.DECLINED)
    record = repr(answered.exchange)
    assert "A hat." not in record
    assert "JVBERi0" not in record


@scenario
def an_accepted_dispute_is_lost(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    accepted = case.accept(dispute)
    expect(accepted, Outcome.OK)
    assert dispute_of(accepted).status == DisputeStatus.LOST
    assert dispute_of(case.fetch(paid)).funds_withdrawn_minor == AMOUNT_MINOR


@scenario
def a_dispute_that_is_over_takes_no_answer(driver: Driver) -> None:
    case = Case(driver)
    _, dispute = _disputed(case)
    driver.decide_dispute(dispute, "lost")
    refused = case.answer(dispute)
    expect(refused, Outcome.DECLINED)
    assert refused.dispute is not None
    assert refused.dispute.status == DisputeStatus.LOST
    balance = driver.balance(case.reference)
    case.accept(dispute)
    assert driver.balance(case.reference) == balance


@scenario
def evidence_after_its_time_is_refused(driver: Driver) -> None:
    case = Case(driver)
    _, dispute = _disputed(case)
    driver.decide_dispute(dispute, "expired")
    refused = case.answer(dispute)
    expect(refused, Outcome.DECLINED)
    assert refused.error is not None
    assert refused.error.code in {"provider_evidence_overdue", "provider_state_conflict"}


@scenario
def evidence_whose_answer_was_lost_is_replayed(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    key = case.key()
    driver.break_next("hang_after_commit")
    expect(case.answer(dispute, key=key, timeout_seconds=IMPATIENT_SECONDS), Outcome.UNKNOWN)
    expect(case.answer(dispute, key=key), Outcome.OK)
    assert dispute_of(case.fetch(paid)).evidence_submitted


@scenario
def an_acceptance_whose_answer_was_lost_is_replayed(driver: Driver) -> None:
    case = Case(driver)
    _, dispute = _disputed(case)
    key = case.key()
    driver.break_next("drop_after_commit")
    expect(case.accept(dispute, key=key), Outcome.UNKNOWN)
    expect(case.accept(dispute, key=key), Outcome.OK)
    assert driver.balance(case.reference) == 0


@scenario
def every_dispute_event_brings_the_dispute(driver: Driver) -> None:
    case = Case(driver)
    paid, dispute = _disputed(case)
    case.answer(dispute)
    driver.decide_dispute(dispute, "won")
    seen = [driver.provider.observe_webhook(raw) for raw in driver.events()]
    told = [one.dispute for one in seen if one.dispute is not None]
    assert {one.provider_reference for one in told} == {dispute.provider_reference}
    assert told[0].status == DisputeStatus.NEEDS_RESPONSE
    assert told[-1].status == DisputeStatus.WON
    assert {one.payment_reference for one in told} == {paid.provider_reference}
