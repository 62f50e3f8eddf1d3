"""Stripe's minor units, where they are not those of ISO 4217.

We count in ISO 4217 minor units. Stripe does too, except for a few currencies
(docs.stripe.com/currencies): Icelandic króna and Ugandan shilling are sent as if they had two
decimals, the Malagasy ariary as if it had none, and currencies with three decimals must end in 0.
What Stripe cannot express is refused, never rounded.
"""

from __future__ import annotations

from payments.providers.fields import UnreadableObject

# currency -> (factor, divisor) from ISO minor units to Stripe's.
_SCALES = {"ISK": (100, 1), "UGX": (100, 1), "MGA": (1, 100)}
_THREE_DECIMALS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})

# The least Stripe charges, in ISO minor units (docs.stripe.com/currencies#minimum-and-maximum).
MINIMUM_AMOUNT_MINOR = {
    "AED": 200, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1_500, "DKK": 250, "EUR": 50,
    "GBP": 30, "HKD": 400, "HUF": 17_500, "INR": 50, "JPY": 50, "MXN": 1_000, "MYR": 200,
    "NOK": 300, "NZD": 50, "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50, "THB": 1_000,
    "USD": 50,
}  # fmt: skip


class AmountNotExpressible(ValueError):
    """Stripe has no number for this amount in this currency; the message says why."""


def to_stripe(amount_minor: int, currency: str) -> int:
    """Stripe's number for an amount in ISO minor units. Raises AmountNotExpressible."""
    factor, divisor = _SCALES.get(currency, (1, 1))
    amount, rest = divmod(amount_minor * factor, divisor)
    if rest:
        raise AmountNotExpressible(f"Stripe takes {currency} in whole units of {divisor} only.")
    if currency in _THREE_DECIMALS and amount % 10:
        raise AmountNotExpressible(f"Stripe takes {currency} amounts that end in 0 only.")
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """ISO minor units of Stripe's number. Raises AmountNotExpressible."""
    factor, divisor = _SCALES.get(currency, (1, 1))
    amount_minor, rest = divmod(amount * divisor, factor)
    if rest:
        raise AmountNotExpressible(f"{amount} of Stripe's {currency} is not whole minor units.")
    return amount_minor


def minor(amount: int, currency: str) -> int:
    """ISO minor units of a number that Stripe told. Raises UnreadableObject."""
    try:
        return from_stripe(amount, currency)
    except AmountNotExpressible as error:
        raise UnreadableObject(str(error)) from error
