"""Twenty-four lives of a payment as PSPs tell them, replayed through real actions against the
sandbox: each takes exactly the edges it should, and the books agree at every commit and at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from payments.actions.resolve_review import accept_provider
from payments.actions.update_payment import note_payer_return
from payments.models import Payment
from payments.states import EDGES
from payments.verification.books import check_books
from tests.payments.shop import Shop

Scenario = Callable[[Shop], Payment]
SCENARIOS: dict[str, tuple[Scenario, list[str]]] = {}


def scenario(name: str, *edges: str) -> Callable[[Scenario], Scenario]:
    """Register a life under its name with the edges it takes."""

    def add(live: Scenario) -> Scenario:
        SCENARIOS[name] = (live, list(edges))
        return live

    return add


def settled(shop: Shop, payment: Payment) -> Payment:
    shop.later(minutes=2)
    return payment


@scenario("stripe card auto", "confirm", "psp_captured", "psp_settled")
def _(shop: Shop) -> Payment:
    return settled(shop, shop.created())


@scenario(
    "stripe 3ds auto",
    "confirm",
    "psp_action_required",
    "client_completed",
    "psp_captured",
    "psp_settled",
    "refunded_in_full",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    with shop.acting():
        note_payer_return(payment.pk, clock=shop.now)
    shop.poll(payment.pk)
    settled(shop, payment)
    shop.refund(payment.pk)
    return payment


@scenario(
    "stripe 3ds webhook overtakes", "confirm", "psp_action_required", "psp_captured", "psp_settled"
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    shop.deliver_events()
    with shop.acting():
        note_payer_return(payment.pk, clock=shop.now)
    return settled(shop, payment)


@scenario(
    "stripe decline then other card",
    "confirm",
    "psp_declined_retryable",
    "attach_payment_method",
    "confirm",
    "psp_captured",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_insufficient_funds")
    changed = {"payment_method": "tok_visa", "description": None, "metadata": None}
    shop.ask("payments.update", {"payment": payment.pk, **changed})
    shop.confirm(payment.pk)
    return payment


@scenario(
    "stripe manual + multicapture",
    "confirm",
    "psp_authorized",
    "increment_or_extend",
    "capture_requested",
    "psp_partially_captured",
    "capture_requested",
    "psp_captured",
    "psp_settled",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(capture_method="manual")
    shop.increment(payment.pk, 5000)
    shop.capture(payment.pk, 1500, final=False)
    shop.capture(payment.pk, 2000)
    assert shop.payment(payment.pk).amount_captured_minor == 3500
    return settled(shop, payment)


@scenario("stripe ach ok", "confirm", "psp_captured", "psp_settled")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank")
    shop.later(minutes=1)
    return settled(shop, payment)


@scenario("stripe ach fail in processing", "confirm", "psp_declined_final")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank_refused")
    shop.later(minutes=1)
    return payment


@scenario(
    "stripe ach microdeposit",
    "confirm",
    "psp_action_required",
    "client_completed",
    "psp_captured",
    "psp_settled",
    "returned",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    with shop.acting():
        note_payer_return(payment.pk, clock=shop.now)
    shop.poll(payment.pk)
    settled(shop, payment)
    shop.stage(payment.pk, "return", code="R10")
    shop.deliver_events()
    return payment


@scenario("ach late return 45d", "confirm", "psp_captured", "psp_settled", "returned")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank_return_late")
    shop.later(minutes=1)
    settled(shop, payment)
    shop.later(days=46)
    assert (shop.payment(payment.pk).last_error or {})["decline_code"] == "R10"
    return payment


@scenario(
    "ach refund then return",
    "confirm",
    "psp_captured",
    "psp_settled",
    "refunded_in_full",
    "returned",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank")
    another_sale(shop)
    shop.later(minutes=1)
    settled(shop, payment)
    shop.refund(payment.pk)
    shop.stage(payment.pk, "return", code="R10")
    shop.deliver_events()
    assert shop.payment(payment.pk).double_loss_minor == 4200
    assert payment.cases.filter(kind="double_loss", resolved_at=None).exists()
    return payment


@scenario(
    "adyen manual",
    "confirm",
    "psp_authorized",
    "capture_requested",
    "psp_captured",
    "psp_settled",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(capture_method="manual", payment_method="tok_async_capture")
    assert shop.capture(payment.pk).body["status"] == "capture_pending"
    shop.advance_sandbox(3)
    shop.poll(payment.pk)
    return settled(shop, payment)


@scenario("adyen auto", "confirm", "psp_authorized_auto_capture", "psp_captured", "psp_settled")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_async_capture")
    shop.advance_sandbox(3)
    shop.settings(settle_after_seconds=3600)
    shop.deliver_events()
    return settled(shop, payment)


@scenario(
    "adyen capture_failed late",
    "confirm",
    "psp_authorized_auto_capture",
    "psp_captured",
    "capture_failed_late",
    "resolve_reversed",
)
def _(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=10**6)
    payment = shop.created(payment_method="tok_async_capture")
    shop.advance_sandbox(3)
    shop.deliver_events()
    shop.stage(payment.pk, "fail_capture")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "in_review"
    with shop.acting():
        accept_provider(payment.pk, words="The PSP took it back.", clock=shop.now)
    return payment


@scenario(
    "adyen chargeback reversed then second",
    "confirm",
    "psp_captured",
    "psp_settled",
    "dispute_opened",
    "dispute_closed_for_us_settled",
    "dispute_opened",
    "dispute_lost_in_full",
)
def _(shop: Shop) -> Payment:
    payment = settled(shop, shop.created())
    for result in ("won", "lost"):
        shop.stage(payment.pk, "dispute")
        shop.deliver_events()
        shop.stage_dispute(payment.disputes.order_by("-pk")[0].pk, result)
        shop.deliver_events()
    return payment


@scenario(
    "adyen refund failed",
    "confirm",
    "psp_captured",
    "psp_settled",
    "refunded_in_full",
    "refund_failed_after_success_settled",
)
def _(shop: Shop) -> Payment:
    payment = settled(shop, shop.created(payment_method="tok_refund_fails_late"))
    another_sale(shop)
    shop.refund(payment.pk)
    shop.later(minutes=1)
    return payment


@scenario("braintree auto", "confirm", "psp_authorized_auto_capture", "psp_captured", "psp_settled")
def _(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=30)
    payment = shop.created(payment_method="tok_async_capture")
    shop.later(seconds=3)
    return settled(shop, payment)


@scenario("braintree void before settlement", "confirm", "psp_authorized_auto_capture", "void")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_async_capture")
    assert shop.cancel(payment.pk).body["status"] == "canceled"
    return payment


@scenario(
    "braintree settlement declined",
    "confirm",
    "psp_authorized_auto_capture",
    "capture_failed_final",
)
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_async_capture_hold_lost")
    shop.later(minutes=1)
    return payment


@scenario(
    "braintree ach return after settled",
    "confirm",
    "psp_authorized_auto_capture",
    "psp_captured",
    "psp_settled",
    "returned",
)
def _(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=30)
    payment = shop.created(payment_method="tok_async_capture")
    shop.later(seconds=3)
    settled(shop, payment)
    shop.stage(payment.pk, "return", code="R01")
    shop.deliver_events()
    return payment


@scenario("braintree auth expired", "confirm", "psp_authorized", "auth_expired")
def _(shop: Shop) -> Payment:
    payment = shop.created(capture_method="manual")
    shop.stage(payment.pk, "expire")
    shop.deliver_events()
    return payment


@scenario("timeout then found", "confirm", "outcome_unknown_exhausted", "resolve_captured")
def _(shop: Shop) -> Payment:
    shop.settings(drop_after_commit=1)
    payment = shop.created()
    shop.settings(outage=True)
    shop.ahead_by(days=3)
    shop.resume(payment.pk)
    assert shop.payment(payment.pk).state == "in_review"
    shop.settings(outage=False, settle_after_seconds=10**7)
    with shop.acting():
        accept_provider(payment.pk, words="Found at the PSP.", clock=shop.now)
    return payment


@scenario("late success", "confirm", "psp_declined_final", "late_success", "psp_settled")
def _(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_lost_card")
    shop.stage(payment.pk, "succeed_late")
    shop.deliver_events()
    return settled(shop, payment)


@scenario("paid after cancel", "cancel", "late_money", "resolve_captured", "refunded_in_full")
def _(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=10**6)
    another_sale(shop)
    payment = shop.created(confirm=False, payment_method="")
    shop.cancel(payment.pk)
    shop.stage(payment.pk, "succeed_late")
    shop.deliver_events()
    with shop.acting():
        accept_provider(payment.pk, words="The payer paid after all.", clock=shop.now)
    shop.refund(payment.pk)
    return payment


@scenario(
    "settlement overtakes capture", "confirm", "psp_authorized", "capture_requested", "psp_settled"
)
def _(shop: Shop) -> Payment:
    payment = shop.created(capture_method="manual", payment_method="tok_async_capture")
    shop.capture(payment.pk)
    shop.advance_sandbox(60)
    shop.poll(payment.pk)
    return payment


def another_sale(shop: Shop) -> None:
    """Another payment's money, so that the merchant's balance covers a refund."""
    other = shop.created(amount_minor=50_000)
    shop.advance_sandbox(60)
    shop.poll(other.pk)
    assert shop.payment(other.pk).state == "captured" or shop.payment(other.pk).settled_at


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_life_takes_exactly_its_edges_and_its_books_agree(shop: Shop, name: str) -> None:
    live, edges = SCENARIOS[name]
    payment = live(shop)
    assert shop.edges(payment.pk)[1:] == edges
    wrong = [
        offence
        for offence in check_books(shop.now())
        if offence is not None and offence.object == payment.pk
    ]
    assert wrong == []


def test_there_are_twenty_four_of_them_over_known_edges() -> None:
    assert len(SCENARIOS) == 24
    assert {edge for _, edges in SCENARIOS.values() for edge in edges} <= {e.event for e in EDGES}
