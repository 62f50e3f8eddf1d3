"""Wallets refuse requests below their floor, never facts; holds keep money without moving it."""

from __future__ import annotations

import pytest
from django.db import transaction

from ledger import balances
from ledger.posting import (
    AlreadyResolved,
    FloorBreached,
    InvalidLink,
    Line,
    PostedEntry,
    post_many,
)
from tests.ledger.conftest import Books


def _pay_out(books: Books, amount_minor: int, **options: object) -> PostedEntry:
    return books.move(books.wallet, books.clearing, amount_minor, **options)


def test_a_request_cannot_take_a_wallet_below_its_floor(books: Books) -> None:
    books.fund(100)
    with pytest.raises(FloorBreached, match="would be left with -1 EUR") as refused:
        _pay_out(books, 101)
    assert (refused.value.available_minor, refused.value.floor_minor) == (-1, 0)
    assert balances.balance(books.wallet).balance_minor == 100


def test_a_request_may_take_all_there_is(books: Books) -> None:
    books.fund(100)
    _pay_out(books, 100)
    assert balances.balance(books.wallet).balance_minor == 0


def test_a_fact_from_outside_is_recorded_below_the_floor(books: Books) -> None:
    books.fund(100)
    _pay_out(books, 150, enforce_floors=False)
    assert balances.balance(books.wallet).balance_minor == -50


def test_a_request_that_fills_an_overdrawn_wallet_is_taken(books: Books) -> None:
    _pay_out(books, 50, enforce_floors=False)
    books.fund(20)
    assert balances.balance(books.wallet).balance_minor == -30
    with pytest.raises(FloorBreached):
        _pay_out(books, 1)


def test_an_account_without_a_floor_may_stand_on_the_other_side(books: Books) -> None:
    books.move(books.pending, books.clearing, 5)
    assert balances.balance(books.pending).balance_minor == -5


def test_a_floor_works_on_a_debit_normal_account_too(books: Books) -> None:
    cash = books.account("cash", "asset", floor_minor=10)
    books.move(cash, books.pending, 15)
    with pytest.raises(FloorBreached, match="9 EUR available"):
        books.move(books.pending, cash, 6)
    books.move(books.pending, cash, 5)
    books.move(books.pending, cash, 3, enforce_floors=False)
    assert balances.balance(cash).available_minor == 7


def test_in_a_batch_each_entry_answers_for_its_own_effect(books: Books) -> None:
    fund = books.posting(Line(books.clearing, 100), Line(books.wallet, credit_minor=100))
    dispute = books.posting(
        Line(books.wallet, 130), Line(books.clearing, credit_minor=130), enforce_floors=False
    )
    with transaction.atomic():
        post_many([fund, dispute])
    assert balances.balance(books.wallet).balance_minor == -30


def test_in_a_batch_a_request_after_a_fact_is_refused(books: Books) -> None:
    fund = books.posting(Line(books.clearing, 100), Line(books.wallet, credit_minor=100))
    dispute = books.posting(
        Line(books.wallet, 90), Line(books.clearing, credit_minor=90), enforce_floors=False
    )
    request = books.posting(Line(books.wallet, 20), Line(books.clearing, credit_minor=20))
    with pytest.raises(FloorBreached), transaction.atomic():
        post_many([fund, dispute, request])


def test_a_hold_makes_money_unavailable_without_moving_it(books: Books) -> None:
    books.fund(100)
    _pay_out(books, 60, pending=True)
    wallet = balances.balance(books.wallet)
    assert (wallet.balance_minor, wallet.held_minor, wallet.available_minor) == (100, 60, 40)
    with pytest.raises(FloorBreached):
        _pay_out(books, 41)
    with pytest.raises(FloorBreached):
        _pay_out(books, 41, pending=True)
    _pay_out(books, 40)


def test_money_expected_to_come_in_is_not_available(books: Books) -> None:
    books.move(books.clearing, books.wallet, 100, pending=True)
    assert balances.balance(books.wallet).available_minor == 0
    with pytest.raises(FloorBreached):
        _pay_out(books, 1)


def test_a_hold_on_a_debit_normal_wallet_counts_its_credits(books: Books) -> None:
    cash = books.account("cash", "asset", floor_minor=0)
    books.move(cash, books.pending, 10)
    hold = books.move(books.pending, cash, 7, pending=True)
    assert balances.balance(cash).available_minor == 3
    with pytest.raises(FloorBreached):
        books.move(books.pending, cash, 4)
    books.move(cash, books.pending, 7, pending=True, resolves=hold.id)
    assert balances.balance(cash).available_minor == 10


def _post_hold(books: Books, hold: PostedEntry, held: int, amount_minor: int) -> PostedEntry:
    return books.post(
        Line(books.clearing, held, pending=True),
        Line(books.wallet, credit_minor=held, pending=True),
        Line(books.wallet, amount_minor),
        Line(books.clearing, credit_minor=amount_minor),
        resolves=hold.id,
    )


@pytest.mark.parametrize("amount", [60, 25])
def test_a_hold_is_posted_in_full_or_in_part(books: Books, amount: int) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    _post_hold(books, hold, 60, amount)
    wallet = balances.balance(books.wallet)
    assert (wallet.balance_minor, wallet.held_minor) == (100 - amount, 0)


def test_a_hold_is_voided_by_its_mirror_alone(books: Books) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    books.move(books.clearing, books.wallet, 60, pending=True, resolves=hold.id)
    assert balances.balance(books.wallet).available_minor == 100


def test_posting_a_hold_of_an_overdrawn_wallet_is_no_new_request(books: Books) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    _pay_out(books, 90, enforce_floors=False)
    _post_hold(books, hold, 60, 60)
    assert balances.balance(books.wallet).balance_minor == -50


def test_a_hold_is_resolved_once(books: Books) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    books.move(books.clearing, books.wallet, 60, pending=True, resolves=hold.id)
    with pytest.raises(AlreadyResolved):
        _post_hold(books, hold, 60, 60)


@pytest.mark.parametrize("released", [59, 61])
def test_a_resolution_releases_exactly_what_is_held(books: Books, released: int) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    with pytest.raises(InvalidLink, match="must mirror all that the other holds"):
        books.move(books.clearing, books.wallet, released, pending=True, resolves=hold.id)


def test_a_resolution_releases_the_accounts_that_are_held(books: Books) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    with pytest.raises(InvalidLink):
        books.move(books.clearing, books.pending, 60, pending=True, resolves=hold.id)


def test_what_holds_nothing_cannot_be_resolved(books: Books) -> None:
    plain = books.fund(100)
    with pytest.raises(InvalidLink):
        books.move(books.wallet, books.clearing, 100, pending=True, resolves=plain.id)


def test_a_resolution_cannot_be_resolved(books: Books) -> None:
    books.fund(100)
    hold = _pay_out(books, 60, pending=True)
    void = books.move(books.clearing, books.wallet, 60, pending=True, resolves=hold.id)
    with pytest.raises(InvalidLink):
        _pay_out(books, 60, pending=True, resolves=void.id)


def test_holds_on_a_striped_account_are_counted_and_released(books: Books) -> None:
    hold = books.move(books.clearing, books.pending, 9, pending=True)
    assert balances.balance(books.clearing).held_debit_minor == 9
    books.move(books.pending, books.clearing, 9, pending=True, resolves=hold.id)
    assert balances.balance(books.clearing).held_debit_minor == 0
