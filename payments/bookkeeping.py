"""Which accounts each money event debits and credits: one short function per event.

Mental model: an accountant reads this file and nothing else. Each function describes one balanced
journal entry whose idempotency key is the payment and the event, so booking twice is impossible,
and whose source is the payment, so a payment's books are found by its id. Amounts are integer
minor units in the payment's currency. Everything here is a fact that has happened outside, so no
floor can refuse it. Worked examples: docs/bookkeeping.md.

    captured G, platform fee F   Dr psp:clearing G        Cr merchant:pending G−F, fee income F
    PSP fee known P              Dr psp_fee_expense P     Cr psp:clearing P
    settled                      Dr merchant:pending N    Cr merchant:available N   (N = G−F)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ledger.accounts import AccountKey
from ledger.posting import Line, Posting
from payments.models import Merchant, Payment

BASIS_POINTS = 10_000
# Accounts that every payment writes to are spread over this many rows, so that payments do not
# wait for each other; their balance is the sum.
_BUSY = 16


def platform_fee_minor(merchant: Merchant, amount_minor: int) -> int:
    """The platform's fee for a captured amount: basis points rounded half up, plus the fixed
    part, never more than the amount. Integers only.
    """
    share = (amount_minor * merchant.fee_basis_points + BASIS_POINTS // 2) // BASIS_POINTS
    return min(amount_minor, share + merchant.fee_fixed_minor)


def clearing(payment: Payment) -> AccountKey:
    """What the PSP owes us for this provider account."""
    return _account(payment, "psp:clearing", "asset", payment.provider_account_id, stripes=_BUSY)


def merchant_pending(payment: Payment) -> AccountKey:
    """What we owe the merchant once the PSP has settled."""
    return _account(payment, "merchant:pending", "liability", payment.merchant_id)


def merchant_available(payment: Payment) -> AccountKey:
    """What we owe the merchant now: a wallet that no request of ours may overdraw."""
    return _account(payment, "merchant:available", "liability", payment.merchant_id, floor=0)


def platform_fee_income(payment: Payment) -> AccountKey:
    """What the platform earned from its merchants."""
    return _account(payment, "platform_fee_income", "income", "", stripes=_BUSY)


def provider_fee_expense(payment: Payment) -> AccountKey:
    """What the PSPs charged the platform."""
    return _account(payment, "psp_fee_expense", "expense", "", stripes=_BUSY)


def captured(payment: Payment, *, now: datetime) -> Posting | None:
    """The money was taken: the PSP owes us the gross, we owe the merchant the net."""
    gross, fee = payment.amount_captured_minor, payment.platform_fee_minor
    return _posting(
        payment,
        "payment.captured",
        debits=[(clearing(payment), gross)],
        credits=[(merchant_pending(payment), gross - fee), (platform_fee_income(payment), fee)],
        now=now,
    )


def provider_fee(payment: Payment, *, now: datetime) -> Posting | None:
    """The PSP said what it keeps: it owes us that much less. Nothing to post when it is 0."""
    assert payment.provider_fee_minor is not None, "Bug! a fee is booked once it is known"
    fee = payment.provider_fee_minor
    return _posting(
        payment,
        "payment.provider_fee",
        debits=[(provider_fee_expense(payment), fee)],
        credits=[(clearing(payment), fee)],
        now=now,
    )


def settled(payment: Payment, *, now: datetime) -> Posting | None:
    """The PSP counts the money as ours: the merchant may have it. Nothing to post when the
    platform's fee took all of it.
    """
    net = payment.amount_captured_minor - payment.platform_fee_minor
    return _posting(
        payment,
        "payment.settled",
        debits=[(merchant_pending(payment), net)],
        credits=[(merchant_available(payment), net)],
        now=now,
    )


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


def _posting(
    payment: Payment,
    kind: str,
    *,
    debits: Sequence[tuple[AccountKey, int]],
    credits: Sequence[tuple[AccountKey, int]],
    now: datetime,
) -> Posting | None:
    """The entry of these sides, without lines of nothing; None when nothing moves."""
    lines = [Line(account, debit_minor=amount) for account, amount in debits if amount]
    lines += [Line(account, credit_minor=amount) for account, amount in credits if amount]
    if not lines:
        return None
    return Posting(
        idempotency_key=f"{payment.pk}:{kind}",
        kind=kind,
        lines=lines,
        effective_at=now,
        source_type="payment",
        source_id=payment.pk,
        livemode=payment.livemode,
        enforce_floors=False,
    )
