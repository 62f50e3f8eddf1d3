"""Every illegal write is refused by the database: as application, as owner, in replica mode.

The parties speak SQL here, past the code. The owner of the tables may do what it likes with the
schema; plain writes are refused to it like to anybody. In replica mode, which only a superuser
can enter, PostgreSQL itself checks no foreign key; the guards still stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from ledger.accounts import AccountKey, ensure
from tests.ledger.conftest import Books

HEADER = (
    "INSERT INTO ledger_journal_entry (idempotency_key, kind, livemode, line_count, source_type,"
    " source_id, enforces_floors, effective_at{columns})"
    " VALUES (%s, 'attack', %s, %s, 'test', 'attack', %s, now(){values}) RETURNING id"
)


@dataclass
class Attacker:
    """A connection that writes to the tables by hand, to the accounts of its books."""

    connection: psycopg.Connection
    books: Books
    ids: dict[AccountKey, int]
    attempts: int = 0

    def header(
        self,
        line_count: int = 2,
        *,
        livemode: bool = False,
        enforces_floors: bool = False,
        columns: str = "",
        values: str = "",
    ) -> int:
        """Insert a header; its id."""
        self.attempts += 1
        key = f"{self.books.owner}:attack:{self.attempts}"
        statement = HEADER.format(columns=columns, values=values)
        row = self.connection.execute(
            statement,
            [key, livemode, line_count, enforces_floors],
        ).fetchone()
        assert row
        return int(row[0])

    def lines(self, entry: int, *lines: tuple[int, int, AccountKey | int, int, int, str]) -> None:
        """Insert lines (number, pending 0/1, account, debit, credit, currency) at once."""
        values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(lines))
        parameters: list[Any] = []
        for number, pending, account, debit, credit, currency in lines:
            account_id = account if isinstance(account, int) else self.ids[account]
            parameters += [entry, number, bool(pending), account_id, debit, credit, currency]
        self.connection.execute(
            "INSERT INTO ledger_line (entry_id, line_number, pending, account_id, debit_minor,"
            f" credit_minor, currency) VALUES {values}",
            parameters,
        )

    def balanced(self, entry: int, amount: int = 5) -> None:
        """Insert two proper lines."""
        self.lines(
            entry,
            (1, 0, self.books.clearing, amount, 0, "EUR"),
            (2, 0, self.books.pending, 0, amount, "EUR"),
        )


def _attacker(connection: psycopg.Connection, books: Books) -> Attacker:
    live = books.account("psp:clearing", "asset", livemode=True)
    dollars = books.account("bank", "asset", "USD")
    keys = [books.clearing, books.pending, books.wallet, live, dollars]
    rows = [{**key.as_row(), "livemode": key.livemode} for key in keys]
    ids = connection.execute("SELECT ledger_open_accounts(%s::jsonb)", [Jsonb(rows)]).fetchone()
    assert ids
    return Attacker(connection, books, dict(zip(keys, ids[0], strict=True)))


@pytest.fixture
def owner(owner_connection: psycopg.Connection, books: Books) -> Attacker:
    """The owner of the tables."""
    return _attacker(owner_connection, books)


@pytest.fixture(params=["owner", "superuser in replica mode"])
def attacker(request: pytest.FixtureRequest, books: Books) -> Iterator[Attacker]:
    """Whoever can write to the tables at all, with and without foreign keys at work."""
    if request.param == "owner":
        yield _attacker(request.getfixturevalue("owner_connection"), books)
        return
    connection: psycopg.Connection = request.getfixturevalue("superuser_connection")
    connection.execute("SET session_replication_role = replica")
    yield _attacker(connection, books)


def test_lines_written_by_hand_are_judged_and_counted_like_any(attacker: Attacker) -> None:
    with attacker.connection.transaction():
        attacker.balanced(attacker.header(), 5)
    counted = attacker.connection.execute(
        "SELECT sum(posted_credit_minor), sum(line_count) FROM ledger_balance"
        " WHERE account_id = %s",
        [attacker.ids[attacker.books.pending]],
    ).fetchone()
    assert counted == (5, 1)


@pytest.mark.parametrize("debit", [4, 6])
def test_an_entry_that_does_not_balance_is_refused(attacker: Attacker, debit: int) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="does not balance in EUR"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, attacker.books.clearing, debit, 0, "EUR"),
            (2, 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_a_difference_beyond_a_bigint_is_not_overlooked(attacker: Attacker) -> None:
    """2^64 too much on one side must not wrap around to zero."""
    half = 2**62
    with (
        pytest.raises(errors.CheckViolation, match="does not balance"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(4),
            *((n, 0, attacker.books.clearing, half, 0, "EUR") for n in (1, 2, 3, 4)),
        )


def test_currencies_do_not_balance_each_other(attacker: Attacker) -> None:
    dollars = attacker.books.account("bank", "asset", "USD")
    with (
        pytest.raises(errors.CheckViolation, match="does not balance"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, dollars, 5, 0, "USD"),
            (2, 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_layers_do_not_balance_each_other(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="does not balance"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 1, attacker.books.clearing, 5, 0, "EUR"),
            (2, 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_two_unbalanced_entries_that_cancel_out_are_refused(attacker: Attacker) -> None:
    both_at_once = (
        "WITH entry AS (INSERT INTO ledger_journal_entry (idempotency_key, kind, livemode,"
        " line_count, source_type, source_id, enforces_floors, effective_at)"
        " SELECT %(key)s || n, 'attack', false, 2, 'test', 'attack', false, now()"
        " FROM generate_series(0, 1) n RETURNING id)"
        " INSERT INTO ledger_line (entry_id, line_number, account_id, debit_minor, credit_minor,"
        " currency) SELECT id, 1, %(debited)s, 5 + id %% 2, 0, 'EUR' FROM entry"
        " UNION ALL SELECT id, 2, %(credited)s, 0, 6 - id %% 2, 'EUR' FROM entry"
    )
    accounts = {
        "debited": attacker.ids[attacker.books.clearing],
        "credited": attacker.ids[attacker.books.pending],
    }
    with pytest.raises(errors.CheckViolation, match="does not balance"):
        attacker.connection.execute(both_at_once, {"key": attacker.books.owner, **accounts})


@pytest.mark.parametrize(("debit", "credit"), [(0, 0), (5, 5), (-5, 0), (0, -5), (-5, 10)])
def test_a_line_is_one_positive_debit_or_credit(
    attacker: Attacker, debit: int, credit: int
) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="ledger_line_debit_or_credit"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, attacker.books.clearing, debit, credit, "EUR"),
            (2, 0, attacker.books.pending, credit, debit, "EUR"),
        )


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "0.5", "9223372036854775808"])
def test_there_is_no_nan_no_infinity_no_fraction_and_no_overflow(
    attacker: Attacker, amount: str
) -> None:
    statement = (
        "INSERT INTO ledger_line (entry_id, line_number, account_id, debit_minor, currency)"
        f" VALUES (1, 1, 1, '{amount}', 'EUR')"
    )
    with pytest.raises(psycopg.DataError):
        attacker.connection.execute(statement)


def test_a_lines_currency_is_its_accounts(attacker: Attacker) -> None:
    with (
        pytest.raises((errors.ForeignKeyViolation, errors.CheckViolation)),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, attacker.books.clearing, 5, 0, "USD"),
            (2, 0, attacker.books.pending, 0, 5, "USD"),
        )


def test_an_account_that_does_not_exist_takes_no_line(attacker: Attacker) -> None:
    with (
        pytest.raises((errors.ForeignKeyViolation, errors.CheckViolation)),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, attacker.books.clearing, 5, 0, "EUR"),
            (2, 0, 2**60, 0, 5, "EUR"),
        )


def test_live_money_does_not_meet_test_money(attacker: Attacker) -> None:
    live = attacker.books.account("psp:clearing", "asset", livemode=True)
    with (
        pytest.raises(errors.CheckViolation, match="does not fit account"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(),
            (1, 0, live, 5, 0, "EUR"),
            (2, 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_an_entry_of_the_other_mode_than_its_accounts_is_refused(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="does not fit account"),
        attacker.connection.transaction(),
    ):
        attacker.balanced(attacker.header(livemode=True))


def test_a_header_without_lines_does_not_commit(attacker: Attacker) -> None:
    with (
        pytest.raises((errors.ForeignKeyViolation, errors.CheckViolation)),
        attacker.connection.transaction(),
    ):
        attacker.header()


def test_lines_without_a_header_are_refused(attacker: Attacker) -> None:
    with (
        pytest.raises((errors.ForeignKeyViolation, errors.CheckViolation)),
        attacker.connection.transaction(),
    ):
        attacker.balanced(2**60)


def test_a_header_that_promises_more_lines_than_come_is_refused(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="must be inserted together"),
        attacker.connection.transaction(),
    ):
        attacker.balanced(attacker.header(3))


def test_more_lines_than_the_header_promises_are_refused(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="must be inserted together"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(2),
            (1, 0, attacker.books.clearing, 5, 0, "EUR"),
            (2, 0, attacker.books.pending, 0, 3, "EUR"),
            (3, 0, attacker.books.pending, 0, 2, "EUR"),
        )


@pytest.mark.parametrize("numbers", [(0, 1), (1, 3), (2, 3), (-1, 2)])
def test_lines_are_numbered_without_a_gap(attacker: Attacker, numbers: tuple[int, int]) -> None:
    with (
        pytest.raises((errors.CheckViolation, errors.ForeignKeyViolation)),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(2),
            (numbers[0], 0, attacker.books.clearing, 5, 0, "EUR"),
            (numbers[1], 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_a_balanced_pair_cannot_be_added_to_an_entry_later(attacker: Attacker) -> None:
    with attacker.connection.transaction():
        entry = attacker.header()
        attacker.balanced(entry)
    with pytest.raises(errors.CheckViolation, match="must be inserted together"):
        attacker.lines(
            entry,
            (3, 0, attacker.books.clearing, 5, 0, "EUR"),
            (4, 0, attacker.books.pending, 0, 5, "EUR"),
        )


def test_lines_cannot_come_one_by_one(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation),
        attacker.connection.transaction(),
    ):
        attacker.lines(attacker.header(), (1, 0, attacker.books.clearing, 5, 0, "EUR"))


def test_an_entry_of_one_line_is_refused(attacker: Attacker) -> None:
    with pytest.raises(errors.CheckViolation, match="ledger_journal_entry_two_lines"):
        attacker.header(1)


CHANGES = [
    "UPDATE ledger_line SET debit_minor = debit_minor WHERE entry_id = %(entry)s",
    "UPDATE ledger_line SET entry_id = entry_id + 1 WHERE entry_id = %(entry)s",
    "UPDATE ledger_line SET description = 'other' WHERE entry_id = %(entry)s",
    "DELETE FROM ledger_line WHERE entry_id = %(entry)s",
    "UPDATE ledger_journal_entry SET description = 'other' WHERE id = %(entry)s",
    "UPDATE ledger_journal_entry SET recorded_at = now() WHERE id = %(entry)s",
    "DELETE FROM ledger_journal_entry WHERE id = %(entry)s",
    "INSERT INTO ledger_line (entry_id, line_number, account_id, currency, debit_minor)"
    " SELECT entry_id, line_number, account_id, currency, 7 FROM ledger_line"
    " WHERE entry_id = %(entry)s ON CONFLICT (entry_id, line_number) DO UPDATE"
    " SET debit_minor = 7",
    "MERGE INTO ledger_line l USING (SELECT 1) x ON l.entry_id = %(entry)s"
    " WHEN MATCHED THEN DELETE",
    "TRUNCATE ledger_line, ledger_journal_entry",
    "TRUNCATE ledger_journal_entry CASCADE",
    "TRUNCATE ledger_balance",
    "TRUNCATE ledger_account CASCADE",
    "UPDATE ledger_balance SET posted_debit_minor = 0 WHERE account_id = %(account)s",
    "UPDATE ledger_balance SET closed = true WHERE account_id = %(account)s",
    "DELETE FROM ledger_balance WHERE account_id = %(account)s",
    "INSERT INTO ledger_balance (account_id, stripe) VALUES (%(account)s, 60)",
    "DELETE FROM ledger_account WHERE id = %(account)s",
    "UPDATE ledger_account SET code = 'other' WHERE id = %(account)s",
    "UPDATE ledger_account SET owner = 'other' WHERE id = %(account)s",
    "UPDATE ledger_account SET livemode = true WHERE id = %(account)s",
    "UPDATE ledger_account SET currency = 'USD' WHERE id = %(account)s",
    "UPDATE ledger_account SET kind = 'asset' WHERE id = %(account)s",
    "UPDATE ledger_account SET floor_minor = -1000000 WHERE id = %(account)s",
    "UPDATE ledger_account SET stripes = 3 WHERE id = %(account)s",
    "UPDATE ledger_account SET opened_at = now() WHERE id = %(account)s",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_what_is_written_stays(attacker: Attacker, statement: str) -> None:
    with attacker.connection.transaction():
        entry = attacker.header()
        attacker.balanced(entry)
    parameters = {"entry": entry, "account": attacker.ids[attacker.books.pending]}
    with pytest.raises(errors.InsufficientPrivilege):
        attacker.connection.execute(statement, parameters)


@pytest.mark.parametrize(
    "statement",
    [
        *CHANGES,
        "INSERT INTO ledger_account (code, currency, livemode, kind)"
        " VALUES ('attack', 'EUR', false, 'asset')",
        "INSERT INTO ledger_journal_entry (idempotency_key, kind, livemode, line_count,"
        " source_type, source_id, enforces_floors, effective_at)"
        " VALUES ('attack', 'attack', false, 2, 'a', 'a', false, now())",
        "INSERT INTO ledger_line (entry_id, line_number, account_id, currency, debit_minor)"
        " VALUES (%(entry)s, 3, %(account)s, 'EUR', 1)",
        "COPY ledger_line FROM STDIN",
        "SELECT nextval('ledger_journal_entry_id_seq')",
        "SELECT setval('ledger_journal_entry_id_seq', 1)",
        "ALTER TABLE ledger_line DISABLE TRIGGER ALL",
        "ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_pk",
        "DROP TRIGGER ledger_line_no_change ON ledger_line",
        "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RETURN NEW; END $$",
        "ALTER FUNCTION ledger_post(jsonb) SET session_replication_role = replica",
        "SET session_replication_role = replica",
        "SELECT ledger_known_entry('{}')",
        "SELECT ledger_post_one('{}')",
        "SELECT ledger_judge_floor(1, 1)",
        "CREATE RULE attack AS ON INSERT TO ledger_line DO INSTEAD NOTHING",
        "CREATE TRIGGER attack AFTER INSERT ON ledger_line"
        " FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
    ],
)
def test_the_application_has_no_right_to_any_other_way(
    owner: Attacker, second_connection: psycopg.Connection, statement: str
) -> None:
    with owner.connection.transaction():
        entry = owner.header()
        owner.balanced(entry)
    parameters = {"entry": entry, "account": owner.ids[owner.books.pending]}
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute(statement, parameters)


def test_the_application_cannot_give_itself_rights(
    second_connection: psycopg.Connection,
) -> None:
    second_connection.execute("GRANT INSERT ON ledger_line TO florin_app")  # warns, grants nothing
    allowed = second_connection.execute(
        "SELECT has_table_privilege('ledger_line', 'INSERT')"
    ).fetchone()
    assert allowed == (False,)


def test_a_trigger_of_a_temporary_table_lends_the_application_no_rights(
    second_connection: psycopg.Connection, books: Books
) -> None:
    """The balance's guard looks at the depth of triggers; depth alone opens nothing."""
    ids = ensure([books.pending])
    second_connection.execute("CREATE TEMP TABLE lever (x int)")
    second_connection.execute(
        "CREATE FUNCTION pg_temp.pull() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE public.ledger_balance SET posted_debit_minor = 1; RETURN NEW; END $$"
    )
    second_connection.execute(
        "CREATE TRIGGER pull BEFORE INSERT ON lever FOR EACH ROW EXECUTE FUNCTION pg_temp.pull()"
    )
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute("INSERT INTO lever VALUES (1)")
    counted = second_connection.execute(
        "SELECT posted_debit_minor FROM ledger_balance WHERE account_id = %s",
        [ids[books.pending]],
    ).fetchone()
    assert counted == (0,)


