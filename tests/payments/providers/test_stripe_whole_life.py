"""Stripe after the money was taken: refunds, bank debits that fail or come back, payouts."""

from __future__ import annotations

import pytest

from payments.providers.base import ObservedStatus, Outcome
from payments.providers.objects import DisputeStatus, RefundStatus
from payments.providers.stripe.settlement import PayoutItems, list_payout_items
from tests.payments.providers.conformance import AMOUNT_MINOR
from tests.payments.providers.stripe_world import StripeWorld
from tests.processes import RunningProcess


@pytest.fixture
def world(stripe_stand_in: RunningProcess) -> StripeWorld:
    return StripeWorld(stripe_stand_in.url)


# --- refunds -----------------------------------------------------------------------------------


def test_refunds_in_part_and_in_full_carry_our_id(world: StripeWorld) -> None:
    paid = world.paid()
    part = world.refund(paid, 500, reference="re_a")
    assert part.outcome == Outcome.OK
    assert part.refund is not None
    assert part.refund.status == RefundStatus.SUCCEEDED
    assert (part.refund.our_reference, part.refund.amount_minor) == ("re_a", 500)
    assert part.refund.payment_reference == paid.provider_reference
    assert part.refund.charge_reference == paid.charge_reference
    assert world.refund(paid, AMOUNT_MINOR - 500, reference="re_b").outcome == Outcome.OK
    assert [one.our_reference for one in world.refunds(paid)] == ["re_a", "re_b"]
    again = world.refund(paid, 1)
    assert again.outcome == Outcome.DECLINED
    assert again.error is not None
    assert again.error.code == "provider_state_conflict"


def test_a_refund_with_a_used_key_is_made_once(world: StripeWorld) -> None:
    paid = world.paid()
    first, second = (world.refund(paid, 500, key="k") for _ in range(2))
    assert first.refund == second.refund
    assert len(world.refunds(paid)) == 1


def test_a_refund_whose_answer_was_lost_is_found_by_our_id(world: StripeWorld) -> None:
    paid = world.paid()
    world.driver.break_next("drop_after_commit")
    assert world.refund(paid, 500, reference="re_lost").outcome == Outcome.UNKNOWN
    (found,) = world.refunds(paid)
    assert (found.our_reference, found.status) == ("re_lost", RefundStatus.SUCCEEDED)


def test_more_than_was_taken_is_not_given_back(world: StripeWorld) -> None:
    refused = world.refund(world.paid(), AMOUNT_MINOR + 1)
    assert refused.outcome == Outcome.DECLINED
    assert refused.error is not None
    assert refused.error.code == "provider_amount_refused"


def test_a_payment_that_took_nothing_has_nothing_to_give_back(world: StripeWorld) -> None:
    assert world.refund(world.paid(manual=True), 500).outcome == Outcome.DECLINED


def test_a_pending_refund_becomes_what_the_bank_makes_of_it(world: StripeWorld) -> None:
    paid = world.paid("pm_card_pendingRefund")
    assert world.refund(paid, 500).outcome == Outcome.PENDING
    world.control("refund", status="succeeded")
    assert world.refund(paid, 300).outcome == Outcome.PENDING
    world.control("refund", status="canceled")
    succeeded, canceled = world.refunds(paid)
    assert succeeded.status == RefundStatus.SUCCEEDED
    assert canceled.status == RefundStatus.CANCELED


def test_a_refund_may_need_the_payer(world: StripeWorld) -> None:
    asked = world.refund(world.paid("pm_card_refundAction"), 500)
    assert asked.outcome == Outcome.ACTION
    assert asked.refund is not None
    assert asked.refund.status == RefundStatus.REQUIRES_ACTION


def test_a_refund_that_succeeded_can_fail_weeks_later(world: StripeWorld) -> None:
    paid = world.paid()
    assert world.refund(paid, 500, reference="re_late").outcome == Outcome.OK
    world.control("refund", status="failed", reason="expired_or_canceled_card")
    (late,) = world.refunds(paid)
    assert (late.status, late.our_reference) == (RefundStatus.FAILED, "re_late")
    assert late.error is not None
    assert late.error.code == "refund_returned"
    told = [one for one in world.observations() if one.event_type == "refund.failed"]
    assert [one.refund for one in told] == [late]
    assert told[0].provider_reference == paid.provider_reference
    assert not told[0].fetch_needed
    assert world.refund(paid, AMOUNT_MINOR).outcome == Outcome.OK  # the amount is free again


def test_a_refund_made_at_stripe_is_seen_without_our_id(world: StripeWorld) -> None:
    paid = world.paid()
    world.control("dashboard_refund", payment_intent=paid.provider_reference, amount="250")
    (found,) = world.refunds(paid)
    assert (found.our_reference, found.amount_minor) == ("", 250)


def test_the_record_of_a_fetch_is_that_of_the_payment_itself(world: StripeWorld) -> None:
    paid = world.paid()
    fetched = world.provider.fetch_payment(
        credentials=world.driver.credentials(),
        timeout_seconds=10.0,
        provider_reference=paid.provider_reference,
    )
    assert fetched.exchange.url.endswith(f"/v1/payment_intents/{paid.provider_reference}")
    assert fetched.exchange.response["status"] == "succeeded"


def test_every_refund_is_fetched_however_many_there_are(world: StripeWorld) -> None:
    paid = world.paid()
    for number in range(13):
        world.refund(paid, 10, reference=f"re_{number}")
    found = [one.our_reference for one in world.refunds(paid)]
    assert found == [f"re_{number}" for number in range(13)]


# --- bank debits -------------------------------------------------------------------------------


