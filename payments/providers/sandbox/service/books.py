"""The sandbox PSP's own record: one SQLite file, one writer, every change in one transaction.

The service stands for another company, so its books are its own and are the witness in tests of
what really happened: `movements` holds each time money was held, released, taken or given back,
with amounts and ids, and is only ever appended to. A payment is a JSON document under its id; the
columns beside it exist to be searched. WAL survives the death of the process; all access goes
through one connection under one lock, which is faster here than several connections that wait for
each other.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from payments.providers.sandbox.service import schema


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
        schema.prepare(self._connection)

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
        """Every payment of the account with the merchant's reference, or with a capture or refund
        that has it, oldest first.
        """
        found = self.rows(
            "SELECT body FROM payments WHERE id IN"
            " (SELECT id FROM payments WHERE account = ? AND reference = ? UNION"
            " SELECT payment FROM parts WHERE account = ? AND reference = ?) ORDER BY rowid",
            account,
            reference,
            account,
            reference,
        )
        return [json.loads(row["body"]) for row in found]

    def add_part(self, account: str, payment: str, part: Mapping[str, Any]) -> None:
        """Remember whose capture, refund or dispute this is."""
        self.run(
            "INSERT INTO parts (id, account, payment, kind, reference) VALUES (?, ?, ?, ?, ?)",
            part["id"],
            account,
            payment,
            part["object"],
            part["reference"],
        )

    def payment_of_part(self, account: str, kind: str, part_id: str) -> dict[str, Any] | None:
        """The payment that a capture, refund or dispute belongs to, or None."""
        row = self.row(
            "SELECT payment FROM parts WHERE id = ? AND account = ? AND kind = ?",
            part_id,
            account,
            kind,
        )
        return self.load_payment(account, row["payment"]) if row else None

    def load_document(self, account: str, kind: str, document_id: str) -> dict[str, Any] | None:
        """A customer, saved method, settlement or payout, or None."""
        row = self.row(
            "SELECT body FROM documents WHERE id = ? AND account = ? AND kind = ?",
            document_id,
            account,
            kind,
        )
        return dict(json.loads(row["body"])) if row else None

    def save_document(
        self, account: str, document: Mapping[str, Any], *, found_by: str = ""
    ) -> None:
        """Write a customer, saved method, settlement or payout, new or changed. `found_by` is
        what `documents` finds a new one by.
        """
        self.run(
            "INSERT INTO documents (id, account, kind, found_by, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            document["id"],
            account,
            document["object"],
            found_by,
            json.dumps(document, separators=(",", ":")),
        )

    def documents(
        self, account: str, kind: str, *, found_by: str = "", limit: int = 1_000
    ) -> list[dict[str, Any]]:
        """Documents of a kind, all or those that are found by this, the newest first."""
        found = self.rows(
            "SELECT body FROM documents WHERE account = ? AND kind = ?"
            " AND (? = '' OR found_by = ?) ORDER BY rowid DESC LIMIT ?",
            account,
            kind,
            found_by,
            found_by,
            limit,
        )
        return [json.loads(row["body"]) for row in found]

    def movements(
        self, account: str, *, payment: str, reference: str, after: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        """Money movements of the account in the order they happened, filtered where asked;
        `reference` is the merchant's id of a payment, capture or refund.
        """
        query = [
            "SELECT seq, id, payment, reference, part, part_reference, kind, amount_minor,"
            " currency, created_at FROM movements WHERE account = ? AND seq > ?"
        ]
        values: list[Any] = [account, after]
        if payment:
            query.append("AND payment = ?")
            values.append(payment)
        if reference:
            query.append("AND (reference = ? OR (part_reference = ? AND part_reference <> ''))")
            values.extend((reference, reference))
        query.append("ORDER BY seq LIMIT ?")
        found = self.rows(" ".join(query), *values, limit)
        return [dict(row) for row in found]
