"""The sandbox PSP's own record: one SQLite file, one writer, every change in one transaction.

The service stands for another company, so its books are its own and are the witness in tests of
what really happened: `movements` holds each time money was held, released or taken, with amounts
and ids, and is only ever appended to. A payment is a JSON document under its id; the columns
beside it exist to be searched. WAL survives the death of the process; all access goes through one
connection under one lock, which is faster here than several connections that wait for each other.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY,
    secret_key_digest TEXT NOT NULL UNIQUE,
    publishable_key TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS payments (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    reference TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS payments_reference ON payments (account, reference);
CREATE TABLE IF NOT EXISTS movements (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    payment TEXT NOT NULL,
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'release', 'capture')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS movements_payment ON movements (account, payment);
CREATE INDEX IF NOT EXISTS movements_reference ON movements (account, reference);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    payment TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_account ON events (account, seq);
CREATE TABLE IF NOT EXISTS endpoints (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    events TEXT NOT NULL,
    UNIQUE (account, url)
);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    endpoint TEXT NOT NULL,
    lane INTEGER NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    flaw TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'waiting',
    last_answer TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (lane, due_at, id) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS answers (
    account TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (account, idempotency_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent_faults (
    account TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    PRIMARY KEY (account, idempotency_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    payment TEXT NOT NULL,
    kind TEXT NOT NULL,
    due_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_account ON jobs (account, due_at);
"""


class Books:
    """The open record of one data folder. Thread-safe; one instance per process."""

    def __init__(self, folder: Path) -> None:
        """Open or create the record in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(
            folder / "sandbox.sqlite3",
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock and one write transaction; an exception undoes everything in it."""
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: an exception undoes what was done since, and is passed on."""
        self._connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO step")
            self._connection.execute("RELEASE step")
            raise
        self._connection.execute("RELEASE step")

    def run(self, sql: str, *values: Any) -> int:
        """Execute one statement; returns the rowid of an INSERT."""
        with self.lock:
            return self._connection.execute(sql, values).lastrowid or 0

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self.lock:
            row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return row

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self.lock:
            return self._connection.execute(sql, values).fetchall()

    def load_payment(self, account: str, payment_id: str) -> dict[str, Any] | None:
        """The payment document, or None when this account has no such payment."""
        found = self.row(
            "SELECT body FROM payments WHERE id = ? AND account = ?", payment_id, account
        )
        return dict(json.loads(found["body"])) if found else None

    def save_payment(self, account: str, payment: Mapping[str, Any]) -> None:
        """Write the document, new or changed."""
        self.run(
            "INSERT INTO payments (id, account, reference, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            payment["id"],
            account,
            payment["reference"],
            json.dumps(payment, separators=(",", ":")),
        )

    def payments_by_reference(self, account: str, reference: str) -> list[dict[str, Any]]:
        """Every payment of the account with the merchant's reference, oldest first."""
        found = self.rows(
            "SELECT body FROM payments WHERE account = ? AND reference = ? ORDER BY rowid",
            account,
            reference,
        )
        return [json.loads(row["body"]) for row in found]

    def movements(
        self, account: str, *, payment: str, reference: str, after: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        """Money movements of the account in the order they happened, filtered where asked."""
        found = self.rows(
            "SELECT seq, id, payment, reference, kind, amount_minor, currency, created_at"
            " FROM movements WHERE account = ? AND seq > ?"
            " AND (? = '' OR payment = ?) AND (? = '' OR reference = ?) ORDER BY seq LIMIT ?",
            account,
            after,
            payment,
            payment,
            reference,
            reference,
            limit,
        )
        return [dict(row) for row in found]
