"""A capture that the PSP told as done and takes back: only what did not hold is lost, all of it."""

from __future__ import annotations

from payments.actions.resolve_review import accept_provider
from payments.models import Payment
from tests.payments.shop import Shop


def held_in_parts(shop: Shop) -> Payment:
    """Captured in two parts, 1000 and 3200."""
    shop.settings(settle_after_seconds=10**6)
    payment = shop.created(capture_method="manual")
    shop.capture(payment.pk, 1000, final=False)
    shop.capture(payment.pk)
    shop.deliver_events()
    return shop.payment(payment.pk)


def accept(shop: Shop, payment: Payment) -> Payment:
    with shop.acting():
        accept_provider(payment.pk, words="The PSP took it back.", clock=shop.now)
    return shop.payment(payment.pk)


def clearing(payment: Payment) -> int:
    """What the PSP owes us by the payment's own columns."""
    return (
        payment.amount_captured_minor
        - payment.amount_refunded_minor
        - payment.amount_reversed_minor
        - (payment.provider_fee_minor or 0)
    )


def test_of_two_captures_only_the_one_that_did_not_hold_is_reversed(shop: Shop) -> None:
    payment = held_in_parts(shop)
    shop.stage(payment.pk, "fail_capture")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "in_review"
    payment = accept(shop, payment)
    assert (payment.state, payment.amount_reversed_minor) == ("captured", 3200)
    states = payment.captures.order_by("number").values_list("state", flat=True)
    assert list(states) == ["succeeded", "failed_late"]
    assert shop.balance("psp:clearing") == clearing(payment)
    assert shop.poll(payment.pk).state == "captured"  # the same news again changes nothing


def test_what_is_left_settles_when_the_review_ends_after_the_settlement(shop: Shop) -> None:
    payment = held_in_parts(shop)
    shop.stage(payment.pk, "fail_capture")
    shop.stage(payment.pk, "settle")
    shop.deliver_events()
    payment = accept(shop, payment)
    assert (payment.state, payment.amount_reversed_minor) == ("settled", 3200)
    assert shop.balance("merchant:pending") == 0


def test_a_capture_that_did_not_hold_after_a_refund_is_lost_twice_and_told(shop: Shop) -> None:
    shop.settings(settle_after_seconds=10**6)
    payment = shop.created()
    shop.refund(payment.pk, 1000)
    shop.stage(payment.pk, "fail_capture")
    shop.deliver_events()
    payment = accept(shop, payment)
    assert (payment.amount_reversed_minor, payment.double_loss_minor) == (4200, 1000)
    assert payment.cases.filter(kind="double_loss", resolved_at=None).exists()
    assert shop.balance("psp:clearing") == clearing(payment)


def test_a_capture_that_came_and_went_unheard_leaves_a_failed_payment(shop: Shop) -> None:
    shop.settings(settle_after_seconds=10**6)
    payment = shop.created(payment_method="tok_drop_after_commit")
    reference = shop.sandbox("GET", f"/v1/payments?reference={payment.pk}")["data"][0]["id"]
    shop.sandbox("POST", f"/v1/control/payments/{reference}/fail_capture", {})
    shop.receive(shop.sandbox("GET", f"/v1/events?payment={reference}")["data"][-1])
    shop.drain()
    assert shop.payment(payment.pk).state == "failed"
    shop.ahead_by(minutes=1)
    shop.resume(payment.pk)  # the PSP repeats its first answer, which is old by now
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_captured_minor) == ("failed", 0)
    assert shop.balance("psp:clearing") == 0


def test_the_settlement_of_a_payment_we_hold_canceled_is_a_persons_matter(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    shop.cancel(payment.pk)
    shop.stage(payment.pk, "succeed_late")
    shop.stage(payment.pk, "settle")
    payment = shop.poll(payment.pk)
    assert payment.state == "in_review"
    assert shop.edges(payment.pk)[-1] == "psp_settled"
    assert payment.cases.get(resolved_at=None).kind == "late_money"
    payment = accept(shop, payment)
    assert (payment.state, payment.amount_settled_minor) == ("settled", 4200)


def test_a_refunded_capture_that_did_not_hold_is_lost_twice_and_told(shop: Shop) -> None:
    shop.settings(settle_after_seconds=10**6)
    payment = shop.created()
    shop.refund(payment.pk)
    shop.stage(payment.pk, "fail_capture")
    shop.deliver_events()
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.double_loss_minor) == ("refunded", 4200)
    assert payment.cases.filter(kind="double_loss", resolved_at=None).exists()
    assert shop.balance("psp:clearing") == clearing(payment)


def test_a_debit_returned_after_its_dispute_was_lost_is_lost_twice_until_undone(
    shop: Shop,
) -> None:
    shop.settings(dispute_fee_minor=0)
    payment = shop.created()
    shop.settle()
    shop.stage(payment.pk, "dispute")
    shop.deliver_events()
    shop.stage_dispute(payment.disputes.get().pk, "lost")
    shop.stage(payment.pk, "return", code="R10")
    shop.deliver_events()
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_reversed_minor) == ("reversed", 8400)
    assert payment.double_loss_minor == 4200
    assert shop.balance("psp:clearing") == clearing(payment)
    shop.stage(payment.pk, "undo_return")
    shop.deliver_events()
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_reversed_minor) == ("reversed", 4200)
    assert payment.double_loss_minor == 0
