"""Scenarios of the contract: what is held, and taking it whole, in parts, later, and back."""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    IMPATIENT_SECONDS,
    Case,
    error_code,
    expect,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import (
    GOOD_CARD,
    LOSES_HOLD,
    REFUSES_CAPTURE,
    REFUSES_INCREMENT,
    RISKY_CARD,
    SLOW_CAPTURE,
    Driver,
)

PART_MINOR = 700
MORE_MINOR = AMOUNT_MINOR + 500


def _held(case: Case, method: str = GOOD_CARD) -> PaymentSnapshot:
    held = case.pay(method, capture_method="manual")
    expect(held, Outcome.OK, ObservedStatus.AUTHORIZED)
    return snapshot_of(held)


# --- parts -------------------------------------------------------------------------------------


@scenario
def a_final_capture_of_a_part_releases_the_rest(driver: Driver) -> None:
    case = Case(driver)
    taken = case.capture(_held(case), PART_MINOR)
    expect(taken, Outcome.OK, ObservedStatus.CAPTURED)
    assert snapshot_of(taken).amount_captured_minor == PART_MINOR
    assert snapshot_of(taken).amount_capturable_minor == 0
    assert case.captured() == [PART_MINOR]


@scenario
def a_capture_that_is_not_final_keeps_the_rest_capturable(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    first = case.capture(held, PART_MINOR, final=False)
    expect(first, Outcome.OK, ObservedStatus.PARTIALLY_CAPTURED)
    assert snapshot_of(first).amount_capturable_minor == AMOUNT_MINOR - PART_MINOR
    expect(case.capture(held, PART_MINOR, final=False), Outcome.OK)
    last = case.capture(held, PART_MINOR - 200)
    expect(last, Outcome.OK, ObservedStatus.CAPTURED)
    assert snapshot_of(last).amount_captured_minor == 3 * PART_MINOR - 200
    assert case.captured() == [PART_MINOR, PART_MINOR, PART_MINOR - 200]


@scenario
def more_than_is_held_cannot_be_captured(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    refused = case.capture(held, AMOUNT_MINOR + 1)
    expect(refused, Outcome.DECLINED)
    assert error_code(refused) == "provider_amount_refused"
    assert case.captured() == []
    expect(case.fetch(held), Outcome.OK, ObservedStatus.AUTHORIZED)


@scenario
def a_capture_of_another_amount_is_visible(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    driver.break_next("capture_wrong_amount")
    taken = case.capture(held, PART_MINOR)
    assert snapshot_of(taken).amount_captured_minor == case.captured()[0] != PART_MINOR


@scenario
def a_second_capture_of_what_is_captured_already_takes_nothing(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    expect(case.capture(held, PART_MINOR), Outcome.OK)
    refused = case.capture(held, PART_MINOR + 1)
    expect(refused, Outcome.DECLINED)
    assert case.captured() == [PART_MINOR]


@scenario
def parts_are_settled_one_by_one_and_then_altogether(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    case.capture(held, PART_MINOR, final=False)
    driver.settle()
    part = snapshot_of(case.fetch(held))
    assert (part.amount_settled_minor, part.settled) == (PART_MINOR, False)
    case.capture(held, AMOUNT_MINOR - PART_MINOR)
    driver.settle()
    whole = snapshot_of(case.fetch(held))
    assert (whole.amount_settled_minor, whole.settled) == (AMOUNT_MINOR, True)


# --- later, or not at all ----------------------------------------------------------------------


@scenario
def an_asynchronous_capture_is_pending_and_then_done(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case, SLOW_CAPTURE)
    expect(case.capture(held), Outcome.PENDING, ObservedStatus.CAPTURE_PENDING)
    assert case.captured() == []
    driver.finish_capture(held, succeeded=True)
    expect(case.fetch(held), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def an_asynchronous_capture_that_is_refused_leaves_the_hold(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case, SLOW_CAPTURE)
    case.capture(held)
    driver.finish_capture(held, succeeded=False)
    after = snapshot_of(case.fetch(held))
    assert after.status == ObservedStatus.AUTHORIZED
    assert after.amount_capturable_minor == AMOUNT_MINOR
    assert after.capture_error is not None
    assert case.captured() == []


@scenario
def a_refused_capture_says_that_the_hold_stands(driver: Driver) -> None:
    case = Case(driver)
    refused = case.capture(_held(case, REFUSES_CAPTURE))
    expect(refused, Outcome.DECLINED, ObservedStatus.AUTHORIZED)
    assert snapshot_of(refused).capture_error == refused.error
    assert snapshot_of(refused).amount_capturable_minor == AMOUNT_MINOR
    assert case.captured() == []


@scenario
def a_refused_capture_says_that_the_hold_is_gone(driver: Driver) -> None:
    case = Case(driver)
    refused = case.capture(_held(case, LOSES_HOLD))
    expect(refused, Outcome.DECLINED, ObservedStatus.FAILED)
    assert snapshot_of(refused).amount_capturable_minor == 0
    assert case.captured() == []


@scenario
def a_capture_that_fails_late_is_visible(driver: Driver) -> None:
    case = Case(driver)
    paid = snapshot_of(case.pay(GOOD_CARD))
    driver.fail_capture_late(paid)
    after = snapshot_of(case.fetch(paid))
    assert after.status == ObservedStatus.CAPTURE_FAILED
    assert after.amount_captured_minor == 0
    assert after.capture_error is not None
    assert driver.balance(case.reference) == 0


# --- what is held ------------------------------------------------------------------------------


@scenario
def a_hold_whose_time_is_over_is_canceled_as_expired(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    driver.expire(held)
    after = snapshot_of(case.fetch(held))
    assert after.status == ObservedStatus.CANCELED
    assert after.cancellation_reason
    assert after.amount_capturable_minor == 0


@scenario
def what_was_captured_stands_when_the_rest_expires(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    case.capture(held, PART_MINOR, final=False)
    driver.expire(held)
    after = snapshot_of(case.fetch(held))
    assert after.status == ObservedStatus.CAPTURED
    assert (after.amount_captured_minor, after.amount_capturable_minor) == (PART_MINOR, 0)


@scenario
def canceling_what_was_captured_in_part_releases_the_rest(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    case.capture(held, PART_MINOR, final=False)
    released = case.cancel(held)
    expect(released, Outcome.OK, ObservedStatus.CAPTURED)
    assert snapshot_of(released).amount_capturable_minor == 0
    assert snapshot_of(released).amount_captured_minor == PART_MINOR
    assert case.captured() == [PART_MINOR]


@scenario
def an_unsettled_capture_can_be_voided(driver: Driver) -> None:
    case = Case(driver)
    paid = snapshot_of(case.pay(GOOD_CARD))
    voided = case.cancel(paid)
    expect(voided, Outcome.OK, ObservedStatus.CANCELED)
    assert snapshot_of(voided).amount_captured_minor == 0
    assert driver.balance(case.reference) == 0


@scenario
def a_pending_capture_can_be_voided(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case, SLOW_CAPTURE)
    case.capture(held)
    expect(case.cancel(held), Outcome.OK, ObservedStatus.CANCELED)
    assert case.captured() == []


@scenario
def a_held_amount_can_be_raised_and_captured(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    raised = case.increment(held, MORE_MINOR)
    expect(raised, Outcome.OK, ObservedStatus.AUTHORIZED)
    assert MORE_MINOR in (
        snapshot_of(raised).amount_authorized_minor,
        snapshot_of(raised).amount_minor,
    )
    assert snapshot_of(raised).amount_capturable_minor == MORE_MINOR
    expect(case.capture(held, MORE_MINOR), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [MORE_MINOR]


@scenario
def a_refused_increment_leaves_what_is_held(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case, REFUSES_INCREMENT)
    refused = case.increment(held, MORE_MINOR)
    expect(refused, Outcome.DECLINED)
    after = snapshot_of(case.fetch(held))
    assert after.status == ObservedStatus.AUTHORIZED
    assert after.amount_capturable_minor == AMOUNT_MINOR


@scenario
def what_the_psp_itself_holds_is_visible(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    for amount_minor in (MORE_MINOR, PART_MINOR):
        driver.change_hold(held, amount_minor)
        after = snapshot_of(case.fetch(held))
        assert after.amount_authorized_minor == amount_minor
        assert after.amount_capturable_minor == amount_minor
        assert after.amount_minor == AMOUNT_MINOR


# --- the fraud desk ----------------------------------------------------------------------------


@scenario
def a_payment_under_review_waits_for_its_decision(driver: Driver) -> None:
    for approved in (True, False):
        case = Case(driver)
        waiting = case.pay(RISKY_CARD)
        expect(waiting, Outcome.PENDING, ObservedStatus.UNDER_REVIEW)
        assert case.captured() == []
        driver.decide_review(snapshot_of(waiting), approved=approved)
        after = snapshot_of(case.fetch(snapshot_of(waiting)))
        assert after.status == (ObservedStatus.CAPTURED if approved else ObservedStatus.FAILED)
        assert case.captured() == [AMOUNT_MINOR] * approved


@scenario
def a_held_payment_under_review_waits_for_its_decision(driver: Driver) -> None:
    for approved in (True, False):
        case = Case(driver)
        waiting = case.pay(RISKY_CARD, capture_method="manual")
        expect(waiting, Outcome.PENDING, ObservedStatus.UNDER_REVIEW)
        driver.decide_review(snapshot_of(waiting), approved=approved)
        after = snapshot_of(case.fetch(snapshot_of(waiting)))
        if approved:
            assert after.status == ObservedStatus.AUTHORIZED
            expect(case.capture(after), Outcome.OK, ObservedStatus.CAPTURED)
        else:
            assert after.status in {ObservedStatus.FAILED, ObservedStatus.CANCELED}
        assert case.captured() == [AMOUNT_MINOR] * approved


# --- once, whatever happens to the answer ------------------------------------------------------


@scenario
def a_capture_that_timed_out_after_the_work_is_replayed_into_one_movement(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    key, reference = case.key(), case.part("cap")
    driver.break_next("hang_after_commit")
    lost = case.capture(
        held,
        PART_MINOR,
        final=False,
        reference=reference,
        key=key,
        timeout_seconds=IMPATIENT_SECONDS,
    )
    expect(lost, Outcome.UNKNOWN)
    again = case.capture(held, PART_MINOR, final=False, reference=reference, key=key)
    expect(again, Outcome.OK, ObservedStatus.PARTIALLY_CAPTURED)
    assert case.captured() == [PART_MINOR]


@scenario
def a_cancel_that_timed_out_after_the_work_is_replayed_into_one_release(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    key = case.key()
    driver.break_next("hang_after_commit")
    expect(case.cancel(held, key=key, timeout_seconds=IMPATIENT_SECONDS), Outcome.UNKNOWN)
    expect(case.cancel(held, key=key), Outcome.OK, ObservedStatus.CANCELED)
    assert driver.balance(case.reference) == 0


@scenario
def an_increment_that_timed_out_after_the_work_is_replayed_into_one_hold(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    key = case.key()
    driver.break_next("hang_after_commit")
    lost = case.increment(held, MORE_MINOR, key=key, timeout_seconds=IMPATIENT_SECONDS)
    expect(lost, Outcome.UNKNOWN)
    expect(case.increment(held, MORE_MINOR, key=key), Outcome.OK)
    assert snapshot_of(case.fetch(held)).amount_capturable_minor == MORE_MINOR


@scenario
def a_later_operation_that_never_reached_the_psp_is_not_sent(driver: Driver) -> None:
    case = Case(driver)
    held = _held(case)
    case.lose_the_way()
    expect(case.capture(held), Outcome.NOT_SENT)
    expect(case.refund(held), Outcome.NOT_SENT)
    expect(case.cancel(held), Outcome.NOT_SENT)
    expect(case.increment(held, MORE_MINOR), Outcome.NOT_SENT)
    expect(case.save(GOOD_CARD), Outcome.NOT_SENT)