def test_a_table_of_the_same_name_does_not_catch_what_is_posted(
    second_connection: psycopg.Connection, books: Books
) -> None:
    """The functions run with the owner's rights, so they must not look where the caller says."""
    second_connection.execute("CREATE TEMP TABLE ledger_line (LIKE public.ledger_line)")
    second_connection.execute("SET search_path = pg_temp, public")
    row = {
        "idempotency_key": f"{books.owner}:shadow",
        "kind": "test",
        "livemode": False,
        "source_type": "test",
        "source_id": "shadow",
        "enforces_floors": True,
        "effective_at": "2026-01-01T00:00:00Z",
        "lines": [
            {**books.clearing.as_row(), "debit_minor": 5},
            {**books.pending.as_row(), "credit_minor": 5},
        ],
    }
    second_connection.execute("SELECT public.ledger_post(%s::jsonb)", [Jsonb([row])])
    shadow = second_connection.execute("SELECT count(*) FROM pg_temp.ledger_line").fetchone()
    real = second_connection.execute(
        "SELECT count(*) FROM public.ledger_line l JOIN public.ledger_journal_entry e"
        " ON e.id = l.entry_id WHERE e.idempotency_key = %s",
        [f"{books.owner}:shadow"],
    ).fetchone()
    assert (shadow, real) == ((0,), (2,))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("recorded_at", "now() - interval '1 day'"),
        ("recorded_at", "now() + interval '1 day'"),
        ("xid", "1"),
    ],
)
def test_when_an_entry_was_recorded_cannot_be_made_up(
    attacker: Attacker, column: str, value: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="the database's own"):
        attacker.header(columns=f", {column}", values=f", {value}")


