"""A sandbox record of version 1, which knew captures in full only, goes on as one of today."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from payments.providers.sandbox.service.accounts import digest_of, publishable_key_for
from payments.providers.sandbox.service.books import Books
from tests.payments.providers.test_sandbox_service import free_port, own_service
from tests.payments.sandbox_account import SandboxAccount

_VERSION_1 = """
CREATE TABLE accounts (id TEXT PRIMARY KEY, secret_key_digest TEXT NOT NULL UNIQUE,
    publishable_key TEXT NOT NULL UNIQUE, settings TEXT NOT NULL);
CREATE TABLE payments (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id),
    reference TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE movements (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL, payment TEXT NOT NULL, reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'release', 'capture')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    created_at REAL NOT NULL);
CREATE INDEX movements_payment ON movements (account, payment);
CREATE INDEX movements_reference ON movements (account, reference);
CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL,
    payment TEXT NOT NULL, kind TEXT NOT NULL, due_at REAL NOT NULL);
"""
_SECRET_KEY = "sbx_sk_of_an_older_record"


def _payment(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "object": "payment",
        "id": f"sbp_{number}",
        "version": 2,
        "status": "captured",
        "amount_minor": 1_000,
        "currency": "EUR",
        "capture": "automatic",
        "amount_capturable_minor": 0,
        "amount_captured_minor": 1_000,
        "reference": f"pay_{number}",
        "description": "",
        "client_secret": f"sbp_{number}_secret",
        "attempt": 1,
        "token": "tok_visa",
        "method": {"kind": "card", "brand": "visa", "last4": "4242"},
        "charge": f"sbc_{number}",
        "return_url": None,
        "next_action": None,
        "decline": None,
        "fee_minor": 59,
        "fee_currency": "EUR",
        "settled": False,
        "available_at": None,
        "cancellation_reason": None,
        "created_at": "2026-11-01T12:00:00.000+00:00",
        "livemode": False,
        **fields,
    }


def _write_version_1(folder: Path) -> None:
    held = {"status": "authorized", "capture": "manual", "fee_minor": None, "fee_currency": None}
    amounts = {"amount_capturable_minor": 1_000, "amount_captured_minor": 0}
    payments = [_payment(1), _payment(2, **held, **amounts)]
    with sqlite3.connect(folder / "sandbox.sqlite3") as record:
        record.executescript(_VERSION_1)
        key = publishable_key_for(_SECRET_KEY)
        record.execute(
            "INSERT INTO accounts VALUES ('a', ?, ?, '{}')", (digest_of(_SECRET_KEY), key)
        )
        for payment in payments:
            record.execute(
                "INSERT INTO payments VALUES (?, 'a', ?, ?)",
                (payment["id"], payment["reference"], json.dumps(payment)),
            )
        for number, kind in enumerate(("hold", "capture")):
            record.execute(
                "INSERT INTO movements VALUES (NULL, ?, 'a', 'sbp_1', 'pay_1', ?, 1000, 'EUR', 1)",
                (f"sbm_{number}", kind),
            )
        due_at = time.time() + 86_400
        record.execute("INSERT INTO jobs VALUES (NULL, 'a', 'sbp_1', 'settle', ?)", (due_at,))


def test_what_an_older_record_holds_goes_on(tmp_path: Path) -> None:
    _write_version_1(tmp_path)
    with own_service(tmp_path, free_port()) as service:
        account = SandboxAccount(service.url, _SECRET_KEY)
        assert [m["kind"] for m in account.movements(reference="pay_1", kind="")] == [
            "hold",
            "capture",
        ]
        refund = {"amount_minor": 400, "reference": "re_1"}
        assert account.call("POST", "/v1/payments/sbp_1/refunds", refund)[0] == 200
        part = {"amount_minor": 300, "final": False}
        assert account.call("POST", "/v1/payments/sbp_2/capture", part)[0] == 200
        account.advance(86_401)
        settled = account.payments("pay_1")[0]
        assert (settled["settled"], settled["amount_settled_minor"]) == (True, 1_000)
        assert settled["fee_minor"] == 59
        partly = account.payments("pay_2")[0]
        assert (partly["status"], partly["amount_capturable_minor"]) == ("partially_captured", 700)


def test_an_upgrade_happens_once(tmp_path: Path) -> None:
    _write_version_1(tmp_path)
    first = Books(tmp_path).payments_by_reference("a", "pay_1")
    assert Books(tmp_path).payments_by_reference("a", "pay_1") == first
    assert len(first[0]["captures"]) == 1
