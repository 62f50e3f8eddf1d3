"""The chart of accounts: where a payment's money can stand, and whose it is.

Each account exists per currency and mode. What moves between them: payments.bookkeeping.
"""

from __future__ import annotations

from ledger.accounts import AccountKey
from payments.models import Payment

# Accounts that every payment writes to are spread over this many rows, so that payments do not
# wait for each other; their balance is the sum.
_BUSY = 16


def clearing(payment: Payment) -> AccountKey:
    """What the PSP owes us for this provider account."""
    return _account(payment, "psp:clearing", "asset", payment.provider_account_id, stripes=_BUSY)


def refunds_in_transit(payment: Payment) -> AccountKey:
    """What we have promised to payers and the PSP has not taken yet."""
    return _account(payment, "psp:refunds_in_transit", "liability", payment.provider_account_id)


def disputed_funds(payment: Payment) -> AccountKey:
    """What the PSP has withdrawn for disputes that are still open."""
    return _account(payment, "psp:disputed_funds", "asset", payment.provider_account_id)


def merchant_pending(payment: Payment) -> AccountKey:
    """What we owe the merchant once the PSP has settled."""
    return _account(payment, "merchant:pending", "liability", payment.merchant_id)


def merchant_available(payment: Payment) -> AccountKey:
    """What we owe the merchant now: a wallet that no request of ours may overdraw."""
    return _account(payment, "merchant:available", "liability", payment.merchant_id, floor=0)


def merchant_reserve(payment: Payment) -> AccountKey:
    """The merchant's money that an open dispute may take."""
    return _account(payment, "merchant:reserve", "liability", payment.merchant_id)


def merchant_receivable(payment: Payment) -> AccountKey:
    """What the merchant owes us."""
    return _account(payment, "merchant:receivable", "asset", payment.merchant_id)


def platform_fee_income(payment: Payment) -> AccountKey:
    """What the platform earned from its merchants."""
    return _account(payment, "platform_fee_income", "income", "", stripes=_BUSY)


def provider_fee_expense(payment: Payment) -> AccountKey:
    """What the PSPs charged the platform."""
    return _account(payment, "psp_fee_expense", "expense", "", stripes=_BUSY)


def _account(
    payment: Payment,
    code: str,
    kind: str,
    owner: str,
    *,
    stripes: int = 1,
    floor: int | None = None,
) -> AccountKey:
    return AccountKey(
        code=code,
        kind=kind,
        currency=payment.currency,
        livemode=payment.livemode,
        owner=owner,
        stripes=stripes,
        floor_minor=floor,
    )
