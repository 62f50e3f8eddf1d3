"""Which accounts each money event debits and credits: one short function per event.

Mental model: an accountant reads this file, with payments.chart_of_accounts beside it. Each
function describes one balanced journal entry about one payment, so a payment's books are found by
its id. Amounts are integer minor units in the payment's currency. The database compares the sum of
these entries with the payment's own columns at every commit. Worked examples: docs/bookkeeping.md.

    captured G, platform fee F   Dr psp:clearing G          Cr merchant:pending G−F, fee income F
    PSP fee known P              Dr psp_fee_expense P       Cr psp:clearing P
    settled                      Dr merchant:pending N      Cr merchant:available N
    refund R reserved            Dr MERCHANT R              Cr psp:refunds_in_transit R
    refund taken by the PSP      Dr refunds_in_transit R    Cr clearing R
    refund failed                the entries above turned round
    dispute withdrawn D          Dr disputed_funds D        Cr clearing D
                                 Dr MERCHANT D              Cr merchant:reserve D
    dispute fee f                Dr MERCHANT f              Cr clearing f
    dispute won                  the withdrawal turned round
    dispute lost                 Dr merchant:reserve D      Cr disputed_funds D
    bank debit returned          Dr MERCHANT                Cr clearing
    capture taken back           the capture's entry reversed, linked to it, once

MERCHANT is what this payment still has in merchant:pending, then merchant:available, then
merchant:receivable: what the merchant owes us. A fact from outside always finds its place there; a
refund that we may refuse is refused when the merchant's money does not cover it. Where the provider
account is the merchant's own, the PSP pays the merchant: they bear its fee, and once a payment is
settled nothing of it stays in clearing (`paid_directly`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Protocol

from ledger import sources
from ledger.accounts import AccountKey
from ledger.balances import balance
from ledger.posting import Line, Posting
from ledger.sources import Position
from payments.chart_of_accounts import (
    clearing,
    disputed_funds,
    merchant_available,
    merchant_pending,
    merchant_receivable,
    merchant_reserve,
    platform_fee_income,
    provider_fee_expense,
    refunds_in_transit,
)
from payments.errors import ErrorCode, FlorinError
from payments.machines import STANDING_CAPTURES
from payments.models import Capture, Dispute, Merchant, Payment, Refund

Sides = list[tuple[AccountKey, int]]

BASIS_POINTS = 10_000


class Describe(Protocol):
    """Describes the journal entry of one money event, or None when nothing moves."""

    def __call__(self, payment: Payment, *, now: datetime) -> Posting | None: ...


# The entries of the same change that are described and not posted yet.
_waiting: ContextVar[Sequence[Posting]] = ContextVar("_waiting", default=())


def describe_all(payment: Payment, books: Iterable[Describe], *, now: datetime) -> list[Posting]:
    """The entries of one change of a payment, each reading the books as those before it leave them.

    None of them is posted yet: one statement posts all, which locks their accounts in one order, so
    that two changes of the same merchant's payments never wait for each other crosswise.
    """
    postings: list[Posting] = []
    token = _waiting.set(postings)
    try:
        for describe in books:
            posting = describe(payment, now=now)
            if posting is not None:
                postings.append(posting)
    finally:
        _waiting.reset(token)
    return postings


def platform_fee_minor(merchant: Merchant, amount_minor: int) -> int:
    """The platform's fee for a captured amount: basis points rounded half up, plus the fixed
    part, never more than the amount. Integers only.
    """
    share = (amount_minor * merchant.fee_basis_points + BASIS_POINTS // 2) // BASIS_POINTS
    return min(amount_minor, share + merchant.fee_fixed_minor)


def captured(payment: Payment, *, capture: Capture, now: datetime) -> Posting | None:
    """Money was taken: the PSP owes us the gross, we owe the merchant the net."""
    gross, fee = capture.amount_minor, capture.platform_fee_minor
    return _posting(
        payment,
        "payment.captured",
        capture.pk,
        debits=[(clearing(payment), gross)],
        credits=[(merchant_pending(payment), gross - fee), (platform_fee_income(payment), fee)],
        now=now,
    )


def capture_taken_back(
    payment: Payment, *, capture: Capture, now: datetime, kind: str = "payment.capture_voided"
) -> Posting | None:
    """A capture that is not settled and of which nothing was given back did not hold, or was
    voided: its entry is reversed as a whole, once, platform fee included.
    """
    gross, fee = capture.amount_minor, capture.platform_fee_minor
    return _posting(
        payment,
        kind,
        capture.pk,
        debits=[(merchant_pending(payment), gross - fee), (platform_fee_income(payment), fee)],
        credits=[(clearing(payment), gross)],
        now=now,
        reverses=sources.entry_id(f"{payment.pk}:payment.captured:{capture.pk}"),
    )


def provider_fee(payment: Payment, *, change_minor: int, now: datetime) -> Posting | None:
    """The PSP said what it keeps: it owes us that much less (or more, when a fee fell)."""
    bears = [(provider_fee_expense(payment), abs(change_minor))]
    return _provider_fee(payment, change_minor, bears, now=now)


def provider_fee_of_merchant(
    payment: Payment, *, change_minor: int, now: datetime
) -> Posting | None:
    """As `provider_fee`, on the merchant's own provider account: the merchant bears it."""
    amount, position = abs(change_minor), _position(payment)
    take_or_give = _take if change_minor > 0 else _give
    return _provider_fee(payment, change_minor, take_or_give(payment, amount, position), now=now)


