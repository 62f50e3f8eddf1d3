"""The one way to write the books: post a balanced entry, once, in one round trip.

Mental model: a posting is an economic fact with a name of its own (the idempotency key) and the
event it came from (the source). The database opens missing accounts, writes header and lines,
judges them and counts the balances in one function call; posting the same fact again returns the
entry that is there. Post last in a business transaction: from here to COMMIT the balance rows are
locked, in one global order per call.

Facts and requests: a *request* we may refuse (a refund, a payout) is posted with
`enforce_floors=True` and cannot take a wallet below its floor. A *fact* from outside (a dispute, a
returned debit) has happened already, so it is posted with `enforce_floors=False`.

Layers: `pending` lines hold money without moving it. The entry is later *resolved* by another,
whose pending lines mirror the hold and whose posted lines, if any, move the money.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection

from ledger.accounts import AccountKey
from ledger.errors import (
    AccountClosed,
    AccountConflict,
    AlreadyResolved,
    AlreadyReversed,
    AmountOutOfRange,
    FloorBreached,
    IdempotencyConflict,
    InvalidLink,
    InvalidPosting,
    LedgerError,
    NotInTransaction,
    UnbalancedEntry,
    refusal_of,
)
from ledger.money import LARGEST_AMOUNT_MINOR

__all__ = [
    "AccountClosed",
    "AccountConflict",
    "AlreadyResolved",
    "AlreadyReversed",
    "AmountOutOfRange",
    "FloorBreached",
    "IdempotencyConflict",
    "InvalidLink",
    "InvalidPosting",
    "LedgerError",
    "Line",
    "NotInTransaction",
    "PostedEntry",
    "Posting",
    "UnbalancedEntry",
    "post",
    "post_many",
]


@dataclass(frozen=True, slots=True)
class Line:
    """One debit or one credit of an account, in whole minor units of the account's currency.

    Raises InvalidPosting unless exactly one side is above 0 and fits a bigint.
    """

    account: AccountKey
    debit_minor: int = 0
    credit_minor: int = 0
    pending: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        for side, amount in (("debit", self.debit_minor), ("credit", self.credit_minor)):
            if type(amount) is not int or not 0 <= amount <= LARGEST_AMOUNT_MINOR:
                raise InvalidPosting(
                    f"{side}_minor {amount!r} of {self.account.code}: use an integer number of "
                    f"minor units from 0 to {LARGEST_AMOUNT_MINOR}."
                )
        if bool(self.debit_minor) == bool(self.credit_minor):
            raise InvalidPosting(
                f"A line of {self.account.code} debits {self.debit_minor} and credits "
                f"{self.credit_minor}: give exactly one of them, above 0."
            )


@dataclass(frozen=True, slots=True)
class Posting:
    """One economic fact, ready to be posted. The fields are those of `post`."""

    idempotency_key: str
    kind: str
    lines: Sequence[Line]
    effective_at: datetime
    source_type: str
    source_id: str
    livemode: bool
    description: str = ""
    enforce_floors: bool = True
    reverses: int | None = None
    resolves: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = (self.idempotency_key, self.kind, self.source_type, self.source_id)
        for name, text, longest in zip(
            ("idempotency_key", "kind", "source_type", "source_id"),
            named,
            (200, 80, 80, 200),
            strict=True,
        ):
            if not 1 <= len(text) <= longest:
                raise InvalidPosting(f"{name} {text!r}: use 1 to {longest} characters.")
        if self.effective_at.tzinfo is None:
            raise InvalidPosting("effective_at: use a time with a time zone, UTC.")
        if len(self.lines) < 2:
            raise InvalidPosting("lines: an entry has at least one debit and one credit.")
        if self.reverses is not None and self.resolves is not None:
            raise InvalidPosting("An entry reverses or resolves another, never both.")
        self._check_lines()

    def _check_lines(self) -> None:
        differences: dict[tuple[str, bool], int] = {}
        for line in self.lines:
            if line.account.livemode is not self.livemode:
                raise InvalidPosting(
                    f"{line.account.code} has livemode {line.account.livemode}, the entry "
                    f"{self.livemode}: test and live money never meet."
                )
            place = (line.account.currency, line.pending)
            change = line.debit_minor - line.credit_minor
            differences[place] = differences.get(place, 0) + change
        for (currency, pending), difference in differences.items():
            if difference:
                raise UnbalancedEntry(
                    f"{self.kind} does not balance in {currency} "
                    f"({'pending' if pending else 'posted'} layer): debits minus credits is "
                    f"{difference}, and has to be 0."
                )

    def as_row(self) -> dict[str, Any]:
        """The posting as the database's function takes it; defaults are left out."""
        row: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
            "kind": self.kind,
            "livemode": self.livemode,
            "source_type": self.source_type,
            "source_id": self.source_id,
            "description": self.description,
            "enforces_floors": self.enforce_floors,
            "effective_at": self.effective_at.isoformat(),
            "lines": [_line_row(line) for line in self.lines],
        }
        if self.reverses is not None:
            row["reverses"] = self.reverses
        if self.resolves is not None:
            row["resolves"] = self.resolves
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        return row


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """The journal entry's id, and whether this call made it (False: it was there already)."""

    id: int
    created: bool


