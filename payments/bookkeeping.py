"""Which accounts each money event debits and credits: one short function per event.

Mental model: an accountant reads this file and nothing else. Each function posts one balanced
journal entry whose idempotency key is the payment and the event, so booking twice is impossible,
and whose source is the payment, so a payment's books are found by its id. Amounts are integer
minor units in the payment's currency. Worked examples: docs/bookkeeping.md.

    captured G, platform fee F   Dr psp:clearing G        Cr merchant:pending G−F, fee income F
    PSP fee known P              Dr psp_fee_expense P     Cr psp:clearing P
    settled                      Dr merchant:pending N    Cr merchant:available N   (N = G−F)
"""

from __future__ import annotations

from datetime import datetime

from ledger.accounts import AccountKey
from ledger.posting import Line, PostedEntry, post
from payments.models import Merchant, Payment

BASIS_POINTS = 10_000


def platform_fee_minor(merchant: Merchant, amount_minor: int) -> int:
    """The platform's fee for a captured amount: basis points rounded half up, plus the fixed
    part, never more than the amount. Integers only.
    """
    share = (amount_minor * merchant.fee_basis_points + BASIS_POINTS // 2) // BASIS_POINTS
    return min(amount_minor, share + merchant.fee_fixed_minor)


def clearing(payment: Payment) -> AccountKey:
    """What the PSP owes us for this provider account."""
    return _account(payment, "psp:clearing", "asset", payment.provider_account_id)


def merchant_pending(payment: Payment) -> AccountKey:
    """What we owe the merchant once the PSP has settled."""
    return _account(payment, "merchant:pending", "liability", payment.merchant_id)


def merchant_available(payment: Payment) -> AccountKey:
    """What we owe the merchant now."""
    return _account(payment, "merchant:available", "liability", payment.merchant_id)


def platform_fee_income(payment: Payment) -> AccountKey:
    """What the platform earned from its merchants."""
    return _account(payment, "platform_fee_income", "income", "")


def provider_fee_expense(payment: Payment) -> AccountKey:
    """What the PSPs charged the platform."""
    return _account(payment, "psp_fee_expense", "expense", "")


def book_captured(payment: Payment, *, now: datetime) -> PostedEntry:
    """The money was taken: the PSP owes us the gross, we owe the merchant the net."""
    gross = payment.amount_captured_minor
    fee = payment.platform_fee_minor
    lines = [
        Line(account=clearing(payment), debit_minor=gross),
        Line(account=merchant_pending(payment), credit_minor=gross - fee),
        Line(account=platform_fee_income(payment), credit_minor=fee),
    ]
    return _post(payment, "payment.captured", lines, now=now)


def book_provider_fee(payment: Payment, *, now: datetime) -> PostedEntry:
    """The PSP said what it keeps: it owes us that much less."""
    fee = payment.provider_fee_minor
    assert fee, "Bug! a fee is booked once it is known and not zero"
    lines = [
        Line(account=provider_fee_expense(payment), debit_minor=fee),
        Line(account=clearing(payment), credit_minor=fee),
    ]
    return _post(payment, "payment.provider_fee", lines, now=now)


def book_settled(payment: Payment, *, now: datetime) -> PostedEntry | None:
    """The PSP counts the money as ours: the merchant may have it. None when the platform's fee
    took all of it and nothing moves.
    """
    net = payment.amount_captured_minor - payment.platform_fee_minor
    if net == 0:
        return None
    lines = [
        Line(account=merchant_pending(payment), debit_minor=net),
        Line(account=merchant_available(payment), credit_minor=net),
    ]
    return _post(payment, "payment.settled", lines, now=now)


def _account(payment: Payment, code: str, kind: str, owner: str) -> AccountKey:
    return AccountKey(
        code=code,
        kind=kind,
        currency=payment.currency,
        livemode=payment.livemode,
        owner=owner,
    )


def _post(payment: Payment, kind: str, lines: list[Line], *, now: datetime) -> PostedEntry:
    moved = [line for line in lines if line.debit_minor or line.credit_minor]
    return post(
        idempotency_key=f"{payment.pk}:{kind}",
        kind=kind,
        lines=moved,
        effective_at=now,
        source_type="payment",
        source_id=payment.pk,
        livemode=payment.livemode,
    )