def _provider_fee(
    payment: Payment, change_minor: int, bears: Sides, *, now: datetime
) -> Posting | None:
    owes_less = [(clearing(payment), abs(change_minor))]
    rises = change_minor > 0
    return _posting(
        payment,
        "payment.provider_fee",
        f"{payment.version}:{payment.provider_fee_minor}",
        debits=bears if rises else owes_less,
        credits=owes_less if rises else bears,
        now=now,
    )


def provider_fee_owed(payment: Payment, *, now: datetime) -> Posting | None:
    """A capture on the merchant's own account was voided, its provider's fee was not: what the fee
    took of pending money is owed otherwise.
    """
    position = _position(payment)
    owed = max(0, position.debit("merchant:pending"))
    return _posting(
        payment,
        "payment.provider_fee_owed",
        str(position.entry_count),
        debits=_take(payment, owed, position),
        credits=[(merchant_pending(payment), owed)],
        now=now,
    )


def settled(payment: Payment, *, now: datetime) -> Posting | None:
    """The PSP counts captured money as ours: the merchant may have what is left of it. Nothing to
    post when nothing is left, or the platform's fee took all of it.
    """
    position = _position(payment)
    held = position.credit("merchant:pending")
    moved = held - _net_unsettled(payment)
    if payment.amount_settled_minor < payment.amount_captured_minor:
        moved = max(0, moved)
    out, into = merchant_pending(payment), merchant_available(payment)
    if moved < 0:
        out, into, moved = into, out, -moved
    return _posting(
        payment,
        "payment.settled",
        str(position.entry_count),
        debits=[(out, moved)],
        credits=[(into, moved)],
        now=now,
    )


def refund_reserved(payment: Payment, *, refund: Refund, now: datetime) -> Posting | None:
    """A refund is promised. Raises FlorinError(balance_insufficient) when we were asked for it and
    the merchant's money does not cover it; the platform fee that stays with us may be owed.
    """
    share = refund.platform_fee_returned_minor
    from_merchant = _take(payment, refund.amount_minor - share, _position(payment))
    asked = refund.source != Refund.Source.PSP and not payment.provider_account.owned_by_merchant
    owed = sum(amount for account, amount in from_merchant if account.code == "merchant:receivable")
    if asked and owed > payment.platform_fee_minor:
        raise FlorinError(ErrorCode.balance_insufficient, param="amount_minor")
    return _posting(
        payment,
        "refund.reserved",
        refund.pk,
        debits=[(platform_fee_income(payment), share), *from_merchant],
        credits=[(refunds_in_transit(payment), refund.amount_minor)],
        now=now,
        enforce_floors=asked,
    )


