"""Webhooks of the sandbox PSP: a durable queue, a few sender threads, retries until a 2xx.

An event and its deliveries are written in the transaction that made the change. Deliveries of one
payment share a lane, and a lane is one thread, so without chaos a payment's events arrive in
order; a failed one is retried later and may be overtaken, as at any PSP. Signed after Standard
Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any

import urllib3

from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books

LANES = 4
SEND_TIMEOUT_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
GIVE_UP_AFTER_ATTEMPTS = 5_000
REORDER_STEP_SECONDS = 0.3

logger = logging.getLogger("sandbox.delivery")


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The Standard Webhooks signature of one message."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def wants(patterns: list[str], event_type: str) -> bool:
    """Whether an endpoint's list of types ("*", "payment.*", "payment.captured") has this one."""
    return any(
        pattern in ("*", event_type)
        or (pattern.endswith("*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


class Deliveries:
    """The outgoing queue and its threads."""

    def __init__(self, books: Books, accounts: Accounts) -> None:
        self._books = books
        self._accounts = accounts
        self._wake = [threading.Event() for _ in range(LANES)]
        self._paused_until: dict[str, float] = {}
        self._http = urllib3.PoolManager(num_pools=50, maxsize=LANES, retries=False)

    def start(self) -> None:
        """Start one sender thread per lane."""
        for lane in range(LANES):
            thread = threading.Thread(target=self._serve_lane, args=(lane,), daemon=True)
            thread.start()

    def emit(self, account: Account, event: Mapping[str, Any]) -> None:
        """Record one event and its deliveries; inside the transaction of its change."""
        payment_id = event["data"]["payment"]["id"]
        event_seq = self._books.run(
            "INSERT INTO events (id, account, payment, type, body) VALUES (?, ?, ?, ?, ?)",
            event["id"],
            account.id,
            payment_id,
            event["type"],
            json.dumps(event, separators=(",", ":")),
        )
        endpoints = self._books.rows(
            "SELECT id, events FROM endpoints WHERE account = ?", account.id
        )
        wanted = [row for row in endpoints if wants(json.loads(row["events"]), event["type"])]
        if wanted and not self._accounts.take(account, "webhook_drop"):
            self._enqueue(account, event_seq, payment_id, wanted)

    def resend(self, event: sqlite3.Row, account: Account) -> int:
        """Queue an old event once more for every endpoint; returns how many."""
        endpoints = self._books.rows("SELECT id FROM endpoints WHERE account = ?", account.id)
        for endpoint in endpoints:
            self._insert(event["seq"], endpoint["id"], event["payment"], time.time(), "")
        self.wake()
        return len(endpoints)

    def wake(self) -> None:
        """Look at the queue now; called after the transaction has committed."""
        for event in self._wake:
            event.set()

    def _enqueue(
        self, account: Account, event_seq: int, payment_id: str, endpoints: list[sqlite3.Row]
    ) -> None:
        due_at = time.time() + account.get("webhook_delay_seconds")
        due_at += self._accounts.take(account, "webhook_reorder") * REORDER_STEP_SECONDS
        flaw = ""
        if self._accounts.take(account, "webhook_bad_signature"):
            flaw = "bad_signature"
        elif self._accounts.take(account, "webhook_stale_timestamp"):
            flaw = "stale_timestamp"
        for endpoint in endpoints:
            for _ in range(1 + account.get("webhook_copies")):
                self._insert(event_seq, endpoint["id"], payment_id, due_at, flaw)

    def _insert(
        self, event_seq: int, endpoint: str, payment_id: str, due_at: float, flaw: str
    ) -> None:
        self._books.run(
            "INSERT INTO deliveries (event_seq, endpoint, lane, due_at, flaw)"
            " VALUES (?, ?, ?, ?, ?)",
            event_seq,
            endpoint,
            zlib.crc32(payment_id.encode()) % LANES,
            due_at,
            flaw,
        )

    def _serve_lane(self, lane: int) -> None:
        while True:
            self._wake[lane].clear()
            try:
                sent = self._send_due(lane)
            except Exception:
                logger.exception("A webhook lane stumbled; it goes on.")
                sent = 0
                time.sleep(1.0)
            if not sent:
                self._wake[lane].wait(timeout=0.1)

    def _send_due(self, lane: int) -> int:
        """Send one batch of what is due; the results are written together."""
        due = self._books.rows(
            "SELECT d.id, d.endpoint, d.attempts, d.flaw, e.id AS event_id, e.body, p.url, p.secret"
            " FROM deliveries d JOIN events e ON e.seq = d.event_seq"
            " LEFT JOIN endpoints p ON p.id = d.endpoint"
            " WHERE d.state = 'waiting' AND d.lane = ? AND d.due_at <= ?"
            " ORDER BY d.due_at, d.id LIMIT 20",
            lane,
            time.time(),
        )
        results = [(row, self._send(row)) for row in due]
        if results:
            with self._books.transaction():
                for row, answer in results:
                    self._record(row, answer)
        return len(results)

    def _send(self, row: sqlite3.Row) -> str:
        """One try; returns "2xx", "gone" (no endpoint any more), "paused" or what went wrong."""
        if row["url"] is None:
            return "gone"
        if self._paused_until.get(row["endpoint"], 0.0) > time.monotonic():
            return "paused"
        body, timestamp, secret = row["body"].encode(), int(time.time()), row["secret"]
        if row["attempts"] == 0 and row["flaw"] == "bad_signature":
            secret = "whsec_" + base64.b64encode(b"not the secret of this endpoint").decode()
        if row["attempts"] == 0 and row["flaw"] == "stale_timestamp":
            timestamp -= 86_400
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Florin-Sandbox-PSP/1",
            "webhook-id": row["event_id"],
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secret, row["event_id"], timestamp, body),
        }
        try:
            answer = self._http.request(
                "POST",
                row["url"],
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=SEND_TIMEOUT_SECONDS),
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            # One dead endpoint must not hold up its lane for every message it has waiting.
            self._paused_until[row["endpoint"]] = time.monotonic() + FIRST_RETRY_SECONDS
            return type(error).__name__
        return "2xx" if 200 <= answer.status < 300 else str(answer.status)

    def _record(self, row: sqlite3.Row, answer: str) -> None:
        if answer in {"2xx", "gone"}:
            state = "delivered" if answer == "2xx" else "dropped"
            self._books.run(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, last_answer = ?"
                " WHERE id = ?",
                state,
                answer,
                row["id"],
            )
            return
        attempts = row["attempts"] + (answer != "paused")
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10))
        self._books.run(
            "UPDATE deliveries SET due_at = ?, attempts = ?, last_answer = ?, state = ?"
            " WHERE id = ?",
            time.time() + (FIRST_RETRY_SECONDS if answer == "paused" else wait),
            attempts,
            answer,
            "waiting" if attempts < GIVE_UP_AFTER_ATTEMPTS else "dropped",
            row["id"],
        )
