"""Stripe's test payment methods by name, and what each one leads to (docs.stripe.com/testing)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One payment method. `code` and `decline_code` say why it is declined; empty: it is not."""

    kind: str = "card"
    last4: str = "4242"
    code: str = ""
    decline_code: str = ""
    advice_code: str = ""
    authentication: bool = False


METHODS = {
    "pm_card_visa": Method(),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Method(
        last4="9995",
        code="card_declined",
        decline_code="insufficient_funds",
        advice_code="try_again_later",
    ),
    "pm_card_visa_chargeDeclinedLostCard": Method(
        last4="9987",
        code="card_declined",
        decline_code="lost_card",
        advice_code="do_not_try_again",
    ),
    "pm_card_chargeDeclinedExpiredCard": Method(
        last4="0069", code="expired_card", decline_code="expired_card"
    ),
    "pm_card_authenticationRequired": Method(last4="3184", authentication=True),
    "pm_usBankAccount": Method(kind="us_bank_account", last4="6789"),
}

# What a payer's browser sends to Stripe.js, by number.
NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "4000000000009995": "pm_card_visa_chargeDeclinedInsufficientFunds",
    "4000002760003184": "pm_card_authenticationRequired",
}
