"""Each payment's amounts are what the ledger and the payment's own rows say of it.

Mental model: the database compares the same sums at every commit, by a trigger. Here they are
computed anew and in Python, from whole ranges of payments, trusting neither trigger nor column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from django.db.models import Sum

import ledger.sources
from payments.machines import OPEN_REFUNDS, STANDING_CAPTURES
from payments.models import Capture, Dispute, Payment, ProviderAccount, Refund
from payments.states import State
from payments.verification.findings import Offence, payments_within, ranges, snapshot

# States of a payment that has no money: captured amounts would be wrong.
WITHOUT_MONEY = frozenset(
    {
        State.CREATED,
        State.REQUIRES_ACTION,
        State.PROCESSING,
        State.AUTHORIZED,
        State.CANCELED,
        State.FAILED,
    }
)
_MERCHANT = ("merchant:pending", "merchant:available", "merchant:receivable")

# (account, its owner, currency, live) -> debits less credits in minor units; without zeros.
_Sums = dict[tuple[str, str, str, bool], int]


def check_books(now: datetime) -> Iterator[Offence | None]:
    """Each payment's amounts stand where the ledger and its own rows say, and no entry speaks of a
    payment without money or of none at all.
    """
    own = set(ProviderAccount.objects.filter(owned_by_merchant=True).values_list("pk", flat=True))
    for after, until in ranges():
        with snapshot():
            booked, rows = _booked(after, until), _of_rows(after, until)
            for payment in payments_within(after, until):
                yield from _judge_books(
                    payment,
                    booked=booked.pop(payment.pk, {}),
                    of_rows=rows[payment.pk],
                    merchants_own=payment.provider_account_id in own,
                )
        for payment_id, sums in booked.items():
            yield Offence(
                kind="books_without_payment",
                object=payment_id,
                detail=f"the ledger has {_words(sums)}, there is no such payment",
            )


def _judge_books(
    payment: Payment, *, booked: _Sums, of_rows: dict[str, int], merchants_own: bool
) -> Iterator[Offence | None]:
    said = _expected(payment, booked, merchants_own=merchants_own)
    captured = payment.amount_captured_minor
    columns = {name: getattr(payment, name) for name in of_rows}
    if said != booked:
        yield Offence(
            kind="books_differ",
            object=payment.pk,
            detail=f"the payment says {_words(_only(said, booked))}; its ledger entries say "
            f"{_words(_only(booked, said))}",
        )
    elif columns != of_rows:
        yield Offence(
            kind="parts_differ",
            object=payment.pk,
            detail=f"the payment says {columns}; its captures, refunds and disputes say {of_rows}",
        )
    elif captured and State(payment.state) in WITHOUT_MONEY:
        yield Offence(
            kind="money_in_state_without",
            object=payment.pk,
            detail=f"it is {payment.state}, and {captured} {payment.currency} are booked",
        )
    elif payment.state == State.SETTLED and payment.amount_settled_minor != captured:
        yield Offence(
            kind="settled_in_part",
            object=payment.pk,
            detail=f"it is settled, with {payment.amount_settled_minor} of {captured}",
        )
    yield None


def _expected(payment: Payment, booked: _Sums, *, merchants_own: bool) -> _Sums:
    """Where the payment's amounts say that money stands. How the merchant's share is spread over
    their accounts is the books' affair; that nothing is pending once all is settled is not.
    """
    settled_all = payment.amount_settled_minor == payment.amount_captured_minor
    gone = (
        payment.amount_refunded_minor
        + payment.amount_disputed_minor
        + payment.amount_reversed_minor
        + payment.dispute_fee_minor
        + (payment.provider_fee_minor or 0)
    )
    clearing = payment.amount_captured_minor - gone
    if merchants_own and settled_all:
        clearing = 0
    account, merchant = payment.provider_account_id, payment.merchant_id
    stands = {
        ("psp:clearing", account): clearing,
        ("psp:disputed_funds", account): payment.amount_disputed_minor,
        ("psp:refunds_in_transit", account): -payment.amount_refund_pending_minor,
        ("merchant:reserve", merchant): -payment.amount_disputed_minor,
        ("platform_fee_income", ""): -payment.platform_fee_minor,
        ("psp_fee_expense", ""): 0 if merchants_own else payment.provider_fee_minor or 0,
    }
    here = (payment.currency, payment.livemode)
    expected = {(*name, *here): net for name, net in stands.items() if net}
    share = -sum(expected.values())
    for code in _MERCHANT:
        name = (code, merchant, *here)
        held = 0 if code == "merchant:pending" and settled_all else booked.get(name, 0)
        if held:
            expected[name] = held
            share -= held
    if share:  # what the merchant's accounts should hold besides: the books cannot agree
        name = ("merchant:available", merchant, *here)
        expected[name] = expected.get(name, 0) + share
    return expected


def _booked(after: str, until: str | None) -> dict[str, _Sums]:
    """The same by payment id, from the ledger alone: whatever names the payment as its source."""
    booked: dict[str, _Sums] = defaultdict(lambda: defaultdict(int))
    for total in ledger.sources.totals_by_source("payment", after=after, until=until):
        name = (total.account_code, total.account_owner, total.currency, total.livemode)
        booked[total.source_id][name] += total.debit_minor - total.credit_minor
    return {
        payment_id: {name: net for name, net in sums.items() if net}
        for payment_id, sums in booked.items()
    }


def _of_rows(after: str, until: str | None) -> dict[str, dict[str, int]]:
    """By payment id: the sums of its captures, refunds and disputes, under the columns' names."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COLUMNS, 0))
    within = {"payment__gt": after} | ({} if until is None else {"payment__lte": until})
    captures = Capture.objects.filter(state__in=STANDING_CAPTURES, **within)
    refunds = Refund.objects.filter(**within)
    disputes = Dispute.objects.filter(**within)
    for column, rows, amount in (
        ("amount_captured_minor", captures, "amount_minor"),
        ("amount_refund_pending_minor", refunds.filter(state__in=OPEN_REFUNDS), "amount_minor"),
        ("amount_refunded_minor", refunds.filter(state="succeeded"), "amount_minor"),
        ("amount_disputed_minor", disputes, "withdrawn_minor"),
        ("dispute_fee_minor", disputes, "fee_minor"),
    ):
        for payment_id, total in rows.values_list("payment").annotate(total=Sum(amount)):
            sums[payment_id][column] = int(total)
    return sums


_COLUMNS = (
    "amount_captured_minor",
    "amount_refund_pending_minor",
    "amount_refunded_minor",
    "amount_disputed_minor",
    "dispute_fee_minor",
)


def _only(these: _Sums, others: _Sums) -> _Sums:
    return {name: net for name, net in these.items() if others.get(name) != net}


def _words(sums: _Sums) -> str:
    listed = [
        f"{code} {owner} {'debit' if net > 0 else 'credit'} {abs(net)} {currency}"
        for (code, owner, currency, _), net in sorted(sums.items())
    ]
    return "; ".join(listed) or "nothing"
