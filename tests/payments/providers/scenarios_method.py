"""Scenarios of the contract: saved payment methods, mandates, and charges without the payer."""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome
from payments.providers.objects import MethodSnapshot
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    IMPATIENT_SECONDS,
    Case,
    error_code,
    expect,
    method_of,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import (
    ASKS_PAYER,
    BANK_DEBIT,
    GOOD_CARD,
    LOST_CARD,
    SAVED_BUT_DECLINED,
    Driver,
)


def _saved(case: Case, method: str = GOOD_CARD, *, mandate: bool = False) -> MethodSnapshot:
    saved = case.save(method, mandate=mandate)
    expect(saved, Outcome.OK)
    return method_of(saved)


@scenario
def a_saved_card_shows_what_may_be_shown(driver: Driver) -> None:
    saved = _saved(Case(driver))
    assert saved.kind == "card"
    assert saved.customer_reference
    assert saved.brand == "visa"
    assert saved.last4 == "4242"
    assert saved.expiry_month
    assert saved.expiry_year
    assert saved.fingerprint
    assert saved.mandate_status == ""


@scenario
def a_saved_card_pays_without_the_payer(driver: Driver) -> None:
    saved = _saved(Case(driver))
    for _ in range(2):
        case = Case(driver)
        expect(case.charge_saved(saved), Outcome.OK, ObservedStatus.CAPTURED)
        assert case.captured() == [AMOUNT_MINOR]


@scenario
def the_same_card_has_the_same_fingerprint(driver: Driver) -> None:
    assert _saved(Case(driver)).fingerprint == _saved(Case(driver)).fingerprint


@scenario
def a_second_method_can_be_saved_for_a_customer(driver: Driver) -> None:
    first = _saved(Case(driver))
    second = method_of(Case(driver).save(GOOD_CARD, customer_reference=first.customer_reference))
    assert second.customer_reference == first.customer_reference
    assert second.provider_reference != first.provider_reference
    expect(Case(driver).charge_saved(second), Outcome.OK, ObservedStatus.CAPTURED)


@scenario
def a_card_that_wants_the_payer_is_declined_without_them(driver: Driver) -> None:
    saved = _saved(Case(driver), ASKS_PAYER)
    case = Case(driver)
    declined = case.charge_saved(saved)
    expect(declined, Outcome.DECLINED)
    assert error_code(declined) == "authentication_required"
    assert case.captured() == []
    present = Case(driver).charge_saved(saved, off_session=False)
    expect(present, Outcome.ACTION, ObservedStatus.REQUIRES_ACTION)


@scenario
def a_saved_card_can_be_declined_when_it_is_charged(driver: Driver) -> None:
    saved = _saved(Case(driver), SAVED_BUT_DECLINED)
    case = Case(driver)
    expect(case.charge_saved(saved), Outcome.DECLINED)
    assert case.captured() == []


@scenario
def a_lost_card_cannot_be_saved(driver: Driver) -> None:
    refused = Case(driver).save(LOST_CARD)
    expect(refused, Outcome.DECLINED)
    assert error_code(refused) == "lost_or_stolen_card"


@scenario
def a_removed_method_cannot_be_charged(driver: Driver) -> None:
    case = Case(driver)
    saved = _saved(case)
    expect(case.remove(saved), Outcome.OK)
    declined = case.charge_saved(saved)
    expect(declined, Outcome.DECLINED)
    assert case.captured() == []


@scenario
def removing_what_is_gone_is_done(driver: Driver) -> None:
    case = Case(driver)
    saved = _saved(case)
    expect(case.remove(saved), Outcome.OK)
    expect(case.remove(saved), Outcome.OK)
    nobody = MethodSnapshot(
        customer_reference="nobody", provider_reference="pm_nobody", kind="card"
    )
    expect(case.remove(nobody), Outcome.OK)


@scenario
def a_method_that_belongs_to_another_customer_cannot_be_charged(driver: Driver) -> None:
    one, other = _saved(Case(driver)), _saved(Case(driver))
    mixed = MethodSnapshot(
        customer_reference=other.customer_reference,
        provider_reference=one.provider_reference,
        kind="card",
    )
    case = Case(driver)
    expect(case.charge_saved(mixed), Outcome.DECLINED)
    assert case.captured() == []


@scenario
def a_bank_account_is_debited_under_its_mandate(driver: Driver) -> None:
    saved = _saved(Case(driver), BANK_DEBIT, mandate=True)
    assert saved.kind == "bank_debit"
    assert saved.mandate_status == "active"
    assert saved.mandate_reference
    case = Case(driver)
    pending = case.charge_saved(saved)
    expect(pending, Outcome.PENDING, ObservedStatus.PROCESSING)
    driver.let_the_bank_answer(snapshot_of(pending))
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_mandate_that_was_taken_back_stops_debits(driver: Driver) -> None:
    saved = _saved(Case(driver), BANK_DEBIT, mandate=True)
    driver.revoke_mandate(saved)
    case = Case(driver)
    declined = case.charge_saved(saved)
    expect(declined, Outcome.DECLINED)
    assert case.captured() == []


@scenario
def a_saving_that_timed_out_after_the_work_is_replayed_into_one_method(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    driver.break_next("hang_after_commit")
    lost = case.save(GOOD_CARD, key=key, timeout_seconds=IMPATIENT_SECONDS)
    expect(lost, Outcome.UNKNOWN)
    first, second = case.save(GOOD_CARD, key=key), case.save(GOOD_CARD, key=key)
    assert method_of(first).provider_reference == method_of(second).provider_reference
    assert method_of(first).customer_reference == method_of(second).customer_reference


@scenario
def a_removal_whose_answer_was_lost_is_replayed(driver: Driver) -> None:
    case = Case(driver)
    saved = _saved(case)
    key = case.key()
    driver.break_next("drop_after_commit")
    expect(case.remove(saved, key=key), Outcome.UNKNOWN)
    expect(case.remove(saved, key=key), Outcome.OK)
    expect(case.charge_saved(saved), Outcome.DECLINED)