def test_an_effective_time_is_finite(attacker: Attacker) -> None:
    with pytest.raises(errors.CheckViolation, match="effective_finite"):
        attacker.connection.execute(
            "INSERT INTO ledger_journal_entry (idempotency_key, kind, livemode, line_count,"
            " source_type, source_id, enforces_floors, effective_at)"
            " VALUES (%s, 'a', false, 2, 'a', 'a', false, 'infinity')",
            [attacker.books.owner],
        )


def test_an_idempotency_key_is_used_once(attacker: Attacker) -> None:
    with attacker.connection.transaction():
        attacker.balanced(attacker.header())
    attacker.attempts -= 1
    with pytest.raises(errors.UniqueViolation):
        attacker.header()


@pytest.mark.parametrize("link", ["reverses", "resolves"])
def test_a_link_points_at_something_that_exists(attacker: Attacker, link: str) -> None:
    with (
        pytest.raises((errors.ForeignKeyViolation, errors.CheckViolation)),
        attacker.connection.transaction(),
    ):
        attacker.balanced(attacker.header(columns=f", {link}", values=", 0"))


def test_a_reversal_by_hand_mirrors_its_entry_and_happens_once(attacker: Attacker) -> None:
    with attacker.connection.transaction():
        entry = attacker.header()
        attacker.balanced(entry, 5)
    mirrored = (
        (1, 0, attacker.books.clearing, 0, 5, "EUR"),
        (2, 0, attacker.books.pending, 5, 0, "EUR"),
    )
    with (
        pytest.raises(errors.CheckViolation, match="must mirror"),
        attacker.connection.transaction(),
    ):
        attacker.balanced(attacker.header(columns=", reverses", values=f", {entry}"), 5)
    with attacker.connection.transaction():
        attacker.lines(attacker.header(columns=", reverses", values=f", {entry}"), *mirrored)
    with (
        pytest.raises(errors.UniqueViolation, match="reversed_once"),
        attacker.connection.transaction(),
    ):
        attacker.lines(attacker.header(columns=", reverses", values=f", {entry}"), *mirrored)


