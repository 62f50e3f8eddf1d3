"""The sandbox PSP's timed work: bank results and settlements, by each account's own clock.

A job is a row; a thread looks several times a second. Moving an account's clock runs its due jobs
before the call answers, so a test that moved the clock can look at once.
"""

from __future__ import annotations

import logging
import math
import threading
import time

from payments.providers.sandbox.service import lifecycle
from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.delivery import Deliveries

TICK_SECONDS = 0.1
ANSWERS_KEPT_SECONDS = 86_400
_BATCH = 50
_WORK = {"bank_result": lifecycle.bank_result, "settle": lifecycle.settle}

logger = logging.getLogger("sandbox.clock")


class Clock:
    """Runs due jobs."""

    def __init__(self, books: Books, accounts: Accounts, deliveries: Deliveries) -> None:
        self._books = books
        self._accounts = accounts
        self._deliveries = deliveries
        for account in accounts.all():
            self._look_ahead(account)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._serve, daemon=True).start()

    def run_due(self, account: Account) -> int:
        """Carry out every job of the account that is due now; returns how many."""
        done = 0
        while batch := self._run_batch(account):
            done += batch
        return done

    def advance(self, account: Account, seconds: float) -> int:
        """Move the account's clock forward, job by job, so that work which a job schedules in
        between happens too and in order; returns how many jobs ran.
        """
        target = account.now() + seconds
        done = self.run_due(account)
        while account.next_due_at <= target:
            self._accounts.move_clock(account, max(0.0, account.next_due_at - account.now()))
            done += self.run_due(account)
        self._accounts.move_clock(account, max(0.0, target - account.now()))
        return done + self.run_due(account)

    def _look_ahead(self, account: Account) -> None:
        with self._books.lock:
            row = self._books.row(
                "SELECT min(due_at) AS at FROM jobs WHERE account = ?", account.id
            )
            account.next_due_at = math.inf if row is None or row["at"] is None else row["at"]

    def _run_batch(self, account: Account) -> int:
        with self._books.transaction():
            due = self._books.rows(
                "SELECT * FROM jobs WHERE account = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?",
                account.id,
                account.now(),
                _BATCH,
            )
            desk = lifecycle.Desk(self._books, account, self._deliveries, "")
            for job in due:
                self._books.run("DELETE FROM jobs WHERE id = ?", job["id"])
                payment = self._books.load_payment(account.id, job["payment"])
                if payment is None:
                    raise LookupError(f"Bug! Job {job['id']} is about no payment.")
                _WORK[job["kind"]](desk, payment)
        self._look_ahead(account)
        if due:
            self._deliveries.wake()
        return len(due)

    def _serve(self) -> None:
        next_purge = 0.0
        while True:
            time.sleep(TICK_SECONDS)
            try:
                for account in self._accounts.all():
                    if account.next_due_at <= account.now():
                        self.run_due(account)
                if time.monotonic() >= next_purge:
                    next_purge = time.monotonic() + 60
                    self._forget_old_answers()
            except Exception:
                logger.exception("The clock stumbled; it goes on.")

    def _forget_old_answers(self) -> None:
        for account in self._accounts.all():
            self._books.run(
                "DELETE FROM answers WHERE account = ? AND created_at < ?",
                account.id,
                account.now() - ANSWERS_KEPT_SECONDS,
            )
