"""Accounts are opened once, keep what they are, and close only when empty."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from ledger import balances
from ledger.accounts import (
    AccountConflict,
    AccountKey,
    AccountNotEmpty,
    InvalidAccount,
    UnknownAccount,
    close_account,
    ensure,
    open_account,
)
from ledger.posting import AccountClosed, Line
from tests.ledger.conftest import NOON, Books


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "Psp"),
        ("code", "psp:"),
        ("code", ""),
        ("code", "a" * 81),
        ("kind", "money"),
        ("currency", "eur"),
        ("owner", "x" * 81),
        ("stripes", 0),
        ("stripes", 65),
    ],
)
def test_an_impossible_key_names_the_field(field: str, value: Any) -> None:
    facts: dict[str, Any] = {
        "code": "bank",
        "kind": "asset",
        "currency": "EUR",
        "livemode": False,
    }
    with pytest.raises(InvalidAccount, match=f"^{field}"):
        AccountKey(**{**facts, field: value})


def test_a_floored_account_has_one_stripe() -> None:
    with pytest.raises(InvalidAccount, match="floored"):
        AccountKey("bank", "asset", "EUR", False, stripes=2, floor_minor=0)


def test_opening_twice_gives_the_same_account(books: Books) -> None:
    assert open_account(books.wallet) == open_account(books.wallet)


def test_many_accounts_are_opened_in_one_call_in_any_order(books: Books) -> None:
    keys = [books.wallet, books.clearing, books.wallet, books.pending]
    ids = ensure(keys)
    assert len(set(ids.values())) == 3
    assert ensure(reversed(keys)) == ids


def test_an_account_opened_in_a_transaction_that_rolls_back_is_opened_anew(books: Books) -> None:
    with transaction.atomic():
        books.post(Line(books.clearing, 5), Line(books.pending, credit_minor=5))
        transaction.set_rollback(True)
    books.move(books.clearing, books.pending, 7)
    assert balances.balance(books.pending).balance_minor == 7


@pytest.mark.parametrize("other", [{"kind": "asset"}, {"floor_minor": -5}])
def test_an_account_keeps_the_kind_and_floor_it_was_opened_with(
    books: Books, other: dict[str, Any]
) -> None:
    open_account(books.wallet)
    changed = books.account(**{"code": "merchant:available", "kind": "liability", **other})
    with pytest.raises(AccountConflict, match="was opened as"):
        open_account(changed)
    with pytest.raises(AccountConflict):
        books.move(books.clearing, changed, 1)


def test_an_account_keeps_the_stripes_it_was_opened_with(books: Books) -> None:
    open_account(books.clearing)
    wider = books.account("psp:clearing", "asset", stripes=64)
    books.move(wider, books.pending, 3)
    assert balances.balance(books.clearing).account.stripes == 8


def test_the_same_code_in_another_currency_or_mode_is_another_account(books: Books) -> None:
    dollars = books.account("merchant:pending", "liability", "USD")
    live = books.account("merchant:pending", "liability", livemode=True)
    assert len(set(ensure([books.pending, dollars, live]).values())) == 3


def test_an_empty_account_closes_for_good(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 5)
    books.move(books.pending, books.clearing, 5, reverses=entry.id)
    close_account(books.pending, now=NOON)
    close_account(books.pending, now=NOON)
    with pytest.raises(AccountClosed, match="is closed since"):
        books.move(books.clearing, books.pending, 5)


def test_an_account_with_money_on_it_does_not_close(books: Books) -> None:
    books.move(books.clearing, books.pending, 5)
    with pytest.raises(AccountNotEmpty, match="5 EUR stands on it"):
        close_account(books.pending, now=NOON)


def test_an_account_with_money_on_hold_does_not_close(books: Books) -> None:
    books.move(books.pending, books.clearing, 5, pending=True)
    with pytest.raises(AccountNotEmpty, match="5 is held"):
        close_account(books.pending, now=NOON)


def test_an_account_that_was_never_opened_cannot_be_closed(books: Books) -> None:
    with pytest.raises(UnknownAccount, match="never opened"):
        close_account(books.pending, now=NOON)


def test_the_platforms_own_accounts_have_no_owner(books: Books) -> None:
    own = AccountKey("suspense", "asset", "EUR", False)
    entry = books.move(own, books.pending, 4)
    posted = balances.entry(entry.id)
    assert posted is not None
    assert posted.lines[0].account == own
