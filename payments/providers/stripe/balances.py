"""Balance transactions: what a payment brought, what Stripe kept of it, and since when it is ours.

A charge has one for each capture (docs.stripe.com/payments/multicapture); refunds and disputes have
their own. They are in the currency of the Stripe balance, which need not be the payment's. The fee
of a payment is the sum over its captures; a dispute's fee belongs to the dispute, and a refund's
(some pricing plans have one) is seen in the payout (`payments.providers.stripe.settlement`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payments.providers import fields
from payments.providers.stripe.amounts import minor

# Of the transactions that name a charge as their source, those that are its captures.
_CAPTURES = frozenset({"charge", "payment", ""})


@dataclass(frozen=True, kw_only=True)
class Balances:
    """The sum over the captures of one charge.

    `fee_minor` is None while it is not known for all captured money. `available_minor` is gross,
    in the payment's currency; where the balance has another one it is all or nothing.
    """

    fee_minor: int | None = None
    fee_currency: str = ""
    available_minor: int = 0
    all_available: bool = False
    available_at: datetime | None = None

    @classmethod
    def read(
        cls, found: Sequence[Mapping[str, Any]], *, captured_minor: int, currency: str
    ) -> Balances:
        """Sum the balance transactions of a charge. Raises UnreadableObject."""
        captures = [one for one in found if fields.text(one, "type") in _CAPTURES]
        currencies = {fields.required_text(one, "currency").upper() for one in captures}
        if len(currencies) != 1:
            return cls()
        (own,) = currencies
        gross = {True: 0, False: 0}  # by "available"
        fee, moments = 0, []
        for one in captures:
            gross[one.get("status") == "available"] += _told(one, "amount", own) or 0
            fee += _told(one, "fee", own) or 0
            moments.append(fields.epoch(one, "available_on"))
        # A capture whose balance transaction is still to come is missing from the sum.
        complete = own != currency or sum(gross.values()) in (0, captured_minor)
        all_available = complete and all(one.get("status") == "available" for one in captures)
        known = [moment for moment in moments if moment is not None]
        if own != currency:
            gross[True] = captured_minor if all_available else 0
        return cls(
            fee_minor=fee if complete else None,
            fee_currency=own if complete else "",
            available_minor=gross[True],
            all_available=all_available,
            available_at=max(known) if complete and known else None,
        )


def _told(source: Mapping[str, Any], name: str, currency: str) -> int | None:
    amount = fields.optional_whole(source, name)
    return None if amount is None else minor(amount, currency)
