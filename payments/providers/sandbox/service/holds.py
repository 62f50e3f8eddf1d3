"""Held money at the sandbox PSP: how much of a payment the issuer keeps for us, and for how long.

`amount_authorized_minor` is what is or was held, `amount_capturable_minor` what may still be taken.
It starts as the payment's amount; the merchant may raise it (increment), the PSP may change it by
itself (adjust), and it ends by capture, by release, or by its time running out.
"""

from __future__ import annotations

from typing import Any

from payments.providers.sandbox.service.desk import (
    Declined,
    Desk,
    changed,
    instrument_of,
    moment,
    move,
    require,
    schedule,
)
from payments.providers.sandbox.service.wire import Refusal

_HELD = frozenset({"authorized"})


def hold(desk: Desk, payment: dict[str, Any]) -> None:
    """Hold the whole amount; a hold that waits for a capture by hand runs out by the clock."""
    amount = payment["amount_minor"]
    payment["amount_authorized_minor"] = payment["amount_capturable_minor"] = amount
    move(desk, payment, "hold", amount)
    if payment["capture"] == "manual":
        lifetime = desk.account.get("authorization_lifetime_seconds")
        payment["expires_at"] = moment(desk.account.now() + lifetime)
        schedule(desk, payment, "expire", lifetime)


def release(desk: Desk, payment: dict[str, Any]) -> None:
    """Let go of what is still held. The caller ends the change."""
    move(desk, payment, "release", payment["amount_capturable_minor"])
    payment["amount_capturable_minor"] = 0
    payment["expires_at"] = None


def increment(desk: Desk, payment: dict[str, Any], amount_minor: int) -> dict[str, Any] | Declined:
    """Raise what is held to a new total. Raises Refusal 409 and 400."""
    require(payment, _HELD, "incremented")
    held = payment["amount_authorized_minor"]
    if amount_minor <= held:
        message = f"{held} is held already; the new total must be more than that."
        code = "amount_not_higher"
        raise Refusal(400, "invalid_request", code, message, param="amount_minor")
    if instrument_of(payment).increment == "refused":
        return Declined("increment_refused", payment)
    _set_held(desk, payment, amount_minor)
    return payment


def adjust(desk: Desk, payment: dict[str, Any], amount_minor: int) -> dict[str, Any]:
    """The PSP itself holds more or less from now on."""
    require(payment, _HELD, "adjusted")
    _set_held(desk, payment, amount_minor)
    return payment


def _set_held(desk: Desk, payment: dict[str, Any], amount_minor: int) -> None:
    difference = amount_minor - payment["amount_authorized_minor"]
    payment["amount_authorized_minor"] = payment["amount_capturable_minor"] = amount_minor
    move(desk, payment, "hold" if difference > 0 else "release", abs(difference))
    changed(desk, payment, "payment.authorization_changed")
