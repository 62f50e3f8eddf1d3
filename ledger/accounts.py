"""Accounts: where value can stand, named by code and owner, one per currency and mode.

Mental model: an `AccountKey` *is* the account; whoever can write the key can post to it, and the
account is opened by its first posting. The database finds the row by its name in the same
statement that posts, so no id is cached anywhere: there is nothing to go stale after a rollback
or a restore. Kind and floor are decided once, when an account is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection

from ledger.errors import (
    AccountConflict,
    AccountNotEmpty,
    InvalidAccount,
    LedgerError,
    UnknownAccount,
    refusal_of,
)
from ledger.money import is_currency

__all__ = [
    "KINDS",
    "AccountConflict",
    "AccountKey",
    "AccountNotEmpty",
    "InvalidAccount",
    "LedgerError",
    "UnknownAccount",
    "close_account",
    "ensure",
    "open_account",
]

KINDS = ("asset", "liability", "equity", "income", "expense")
_CODE = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The name of an account, and how it is opened if it does not exist yet.

    `code` says what stands there ("merchant:pending"), `owner` whose it is ("" for the platform's
    own). `stripes` spreads a busy account's totals over up to 64 rows so that writers do not wait
    for each other. `floor_minor` is the lowest available balance, on the account's normal side,
    that a refusable entry may leave; a floored account has one stripe.
    Raises InvalidAccount, naming the field.
    """

    code: str
    kind: str
    currency: str
    livemode: bool
    owner: str = ""
    stripes: int = field(default=1, compare=False)
    floor_minor: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code) or len(self.code) > 80:
            raise InvalidAccount(
                f"code {self.code!r}: use lower-case words joined by ':', such as 'psp:clearing'."
            )
        if self.kind not in KINDS:
            raise InvalidAccount(f"kind {self.kind!r}: use one of {', '.join(KINDS)}.")
        if not is_currency(self.currency):
            raise InvalidAccount(f"currency {self.currency!r}: use an ISO 4217 code, upper case.")
        if len(self.owner) > 80:
            raise InvalidAccount(f"owner {self.owner!r}: at most 80 characters.")
        if not 1 <= self.stripes <= 64:
            raise InvalidAccount(f"stripes {self.stripes}: use 1 to 64.")
        if self.floor_minor is not None and self.stripes != 1:
            raise InvalidAccount("floor_minor: a floored account has one stripe.")

    @property
    def is_debit_normal(self) -> bool:
        """Whether a debit makes the balance grow: so it is for assets and expenses."""
        return self.kind in ("asset", "expense")

    def as_row(self) -> dict[str, Any]:
        """The account as the database's functions take it."""
        row: dict[str, Any] = {"code": self.code, "kind": self.kind, "currency": self.currency}
        if self.owner:
            row["owner"] = self.owner
        if self.stripes != 1:
            row["stripes"] = self.stripes
        if self.floor_minor is not None:
            row["floor_minor"] = self.floor_minor
        return row


def open_account(account: AccountKey) -> int:
    """Open the account if it does not exist and return its id.

    Raises AccountConflict when it exists with another kind or floor.
    """
    return ensure([account])[account]


def ensure(accounts: Iterable[AccountKey]) -> Mapping[AccountKey, int]:
    """Open what is missing of the given accounts, in one round trip; their ids by key.

    A posting does this by itself. Opening ahead (when a merchant is set up) keeps the first
    postings of several workers from waiting for each other. Raises AccountConflict.
    """
    wanted = list(dict.fromkeys(accounts))
    rows = json.dumps([{**key.as_row(), "livemode": key.livemode} for key in wanted])
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT public.ledger_open_accounts(%s::jsonb)", [rows])
            ids: list[int] = cursor.fetchone()[0]
    except DatabaseError as error:
        raise refusal_of(error) from error
    return dict(zip(wanted, ids, strict=True))


def close_account(account: AccountKey, *, now: datetime) -> None:
    """Close an empty account for good; further postings to it raise AccountClosed.

    Closing a closed account changes nothing. Raises UnknownAccount, or AccountNotEmpty when
    something stands on it or is held.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE public.ledger_account SET closed_at = coalesce(closed_at, %s)"
                " WHERE owner = %s AND code = %s AND currency = %s AND livemode = %s",
                [now, account.owner, account.code, account.currency, account.livemode],
            )
            if cursor.rowcount == 0:
                raise UnknownAccount(f"{account.code} of {account.owner!r} was never opened.")
    except DatabaseError as error:
        raise refusal_of(error) from error
