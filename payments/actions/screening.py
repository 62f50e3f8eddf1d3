"""Our own rule before the PSP is asked: payments above a merchant's limit wait for a person.

A held payment keeps what was asked, so that its release makes the same call.
"""

from __future__ import annotations

from payments.actions.change import Change
from payments.amounts import amount_words
from payments.models import Attempt, Payment


def must_be_held(payment: Payment) -> bool:
    """Whether the merchant's payments of this amount wait for a person."""
    limit = payment.merchant.review_above_minor
    return limit is not None and payment.amount_minor > limit


def hold_payment(change: Change, attempt: Attempt) -> None:
    """Hold the payment before anything is sent; its attempt keeps the payment method."""
    payment = change.payment
    limit = payment.merchant.review_above_minor
    assert limit is not None, f"Bug! {payment.merchant_id} has no limit"
    payment.review_reason = (
        f"{amount_words(payment.amount_minor, payment.currency)} is above "
        f"{amount_words(limit, payment.currency)}, from which on this merchant's payments wait for "
        "a person."
    )
    change.advance("screening_hold", attempt)
