"""The sandbox PSP's timed work, from bank results to payouts, by each account's own clock.

A job is a row; a thread looks several times a second. Moving an account's clock runs its due jobs
before the call answers, so a test that moved the clock can look at once.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from payments.providers.sandbox.service import (
    bank_returns,
    captures,
    disputes,
    lifecycle,
    refunds,
    settlements,
)
from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.delivery import Deliveries
from payments.providers.sandbox.service.desk import Desk

TICK_SECONDS = 0.1
ANSWERS_KEPT_SECONDS = 86_400
_BATCH = 50
# What falls due: to a payment (with the id of its capture, refund or dispute), or to the account.
_OF_PAYMENT: dict[str, Callable[[Desk, dict[str, Any], str], object]] = {
    "bank_result": lambda desk, payment, _: lifecycle.bank_result(desk, payment),
    "expire": lambda desk, payment, _: captures.expire(desk, payment),
    "settle": captures.settle,
    "capture_succeeds": partial(captures.finish, kind="capture_succeeds"),
    "capture_is_refused": partial(captures.finish, kind="capture_is_refused"),
    "capture_loses_hold": partial(captures.finish, kind="capture_loses_hold"),
    "capture_fails_late": captures.fail_late,
    "refund_succeeds": partial(refunds.finish, result="succeed"),
    "refund_fails": partial(refunds.finish, result="fail"),
    "refund_fails_late": partial(refunds.finish, result="fail_late"),
    "dispute_opens": lambda desk, payment, _: disputes.open_by_token(desk, payment),
    "dispute_escalates": partial(disputes.step, result="escalated"),
    "dispute_withdraws": partial(disputes.step, result="withdrawn"),
    "dispute_is_decided": disputes.decide,
    "evidence_is_due": disputes.evidence_is_due,
    "bank_return": lambda desk, payment, _: bank_returns.by_token(desk, payment),
    "bank_return_undone": lambda desk, payment, _: bank_returns.undo_by_token(desk, payment),
}
_OF_ACCOUNT: dict[str, Callable[[Desk, str], object]] = {
    "close_settlement": lambda desk, _: settlements.close(desk),
    "payout_is_paid": settlements.pay,
    "payout_fails": settlements.fail,
}

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
            desk = Desk(
                books=self._books,
                accounts=self._accounts,
                account=account,
                deliveries=self._deliveries,
            )
            for job in due:
                self._books.run("DELETE FROM jobs WHERE id = ?", job["id"])
                self._carry_out(desk, job)
        self._look_ahead(account)
        if due:
            self._deliveries.wake()
        return len(due)

    def _carry_out(self, desk: Desk, job: sqlite3.Row) -> None:
        if job["kind"] in _OF_ACCOUNT:
            _OF_ACCOUNT[job["kind"]](desk, job["part"])
            return
        payment = self._books.load_payment(desk.account.id, job["payment"])
        if payment is None:
            raise LookupError(f"Bug! Job {job['id']} is about no payment.")
        _OF_PAYMENT[job["kind"]](desk, payment, job["part"])

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
