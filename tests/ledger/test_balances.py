"""Reading: now, as of a moment by either clock, statements, and entries by their source."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction

from ledger import balances
from ledger.money import Money
from ledger.posting import Line, post_many
from tests.ledger.conftest import NOON, Books

DAY = timedelta(days=1)


def test_an_account_that_was_never_opened_stands_at_zero(books: Books) -> None:
    balance = balances.balance(books.pending)
    assert (balance.balance_minor, balance.available_minor) == (0, 0)
    assert balances.balance_as_of(books.pending, NOON).balance_minor == 0
    statement = balances.account_statement(books.pending)
    assert (statement.opening_minor, statement.closing_minor, statement.lines) == (0, 0, ())


def test_balances_are_positive_on_the_normal_side(books: Books) -> None:
    books.move(books.clearing, books.pending, 5)
    found = balances.balances([books.clearing, books.pending])
    assert found[books.clearing].money == Money(5, "EUR")
    assert found[books.pending].money == Money(5, "EUR")


def test_no_accounts_have_no_balances() -> None:
    assert balances.balances([]) == {}


def test_an_owners_accounts_are_listed_by_code_and_currency(books: Books) -> None:
    books.fund(5)
    books.move(books.clearing, books.pending, 2)
    books.move(
        books.account("bank", "asset", livemode=True),
        books.account("merchant:pending", "liability", livemode=True),
        9,
        livemode=True,
    )
    found = balances.balances_of_owner(books.owner, livemode=False)
    assert [(row.account.code, row.balance_minor) for row in found] == [
        ("merchant:available", 5),
        ("merchant:pending", 2),
        ("psp:clearing", 7),
    ]


def test_all_accounts_of_a_code_are_listed(books: Books) -> None:
    books.move(books.clearing, books.pending, 2)
    found = balances.balances_of_code("psp:clearing", livemode=False)
    assert [row.balance_minor for row in found if row.account == books.clearing] == [2]


def test_as_of_effective_time_knows_what_is_known_today(books: Books) -> None:
    books.move(books.clearing, books.pending, 10)
    books.move(books.clearing, books.pending, 1, effective_at=NOON - DAY)
    assert balances.balance_as_of(books.pending, NOON - DAY).balance_minor == 1
    assert balances.balance_as_of(books.pending, NOON).balance_minor == 11
    assert balances.balance_as_of(books.pending, NOON - 2 * DAY).balance_minor == 0


def test_as_of_recorded_time_knows_what_was_recorded_then(books: Books) -> None:
    books.move(books.clearing, books.pending, 10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        before = cursor.fetchone()[0]
    books.move(books.clearing, books.pending, 1, effective_at=NOON - DAY)
    assert balances.balance_as_of(books.pending, before, clock="recorded").balance_minor == 10
    assert balances.balance_as_of(books.pending, before + DAY, clock="recorded").balance_minor == 11


def test_as_of_counts_holds_until_they_are_resolved(books: Books) -> None:
    books.fund(100)
    hold = books.move(books.wallet, books.clearing, 60, pending=True)
    books.move(
        books.clearing,
        books.wallet,
        60,
        pending=True,
        resolves=hold.id,
        effective_at=NOON + DAY,
    )
    assert balances.balance_as_of(books.wallet, NOON).available_minor == 40
    assert balances.balance_as_of(books.wallet, NOON + DAY).available_minor == 100
    assert balances.balance_as_of(books.clearing, NOON).held_credit_minor == 60
    assert balances.balance_as_of(books.clearing, NOON + DAY).held_credit_minor == 0


def _statement_books(books: Books) -> None:
    for day, amount in ((0, 10), (1, -4), (3, 6), (2, 1)):
        debited, credited = books.clearing, books.pending
        if amount < 0:
            debited, credited = credited, debited
        books.move(debited, credited, abs(amount), effective_at=NOON + day * DAY)


def test_a_statement_runs_by_effective_time_with_the_balance_after_each_line(
    books: Books,
) -> None:
    _statement_books(books)
    statement = balances.account_statement(books.pending)
    assert [line.balance_minor for line in statement.lines] == [10, 6, 7, 13]
    assert [line.debit_minor for line in statement.lines] == [0, 4, 0, 0]
    assert (statement.opening_minor, statement.closing_minor) == (0, 13)
    assert not statement.has_more


def test_a_statement_of_an_asset_runs_on_the_debit_side(books: Books) -> None:
    _statement_books(books)
    statement = balances.account_statement(books.clearing)
    assert [line.balance_minor for line in statement.lines] == [10, 6, 7, 13]


def test_a_statement_of_a_period_opens_with_what_was_before(books: Books) -> None:
    _statement_books(books)
    statement = balances.account_statement(books.pending, since=NOON + DAY, until=NOON + 3 * DAY)
    assert statement.opening_minor == 10
    assert [line.balance_minor for line in statement.lines] == [6, 7]
    empty = balances.account_statement(books.pending, since=NOON + 9 * DAY)
    assert (empty.opening_minor, empty.closing_minor, empty.lines) == (13, 13, ())


def test_the_pages_of_a_statement_join_without_gap_or_overlap(books: Books) -> None:
    _statement_books(books)
    seen: list[int] = []
    page = balances.account_statement(books.pending, limit=3)
    seen += [line.balance_minor for line in page.lines]
    assert page.has_more
    page = balances.account_statement(books.pending, after=page.lines[-1], limit=3)
    assert page.opening_minor == 7
    seen += [line.balance_minor for line in page.lines]
    assert not page.has_more
    assert seen == [10, 6, 7, 13]


def test_a_statement_shows_a_lines_own_words_before_its_entrys(books: Books) -> None:
    books.post(
        Line(books.clearing, 1),
        Line(books.pending, credit_minor=1, description="Net"),
        description="Captured",
    )
    assert balances.account_statement(books.pending).lines[0].description == "Net"
    assert balances.account_statement(books.clearing).lines[0].description == "Captured"


def test_a_source_leads_to_its_entries_with_their_lines(books: Books) -> None:
    source = {"source_type": "payment", "source_id": f"{books.owner}:pay"}
    first = books.post(
        Line(books.clearing, 10, description="Gross"),
        Line(books.pending, credit_minor=10),
        kind="payment.captured",
        **source,
    )
    second = books.move(books.pending, books.wallet, 10, **source)
    found = balances.entries_for_source("payment", source["source_id"])
    assert [entry.id for entry in found] == [first.id, second.id]
    assert found[0].kind == "payment.captured"
    line = found[0].lines[0]
    assert (line.account, line.debit_minor, line.credit_minor, line.currency) == (
        books.clearing,
        10,
        0,
        "EUR",
    )
    assert line.description == "Gross"
    assert balances.entries_for_source("refund", source["source_id"]) == []


def test_an_unknown_entry_is_none() -> None:
    assert balances.entry(2**60) is None


def test_the_trial_balance_sums_to_zero_in_each_currency(books: Books) -> None:
    books.move(books.clearing, books.pending, 10)
    with transaction.atomic():
        post_many(
            [
                books.posting(
                    Line(books.account("bank", "asset", "USD"), 5),
                    Line(books.account("equity", "equity", "USD"), credit_minor=5),
                )
            ]
        )
    rows = balances.trial_balance(livemode=False)
    for currency in {"EUR", "USD"}:
        of_currency = [row for row in rows if row.currency == currency]
        assert of_currency
        assert sum(row.debit_minor - row.credit_minor for row in of_currency) == 0
