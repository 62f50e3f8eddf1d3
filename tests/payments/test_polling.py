"""Every payment that is not at its end is asked about, so none needs a webhook to get there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from payments.access import current_attempt
from payments.actions.change import Cause, Change
from payments.actions.polling import POLL_FIRST_SECONDS, POLL_INTERVAL_MAX, POLL_INTERVAL_MAX_OF
from payments.models import Payment
from payments.states import AWAITING_PROVIDER, EDGES, Edge, State
from tests.payments.shop import Shop
from tests.payments.test_provider_events import pay_as_payer

# Where a payment is at rest. It is asked about while it owes news (a fee, money not settled, a
# debit that can come back); what happens to it later is found by the event sweep.
AT_REST = {State.SETTLED, State.REFUNDED, State.REVERSED, State.CANCELED, State.FAILED}


def test_every_state_is_waited_in_or_is_at_rest() -> None:
    assert set(State) == AWAITING_PROVIDER | AT_REST
    assert not AWAITING_PROVIDER & AT_REST
    assert set(POLL_FIRST_SECONDS) >= AWAITING_PROVIDER


def in_state(row: Payment, state: State) -> Payment:
    """A copy of a payment in another state, in memory only, which nobody is to ask about."""
    members = {
        field.attname: getattr(row, field.attname) for field in Payment._meta.concrete_fields
    }
    return Payment(**members | {"state": state, "poll_due_at": None, "poll_count": 5})


@pytest.fixture(scope="module")
def rows() -> list[Payment]:
    """The one payment of which copies are made, once it is there."""
    return []


@pytest.mark.parametrize(
    "edge",
    [edge for edge in EDGES if edge.target in AWAITING_PROVIDER],
    ids=lambda edge: f"{edge.source}-{edge.event}",
)
def test_every_edge_into_a_state_that_is_waited_in_makes_the_payment_due(
    shop: Shop, edge: Edge, rows: list[Payment]
) -> None:
    rows += [] if rows else [shop.created(confirm=False, payment_method="")]
    payment = in_state(rows[0], edge.source)
    with shop.acting():
        change = Change(payment, cause=Cause(type="poll"), now=shop.now())
        change.advance(edge.event, current_attempt(rows[0]))
    assert (payment.state, payment.poll_count) == (edge.target, 0)
    due_at = payment.poll_due_at
    longest = POLL_INTERVAL_MAX_OF.get(edge.target, POLL_INTERVAL_MAX)
    assert due_at is not None
    assert shop.now() < due_at <= shop.now() + longest


def paid_at_the_provider(shop: Shop) -> Payment:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_visa")
    return payment


def paid_with(shop: Shop, token: str) -> Payment:
    return shop.created(payment_method=token)


def authenticated(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    return payment


def captured_later(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_async_capture", capture_method="manual")
    shop.capture(payment.pk)
    return payment


LIVES: dict[str, tuple[Callable[[Shop], Payment], str]] = {
    "paid at the provider": (paid_at_the_provider, "settled"),
    "authenticated": (authenticated, "settled"),
    "captured at once": (lambda shop: shop.created(), "settled"),
    "captured later": (captured_later, "settled"),
    "hold runs out": (lambda shop: shop.created(capture_method="manual"), "canceled"),
    "bank debit": (lambda shop: paid_with(shop, "tok_bank"), "settled"),
    "bank debit refused": (lambda shop: shop.created(payment_method="tok_bank_refused"), "failed"),
    "debit returned": (
        lambda shop: shop.created(payment_method="tok_bank_return_late"),
        "reversed",
    ),
    "dispute lost": (lambda shop: shop.created(payment_method="tok_dispute_lost"), "reversed"),
}


@pytest.mark.parametrize("name", LIVES)
def test_a_payment_of_which_no_webhook_ever_came_ends_right_by_asking(
    shop: Shop, name: str
) -> None:
    live, state = LIVES[name]
    payment = live(shop)
    for _ in range(120):
        payment = shop.payment(payment.pk)
        if payment.state == state or payment.poll_due_at is None:
            break
        wait = max(payment.poll_due_at - shop.now(), timedelta()) + timedelta(seconds=1)
        shop.ahead += wait
        shop.advance_sandbox(wait.total_seconds())
        shop.poll(payment.pk)
    assert payment.state == state