def post(
    *,
    idempotency_key: str,
    kind: str,
    lines: Sequence[Line],
    effective_at: datetime,
    source_type: str,
    source_id: str,
    livemode: bool,
    description: str = "",
    enforce_floors: bool = True,
    reverses: int | None = None,
    resolves: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> PostedEntry:
    """Post one entry inside the current transaction, in one round trip.

    `effective_at` is when it happened in the world (UTC); when it was recorded is the database's
    to say. `reverses` is the id of an entry that this one undoes as a whole; `resolves` that of a
    hold which this one posts or voids. The same key with the same money, source and links returns
    the entry posted before; its time, words and metadata stay as first told.

    Raises NotInTransaction outside atomic(), InvalidPosting (UnbalancedEntry among them),
    IdempotencyConflict, FloorBreached, AccountConflict, AccountClosed, AlreadyReversed,
    AlreadyResolved, InvalidLink, AmountOutOfRange; django.db.OperationalError for a deadlock or a
    lock that took too long, after which the whole transaction can be tried again.
    """
    posting = Posting(
        idempotency_key=idempotency_key,
        kind=kind,
        lines=lines,
        effective_at=effective_at,
        source_type=source_type,
        source_id=source_id,
        livemode=livemode,
        description=description,
        enforce_floors=enforce_floors,
        reverses=reverses,
        resolves=resolves,
        metadata=metadata or {},
    )
    return post_many([posting])[0]


def post_many(postings: Sequence[Posting]) -> list[PostedEntry]:
    """Post several entries in one statement, in their order: all of them or none.

    Each account's balance is locked and counted once for the whole batch, which makes a batch
    several times cheaper than its entries one by one; some hundreds are a good size. Raises what
    `post` raises, for the first entry that is refused, and InvalidPosting when two postings share
    an idempotency key.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction("Post inside transaction.atomic(), with the change it belongs to.")
    if not postings:
        return []
    if len({posting.idempotency_key for posting in postings}) != len(postings):
        raise InvalidPosting("Two postings of one call share an idempotency key: post one of them.")
    rows = json.dumps([posting.as_row() for posting in postings], separators=(",", ":"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT public.ledger_post(%s::jsonb)", [rows])
            ids: list[int] = cursor.fetchone()[0]
    except DatabaseError as error:
        raise refusal_of(error) from error
    return [PostedEntry(id=abs(entry_id), created=entry_id > 0) for entry_id in ids]


def _line_row(line: Line) -> dict[str, Any]:
    row = line.account.as_row()
    if line.debit_minor:
        row["debit_minor"] = line.debit_minor
    else:
        row["credit_minor"] = line.credit_minor
    if line.pending:
        row["pending"] = True
    if line.description:
        row["description"] = line.description
    return row
