"""Posting: balanced, once, in one round trip, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ledger import balances
from ledger.models import Balance, JournalEntry
from ledger.models import Line as LineRow
from ledger.posting import (
    AmountOutOfRange,
    IdempotencyConflict,
    InvalidPosting,
    Line,
    NotInTransaction,
    PostedEntry,
    UnbalancedEntry,
    post_many,
)
from tests.ledger.conftest import NOON, Books

LARGEST = 2**63 - 1


def test_an_entry_moves_money_from_credit_to_debit(books: Books) -> None:
    books.post(
        Line(books.clearing, debit_minor=100, description="Gross"),
        Line(books.pending, credit_minor=97),
        Line(books.account("fee", "income"), credit_minor=3),
    )
    assert balances.balance(books.clearing).balance_minor == 100
    assert balances.balance(books.pending).balance_minor == 97
    assert balances.balance(books.account("fee", "income")).balance_minor == 3


def test_the_single_function_posts_what_it_is_told(
    books: Books, posted: Callable[..., PostedEntry]
) -> None:
    entry = posted(
        idempotency_key=f"{books.owner}:one",
        kind="payment.captured",
        lines=[Line(books.clearing, 5), Line(books.pending, credit_minor=5)],
        effective_at=NOON,
        source_type="payment",
        source_id=f"{books.owner}:source",
        livemode=False,
        description="Captured",
        metadata={"note": "é"},
    )
    found = balances.entry(entry.id)
    assert found is not None
    assert (found.kind, found.description, found.effective_at) == (
        "payment.captured",
        "Captured",
        NOON,
    )
    assert found.source_id == f"{books.owner}:source"


def test_a_warm_posting_is_one_round_trip(books: Books) -> None:
    books.fund(1)
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        post_many([books.posting(Line(books.clearing, 1), Line(books.wallet, credit_minor=1))])
    assert len(queries.captured_queries) == 1


def test_posting_outside_a_transaction_is_refused(books: Books) -> None:
    with pytest.raises(NotInTransaction, match="atomic"):
        post_many([books.posting(Line(books.clearing, 1), Line(books.pending, credit_minor=1))])


def test_nothing_to_post_is_nothing_posted() -> None:
    with transaction.atomic():
        assert post_many([]) == []


def test_an_unbalanced_entry_is_refused_before_it_reaches_the_database(books: Books) -> None:
    with pytest.raises(UnbalancedEntry, match="debits minus credits is 1"):
        books.posting(Line(books.clearing, 2), Line(books.pending, credit_minor=1))


def test_each_currency_balances_by_itself(books: Books) -> None:
    dollars = books.account("fx_position", "asset", "USD")
    with pytest.raises(UnbalancedEntry, match="in EUR"):
        books.posting(Line(books.clearing, 2), Line(dollars, credit_minor=2))


def test_each_layer_balances_by_itself(books: Books) -> None:
    with pytest.raises(UnbalancedEntry, match="posted layer"):
        books.posting(Line(books.clearing, 2), Line(books.pending, credit_minor=2, pending=True))
    with pytest.raises(UnbalancedEntry, match="pending layer"):
        books.posting(
            Line(books.clearing, 2, pending=True),
            Line(books.clearing, 2),
            Line(books.pending, credit_minor=2),
        )


def test_two_currencies_can_be_exchanged_in_one_entry(books: Books) -> None:
    dollars = books.account("bank", "asset", "USD")
    position = {c: books.account("fx_position", "asset", c) for c in ("EUR", "USD")}
    books.post(
        Line(books.clearing, credit_minor=90),
        Line(position["EUR"], debit_minor=90),
        Line(position["USD"], credit_minor=100),
        Line(dollars, debit_minor=100),
    )
    assert balances.balance(dollars).balance_minor == 100
    assert balances.balance(position["USD"]).balance_minor == -100


@pytest.mark.parametrize("amount", [1.0, "1", True, -1, 2**63, float("nan"), None])
def test_a_line_takes_whole_minor_units_only(books: Books, amount: Any) -> None:
    with pytest.raises(InvalidPosting, match="use an integer number of minor units"):
        Line(books.clearing, debit_minor=amount)


@pytest.mark.parametrize(("debit", "credit"), [(0, 0), (1, 1)])
def test_a_line_is_a_debit_or_a_credit(books: Books, debit: int, credit: int) -> None:
    with pytest.raises(InvalidPosting, match="exactly one"):
        Line(books.clearing, debit, credit)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 201),
        ("kind", ""),
        ("source_type", ""),
        ("source_id", "s" * 201),
        ("effective_at", datetime(2026, 3, 1)),  # noqa: DTZ001
    ],
)
def test_a_posting_without_a_proper_name_or_time_is_refused(
    books: Books, field: str, value: Any
) -> None:
    with pytest.raises(InvalidPosting, match=field):
        books.posting(
            Line(books.clearing, 1), Line(books.pending, credit_minor=1), **{field: value}
        )


def test_an_entry_of_one_line_is_refused(books: Books) -> None:
    with pytest.raises(InvalidPosting, match="at least one debit and one credit"):
        books.posting(Line(books.clearing, 1))


def test_test_money_and_live_money_never_meet(books: Books) -> None:
    live = books.account("merchant:pending", "liability", livemode=True)
    with pytest.raises(InvalidPosting, match="never meet"):
        books.posting(Line(books.clearing, 1), Line(live, credit_minor=1))


def test_an_entry_reverses_or_resolves_never_both(books: Books) -> None:
    with pytest.raises(InvalidPosting, match="never both"):
        books.posting(
            Line(books.clearing, 1), Line(books.pending, credit_minor=1), reverses=1, resolves=2
        )


def test_the_same_posting_twice_is_one_entry(books: Books) -> None:
    posting = books.posting(
        Line(books.clearing, 3),
        Line(books.pending, credit_minor=1),
        Line(books.pending, credit_minor=2),
    )
    with transaction.atomic():
        first = post_many([posting])[0]
    with transaction.atomic():
        again = post_many([replace(posting, lines=tuple(reversed(posting.lines)))])[0]
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id
    assert balances.balance(books.pending).balance_minor == 3


def test_a_retry_may_tell_the_fact_in_other_words_and_at_another_time(books: Books) -> None:
    posting = books.posting(Line(books.clearing, 3), Line(books.pending, credit_minor=3))
    with transaction.atomic():
        first = post_many([posting])[0]
    later = replace(
        posting, effective_at=NOON.replace(hour=13), description="again", metadata={"a": 1}
    )
    with transaction.atomic():
        assert post_many([later])[0] == PostedEntry(first.id, created=False)
    found = balances.entry(first.id)
    assert found is not None
    assert found.effective_at == NOON


def _other_contents(books: Books) -> dict[str, dict[str, Any]]:
    lines = [Line(books.clearing, 3), Line(books.pending, credit_minor=3)]
    return {
        "amount": {"lines": [Line(books.clearing, 4), Line(books.pending, credit_minor=4)]},
        "account": {"lines": [lines[0], Line(books.wallet, credit_minor=3)]},
        "side": {"lines": [Line(books.clearing, credit_minor=3), Line(books.pending, 3)]},
        "layer": {"lines": [replace(line, pending=True) for line in lines]},
        "more lines": {"lines": [*lines, *lines]},
        "kind": {"kind": "other"},
        "source type": {"source_type": "other"},
        "source": {"source_id": "other"},
        "floors": {"enforce_floors": False},
        "mode": {
            "livemode": True,
            "lines": [
                Line(books.account("psp:clearing", "asset", livemode=True), 3),
                Line(books.account("merchant:pending", "liability", livemode=True), credit_minor=3),
            ],
        },
    }


@pytest.mark.parametrize("difference", list(_other_contents(Books())))
def test_a_key_that_says_something_else_is_a_conflict(books: Books, difference: str) -> None:
    posting = books.posting(Line(books.clearing, 3), Line(books.pending, credit_minor=3))
    with transaction.atomic():
        post_many([posting])
    changed = replace(posting, **_other_contents(books)[difference])
    with pytest.raises(IdempotencyConflict, match="says something else"), transaction.atomic():
        post_many([changed])
    assert balances.balance(books.pending).balance_minor == 3


def test_a_batch_mixes_new_and_known_entries_in_the_given_order(books: Books) -> None:
    postings = [
        books.posting(Line(books.clearing, n), Line(books.pending, credit_minor=n))
        for n in (1, 2, 3, 4)
    ]
    with transaction.atomic():
        known = post_many([postings[2], postings[0]])
    with transaction.atomic():
        entries = post_many(postings)
    assert [entry.created for entry in entries] == [False, True, False, True]
    assert (entries[2].id, entries[0].id) == (known[0].id, known[1].id)
    assert balances.balance(books.pending).balance_minor == 10


def test_a_batch_with_new_accounts_and_known_entries_is_posted_whole(books: Books) -> None:
    known = books.posting(Line(books.clearing, 1), Line(books.pending, credit_minor=1))
    with transaction.atomic():
        post_many([known])
    fresh = books.posting(Line(books.account("bank", "asset"), 2), Line(books.clearing, 0, 2))
    with transaction.atomic():
        entries = post_many([known, fresh])
    assert [entry.created for entry in entries] == [False, True]
    assert balances.balance(books.account("bank", "asset")).balance_minor == 2


def test_one_bad_entry_sinks_its_batch(books: Books) -> None:
    good = books.posting(Line(books.clearing, 5), Line(books.wallet, credit_minor=5))
    bad = books.posting(Line(books.wallet, 6), Line(books.clearing, credit_minor=6))
    with pytest.raises(Exception, match="floor"), transaction.atomic():
        post_many([good, bad])
    assert balances.balance(books.wallet).balance_minor == 0


def test_two_postings_of_a_batch_cannot_share_a_key(books: Books) -> None:
    posting = books.posting(Line(books.clearing, 1), Line(books.pending, credit_minor=1))
    with pytest.raises(InvalidPosting, match="share an idempotency key"), transaction.atomic():
        post_many([posting, posting])


def test_the_largest_amount_can_be_posted_and_read(books: Books) -> None:
    books.move(books.pending, books.wallet, LARGEST)
    assert balances.balance(books.wallet).balance_minor == LARGEST
    assert balances.balance(books.pending).balance_minor == -LARGEST


@pytest.mark.parametrize("pending", [False, True])
def test_a_total_beyond_a_bigint_is_refused_with_words(books: Books, pending: bool) -> None:
    books.move(books.pending, books.wallet, LARGEST, pending=pending, enforce_floors=False)
    with pytest.raises(AmountOutOfRange, match="cannot count that far"):
        books.move(books.pending, books.wallet, 1, pending=pending, enforce_floors=False)


def test_an_entry_whose_sum_passes_a_bigint_is_refused_with_words(books: Books) -> None:
    with pytest.raises(AmountOutOfRange, match="cannot count that far"):
        books.post(
            Line(books.pending, LARGEST),
            Line(books.pending, LARGEST),
            Line(books.wallet, credit_minor=LARGEST),
            Line(books.wallet, credit_minor=LARGEST),
        )


def test_an_entry_may_debit_and_credit_the_same_account(books: Books) -> None:
    books.fund(10)
    books.post(Line(books.wallet, 10), Line(books.wallet, credit_minor=10))
    balance = balances.balance(books.wallet)
    assert (balance.posted_debit_minor, balance.posted_credit_minor) == (10, 20)


def test_what_the_database_cannot_store_is_its_own_error_and_leaves_nothing(books: Books) -> None:
    with pytest.raises(DataError):
        books.move(books.clearing, books.pending, 5, description="\0")
    assert balances.balance(books.pending).balance_minor == 0


def test_accounts_entries_lines_and_balances_say_what_they_are(books: Books) -> None:
    entry_id = books.move(books.clearing, books.pending, 5, kind="payment.captured").id
    entry = JournalEntry.objects.get(pk=entry_id)
    debit, credit = LineRow.objects.filter(entry=entry).order_by("line_number")
    assert str(entry) == f"Journal entry {entry_id}: payment.captured"
    assert str(debit) == f"Line 1 of entry {entry_id}: debit 5 EUR"
    assert str(credit) == f"Line 2 of entry {entry_id}: credit 5 EUR"
    assert str(debit.account) == f"psp:clearing of {books.owner}, EUR"
    balance = Balance.objects.get(account_id=credit.account_id)
    assert str(balance) == f"Balance of account {credit.account_id}, stripe 0"
