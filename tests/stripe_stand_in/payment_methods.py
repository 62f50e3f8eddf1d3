"""Stripe's test payment methods by name, and what each one leads to (docs.stripe.com/testing,
docs.stripe.com/payments/ach-direct-debit/accept-a-payment#test-your-integration).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One payment method.

    code, decline_code: why it is declined; empty: it is not.
    authentication: "" | "always" (3-D Secure at every payment with the payer).
    charge: what a charge after saving comes to, "" | "declined".
    capture: "" | "pending" | "refused" (the hold stands) | "expired" (it does not).
    increment: "" | "declined".
    refund: "" | "pending" | "refused" | "action".
    dispute: "" or the status a dispute begins with as soon as the money is taken.
    elevated_risk: Radar opens a review.
    bank_result: what a debit comes to, "succeeds" | "fails" | "dispute" (succeeds first).
    """

    kind: str = "card"
    last4: str = "4242"
    brand: str = "visa"
    code: str = ""
    decline_code: str = ""
    advice_code: str = ""
    authentication: str = ""
    charge: str = ""
    capture: str = ""
    increment: str = ""
    refund: str = ""
    dispute: str = ""
    elevated_risk: bool = False
    bank_result: str = "succeeds"
    unverified: bool = False
    multicapture: bool = True


METHODS = {
    "pm_card_visa": Method(),
    "pm_card_jcb": Method(brand="jcb", last4="0505", multicapture=False),
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
    "pm_card_authenticationRequired": Method(last4="3184", authentication="always"),
    "pm_card_chargeCustomerFail": Method(last4="0341", charge="declined"),
    # Stripe has no test cards for these; its documentation says that they happen.
    "pm_card_pendingCapture": Method(last4="0001", capture="pending"),
    "pm_card_captureRefused": Method(last4="0002", capture="refused"),
    "pm_card_captureExpired": Method(last4="0003", capture="expired"),
    "pm_card_incrementDeclined": Method(last4="0004", increment="declined"),
    "pm_card_pendingRefund": Method(last4="7726", refund="pending"),
    "pm_card_refundRefused": Method(last4="5126", refund="refused"),
    "pm_card_refundAction": Method(last4="0000", refund="action"),
    "pm_card_createDispute": Method(last4="0259", dispute="needs_response"),
    "pm_card_createDisputeInquiry": Method(last4="1976", dispute="warning_needs_response"),
    "pm_card_riskLevelElevated": Method(last4="9235", elevated_risk=True),
    "pm_usBankAccount": Method(kind="us_bank_account", last4="6789"),
    "pm_usBankAccount_insufficientFunds": Method(
        kind="us_bank_account", last4="2227", bank_result="fails"
    ),
    "pm_usBankAccount_dispute": Method(kind="us_bank_account", last4="0051", bank_result="dispute"),
    "pm_usBankAccount_unverified": Method(kind="us_bank_account", last4="1111", unverified=True),
}

# What a payer's browser sends to Stripe.js, by number.
NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "4000000000009995": "pm_card_visa_chargeDeclinedInsufficientFunds",
    "4000002760003184": "pm_card_authenticationRequired",
}