def refund_taken(payment: Payment, *, refund: Refund, now: datetime) -> Posting | None:
    """The PSP gave the money back to the payer, out of what it owes us."""
    return _posting(
        payment,
        "refund.taken",
        refund.pk,
        debits=[(refunds_in_transit(payment), refund.amount_minor)],
        credits=[(clearing(payment), refund.amount_minor)],
        now=now,
    )


def refund_failed(
    payment: Payment, *, refund: Refund, was_taken: bool, now: datetime
) -> Posting | None:
    """A refund did not reach the payer: the merchant has the money again, by settlement now."""
    share = refund.platform_fee_returned_minor
    source = clearing(payment) if was_taken else refunds_in_transit(payment)
    back = _give(payment, refund.amount_minor - share, _position(payment))
    return _posting(
        payment,
        "refund.failed",
        refund.pk,
        debits=[(source, refund.amount_minor)],
        credits=[(platform_fee_income(payment), share), *back],
        now=now,
    )


def dispute_withdrawn(
    payment: Payment, *, dispute: Dispute, amount_minor: int, now: datetime
) -> Posting | None:
    """The PSP withdrew disputed money: it stands in dispute, and the merchant's in reserve."""
    position = _position(payment)
    return _posting(
        payment,
        "dispute.withdrawn",
        f"{dispute.pk}:{position.entry_count}",
        debits=[(disputed_funds(payment), amount_minor), *_take(payment, amount_minor, position)],
        credits=[(clearing(payment), amount_minor), (merchant_reserve(payment), amount_minor)],
        now=now,
    )


def dispute_returned(
    payment: Payment, *, dispute: Dispute, amount_minor: int, now: datetime
) -> Posting | None:
    """Disputed money came back: the case, or this part of it, was decided for the merchant."""
    position = _position(payment)
    return _posting(
        payment,
        "dispute.returned",
        f"{dispute.pk}:{position.entry_count}",
        debits=[(clearing(payment), amount_minor), (merchant_reserve(payment), amount_minor)],
        credits=[(disputed_funds(payment), amount_minor), *_give(payment, amount_minor, position)],
        now=now,
    )


def dispute_lost(
    payment: Payment, *, dispute: Dispute, amount_minor: int, now: datetime
) -> Posting | None:
    """The payer keeps disputed money: the merchant's reserve pays for it."""
    return _posting(
        payment,
        "dispute.lost",
        f"{dispute.pk}:{_position(payment).entry_count}",
        debits=[(merchant_reserve(payment), amount_minor)],
        credits=[(disputed_funds(payment), amount_minor)],
        now=now,
    )


def dispute_fee(
    payment: Payment, *, dispute: Dispute, change_minor: int, now: datetime
) -> Posting | None:
    """The PSP charged for a dispute (or gave that back): the merchant bears it."""
    position = _position(payment)
    rises = change_minor > 0
    bears = (
        _take(payment, change_minor, position) if rises else _give(payment, -change_minor, position)
    )
    paid = [(clearing(payment), abs(change_minor))]
    return _posting(
        payment,
        "dispute.fee",
        f"{dispute.pk}:{position.entry_count}",
        debits=bears if rises else paid,
        credits=paid if rises else bears,
        now=now,
    )


def taken_back(payment: Payment, *, amount_minor: int, kind: str, now: datetime) -> Posting | None:
    """Money of ours is gone for good: a bank debit was returned (`payment.returned`), a capture did
    not hold after settlement (`payment.capture_failed`).
    """
    position = _position(payment)
    return _posting(
        payment,
        kind,
        str(position.entry_count),
        debits=_take(payment, amount_minor, position),
        credits=[(clearing(payment), amount_minor)],
        now=now,
    )


def given_again(payment: Payment, *, amount_minor: int, now: datetime) -> Posting | None:
    """What had been taken back is ours again: a return was dishonoured, a lost case was won."""
    position = _position(payment)
    return _posting(
        payment,
        "payment.reversal_undone",
        str(position.entry_count),
        debits=[(clearing(payment), amount_minor)],
        credits=_give(payment, amount_minor, position),
        now=now,
    )


