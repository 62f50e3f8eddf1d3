"""How far a payment gets before its story begins, and the book that stories are kept in.

A story leads a payment of its own along the edge of the payment machine that it is named after.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.proofs.life_world import World

Story = Callable[[World], None]
STORIES: dict[tuple[str, str], Story] = {}

HOUR = 3600.0
# The provider has forgotten a call's key, and asking about it has gone on long enough.
EXHAUSTED = 49 * HOUR
PART = 1_000


def story(state: str, event: str) -> Callable[[Story], Story]:
    """The function tells how `event` is taken from `state`."""

    def keep(tell: Story) -> Story:
        assert (state, event) not in STORIES, f"Bug! two stories of {state} {event}"
        STORIES[state, event] = tell
        return tell

    return keep


def open_payment(w: World) -> str:
    """Created, with an object at the provider, not confirmed."""
    return w.create(confirm=False, payment_method="")


def asks_payer(w: World, **more: str) -> str:
    """Waits for 3-D Secure."""
    payment = w.create(payment_method="tok_3ds", **more)
    w.news(payment)
    return payment


def authorized(w: World, token: str = "tok_visa") -> str:
    """Held."""
    payment = w.create(capture_method="manual", payment_method=token)
    w.news(payment)
    return payment


def partly(w: World) -> str:
    """A part captured, the rest still held."""
    payment = authorized(w)
    w.capture(payment, PART, final=False)
    w.news(payment)
    return payment


def captured(w: World, token: str = "tok_visa") -> str:
    """Captured in full, not settled."""
    payment = w.create(payment_method=token)
    w.news(payment)
    return payment


def settled(w: World) -> str:
    """Captured and settled."""
    payment = captured(w)
    w.happens(payment, "settle")
    w.news(payment)
    return payment


def disputed(w: World, payment: str, **more: int) -> str:
    """In dispute."""
    w.happens(payment, "dispute", **more)
    w.news(payment)
    return payment


def refunded(w: World, payment: str) -> str:
    """All given back."""
    w.refund(payment)
    w.news(payment)
    return payment


def returned(w: World, payment: str) -> str:
    """Taken back by the payer's bank."""
    w.happens(payment, "return", code="R10")
    w.news(payment)
    return payment


def told(w: World, payment: str, action: str, **body: object) -> str:
    """Something happens at the provider and its webhooks come."""
    w.happens(payment, action, **body)
    w.news(payment)
    return payment


def exhaust(w: World, payment: str) -> str:
    """Nobody could say for two days what became of the payment's call."""
    w.set(outage=True)
    w.later(EXHAUSTED)
    w.resume(payment)
    w.set(outage=False)
    return payment


def tries_again_there(w: World, token: str) -> str:
    """The payer fails 3-D Secure and pays with another token; we hear of the second only."""
    payment = asks_payer(w)
    w.authenticate(payment, "fail")
    w.news(payment, "lost")
    w.pay_there(payment, token)
    w.news(payment)
    return payment
