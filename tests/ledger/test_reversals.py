"""A reversal is an entry of its own that mirrors another as a whole, once."""

from __future__ import annotations

import pytest
from django.db import transaction

from ledger import balances
from ledger.posting import AlreadyReversed, InvalidLink, Line, post_many
from tests.ledger.conftest import Books


def test_a_reversal_takes_back_the_whole_entry_and_points_at_it(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    reversal = books.move(books.pending, books.clearing, 70, reverses=entry.id)
    found = balances.entry(reversal.id)
    assert found is not None
    assert found.reverses == entry.id
    assert balances.balance(books.pending).balance_minor == 0
    assert balances.balance(books.pending).posted_credit_minor == 70


def test_an_entry_is_reversed_once(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    books.move(books.pending, books.clearing, 70, reverses=entry.id)
    with pytest.raises(AlreadyReversed):
        books.move(books.pending, books.clearing, 70, reverses=entry.id)


@pytest.mark.parametrize("amount", [69, 71])
def test_half_a_reversal_is_none(books: Books, amount: int) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    with pytest.raises(InvalidLink, match="must mirror all lines of the other"):
        books.move(books.pending, books.clearing, amount, reverses=entry.id)


def test_a_reversal_touches_the_accounts_of_its_entry(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    with pytest.raises(InvalidLink):
        books.move(books.wallet, books.clearing, 70, reverses=entry.id, enforce_floors=False)


def test_the_same_direction_again_is_no_reversal(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    with pytest.raises(InvalidLink):
        books.move(books.clearing, books.pending, 70, reverses=entry.id)


@pytest.mark.parametrize("link", ["reverses", "resolves"])
def test_what_does_not_exist_cannot_be_linked(books: Books, link: str) -> None:
    with pytest.raises(InvalidLink):
        books.move(books.pending, books.clearing, 70, pending=link == "resolves", **{link: 2**60})


def test_a_hold_is_resolved_not_reversed(books: Books) -> None:
    hold = books.move(books.clearing, books.pending, 70, pending=True)
    with pytest.raises(InvalidLink, match="neither may have pending ones"):
        books.move(books.pending, books.clearing, 70, pending=True, reverses=hold.id)


def test_a_reversal_can_itself_be_reversed(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    reversal = books.move(books.pending, books.clearing, 70, reverses=entry.id)
    books.move(books.clearing, books.pending, 70, reverses=reversal.id)
    assert balances.balance(books.pending).balance_minor == 70


def test_a_batch_may_hold_a_reversal_among_plain_entries(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    plain = books.posting(Line(books.clearing, 5), Line(books.pending, credit_minor=5))
    reversal = books.posting(
        Line(books.pending, 70), Line(books.clearing, credit_minor=70), reverses=entry.id
    )
    with transaction.atomic():
        post_many([plain, reversal])
    assert balances.balance(books.pending).balance_minor == 5