def paid_directly(payment: Payment, *, now: datetime) -> Posting | None:
    """The provider account is the merchant's own: what it holds of a settled payment the merchant
    has already, and what it took back it took from the merchant.
    """
    position = _position(payment)
    held = position.debit("psp:clearing")
    at_provider = [(clearing(payment), abs(held))]
    if held >= 0:
        debits, credits = _take(payment, held, position), at_provider
    else:
        debits, credits = at_provider, _give(payment, -held, position)
    return _posting(
        payment,
        "payment.paid_directly",
        str(position.entry_count),
        debits=debits,
        credits=credits,
        now=now,
    )


def _position(payment: Payment) -> Position:
    """Where the payment's money stands, with the entries that wait to be posted."""
    posted, waiting = sources.position("payment", payment.pk, payment.currency), _waiting.get()
    net = dict(posted.net_debit_minor)
    for line in (line for posting in waiting for line in posting.lines):
        code = line.account.code
        net[code] = net.get(code, 0) + line.debit_minor - line.credit_minor
    return Position(net, posted.entry_count + len(waiting))


def _available_minor(wallet: AccountKey) -> int:
    """What the merchant may have, with the entries that wait to be posted; never below nothing."""
    lines = [line for posting in _waiting.get() for line in posting.lines]
    waiting = sum(line.credit_minor - line.debit_minor for line in lines if line.account == wallet)
    return max(0, balance(wallet).balance_minor + waiting)


def _net_unsettled(payment: Payment) -> int:
    """What captures that the PSP has not settled will still bring the merchant: captures settle in
    their order, and a capture's platform fee is earned with its last unit.
    """
    net = counted = 0
    for capture in payment.captures.filter(state__in=STANDING_CAPTURES).order_by("number"):
        counted += capture.amount_minor
        unsettled = min(capture.amount_minor, counted - payment.amount_settled_minor)
        if unsettled > 0:
            net += max(0, unsettled - capture.platform_fee_minor)
    return net


def _take(payment: Payment, amount_minor: int, position: Position) -> Sides:
    """Debits that take an amount from the merchant: this payment's pending money, then what is
    available, and the rest is owed to us.
    """
    pending = min(amount_minor, max(0, position.credit("merchant:pending")))
    rest = amount_minor - pending
    wallet = merchant_available(payment)
    available = min(rest, _available_minor(wallet)) if rest else 0
    return [
        (merchant_pending(payment), pending),
        (wallet, available),
        (merchant_receivable(payment), rest - available),
    ]


def _give(payment: Payment, amount_minor: int, position: Position) -> Sides:
    """Credits that give an amount to the merchant: first what is owed to us for this payment, then
    pending or available, by settlement as it is now.
    """
    owed = min(amount_minor, max(0, position.debit("merchant:receivable")))
    settled_all = payment.amount_settled_minor == payment.amount_captured_minor
    account = merchant_available(payment) if settled_all else merchant_pending(payment)
    return [(merchant_receivable(payment), owed), (account, amount_minor - owed)]


def _posting(
    payment: Payment,
    kind: str,
    fact: str,
    *,
    debits: Sequence[tuple[AccountKey, int]],
    credits: Sequence[tuple[AccountKey, int]],
    now: datetime,
    reverses: int | None = None,
    enforce_floors: bool = False,
) -> Posting | None:
    """The entry of these sides, without lines of nothing; None when nothing moves. `fact` tells
    this fact from others of its kind about the same payment.
    """
    lines = [Line(account, debit_minor=amount) for account, amount in debits if amount]
    lines += [Line(account, credit_minor=amount) for account, amount in credits if amount]
    if not lines:
        return None
    return Posting(
        idempotency_key=f"{payment.pk}:{kind}:{fact}",
        kind=kind,
        lines=lines,
        effective_at=now,
        source_type="payment",
        source_id=payment.pk,
        livemode=payment.livemode,
        enforce_floors=enforce_floors,
        reverses=reverses,
    )
