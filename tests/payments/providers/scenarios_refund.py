"""Scenarios of the contract: giving money back, whole, in parts, later, and when it comes again;
and bank debits that the payer's bank takes back.
"""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot
from payments.providers.objects import RefundStatus
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    IMPATIENT_SECONDS,
    Case,
    error_code,
    expect,
    refund_of,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import (
    BANK_DEBIT,
    BANK_DEBIT_REFUSED,
    GOOD_CARD,
    REFUND_ASKS_PAYER,
    REFUSES_REFUND,
    SLOW_REFUND,
    Driver,
)

PART_MINOR = 700


def _paid(case: Case, method: str = GOOD_CARD) -> PaymentSnapshot:
    return snapshot_of(case.pay(method))


def _statuses(case: Case, paid: PaymentSnapshot) -> list[RefundStatus]:
    refunds = snapshot_of(case.fetch(paid)).refunds
    assert refunds is not None
    return [refund.status for refund in refunds]


@scenario
def a_full_refund_gives_everything_back(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    reference = case.part("re")
    refunded = case.refund(paid, reference=reference)
    expect(refunded, Outcome.OK)
    refund = refund_of(refunded)
    assert refund.status == RefundStatus.SUCCEEDED
    assert refund.our_reference == reference
    assert refund.payment_reference == paid.provider_reference
    assert (refund.amount_minor, refund.currency) == (AMOUNT_MINOR, paid.currency)
    assert driver.refunded(case.reference) == [AMOUNT_MINOR]
    assert driver.balance(case.reference) == 0


@scenario
def refunds_in_parts_add_up_and_are_all_told(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    ours = [case.part("re"), case.part("re")]
    for reference in ours:
        expect(case.refund(paid, PART_MINOR, reference=reference), Outcome.OK)
    fetched = snapshot_of(case.fetch(paid))
    assert fetched.refunds is not None
    assert {refund.our_reference for refund in fetched.refunds} == set(ours)
    assert [refund.amount_minor for refund in fetched.refunds] == [PART_MINOR] * 2
    assert fetched.amount_captured_minor == AMOUNT_MINOR
    assert driver.balance(case.reference) == AMOUNT_MINOR - 2 * PART_MINOR


@scenario
def more_than_is_left_cannot_be_refunded(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    expect(case.refund(paid, PART_MINOR), Outcome.OK)
    refused = case.refund(paid, AMOUNT_MINOR - PART_MINOR + 1)
    expect(refused, Outcome.DECLINED)
    assert error_code(refused) == "provider_amount_refused"
    assert driver.refunded(case.reference) == [PART_MINOR]


@scenario
def a_refund_of_another_amount_is_visible(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    driver.break_next("refund_wrong_amount")
    refund = refund_of(case.refund(paid, PART_MINOR))
    assert refund.amount_minor == driver.refunded(case.reference)[0] != PART_MINOR


@scenario
def an_unknown_refund_status_is_unrecognised_never_guessed(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    driver.break_next("refund_unknown_status")
    unclear = case.refund(paid, PART_MINOR)
    expect(unclear, Outcome.PENDING)
    assert refund_of(unclear).status == RefundStatus.UNRECOGNISED
    assert refund_of(unclear).raw_status
    assert _statuses(case, paid) == [RefundStatus.UNRECOGNISED]


@scenario
def a_payment_that_was_never_captured_cannot_be_refunded(driver: Driver) -> None:
    case = Case(driver)
    held = snapshot_of(case.pay(GOOD_CARD, capture_method="manual"))
    expect(case.refund(held), Outcome.DECLINED)
    assert driver.refunded(case.reference) == []


@scenario
def an_asynchronous_refund_is_pending_and_then_done(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case, SLOW_REFUND)
    pending = case.refund(paid)
    expect(pending, Outcome.PENDING)
    assert refund_of(pending).status == RefundStatus.PENDING
    driver.finish_refund(refund_of(pending), "succeeded")
    assert _statuses(case, paid) == [RefundStatus.SUCCEEDED]
    assert driver.refunded(case.reference) == [AMOUNT_MINOR]


@scenario
def an_asynchronous_refund_may_fail(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case, SLOW_REFUND)
    driver.finish_refund(refund_of(case.refund(paid)), "failed")
    fetched = snapshot_of(case.fetch(paid))
    assert fetched.refunds is not None
    assert fetched.refunds[0].status == RefundStatus.FAILED
    assert fetched.refunds[0].error is not None
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_refund_that_fails_after_it_succeeded_brings_the_money_back(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    refund = refund_of(case.refund(paid))
    driver.finish_refund(refund, "failed")
    assert _statuses(case, paid) == [RefundStatus.FAILED]
    assert driver.balance(case.reference) == AMOUNT_MINOR
    expect(case.refund(paid), Outcome.OK)
    assert driver.balance(case.reference) == 0


@scenario
def a_refused_refund_is_declined_and_takes_nothing(driver: Driver) -> None:
    case = Case(driver)
    refused = case.refund(_paid(case, REFUSES_REFUND))
    expect(refused, Outcome.DECLINED)
    assert refused.error is not None
    assert driver.refunded(case.reference) == []


@scenario
def a_refund_may_wait_for_the_payer(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case, REFUND_ASKS_PAYER)
    waiting = case.refund(paid)
    expect(waiting, Outcome.ACTION)
    driver.finish_refund(refund_of(waiting), "canceled")
    assert _statuses(case, paid) == [RefundStatus.CANCELED]
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_refund_made_in_the_psps_dashboard_is_seen_without_our_reference(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    driver.refund_in_dashboard(paid, PART_MINOR)
    refunds = snapshot_of(case.fetch(paid)).refunds
    assert refunds is not None
    assert [(one.our_reference, one.amount_minor) for one in refunds] == [("", PART_MINOR)]


@scenario
def a_refund_that_timed_out_after_the_work_is_replayed_into_one_movement(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    key, reference = case.key(), case.part("re")
    driver.break_next("hang_after_commit")
    lost = case.refund(
        paid, PART_MINOR, reference=reference, key=key, timeout_seconds=IMPATIENT_SECONDS
    )
    expect(lost, Outcome.UNKNOWN)
    again = case.refund(paid, PART_MINOR, reference=reference, key=key)
    expect(again, Outcome.OK)
    assert refund_of(again).our_reference == reference
    assert driver.refunded(case.reference) == [PART_MINOR]


@scenario
def a_refund_whose_answer_was_lost_is_found_by_fetching(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    reference = case.part("re")
    driver.break_next("drop_after_commit")
    expect(case.refund(paid, PART_MINOR, reference=reference), Outcome.UNKNOWN)
    refunds = snapshot_of(case.fetch(paid)).refunds
    assert refunds is not None
    assert [one.our_reference for one in refunds] == [reference]


@scenario
def a_refund_that_timed_out_before_the_work_moves_nothing(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    driver.break_next("hang_before_commit")
    expect(case.refund(paid, timeout_seconds=IMPATIENT_SECONDS), Outcome.UNKNOWN)
    assert driver.refunded(case.reference) == []


@scenario
def every_refund_event_brings_the_refund(driver: Driver) -> None:
    case = Case(driver)
    paid = _paid(case)
    reference = case.part("re")
    refund = refund_of(case.refund(paid, PART_MINOR, reference=reference))
    driver.finish_refund(refund, "failed")
    seen = [driver.provider.observe_webhook(raw) for raw in driver.events()]
    told = [
        one
        for observation in seen
        for one in (
            observation.refund,
            *((observation.snapshot and observation.snapshot.refunds) or ()),
        )
        if one is not None
    ]
    assert {one.our_reference for one in told} == {reference}
    assert {RefundStatus.SUCCEEDED, RefundStatus.FAILED} <= {one.status for one in told}
    assert {o.provider_reference for o in seen if o.relevant} == {paid.provider_reference}


# --- bank debits -------------------------------------------------------------------------------


def _debited(case: Case) -> PaymentSnapshot:
    pending = snapshot_of(case.create(BANK_DEBIT, confirm=True))
    case.driver.let_the_bank_answer(pending)
    return pending


@scenario
def a_bank_debit_that_the_bank_refuses_is_declined_later(driver: Driver) -> None:
    case = Case(driver)
    pending = case.create(BANK_DEBIT_REFUSED, confirm=True)
    expect(pending, Outcome.PENDING, ObservedStatus.PROCESSING)
    driver.let_the_bank_answer(snapshot_of(pending))
    after = snapshot_of(case.fetch(snapshot_of(pending)))
    assert after.status in {ObservedStatus.DECLINED, ObservedStatus.FAILED}
    assert after.error is not None
    assert case.captured() == []


@scenario
def a_returned_bank_debit_says_what_was_taken_back_and_why(driver: Driver) -> None:
    case = Case(driver)
    debited = _debited(case)
    driver.settle()
    driver.return_debit(debited, "R10")
    after = snapshot_of(case.fetch(debited))
    assert after.status == ObservedStatus.RETURNED
    assert after.amount_returned_minor == AMOUNT_MINOR
    assert after.return_code == "R10"
    assert driver.balance(case.reference) == 0


@scenario
def a_dishonoured_return_brings_the_money_back(driver: Driver) -> None:
    case = Case(driver)
    debited = _debited(case)
    driver.return_debit(debited, "R01")
    driver.undo_return(debited)
    after = snapshot_of(case.fetch(debited))
    assert after.status == ObservedStatus.CAPTURED
    assert after.amount_returned_minor == 0
    assert driver.balance(case.reference) == AMOUNT_MINOR


@scenario
def a_debit_that_was_refunded_and_then_returned_is_a_double_loss(driver: Driver) -> None:
    case = Case(driver)
    debited = _debited(case)
    expect(case.refund(debited, PART_MINOR), Outcome.OK)
    driver.return_debit(debited, "R10")
    after = snapshot_of(case.fetch(debited))
    assert after.amount_returned_minor == AMOUNT_MINOR
    assert driver.balance(case.reference) == -PART_MINOR
