"""What the ledger refuses, as typed errors, and how PostgreSQL's refusals become them.

Mental model: the database names the broken rule by its constraint; `refusal_of` gives that rule
its class. Each message says what was wrong and what to do. After an error that came from the
database the surrounding transaction is aborted, as after any database error: let it roll back.
"""

from __future__ import annotations

import json

from django.db import DatabaseError


class LedgerError(Exception):
    """Anything the ledger refuses. Nothing of the refused statement is kept."""


class NotInTransaction(LedgerError):
    """A posting belongs to a business change: post inside transaction.atomic()."""


class InvalidPosting(LedgerError):
    """A posting that no books can hold: its lines, amounts, times or names are not right."""


class UnbalancedEntry(InvalidPosting):
    """Debits and credits differ in a currency and layer."""


class InvalidAccount(LedgerError):
    """An account key with a code, kind, owner or currency that cannot be."""


class AccountConflict(LedgerError):
    """The account exists with another kind or floor: those are decided once, when it is opened."""


class AccountClosed(LedgerError):
    """A line for an account that is closed: post to its successor."""


class AccountNotEmpty(LedgerError):
    """An account is closed only when nothing stands on it and nothing is held."""


class UnknownAccount(LedgerError):
    """The account was never opened."""


class IdempotencyConflict(LedgerError):
    """The key belongs to an entry that says something else: use a key of its own."""


class AlreadyReversed(LedgerError):
    """The entry has been reversed already: an entry is reversed at most once."""


class AlreadyResolved(LedgerError):
    """The hold has been posted or voided already: a hold is resolved at most once."""


class InvalidLink(LedgerError):
    """A reversal or resolution that does not mirror what it points at."""


class AmountOutOfRange(LedgerError):
    """An account's total would pass what a bigint can hold."""


class FloorBreached(LedgerError):
    """The account would be left with less than its floor: refuse the request, or post a smaller
    amount. Facts from outside are posted with enforce_floors=False.

    `account_id`, `available_minor` (what would be left) and `floor_minor` say by how much.
    """

    def __init__(self, message: str, *, detail: str) -> None:
        super().__init__(message)
        facts = json.loads(detail)
        self.account_id: int = facts["account_id"]
        self.available_minor: int = facts["available_minor"]
        self.floor_minor: int = facts["floor_minor"]


_BY_CONSTRAINT: dict[str, type[LedgerError]] = {
    "ledger_line_balanced": UnbalancedEntry,
    "ledger_account_as_opened": AccountConflict,
    "ledger_account_open": AccountClosed,
    "ledger_account_empty_when_closed": AccountNotEmpty,
    "ledger_journal_entry_same_content": IdempotencyConflict,
    "ledger_journal_entry_reversed_once": AlreadyReversed,
    "ledger_journal_entry_resolved_once": AlreadyResolved,
    "ledger_journal_entry_mirrors": InvalidLink,
    "ledger_journal_entry_reverses_entry": InvalidLink,
    "ledger_journal_entry_resolves_entry": InvalidLink,
    "ledger_journal_entry_one_earlier_link": InvalidLink,
    "ledger_balance_range": AmountOutOfRange,
}


def refusal_of(error: DatabaseError) -> Exception:
    """The ledger's error for a refusal of the database; the error itself when it is none."""
    diagnostic = getattr(error.__cause__, "diag", None)
    constraint = getattr(diagnostic, "constraint_name", None) or ""
    message = getattr(diagnostic, "message_primary", None) or ""
    if constraint == "ledger_account_floor":
        return FloorBreached(message, detail=diagnostic.message_detail)  # type: ignore[union-attr]
    if constraint in _BY_CONSTRAINT:
        return _BY_CONSTRAINT[constraint](message)
    return error
