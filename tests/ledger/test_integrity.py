"""The proof finds every way in which the books or their guards can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from ledger import integrity
from ledger.accounts import close_account
from ledger.integrity import prove
from ledger.posting import Line
from tests.ledger.conftest import NOON, Books


@contextmanager
def _owner_at_work() -> Iterator[CursorWrapper]:
    """The owner of the tables in a transaction that is rolled back, so no other test sees it."""
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        yield cursor
        transaction.set_rollback(True, using="owner")
    connections["owner"].close()


def _damaged(books: Books, *statements: str) -> set[str]:
    """The violations after the owner took the guards off and wrote to these books."""
    with _owner_at_work() as owner:
        for table in ("account", "balance", "journal_entry", "line"):
            owner.execute(f"ALTER TABLE ledger_{table} DISABLE TRIGGER USER")
        for statement in statements:
            owner.execute(statement, {"owner": books.owner})
        return {violation.kind for violation in integrity.row_violations(using="owner")}


def _full_books(books: Books) -> None:
    """Some of everything."""
    books.fund(100)
    entry = books.move(books.clearing, books.pending, 5)
    books.move(books.pending, books.clearing, 5, reverses=entry.id)
    hold = books.move(books.wallet, books.clearing, 60, pending=True)
    books.post(
        Line(books.clearing, 60, pending=True),
        Line(books.wallet, credit_minor=60, pending=True),
        Line(books.wallet, 20),
        Line(books.clearing, credit_minor=20),
        resolves=hold.id,
    )
    books.move(books.wallet, books.clearing, 10, pending=True)
    close_account(books.pending, now=NOON)


MINE = "account_id IN (SELECT id FROM ledger_account WHERE owner = %(owner)s)"
MY_ENTRIES = f"(SELECT entry_id FROM ledger_line WHERE {MINE})"


def test_sound_books_have_no_violation(spare_database: psycopg.Connection, books: Books) -> None:
    assert prove() == []
    _full_books(books)
    books.move(books.wallet, books.clearing, 500, enforce_floors=False)
    assert prove() == []


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (
            f"UPDATE ledger_line SET debit_minor = debit_minor + 1 WHERE {MINE}"
            " AND debit_minor > 0",
            {"entry_unbalanced", "balance_unexplained", "link_not_mirrored"},
        ),
        (
            f"UPDATE ledger_balance SET posted_debit_minor = posted_debit_minor + 100 WHERE {MINE}",
            {"balance_unexplained", "floor_breached"},
        ),
        (
            f"UPDATE ledger_balance SET pending_debit_minor = pending_debit_minor + 1 WHERE {MINE}",
            {"balance_unexplained"},
        ),
        (
            "UPDATE ledger_balance SET released_credit_minor = released_credit_minor + 1"
            f" WHERE {MINE}",
            {"balance_unexplained"},
        ),
        (
            f"UPDATE ledger_balance SET line_count = line_count + 1 WHERE {MINE}",
            {"balance_unexplained"},
        ),
        (
            f"UPDATE ledger_balance SET closed = NOT closed WHERE {MINE}",
            {"balance_rows_missing"},
        ),
        (
            f"DELETE FROM ledger_balance WHERE stripe = 0 AND {MINE}",
            {"balance_rows_missing", "balance_unexplained"},
        ),
        (
            "UPDATE ledger_account SET livemode = true WHERE owner = %(owner)s",
            {"line_misplaced"},
        ),
        (
            f"UPDATE ledger_journal_entry SET livemode = true WHERE id IN {MY_ENTRIES}",
            {"line_misplaced"},
        ),
        (
            "UPDATE ledger_account SET floor_minor = 0 WHERE owner = %(owner)s"
            " AND code = 'overdrawn'",
            {"floor_breached"},
        ),
        (
            "UPDATE ledger_line SET account_id = (SELECT id FROM ledger_account"
            " WHERE owner = %(owner)s AND code = 'merchant:available')"
            f" WHERE {MINE} AND debit_minor = 5",
            {"balance_unexplained", "link_not_mirrored"},
        ),
        (
            "UPDATE ledger_journal_entry SET reverses ="
            f" (SELECT min(id) FROM ledger_journal_entry WHERE id IN {MY_ENTRIES})"
            f" WHERE id = (SELECT max(id) FROM ledger_journal_entry WHERE id IN {MY_ENTRIES})",
            {"link_not_mirrored"},
        ),
        (
            f"UPDATE ledger_journal_entry SET line_count = line_count + 1 WHERE id IN {MY_ENTRIES}",
            {"entry_incomplete"},
        ),
    ],
)
def test_rows_changed_behind_the_guards_are_found(
    books: Books, damage: str, kinds: set[str]
) -> None:
    _full_books(books)
    books.move(books.account("overdrawn", "liability"), books.clearing, 3)
    assert _damaged(books, damage) == kinds


@pytest.mark.parametrize(
    "damage",
    [
        f"DELETE FROM ledger_line WHERE line_number = 1 AND {MINE}",
        f"DELETE FROM ledger_line WHERE {MINE}",
        f"DELETE FROM ledger_journal_entry WHERE id IN {MY_ENTRIES}",
    ],
)
def test_an_entry_that_lost_a_part_is_found(books: Books, damage: str) -> None:
    books.move(books.clearing, books.pending, 5)
    kinds = _damaged(
        books,
        "ALTER TABLE ledger_journal_entry DROP CONSTRAINT ledger_journal_entry_last_line",
        "ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_entry",
        damage,
    )
    assert "entry_incomplete" in kinds


def test_a_line_whose_account_is_gone_is_found(books: Books) -> None:
    books.move(books.clearing, books.pending, 5)
    kinds = _damaged(
        books,
        "ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_account",
        f"UPDATE ledger_line SET account_id = 424242 WHERE line_number = 1 AND {MINE}",
    )
    assert kinds == {"line_misplaced", "balance_unexplained"}


def test_a_violation_names_the_row_and_the_facts(books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 5)
    with _owner_at_work() as owner:
        owner.execute("ALTER TABLE ledger_line DISABLE TRIGGER USER")
        owner.execute(
            "UPDATE ledger_line SET debit_minor = 6 WHERE entry_id = %s AND line_number = 1",
            [entry.id],
        )
        found = prove(using="owner")
    assert (
        integrity.Violation(
            "entry_unbalanced",
            f"journal entry {entry.id}",
            "EUR, posted layer: debits 6, credits 5",
        )
        in found
    )


@pytest.mark.parametrize(
    ("alteration", "part"),
    [
        ("ALTER TABLE ledger_line DISABLE TRIGGER ledger_line_no_change", "triggers"),
        ("ALTER TABLE ledger_line ENABLE TRIGGER ledger_line_judge_and_count", "triggers"),
        ("ALTER TABLE ledger_line ENABLE REPLICA TRIGGER ledger_line_no_change", "triggers"),
        ("DROP TRIGGER ledger_line_no_truncate ON ledger_line", "triggers"),
        (
            "CREATE TRIGGER a BEFORE INSERT ON ledger_line FOR EACH ROW"
            " EXECUTE FUNCTION ledger_refuse_change()",
            "triggers",
        ),
        (
            "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql"
            " SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$",
            "functions",
        ),
        ("ALTER FUNCTION ledger_post(jsonb) SECURITY INVOKER", "functions"),
        ("ALTER FUNCTION ledger_post(jsonb) RESET search_path", "functions"),
        (
            "CREATE FUNCTION ledger_backdoor() RETURNS int LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT 1'",
            "functions",
        ),
        ("ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_debit_or_credit", "constraints"),
        ("DROP INDEX ledger_journal_entry_reversed_once", "indexes"),
        (
            "ALTER TABLE ledger_journal_entry DROP CONSTRAINT ledger_journal_entry_idempotency",
            "constraints",
        ),
        (
            "ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_account,"
            " ADD CONSTRAINT ledger_line_account FOREIGN KEY (account_id, currency)"
            " REFERENCES ledger_account (id, currency) NOT VALID",
            "constraints",
        ),
        ("ALTER TABLE ledger_line ALTER currency DROP NOT NULL", "columns"),
        ("ALTER TABLE ledger_line ALTER debit_minor TYPE numeric", "columns"),
        ("ALTER TABLE ledger_journal_entry ADD sneaky int", "columns"),
        ("ALTER TABLE ledger_line ENABLE ROW LEVEL SECURITY", "tables"),
        ("CREATE RULE a AS ON DELETE TO ledger_line DO ALSO NOTHING", "tables"),
        ("DROP INDEX ledger_line_of_account", "indexes"),
        ("GRANT INSERT ON ledger_line TO florin_app", "grants"),
        ("GRANT UPDATE (code) ON ledger_account TO florin_app", "grants"),
        ("GRANT EXECUTE ON FUNCTION ledger_judge_floor(bigint, bigint) TO PUBLIC", "grants"),
        ("GRANT USAGE ON SEQUENCE ledger_account_id_seq TO florin_app", "grants"),
        ("REVOKE SELECT ON ledger_line FROM florin_app", "grants"),
    ],
)
def test_an_owner_who_altered_the_schema_is_found(alteration: str, part: str) -> None:
    with _owner_at_work() as owner:
        owner.execute(alteration)
        found = {violation.kind for violation in integrity.schema_violations(using="owner")}
    assert f"schema_{part}" in found


def test_a_foreign_key_that_is_gone_is_found_by_its_triggers_too() -> None:
    with _owner_at_work() as owner:
        owner.execute("ALTER TABLE ledger_line DROP CONSTRAINT ledger_line_entry")
        found = {violation.kind for violation in integrity.schema_violations(using="owner")}
    assert found == {"schema_constraints", "schema_foreign_key_triggers"}


def test_the_application_is_not_the_owner_in_disguise() -> None:
    described = integrity.describe_schema()
    assert described["application_role"] == {"florin_app": "is not the owner"}


def test_the_described_schema_is_the_one_the_migrations_make() -> None:
    """When this fails after a change of the migrations, describe the schema anew."""
    assert integrity.schema_violations() == []