def test_a_debit_that_the_bank_refuses_is_declined(world: StripeWorld) -> None:
    debit = world.paid("pm_usBankAccount_insufficientFunds")
    assert debit.status == ObservedStatus.PROCESSING
    world.driver.let_the_bank_answer(debit)
    refused = world.fetch(debit)
    assert refused.status == ObservedStatus.DECLINED
    assert refused.error is not None
    assert refused.error.code == "insufficient_funds"
    told = world.observations()[-1]
    assert told.event_type == "payment_intent.payment_failed"
    assert told.snapshot is not None
    for snapshot in (refused, told.snapshot, debit):
        assert snapshot.payment_method_summary == {
            "kind": "bank_debit",
            "brand": "STRIPE TEST BANK",
            "last4": "2227",
        }


def test_a_debit_that_comes_back_as_a_failed_charge_is_returned(world: StripeWorld) -> None:
    debit = world.paid("pm_usBankAccount")
    world.driver.let_the_bank_answer(debit)
    assert world.fetch(debit).status == ObservedStatus.CAPTURED
    world.control("return_debit", payment_intent=debit.provider_reference, return_code="R10")
    returned = world.fetch(debit)
    assert returned.status == ObservedStatus.RETURNED
    assert (returned.amount_returned_minor, returned.return_code) == (AMOUNT_MINOR, "R10")
    assert not returned.settled
    hint = world.observations()[-1]
    assert (hint.event_type, hint.fetch_needed) == ("charge.failed", True)


def test_a_return_without_the_banks_code_has_stripes_word(world: StripeWorld) -> None:
    debit = world.paid("pm_usBankAccount")
    world.driver.let_the_bank_answer(debit)
    world.control("return_debit", payment_intent=debit.provider_reference)
    assert world.fetch(debit).return_code == "account_closed"


def test_a_debit_that_was_refunded_and_then_returned_is_lost_twice(world: StripeWorld) -> None:
    debit = world.paid("pm_usBankAccount")
    world.driver.let_the_bank_answer(debit)
    assert world.refund(debit, 700).outcome == Outcome.PENDING  # a debit's refund takes days
    world.control("refund", status="succeeded")
    world.control("return_debit", payment_intent=debit.provider_reference)
    fetched = world.fetch(debit)
    assert fetched.amount_returned_minor == AMOUNT_MINOR
    assert fetched.refunds is not None
    assert [one.status for one in fetched.refunds] == [RefundStatus.SUCCEEDED]
    assert world.driver.balance(world.reference) == -700


def test_a_debit_that_comes_back_as_a_dispute_is_lost_at_once(world: StripeWorld) -> None:
    debit = world.paid("pm_usBankAccount_dispute")
    world.driver.let_the_bank_answer(debit)
    fetched = world.fetch(debit)
    assert fetched.status == ObservedStatus.CAPTURED
    assert fetched.amount_returned_minor == 0  # counted once, as a dispute
    assert fetched.disputes is not None
    (dispute,) = fetched.disputes
    assert dispute.status == DisputeStatus.LOST
    assert dispute.funds_withdrawn_minor == AMOUNT_MINOR
    assert dispute.evidence_due_at is None
    assert dispute.reason == "insufficient_funds"


# --- payouts -----------------------------------------------------------------------------------


def _items(world: StripeWorld, payout: str) -> PayoutItems:
    return list_payout_items(payout, credentials=world.driver.credentials(), timeout_seconds=10.0)


def test_the_items_of_a_payout_add_up_to_it(world: StripeWorld) -> None:
    paid, disputed = world.paid(), world.paid()
    world.refund(paid, 500)
    world.control("dispute", payment_intent=disputed.provider_reference, amount="100")
    world.control("settle")
    (payout,) = world.control("payout")["data"]
    read = _items(world, payout)
    assert read.result.outcome == Outcome.OK
    items = {item.kind: item for item in read.items}
    assert sorted(item.kind for item in read.items) == [
        "adjustment", "charge", "charge", "payout", "refund",
    ]  # fmt: skip
    assert sum(item.net_minor for item in read.items) == 0
    assert items["payout"].source == payout
    assert -items["payout"].net_minor == 2 * (AMOUNT_MINOR - 88) - 500 - 100 - 1_500
    assert (items["refund"].amount_minor, items["refund"].fee_minor) == (-500, 0)
    assert items["refund"].payment_reference == paid.provider_reference
    assert (items["adjustment"].amount_minor, items["adjustment"].fee_minor) == (-100, 1_500)
    assert items["adjustment"].reporting_category == "dispute"
    assert items["adjustment"].payment_reference == disputed.provider_reference
    assert {item.currency for item in read.items} == {"USD"}
    assert all(item.net_minor == item.amount_minor - item.fee_minor for item in read.items)


def test_items_are_read_over_every_page(world: StripeWorld) -> None:
    paid = world.paid()
    for _ in range(104):
        world.refund(paid, 1)
    world.control("settle")
    (payout,) = world.control("payout")["data"]
    read = _items(world, payout)
    assert len(read.items) == 106
    assert len({item.provider_reference for item in read.items}) == 106


def test_a_payout_under_way_or_made_by_hand_or_unknown_has_no_items(world: StripeWorld) -> None:
    world.paid()
    world.control("settle")
    (under_way,) = world.control("payout", finished="false")["data"]
    world.paid()
    world.control("settle")
    (by_hand,) = world.control("payout", automatic="false")["data"]
    for payout, outcome in (
        (under_way, Outcome.PENDING),
        (by_hand, Outcome.DECLINED),
        ("po_unknown", Outcome.DECLINED),
    ):
        read = _items(world, payout)
        assert (read.result.outcome, read.items) == (outcome, ())