def test_an_entry_does_not_reverse_itself_or_a_later_one(attacker: Attacker) -> None:
    with pytest.raises(errors.CheckViolation, match="one_earlier_link"):
        attacker.header(columns=", reverses", values=f", {2**62}")


def test_a_floor_holds_for_lines_written_by_hand(attacker: Attacker) -> None:
    with (
        pytest.raises(errors.CheckViolation, match="its floor is 0"),
        attacker.connection.transaction(),
    ):
        attacker.lines(
            attacker.header(enforces_floors=True),
            (1, 0, attacker.books.wallet, 5, 0, "EUR"),
            (2, 0, attacker.books.clearing, 0, 5, "EUR"),
        )


@pytest.mark.parametrize(
    "values",
    [
        "('Bad Code', '', 'EUR', false, 'asset', 1, NULL)",
        "('bank', '', 'eur', false, 'asset', 1, NULL)",
        "('bank', '', 'EUR', false, 'money', 1, NULL)",
        "('bank', '', 'EUR', false, 'asset', 0, NULL)",
        "('bank', '', 'EUR', false, 'asset', 65, NULL)",
        "('bank', '', 'EUR', false, 'asset', 2, 0)",
    ],
)
def test_an_impossible_account_is_refused(attacker: Attacker, values: str) -> None:
    with pytest.raises(errors.CheckViolation):
        attacker.connection.execute(
            "INSERT INTO ledger_account (code, owner, currency, livemode, kind, stripes,"
            f" floor_minor) VALUES {values}"
        )


