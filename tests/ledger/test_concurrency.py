"""Several connections at once: nothing lost, nothing doubled, no floor broken, no deadlock."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from django.db import connection, transaction
from psycopg.types.json import Jsonb

from ledger import balances
from ledger.accounts import AccountNotEmpty, close_account, ensure
from ledger.posting import (
    AccountClosed,
    AlreadyReversed,
    FloorBreached,
    IdempotencyConflict,
    Line,
    PostedEntry,
    Posting,
    post_many,
)
from tests.ledger.conftest import NOON, Books

WORKERS = 4


def _commit(postings: Sequence[Posting]) -> list[PostedEntry]:
    with transaction.atomic():
        return post_many(postings)


def _commit_each(batches: Sequence[Sequence[Posting]]) -> None:
    for postings in batches:
        _commit(postings)


def _race(*works: Callable[[], object]) -> list[object]:
    """Run all at once, each on a connection of its own; results or errors in their order."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        try:
            connection.ensure_connection()
            start.wait(timeout=30)
            return work()
        except Exception as error:  # noqa: BLE001 -- the test judges what went wrong
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def _errors(results: list[object]) -> list[object]:
    return [result for result in results if isinstance(result, Exception)]


@pytest.mark.parametrize("striped", [True, False])
def test_no_update_of_a_busy_account_is_lost(books: Books, striped: bool) -> None:
    busy = books.clearing if striped else books.account("bank", "asset")
    batches = [
        [[books.posting(Line(busy, 1), Line(books.pending, credit_minor=1))] for _ in range(25)]
        for _ in range(WORKERS)
    ]
    assert _errors(_race(*(partial(_commit_each, mine) for mine in batches))) == []
    assert balances.balance(busy).balance_minor == 25 * WORKERS
    assert balances.balance(books.pending).balance_minor == 25 * WORKERS


def test_postings_in_opposite_order_do_not_deadlock(books: Books) -> None:
    one, two = books.account("one", "asset"), books.account("two", "asset")
    ensure([one, two])
    there = [[books.posting(Line(one, 1), Line(two, credit_minor=1))] for _ in range(60)]
    back = [[books.posting(Line(two, 1), Line(one, credit_minor=1))] for _ in range(60)]
    results = _race(partial(_commit_each, there), partial(_commit_each, back))
    assert _errors(results) == []
    assert balances.balance(one).balance_minor == 0


def test_batches_over_the_same_accounts_in_any_order_do_not_deadlock(books: Books) -> None:
    accounts = [books.account(f"a{n}", "asset") for n in range(6)]
    ensure(accounts)
    chance = random.Random(20261120)
    pairs = list(itertools.permutations(accounts, 2))

    def batch() -> list[Posting]:
        return [
            books.posting(Line(debited, 1), Line(credited, credit_minor=1))
            for debited, credited in chance.sample(pairs, 10)
        ]

    batches = [[batch() for _ in range(15)] for _ in range(WORKERS)]
    assert _errors(_race(*(partial(_commit_each, mine) for mine in batches))) == []
    found = balances.balances(accounts)
    assert sum(balance.balance_minor for balance in found.values()) == 0


def test_accounts_opened_by_several_first_postings_are_opened_once(books: Books) -> None:
    postings = [
        books.posting(Line(books.clearing, 1), Line(books.wallet, credit_minor=1))
        for _ in range(WORKERS)
    ]
    assert _errors(_race(*(partial(_commit, [p]) for p in postings))) == []
    assert balances.balance(books.wallet).balance_minor == WORKERS


def test_the_same_posting_at_once_is_one_entry(books: Books) -> None:
    posting = books.posting(Line(books.clearing, 9), Line(books.pending, credit_minor=9))
    results = _race(*(partial(_commit, [posting]) for _ in range(WORKERS)))
    entries = [entry for result in results if isinstance(result, list) for entry in result]
    assert len(entries) == WORKERS
    assert len({entry.id for entry in entries}) == 1
    assert sum(entry.created for entry in entries) == 1
    assert balances.balance(books.pending).balance_minor == 9


