"""What Stripe holds: captured in parts and finally, raised, reviewed, released, run out."""

from __future__ import annotations

import pytest

from payments.providers.base import CancelPayment, ObservedStatus, Outcome
from payments.providers.stripe.provider import StripeProvider
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


@pytest.mark.parametrize("refused", [False, True])
def test_canceling_after_a_partial_capture_keeps_what_was_taken(
    world: StripeWorld, refused: bool
) -> None:
    held = world.paid(manual=True)
    world.capture(held, 700, final=False)
    world.control("faults", cancel_refused_after_capture=str(int(refused)))
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