def test_an_account_closes_once_and_stays_closed(attacker: Attacker) -> None:
    account = attacker.ids[attacker.books.wallet]
    close = "UPDATE ledger_account SET closed_at = %s WHERE id = %s"
    attacker.connection.execute(close, ["2026-01-01T00:00:00Z", account])
    for moment in ("2026-02-01T00:00:00Z", None):
        with pytest.raises(errors.InsufficientPrivilege, match="closed_at once"):
            attacker.connection.execute(close, [moment, account])


def test_an_accounts_metadata_may_change(attacker: Attacker) -> None:
    attacker.connection.execute(
        "UPDATE ledger_account SET metadata = '{\"a\": 1}' WHERE id = %s",
        [attacker.ids[attacker.books.wallet]],
    )


def test_a_balance_row_that_is_missing_is_called_a_bug(
    spare_database: psycopg.Connection, books: Books
) -> None:
    """Only an owner who alters the schema gets there; the posting says so and stops."""
    attacker = _attacker(spare_database, books)
    spare_database.execute("ALTER TABLE ledger_balance DISABLE TRIGGER ledger_balance_no_delete")
    spare_database.execute(
        "DELETE FROM ledger_balance WHERE account_id = %s", [attacker.ids[books.pending]]
    )
    with (
        pytest.raises(errors.CheckViolation, match=r"Bug! .* no balance row"),
        spare_database.transaction(),
    ):
        attacker.balanced(attacker.header())
