"""Bank debits at the sandbox PSP after they had succeeded: the payer's bank takes the money back.

A return is for all that was captured, also when some of it was refunded before: the PSP does not
know that the two belong together, which is what makes such a payment a double loss. A return that
is dishonoured is undone: the money comes again.
"""

from __future__ import annotations

from typing import Any

from payments.providers.sandbox.service import settlements
from payments.providers.sandbox.service.desk import (
    Desk,
    changed,
    instrument_of,
    move,
    require,
    schedule,
)

RETURNABLE = frozenset({"captured", "partially_captured"})


def return_debit(desk: Desk, payment: dict[str, Any], code: str) -> dict[str, Any]:
    """The bank takes everything back, for the reason `code` (R01, R10, ...)."""
    require(payment, RETURNABLE, "returned")
    amount = payment["amount_captured_minor"]
    payment["status"] = "returned"
    payment["amount_returned_minor"] = amount
    payment["return_code"] = code
    move(desk, payment, "return", amount)
    settlements.add(desk, payment, "return", -amount)
    changed(desk, payment, "payment.returned")
    return payment


def undo(desk: Desk, payment: dict[str, Any]) -> dict[str, Any]:
    """The return is dishonoured."""
    require(payment, frozenset({"returned"}), "un-returned")
    amount = payment["amount_returned_minor"]
    payment["status"] = "captured"
    payment["amount_returned_minor"] = 0
    payment["return_code"] = None
    move(desk, payment, "return_reversal", amount)
    settlements.add(desk, payment, "return_reversal", amount)
    changed(desk, payment, "payment.return_reversed")
    return payment


def by_token(desk: Desk, payment: dict[str, Any]) -> None:
    """The return that belongs to the token, when the money is still there."""
    rule = instrument_of(payment).bank_return
    if rule is None or payment["status"] not in RETURNABLE:
        return
    return_debit(desk, payment, rule.code)
    if rule.undone_after_days:
        schedule(desk, payment, "bank_return_undone", rule.undone_after_days * 86_400.0)


def undo_by_token(desk: Desk, payment: dict[str, Any]) -> None:
    """The dishonoured return, unless the case took another turn."""
    if payment["status"] == "returned":
        undo(desk, payment)
