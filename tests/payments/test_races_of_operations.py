"""Two at once, over the whole life: captures, refunds, disputes, expiry, workers.

As in test_races: each contender is a thread with a connection of its own, chance decides who wins,
and what must hold afterwards does not depend on it. The provider's record says what really moved.
"""

from __future__ import annotations

from typing import Any

import pytest

from audit.log import Actor, acting_as
from payments.actions.change import Cause
from payments.actions.expire_payment import expire_payment
from payments.actions.resume_payment import lease_operation, resume_operation
from payments.models import Payment, ProviderOperation
from tests.payments.shop import Shop
from tests.payments.test_races import answers, at_once, kinds_of_movement, refusals

ROUNDS = 3
TIMES_OVER_REFUNDED = 40
BUSY = {"operation_in_flight", "payment_state_conflict"}


def moved(shop: Shop, payment: Payment, kind: str) -> int:
    """The sum of one kind of movement by the provider's record."""
    return sum(one["amount_minor"] for one in shop.movements(payment.pk) if one["kind"] == kind)


def refund(shop: Shop, payment: Payment, amount_minor: int | None = None) -> Any:
    """One refund as the API asks for it."""
    return shop.refund(payment.pk, amount_minor)


def settled(shop: Shop) -> Payment:
    payment = shop.created()
    shop.settle()
    shop.deliver_events()
    return shop.payment(payment.pk)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_two_captures_of_one_hold_take_its_money_once(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")
    results = at_once(lambda: shop.capture(payment.pk), lambda: shop.capture(payment.pk))
    assert len(answers(results)) == 1
    assert refusals(results) <= BUSY
    assert kinds_of_movement(shop, payment.pk) == ["hold", "capture"]
    assert shop.payment(payment.pk).amount_captured_minor == 4200


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_two_captures_of_a_part_never_take_more_than_is_held(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")

    def capture() -> Any:
        return shop.capture(payment.pk, 2500, final=False)

    results = at_once(capture, capture)
    assert len(answers(results)) == 1
    assert refusals(results) <= BUSY | {"capture_amount_invalid"}
    assert moved(shop, payment, "capture") == 2500


def test_forty_over_captures_in_a_row_never_take_more_than_is_held(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")

    def capture() -> Any:
        return shop.capture(payment.pk, 2500, final=False)

    for _ in range(40):
        at_once(capture, capture)
        assert moved(shop, payment, "capture") <= 4200
    assert moved(shop, payment, "capture") == 2500
    assert shop.capture(payment.pk).body["amount_captured_minor"] == 4200


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_two_full_refunds_give_the_money_back_once(shop: Shop, _round: int) -> None:
    payment = settled(shop)
    results = at_once(lambda: refund(shop, payment), lambda: refund(shop, payment))
    assert len(answers(results)) == 1
    assert refusals(results) <= BUSY | {"refund_amount_invalid"}
    assert moved(shop, payment, "refund") == 4200
    assert shop.payment(payment.pk).state == "refunded"


def test_forty_over_refunds_in_a_row_never_give_back_more_than_was_taken(shop: Shop) -> None:
    """Each pair asks for more together than there is, until nothing is left."""
    payment = settled(shop)
    told: set[str] = set()
    for _ in range(TIMES_OVER_REFUNDED):
        results = at_once(lambda: refund(shop, payment, 2500), lambda: refund(shop, payment, 2500))
        told |= refusals(results)
        now = shop.payment(payment.pk)
        assert now.amount_refunded_minor + now.amount_refund_pending_minor <= 4200
        assert moved(shop, payment, "refund") <= 4200
    assert moved(shop, payment, "refund") == 2500
    assert told <= BUSY | {"refund_amount_invalid"}
    refund(shop, payment)
    assert moved(shop, payment, "refund") == 4200
    assert shop.balance("psp:clearing") == -(shop.payment(payment.pk).provider_fee_minor or 0)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_refund_and_a_disputes_webhook_are_both_told_truly(shop: Shop, _round: int) -> None:
    payment = settled(shop)
    shop.stage(payment.pk, "dispute")
    results = at_once(lambda: refund(shop, payment), shop.deliver_events)
    shop.deliver_events()
    now = shop.poll(payment.pk)
    # The provider refuses to refund money it has withdrawn, so one of us was told in time.
    assert moved(shop, payment, "refund") == 0
    assert refusals(results) <= {"payment_disputed", *BUSY}
    assert (now.state, now.amount_disputed_minor, now.amount_refunded_minor) == (
        "disputed",
        4200,
        0,
    )
    assert now.amount_refund_pending_minor == 0


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_dispute_that_opens_while_a_refund_runs_is_counted_beside_it(
    shop: Shop, _round: int
) -> None:
    payment = settled(shop)

    def dispute() -> None:
        shop.stage(payment.pk, "dispute")
        shop.deliver_events()

    at_once(lambda: refund(shop, payment), dispute)
    shop.deliver_events()
    now = shop.poll(payment.pk)
    given = moved(shop, payment, "refund")
    assert now.amount_refunded_minor == given
    assert now.amount_disputed_minor == moved(shop, payment, "dispute") == 4200
    assert now.double_loss_minor == given
    if given:
        assert now.cases.filter(kind="double_loss", resolved_at=None).exists()


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_cancellation_and_a_capture_at_the_provider_agree_on_one(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")

    def captured_there() -> None:
        try:
            shop.stage(payment.pk, "capture")
        except AssertionError:  # canceled first
            return
        shop.deliver_events()

    at_once(lambda: shop.cancel(payment.pk), captured_there)
    shop.deliver_events()
    now = shop.poll(payment.pk)
    stands = moved(shop, payment, "capture") - moved(shop, payment, "void")
    assert now.amount_captured_minor == stands
    assert now.state == ("captured" if stands else "canceled")


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_cancellation_and_its_own_webhook_release_the_hold_once(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")
    shop.deliver_events()
    shop.settings(latency_seconds=0.1)
    reference = shop.provider_reference(payment.pk)

    def bring_news() -> None:
        while "release" not in kinds_of_movement(shop, payment.pk):
            pass
        shop.deliver_events(payment=reference)

    results = at_once(lambda: shop.cancel(payment.pk), bring_news)
    assert answers(results)[0].status == 200
    assert kinds_of_movement(shop, payment.pk) == ["hold", "release"]
    assert shop.edges(payment.pk)[-1] == "void"
    assert shop.payment(payment.pk).state == "canceled"


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_refund_and_its_own_webhook_book_it_once(shop: Shop, _round: int) -> None:
    payment = settled(shop)
    shop.settings(latency_seconds=0.1)
    reference = shop.provider_reference(payment.pk)

    def bring_news() -> None:
        while "refund" not in kinds_of_movement(shop, payment.pk):
            pass
        shop.deliver_events(payment=reference)

    results = at_once(lambda: refund(shop, payment, 1000), bring_news)
    assert answers(results)[0].status == 201
    now = shop.payment(payment.pk)
    assert (now.amount_refunded_minor, now.amount_refund_pending_minor) == (1000, 0)
    assert moved(shop, payment, "refund") == 1000
    assert shop.balance("psp:clearing") == 4200 - 1000 - (now.provider_fee_minor or 0)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_poll_that_races_a_disputes_webhook_withdraws_once(shop: Shop, _round: int) -> None:
    payment = settled(shop)
    shop.stage(payment.pk, "dispute")
    at_once(lambda: shop.poll(payment.pk), shop.deliver_events, lambda: shop.poll(payment.pk))
    now = shop.poll(payment.pk)
    assert (now.state, now.amount_disputed_minor) == ("disputed", 4200)
    assert now.disputes.count() == 1
    fees = (now.provider_fee_minor or 0) + now.dispute_fee_minor
    assert shop.balance("psp:clearing") == -fees


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_capture_and_the_holds_expiry_never_both_happen(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")

    def expired() -> None:
        try:
            shop.stage(payment.pk, "expire")
        except AssertionError:
            return
        shop.deliver_events()

    at_once(lambda: shop.capture(payment.pk), expired)
    shop.deliver_events()
    now = shop.poll(payment.pk)
    kinds = sorted(kinds_of_movement(shop, payment.pk))
    assert kinds in (["capture", "hold"], ["hold", "release"])
    assert now.amount_captured_minor == moved(shop, payment, "capture")
    assert now.state in ({"captured"} if "capture" in kinds else {"canceled", "failed"})


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_confirmation_and_our_own_expiry_agree_on_one(shop: Shop, _round: int) -> None:
    payment = shop.created(confirm=False, payment_method="")
    shop.ahead_by(days=8)

    def expire() -> None:
        with acting_as(Actor(type="job", id="expire_payments")):
            expire_payment(payment.pk, clock=shop.now)

    results = at_once(lambda: shop.confirm(payment.pk), expire)
    shop.deliver_events()
    assert refusals(results) <= BUSY
    now = shop.poll(payment.pk)
    taken = moved(shop, payment, "capture")
    assert now.amount_captured_minor == taken
    assert now.state == ("captured" if taken else "canceled")


@pytest.mark.parametrize("kind", ["capture", "refund"])
@pytest.mark.parametrize("_round", range(ROUNDS))
def test_of_two_workers_one_drives_an_unfinished_operation_on(
    shop: Shop, kind: str, _round: int
) -> None:
    payment = shop.created(capture_method="manual") if kind == "capture" else settled(shop)
    shop.settings(drop_after_commit=1)
    first = shop.capture(payment.pk) if kind == "capture" else refund(shop, payment)
    assert first.status == 202
    shop.ahead_by(minutes=1)
    operation = ProviderOperation.objects.get(payment=payment, finished_at=None)

    def work() -> Any:
        with acting_as(Actor(type="job", id="resume_payments")):
            leased = lease_operation(operation.pk, now=shop.now())
            if leased is None:
                return None
            return resume_operation(leased, cause=Cause(type="poll"), clock=shop.now)

    results = at_once(work, work)
    assert len(answers(results)) == 1
    assert moved(shop, payment, kind) == 4200
    now = shop.payment(payment.pk)
    assert now.state == ("captured" if kind == "capture" else "refunded")
