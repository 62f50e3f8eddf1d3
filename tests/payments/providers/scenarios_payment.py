"""Scenarios of the contract: the straight path, declines, the payer, and what an answer says."""

from __future__ import annotations

from payments.providers.base import CreatePayment, ObservedStatus, Outcome, PaymentSnapshot
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    CURRENCY,
    PATIENT_SECONDS,
    Case,
    expect,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import (
    ASKS_PAYER,
    BANK_DEBIT,
    GOOD_CARD,
    LOST_CARD,
    SHORT_OF_MONEY,
    Driver,
)

# --- the straight path -------------------------------------------------------------------------


@scenario
def creating_a_payment_opens_it_and_moves_nothing(driver: Driver) -> None:
    case = Case(driver)
    created = case.create()
    expect(created, Outcome.OK, ObservedStatus.OPEN)
    snapshot = snapshot_of(created)
    assert (snapshot.amount_minor, snapshot.currency) == (AMOUNT_MINOR, CURRENCY)
    assert snapshot.our_reference == case.reference
    assert snapshot.client_secret
    assert case.captured() == []


@scenario
def creating_and_confirming_at_once_takes_the_money(driver: Driver) -> None:
    case = Case(driver)
    paid = case.create(GOOD_CARD, confirm=True)
    expect(paid, Outcome.OK, ObservedStatus.CAPTURED)
    assert snapshot_of(paid).amount_captured_minor in (AMOUNT_MINOR, 0)
    assert snapshot_of(paid).charge_reference
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def confirming_an_open_payment_takes_the_money(driver: Driver) -> None:
    case = Case(driver)
    expect(case.pay(GOOD_CARD), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def manual_capture_holds_first_and_takes_later(driver: Driver) -> None:
    case = Case(driver)
    held = case.pay(GOOD_CARD, capture_method="manual")
    expect(held, Outcome.OK, ObservedStatus.AUTHORIZED)
    assert case.captured() == []
    expect(case.capture(snapshot_of(held)), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def canceling_an_open_payment_ends_it(driver: Driver) -> None:
    case = Case(driver)
    canceled = case.cancel(snapshot_of(case.create()))
    expect(canceled, Outcome.OK, ObservedStatus.CANCELED)
    assert snapshot_of(canceled).cancellation_reason == "requested_by_customer"


@scenario
def canceling_a_held_payment_releases_the_money(driver: Driver) -> None:
    case = Case(driver)
    held = case.pay(GOOD_CARD, capture_method="manual")
    canceled = case.cancel(snapshot_of(held))
    expect(canceled, Outcome.OK, ObservedStatus.CANCELED)
    assert snapshot_of(canceled).amount_capturable_minor == 0
    assert case.captured() == []


# --- declines ----------------------------------------------------------------------------------


@scenario
def a_decline_that_may_be_retried_says_so(driver: Driver) -> None:
    case = Case(driver)
    declined = case.pay(SHORT_OF_MONEY)
    expect(declined, Outcome.DECLINED)
    assert declined.error is not None
    assert declined.error.retryable
    assert declined.error.payer_message
    assert case.captured() == []


@scenario
def a_lost_card_is_declined_for_good(driver: Driver) -> None:
    case = Case(driver)
    declined = case.create(LOST_CARD, confirm=True)
    expect(declined, Outcome.DECLINED, ObservedStatus.DECLINED)
    assert declined.error is not None
    assert declined.error.code == "lost_or_stolen_card"
    assert declined.error.advice_code == "do_not_try_again"
    assert not declined.error.retryable
    assert "lost" not in declined.error.payer_message.lower()


@scenario
def after_a_decline_the_same_payment_can_succeed(driver: Driver) -> None:
    case = Case(driver)
    declined = case.create(SHORT_OF_MONEY, confirm=True)
    expect(declined, Outcome.DECLINED, ObservedStatus.DECLINED)
    paid = case.confirm(snapshot_of(declined), GOOD_CARD)
    expect(paid, Outcome.OK, ObservedStatus.CAPTURED)
    assert snapshot_of(paid).error is None
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_decline_is_visible_when_fetched(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create(SHORT_OF_MONEY))
    case.confirm(created)
    fetched = case.fetch(created)
    expect(fetched, Outcome.OK, ObservedStatus.DECLINED)
    assert snapshot_of(fetched).error is not None


@scenario
def an_unknown_payment_method_is_refused(driver: Driver) -> None:
    case = Case(driver)
    refused = driver.provider.create_payment(
        CreatePayment(
            reference=case.reference,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            capture_method="automatic",
            confirm=True,
            payment_method="pm_of_somebody_else",
        ),
        credentials=driver.credentials(),
        idempotency_key=case.key(),
        timeout_seconds=PATIENT_SECONDS,
    )
    expect(refused, Outcome.DECLINED)
    assert case.captured() == []


# --- the payer ---------------------------------------------------------------------------------


@scenario
def three_d_secure_asks_the_payer_and_then_succeeds(driver: Driver) -> None:
    case = Case(driver)
    asked = case.pay(ASKS_PAYER)
    expect(asked, Outcome.ACTION, ObservedStatus.REQUIRES_ACTION)
    assert snapshot_of(asked).next_action
    driver.authenticate(snapshot_of(asked), passed=True)
    expect(case.fetch(snapshot_of(asked)), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_failed_authentication_is_a_decline(driver: Driver) -> None:
    case = Case(driver)
    asked = case.create(ASKS_PAYER, confirm=True)
    driver.authenticate(snapshot_of(asked), passed=False)
    fetched = snapshot_of(case.fetch(snapshot_of(asked)))
    assert fetched.status == ObservedStatus.DECLINED
    assert fetched.error is not None
    assert fetched.error.code == "authentication_failed"
    assert case.captured() == []


@scenario
def the_payer_confirms_with_the_client_secret(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create())
    driver.confirm_as_payer(created, GOOD_CARD)
    expect(case.fetch(created), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def confirming_what_the_payer_confirmed_already_is_done_not_declined(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create())
    driver.confirm_as_payer(created, GOOD_CARD)
    expect(case.confirm(created, GOOD_CARD), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_bank_debit_is_pending_and_then_captured(driver: Driver) -> None:
    case = Case(driver)
    pending = case.create(BANK_DEBIT, confirm=True)
    expect(pending, Outcome.PENDING, ObservedStatus.PROCESSING)
    assert case.captured() == []
    driver.let_the_bank_answer(snapshot_of(pending))
    expect(case.fetch(snapshot_of(pending)), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


# --- what the answer says ----------------------------------------------------------------------


@scenario
def another_amount_in_the_answer_is_visible(driver: Driver) -> None:
    driver.break_next("amount_mismatch")
    paid = Case(driver).create(GOOD_CARD, confirm=True)
    assert snapshot_of(paid).amount_minor != AMOUNT_MINOR


@scenario
def an_unknown_status_is_unrecognised_never_guessed(driver: Driver) -> None:
    driver.break_next("unknown_status")
    result = Case(driver).create(GOOD_CARD, confirm=True)
    expect(result, Outcome.PENDING, ObservedStatus.UNRECOGNISED)
    assert snapshot_of(result).raw_status


@scenario
def a_payment_is_found_by_the_psp_reference(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create())
    fetched = snapshot_of(case.fetch(created))
    assert fetched.provider_reference == created.provider_reference
    assert fetched.our_reference == case.reference


@scenario
def a_payment_is_found_by_our_reference(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create())
    fetched = case.fetch()
    expect(fetched, Outcome.OK)
    assert snapshot_of(fetched).provider_reference == created.provider_reference


@scenario
def a_reference_nobody_knows_is_not_found(driver: Driver) -> None:
    by_ours = Case(driver).fetch()
    assert by_ours.not_found
    assert by_ours.snapshot is None
    unknown = PaymentSnapshot(
        provider_reference="pi_unknown",
        status=ObservedStatus.OPEN,
        amount_minor=1,
        currency=CURRENCY,
    )
    assert Case(driver).fetch(unknown).not_found


@scenario
def fee_and_settlement_become_visible(driver: Driver) -> None:
    case = Case(driver)
    paid = snapshot_of(case.pay(GOOD_CARD))
    before = snapshot_of(case.fetch(paid))
    assert not before.settled
    driver.settle()
    after = snapshot_of(case.fetch(paid))
    assert after.settled
    assert after.available_at is not None
    assert after.fee_minor == 88  # 2.9 % of 19.99 and 30
    assert after.fee_currency == CURRENCY
