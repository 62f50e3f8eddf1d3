"""Stripe after the straight path: captures, increments, refunds, debits, reviews and payouts."""

from __future__ import annotations

import pytest

from payments.providers.base import CancelPayment, ObservedStatus, Outcome
from payments.providers.objects import DisputeStatus, RefundStatus
from payments.providers.stripe.provider import StripeProvider
from payments.providers.stripe.settlement import PayoutItems, list_payout_items
from tests.payments.providers.conformance import AMOUNT_MINOR, expect
from tests.payments.providers.stripe_world import StripeWorld
from tests.processes import RunningProcess


@pytest.fixture
def world(stripe_stand_in: RunningProcess) -> StripeWorld:
    return StripeWorld(stripe_stand_in.url)


@pytest.fixture
def plain(stripe_stand_in: RunningProcess) -> StripeWorld:
    """An account without a contract for card features, as most are."""
    made = StripeWorld(stripe_stand_in.url, StripeProvider(card_features=frozenset()))
    made.control("card_features", granted="")
    return made


# --- captures ----------------------------------------------------------------------------------


def test_one_authorization_is_captured_in_parts_and_finally(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    first = world.capture(held, 700, final=False)
    expect(first, Outcome.OK, ObservedStatus.PARTIALLY_CAPTURED)
    assert first.snapshot is not None
    assert first.snapshot.amount_captured_minor == 700
    assert first.snapshot.amount_capturable_minor == AMOUNT_MINOR - 700
    expect(world.capture(held, 300, final=False), Outcome.OK, ObservedStatus.PARTIALLY_CAPTURED)
    assert world.fetch(held).fee_minor is None  # more may come
    last = world.capture(held, 400)
    expect(last, Outcome.OK, ObservedStatus.CAPTURED)
    assert last.snapshot is not None
    assert last.snapshot.amount_captured_minor == 1_400
    assert last.snapshot.amount_capturable_minor == 0
    assert last.snapshot.fee_minor is None  # the answer carries one of three transactions
    assert world.driver.captured(world.reference) == [700, 300, 400]


def test_the_fee_of_several_captures_is_their_sum(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    for amount_minor, final in ((700, False), (300, False), (400, True)):
        world.capture(held, amount_minor, final=final)
    before = world.fetch(held)
    assert before.fee_minor == 50 + 39 + 42
    assert (before.settled, before.amount_settled_minor) == (False, 0)
    world.control("settle")
    after = world.fetch(held)
    assert (after.settled, after.amount_settled_minor) == (True, 1_400)


def test_what_was_captured_can_be_refunded_while_the_rest_is_held(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    world.capture(held, 700, final=False)
    told = [one for one in world.observations() if one.snapshot is not None]
    assert told[-1].event_type == "payment_intent.amount_capturable_updated"
    assert told[-1].fetch_needed
    assert world.refund(held, 300).outcome == Outcome.OK
    fetched = world.fetch(held)
    assert fetched.status == ObservedStatus.PARTIALLY_CAPTURED
    assert fetched.refunds is not None
    assert [one.amount_minor for one in fetched.refunds] == [300]


def test_a_capture_of_another_amount_than_what_is_captured_is_refused(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    world.capture(held, 700)
    expect(world.capture(held, 700), Outcome.OK, ObservedStatus.CAPTURED)  # made already
    expect(world.capture(held, 800), Outcome.DECLINED, ObservedStatus.CAPTURED)


def test_a_partial_capture_with_a_used_key_is_made_once(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    for _ in range(2):
        expect(world.capture(held, 700, final=False, key="k"), Outcome.OK)
    assert world.driver.captured(world.reference) == [700]


def test_a_card_without_multicapture_refuses_a_part_and_keeps_the_hold(world: StripeWorld) -> None:
    held = world.paid("pm_card_jcb", manual=True)
    refused = world.capture(held, 700, final=False)
    expect(refused, Outcome.DECLINED)
    assert world.fetch(held).status == ObservedStatus.AUTHORIZED
    expect(world.capture(held, 700), Outcome.OK, ObservedStatus.CAPTURED)
    assert world.driver.captured(world.reference) == [700]


def test_more_than_is_held_is_refused(world: StripeWorld) -> None:
    refused = world.capture(world.paid(manual=True), AMOUNT_MINOR + 1)
    expect(refused, Outcome.DECLINED)
    assert refused.error is not None
    assert refused.error.code == "provider_amount_refused"


def test_canceling_after_a_partial_capture_keeps_what_was_taken(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    world.capture(held, 700, final=False)
    request = CancelPayment(provider_reference=held.provider_reference, reason="abandoned")
    canceled = world.provider.cancel_payment(request, **world.common())
    expect(canceled, Outcome.OK, ObservedStatus.CAPTURED)
    assert canceled.snapshot is not None
    assert canceled.snapshot.amount_capturable_minor == 0
    assert world.driver.captured(world.reference) == [700]


def test_an_authorization_that_runs_out_is_canceled_or_keeps_what_was_taken(
    world: StripeWorld,
) -> None:
    untouched, partly = world.paid(manual=True), world.paid(manual=True)
    world.capture(partly, 700, final=False)
    for payment in (untouched, partly):
        world.control("expire", payment_intent=payment.provider_reference)
    assert world.fetch(untouched).status == ObservedStatus.CANCELED
    assert world.fetch(untouched).cancellation_reason == "expired"
    kept = world.fetch(partly)
    assert (kept.status, kept.amount_captured_minor) == (ObservedStatus.CAPTURED, 700)


def test_an_account_without_the_contract_holds_and_captures_all_the_same(
    plain: StripeWorld,
) -> None:
    assert not plain.provider.capabilities.multiple_captures
    assert not plain.provider.capabilities.incremental_authorization
    held = plain.paid(manual=True)
    assert held.status == ObservedStatus.AUTHORIZED
    expect(plain.increment(held, AMOUNT_MINOR + 1), Outcome.DECLINED)
    expect(plain.capture(held, 700), Outcome.OK, ObservedStatus.CAPTURED)


def test_asking_for_what_the_contract_does_not_grant_would_refuse_every_hold(
    world: StripeWorld,
) -> None:
    assert world.provider.capabilities.multiple_captures
    world.control("card_features", granted="")
    expect(world.pay(manual=True), Outcome.DECLINED)
    expect(world.pay(), Outcome.OK, ObservedStatus.CAPTURED)


def test_a_card_feature_that_stripe_does_not_have_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="overdraft; know incremental_authorization"):
        StripeProvider(card_features=frozenset({"overdraft"}))


def test_an_authorization_is_raised_and_a_refused_raise_leaves_it(world: StripeWorld) -> None:
    held = world.paid(manual=True)
    raised = world.increment(held, 2_500)
    expect(raised, Outcome.OK, ObservedStatus.AUTHORIZED)
    assert raised.snapshot is not None
    assert raised.snapshot.amount_minor == raised.snapshot.amount_capturable_minor == 2_500
    expect(world.increment(held, 2_000), Outcome.DECLINED)  # it is the new total, not more
    assert world.fetch(held).amount_capturable_minor == 2_500
    limited = world.paid("pm_card_incrementDeclined", manual=True)
    declined = world.increment(limited, 2_500)
    expect(declined, Outcome.DECLINED)
    assert declined.error is not None
    assert declined.error.code == "insufficient_funds"
    assert world.fetch(limited).amount_capturable_minor == AMOUNT_MINOR


def test_a_capture_may_take_its_time(world: StripeWorld) -> None:
    held = world.paid("pm_card_pendingCapture", manual=True)
    expect(world.capture(held, 700), Outcome.PENDING)
    assert world.fetch(held).status == ObservedStatus.CAPTURE_PENDING
    hint = world.observations()[-1]
    assert hint.event_type == "payment_intent.processing"
    assert (hint.snapshot, hint.fetch_needed) == (None, True)  # held or not, it does not say
    world.control("finish_capture", payment_intent=held.provider_reference)
    assert world.fetch(held).status == ObservedStatus.CAPTURED


def test_a_refused_capture_says_whether_the_hold_stands(world: StripeWorld) -> None:
    held = world.paid("pm_card_captureRefused", manual=True)
    refused = world.capture(held, 700)
    expect(refused, Outcome.DECLINED, ObservedStatus.AUTHORIZED)
    assert refused.snapshot is not None
    assert refused.snapshot.capture_error == refused.error
    lost = world.capture(world.paid("pm_card_captureExpired", manual=True), 700)
    expect(lost, Outcome.DECLINED, ObservedStatus.CANCELED)
    assert lost.error is not None
    assert lost.error.code == "authorization_gone"


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


# --- reviews -----------------------------------------------------------------------------------


def test_a_held_payment_in_review_waits_for_the_fraud_desk(world: StripeWorld) -> None:
    held = world.pay("pm_card_riskLevelElevated", manual=True)
    expect(held, Outcome.PENDING, ObservedStatus.UNDER_REVIEW)
    assert held.snapshot is not None
    world.control("close_review", payment_intent=held.snapshot.provider_reference)
    assert world.fetch(held.snapshot).status == ObservedStatus.AUTHORIZED
    opened, closed = (one for one in world.observations() if one.event_type[:7] == "review.")
    assert opened.fetch_needed
    assert closed.fetch_needed
    assert closed.provider_reference == held.snapshot.provider_reference
    expect(world.increment(held.snapshot, 2_500), Outcome.OK, ObservedStatus.AUTHORIZED)


def test_a_review_of_money_already_taken_changes_nothing(world: StripeWorld) -> None:
    paid = world.pay("pm_card_riskLevelElevated")
    expect(paid, Outcome.OK, ObservedStatus.CAPTURED)
    assert paid.snapshot is not None
    assert world.fetch(paid.snapshot).status == ObservedStatus.CAPTURED


def test_capturing_what_is_in_review_is_the_merchants_decision(world: StripeWorld) -> None:
    held = world.paid("pm_card_riskLevelElevated", manual=True)
    expect(world.capture(held, AMOUNT_MINOR), Outcome.OK, ObservedStatus.CAPTURED)


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