def test_batches_that_share_keys_in_opposite_order_do_not_deadlock(books: Books) -> None:
    postings = [
        books.posting(Line(books.clearing, 1), Line(books.pending, credit_minor=1))
        for _ in range(20)
    ]
    results = _race(partial(_commit, postings), partial(_commit, postings[::-1]))
    assert _errors(results) == []
    assert balances.balance(books.pending).balance_minor == 20


def test_a_key_used_for_two_things_at_once_is_given_to_one(books: Books) -> None:
    one = books.posting(Line(books.clearing, 1), Line(books.pending, credit_minor=1))
    two = books.posting(
        Line(books.clearing, 2),
        Line(books.pending, credit_minor=2),
        idempotency_key=one.idempotency_key,
        source_id=one.source_id,
    )
    results = _race(partial(_commit, [one]), partial(_commit, [two]))
    assert [type(error) for error in _errors(results)] == [IdempotencyConflict]
    assert balances.balance(books.pending).balance_minor in (1, 2)


def test_two_requests_at_once_cannot_overdraw_a_wallet(books: Books) -> None:
    for _ in range(10):
        books.fund(100)
        requests = [
            books.posting(Line(books.wallet, 100), Line(books.clearing, credit_minor=100))
            for _ in range(2)
        ]
        results = _race(*(partial(_commit, [p]) for p in requests))
        assert [type(error) for error in _errors(results)] == [FloorBreached]
        assert balances.balance(books.wallet).balance_minor == 0


def test_a_request_waits_for_an_uncommitted_one_and_sees_it(
    books: Books, second_connection: psycopg.Connection
) -> None:
    """The race in slow motion: the second request finds the row locked, not the old balance."""
    books.fund(100)
    row = {**books.posting(Line(books.wallet, 80), Line(books.clearing, 0, 80)).as_row()}
    request = books.posting(Line(books.wallet, 30), Line(books.clearing, credit_minor=30))
    with ThreadPoolExecutor(1) as pool:
        with second_connection.transaction():
            second_connection.execute("SELECT ledger_post(%s::jsonb)", [Jsonb([row])])
            waiting = pool.submit(_race, partial(_commit, [request]))
            _until_somebody_waits_for(second_connection)
        assert [type(error) for error in _errors(waiting.result(timeout=30))] == [FloorBreached]
    assert balances.balance(books.wallet).balance_minor == 20


def test_two_reversals_at_once_are_one(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    reversals = [
        books.posting(
            Line(books.pending, 70), Line(books.clearing, credit_minor=70), reverses=entry.id
        )
        for _ in range(2)
    ]
    results = _race(*(partial(_commit, [p]) for p in reversals))
    assert [type(error) for error in _errors(results)] == [AlreadyReversed]
    assert balances.balance(books.pending).balance_minor == 0


def test_an_account_is_closed_or_posted_to_never_both(books: Books) -> None:
    for number in range(10):
        account = books.account(f"closing_{number}", "liability")
        ensure([account])
        posting = books.posting(Line(books.clearing, 1), Line(account, credit_minor=1))
        results = _race(partial(close_account, account, now=NOON), partial(_commit, [posting]))
        assert [type(error) for error in _errors(results)] in ([AccountNotEmpty], [AccountClosed])


def test_a_connection_that_dies_leaves_nothing(
    books: Books, second_connection: psycopg.Connection
) -> None:
    row = books.posting(Line(books.clearing, 5), Line(books.pending, credit_minor=5)).as_row()
    ensure([books.clearing, books.pending])
    second_connection.autocommit = False
    second_connection.execute("SELECT ledger_post(%s::jsonb)", [Jsonb([row])])
    second_connection.close()
    books.move(books.clearing, books.pending, 7)
    assert balances.balance(books.pending).balance_minor == 7


def _until_somebody_waits_for(holder: psycopg.Connection) -> None:
    """Return when another connection waits for a lock that `holder` has."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    for _ in range(3000):
        # Asked from outside the holder's transaction, which would see one moment for ever.
        with connection.cursor() as cursor:
            cursor.execute(waiting, [holder.info.backend_pid])
            if cursor.fetchone() != (0,):
                return
        threading.Event().wait(0.01)
    pytest.fail("Nobody waits for the lock after 30 seconds.")
