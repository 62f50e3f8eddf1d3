"""What goes wrong on purpose with one request, decided before the work and carried out around it.

A fault comes from the token of the request (the first time a given idempotency key uses it) or
from the account's chaos switches. "Before commit" means the request has no effect; "after commit"
means it had its effect and only the answer is lost, which is the case that separates a payment
system that asks from one that guesses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.instruments import BY_TOKEN
from payments.providers.sandbox.service.wire import Refusal, Response, error_body

_CHANGES = (
    "hang_before_commit",
    "fail_before_commit",
    "drop_before_commit",
    "hang_after_commit",
    "fail_after_commit",
    "drop_after_commit",
)
RETRY_AFTER_SECONDS = 2
_READS = ("fail_reads", "hang_reads")
_LISTS = ("fail_event_lists", "hang_event_lists")
_DROPPED = Response(status=500, dropped=True)


class Lost(Exception):
    """The request ends here without effect and without an answer."""

    response = _DROPPED


@dataclass(frozen=True)
class Fault:
    """One fault, or none when `name` is empty."""

    name: str
    account: Account

    def before_commit(self) -> None:
        """Carry out the part that comes before the work. Raises Refusal or Lost."""
        if latency := self.account.get("latency_seconds"):
            time.sleep(latency)
        if self.name == "slow":
            time.sleep(self.account.get("slow_seconds"))
        elif self.name in {"fail_before_commit", "fail_reads", "fail_event_lists"}:
            message = "The sandbox failed on purpose, before it did anything."
            raise Refusal(500, "api", "internal_error", message)
        elif self.name in {"hang_before_commit", "hang_reads", "hang_event_lists"}:
            time.sleep(self.account.get("hang_seconds"))
            raise Lost
        elif self.name == "drop_before_commit":
            raise Lost

    def after_commit(self, response: Response) -> Response:
        """Carry out the part that comes after the work; what the client gets in the end."""
        if self.name == "hang_after_commit":
            time.sleep(self.account.get("hang_seconds"))
            return _DROPPED
        if self.name == "drop_after_commit":
            return _DROPPED
        if self.name == "fail_after_commit":
            message = "The sandbox failed on purpose, after it did its work."
            return Response(status=500, body=error_body("api", "internal_error", message))
        return response


def refuse_at_the_door(accounts: Accounts, account: Account) -> None:
    """Raises Refusal 503 while the account's outage is switched on, and 429 for as many requests
    as are to be rate limited; neither says anything about an earlier request with the same key.
    """
    if account.get("outage"):
        message = "The sandbox is out of order on purpose."
        raise Refusal(503, "api", "unavailable", message)
    if accounts.take(account, "rate_limited"):
        message = "The sandbox finds on purpose that these are too many requests."
        retry = (("Retry-After", str(RETRY_AFTER_SECONDS)),)
        raise Refusal(429, "rate_limit", "too_many_requests", message, headers=retry)


def for_change(
    books: Books, accounts: Accounts, account: Account, *, token: str, idempotency_key: str
) -> Fault:
    """The fault of a request that changes something; counted down and remembered as spent."""
    instrument = BY_TOKEN.get(token)
    if instrument is not None and instrument.fault:
        return Fault(_spend(books, account, instrument.fault, idempotency_key), account)
    return Fault(next((name for name in _CHANGES if accounts.take(account, name)), ""), account)


def for_read(accounts: Accounts, account: Account) -> Fault:
    """The fault of a fetch or a search."""
    return Fault(next((name for name in _READS if accounts.take(account, name)), ""), account)


def for_event_list(accounts: Accounts, account: Account) -> Fault:
    """The fault of a merchant's look at the list of events."""
    return Fault(next((name for name in _LISTS if accounts.take(account, name)), ""), account)


def _spend(books: Books, account: Account, fault: str, idempotency_key: str) -> str:
    if not idempotency_key:
        return fault
    with books.transaction():
        spent = books.row(
            "SELECT 1 FROM spent_faults WHERE account = ? AND idempotency_key = ?",
            account.id,
            idempotency_key,
        )
        if spent:
            return ""
        books.run("INSERT INTO spent_faults VALUES (?, ?)", account.id, idempotency_key)
    return fault
