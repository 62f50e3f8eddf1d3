"""The tables of the sandbox PSP's record, and how a record of an older version becomes a new one.

`parts` leads from the id, or the merchant's reference, of a capture, refund or dispute to its
payment, whose document holds it. `documents` keeps what belongs to no payment: customers, saved
methods, settlements and payouts.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

VERSION = 2
SCHEMA = """
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
    part TEXT NOT NULL,
    part_reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN (
        'hold', 'release', 'capture', 'void', 'capture_failure', 'refund', 'refund_failure',
        'dispute', 'dispute_reversal', 'dispute_fee', 'return', 'return_reversal')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS movements_payment ON movements (account, payment);
CREATE INDEX IF NOT EXISTS movements_reference ON movements (account, reference);
CREATE INDEX IF NOT EXISTS movements_part ON movements (account, part_reference)
    WHERE part_reference <> '';
CREATE TABLE IF NOT EXISTS parts (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    payment TEXT NOT NULL,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS parts_reference ON parts (account, reference);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    found_by TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_kind ON documents (account, kind, found_by);
CREATE TABLE IF NOT EXISTS settlement_items (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    settlement TEXT NOT NULL DEFAULT '',
    kind TEXT NOT NULL,
    payment TEXT NOT NULL,
    reference TEXT NOT NULL,
    part TEXT NOT NULL,
    part_reference TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    occurred_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS settlement_items_batch ON settlement_items (account, settlement, seq);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    payment TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_account ON events (account, seq);
CREATE INDEX IF NOT EXISTS events_created
    ON events (account, json_extract(body, '$.created_at'), seq);
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
    part TEXT NOT NULL DEFAULT '',
    kind TEXT NOT NULL,
    due_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_account ON jobs (account, due_at);
"""

# What a payment document of version 1 did not have.
_NEW_FIELDS: dict[str, Any] = {
    "amount_authorized_minor": 0,
    "amount_settled_minor": 0,
    "amount_refunded_minor": 0,
    "amount_returned_minor": 0,
    "return_code": None,
    "expires_at": None,
    "capture_error": None,
    "customer": None,
    "off_session": False,
}


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, first bringing over what a version 1 record holds."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    old = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'movements'").fetchone()
    if version < VERSION and old:
        connection.execute("BEGIN EXCLUSIVE")
        _upgrade(connection)
        connection.execute("COMMIT")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _upgrade(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE movements RENAME TO movements_1")
    for index in ("movements_payment", "movements_reference"):
        connection.execute(f"DROP INDEX {index}")
    table = SCHEMA.partition("CREATE TABLE IF NOT EXISTS movements")[2].partition(";")[0]
    connection.execute(f"CREATE TABLE movements {table}")
    connection.execute(
        "INSERT INTO movements SELECT seq, id, account, payment, reference, '', '', kind,"
        " amount_minor, currency, created_at FROM movements_1"
    )
    connection.execute("DROP TABLE movements_1")
    connection.execute("ALTER TABLE jobs ADD COLUMN part TEXT NOT NULL DEFAULT ''")
    for payment_id, body in connection.execute("SELECT id, body FROM payments").fetchall():
        payment = upgraded(json.loads(body))
        connection.execute(
            "UPDATE payments SET body = ? WHERE id = ?",
            (json.dumps(payment, separators=(",", ":")), payment_id),
        )
    connection.execute(f"PRAGMA user_version = {VERSION}")


def upgraded(payment: dict[str, Any]) -> dict[str, Any]:
    """A version 1 payment document with all that a payment has now; captured was in one piece."""
    captured = payment["amount_captured_minor"]
    held = captured + payment["amount_capturable_minor"]
    capture = {
        "object": "capture",
        "id": f"{payment['id']}_capture",
        "version": 1,
        "reference": "",
        "currency": payment["currency"],
        "created_at": payment["created_at"],
        "status": "succeeded",
        "amount_minor": captured,
        "final": True,
        "fee_minor": payment["fee_minor"],
        "settled": payment["settled"],
        "failure": None,
    }
    return {
        **_NEW_FIELDS,
        **payment,
        "amount_authorized_minor": held,
        "amount_settled_minor": captured if payment["settled"] else 0,
        "instrument": payment["token"],
        "captures": [capture] if captured else [],
        "refunds": [],
        "disputes": [],
    }
