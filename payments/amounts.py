"""Amounts inside sentences that people read: cases, contradictions, reasons.

Mental model: a sentence says "42.00 EUR", by the currency's own decimals; minor units are for
machines. A currency that no list knows, because a PSP made it up, is told in minor units.
"""

from __future__ import annotations

from ledger.money import InvalidMoney, Money


def amount_words(amount_minor: int, currency: str) -> str:
    """1234567 EUR as "12,345.67 EUR"."""
    try:
        return str(Money(amount_minor, currency))
    except InvalidMoney:
        return f"{amount_minor} minor units of {currency!r}"
