"""Reading the books: balances now and as of a moment, statements, and what a source has posted.

Mental model: the balance of an account is the sum of its lines. Now, that sum is kept as counters
and read in one index probe; for a moment in the past it is summed from the lines, by when things
happened (`effective`) or by when they were recorded (`recorded`). Balances are given on the
account's normal side: what an asset is worth and what a liability owes are both positive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import connection

from ledger.accounts import AccountKey
from ledger.money import Money

Clock = Literal["effective", "recorded"]

# The statements below are put together from constants of this file alone, hence the S608 marks.
_ACCOUNT = "a.code, a.kind, a.currency, a.livemode, a.owner, a.stripes, a.floor_minor"
_IS_ACCOUNT = "a.code = %s AND a.owner = %s AND a.currency = %s AND a.livemode = %s"
_CURRENT = f"""
    SELECT {_ACCOUNT}, sum(b.posted_debit_minor), sum(b.posted_credit_minor),
           sum(b.pending_debit_minor - b.released_debit_minor),
           sum(b.pending_credit_minor - b.released_credit_minor)
      FROM ledger_account a JOIN ledger_balance b ON b.account_id = a.id
"""  # noqa: S608
# Named accounts come as JSON, so that any number of them is one parameter.
_CURRENT_OF_NAMED = f"""{_CURRENT}
      JOIN jsonb_to_recordset(%s::jsonb)
           AS w(code text, owner text, currency text, livemode boolean)
        ON (a.owner, a.code, a.currency, a.livemode)
           = (w.owner, w.code, w.currency, w.livemode)
     GROUP BY a.id
"""
_CURRENT_OF_OWNER = f"""{_CURRENT}
     WHERE a.owner = %s AND a.livemode = %s GROUP BY a.id ORDER BY a.code, a.currency
"""
_CURRENT_OF_CODE = f"""{_CURRENT}
     WHERE a.code = %s AND a.livemode = %s GROUP BY a.id ORDER BY a.owner, a.currency
"""
# A resolving entry's pending lines release what its target holds on the other side.
_AS_OF = f"""
    SELECT {_ACCOUNT},
           coalesce(sum(l.debit_minor) FILTER (WHERE NOT l.pending), 0),
           coalesce(sum(l.credit_minor) FILTER (WHERE NOT l.pending), 0),
           coalesce(sum(CASE WHEN e.resolves IS NULL THEN l.debit_minor ELSE -l.credit_minor END)
             FILTER (WHERE l.pending), 0),
           coalesce(sum(CASE WHEN e.resolves IS NULL THEN l.credit_minor ELSE -l.debit_minor END)
             FILTER (WHERE l.pending), 0)
      FROM ledger_account a
      JOIN ledger_line l ON l.account_id = a.id
      JOIN ledger_journal_entry e ON e.id = l.entry_id
     WHERE {_IS_ACCOUNT}
"""  # noqa: S608
_AS_OF_CLOCK: dict[Clock, str] = {
    "effective": f"{_AS_OF} AND e.effective_at <= %s GROUP BY a.id",
    "recorded": f"{_AS_OF} AND e.recorded_at <= %s GROUP BY a.id",
}
# One statement, so that the opening balance and the lines are of one moment.
_STATEMENT = f"""
    WITH mine AS (
      SELECT e.id AS entry_id, l.line_number, e.kind, e.source_type, e.source_id,
             coalesce(nullif(l.description, ''), e.description) AS description,
             e.effective_at, e.recorded_at, l.debit_minor, l.credit_minor
        FROM ledger_account a
        JOIN ledger_line l ON l.account_id = a.id
        JOIN ledger_journal_entry e ON e.id = l.entry_id
       WHERE {_IS_ACCOUNT} AND NOT l.pending),
    start AS (
      SELECT coalesce(%s::timestamptz, '-infinity') AS at, %s::bigint AS entry_id,
             %s::smallint AS line_number),
    opening AS (
      SELECT coalesce(sum(m.debit_minor - m.credit_minor), 0) AS amount FROM mine m, start s
       WHERE (m.effective_at, m.entry_id, m.line_number) <= (s.at, s.entry_id, s.line_number)),
    page AS (
      SELECT m.* FROM mine m, start s
       WHERE (m.effective_at, m.entry_id, m.line_number) > (s.at, s.entry_id, s.line_number)
         AND m.effective_at < coalesce(%s::timestamptz, 'infinity')
       ORDER BY m.effective_at, m.entry_id, m.line_number LIMIT %s)
    SELECT opening.amount, page.* FROM opening LEFT JOIN page ON true
     ORDER BY page.effective_at, page.entry_id, page.line_number
"""  # noqa: S608
_ENTRIES = f"""
    SELECT e.id, e.kind, e.source_type, e.source_id, e.description, e.livemode,
           e.effective_at, e.recorded_at, e.reverses, e.resolves,
           l.line_number, l.debit_minor, l.credit_minor, l.pending, l.description, {_ACCOUNT}
      FROM ledger_journal_entry e
      JOIN ledger_line l ON l.entry_id = e.id
      JOIN ledger_account a ON a.id = l.account_id
"""  # noqa: S608
_ENTRIES_OF_SOURCE = f"""{_ENTRIES}
     WHERE e.source_id = %s AND e.source_type = %s AND e.metadata @> %s::jsonb
     ORDER BY e.id, l.line_number
"""
_ENTRY = f"{_ENTRIES} WHERE e.id = %s ORDER BY l.line_number"
_TRIAL_BALANCE = """
    SELECT a.code, a.kind, a.currency, sum(b.posted_debit_minor), sum(b.posted_credit_minor)
      FROM ledger_account a JOIN ledger_balance b ON b.account_id = a.id
     WHERE a.livemode = %s GROUP BY a.code, a.kind, a.currency ORDER BY a.currency, a.code
"""


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What stands on an account: gross totals by side, and what is held on each side."""

    account: AccountKey
    posted_debit_minor: int
    posted_credit_minor: int
    held_debit_minor: int
    held_credit_minor: int

    @property
    def balance_minor(self) -> int:
        """Posted money on the normal side; negative when the account stands on the other."""
        difference = self.posted_debit_minor - self.posted_credit_minor
        return difference if self.account.is_debit_normal else -difference

    @property
    def held_minor(self) -> int:
        """What pending entries will take away if they are posted."""
        normal = self.account.is_debit_normal
        return self.held_credit_minor if normal else self.held_debit_minor

    @property
    def available_minor(self) -> int:
        """What a request may still take: the balance without what is held."""
        return self.balance_minor - self.held_minor

    @property
    def money(self) -> Money:
        """The balance with its currency."""
        return Money(self.balance_minor, self.account.currency)


@dataclass(frozen=True, slots=True)
class PostedLine:
    """One line as it stands in the books, with the account it debits or credits."""

    entry_id: int
    line_number: int
    account: AccountKey
    debit_minor: int
    credit_minor: int
    pending: bool
    description: str

    @property
    def currency(self) -> str:
        """The currency of both amounts."""
        return self.account.currency


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry with its lines in order."""

    id: int
    kind: str
    source_type: str
    source_id: str
    description: str
    livemode: bool
    effective_at: datetime
    recorded_at: datetime
    reverses: int | None
    resolves: int | None
    lines: tuple[PostedLine, ...]


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One posted line of an account, and the balance it left on the normal side."""

    entry_id: int
    line_number: int
    kind: str
    source_type: str
    source_id: str
    description: str
    effective_at: datetime
    recorded_at: datetime
    debit_minor: int
    credit_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A page of an account's posted lines by effective time, between two balances."""

    account: AccountKey
    opening_minor: int
    lines: tuple[StatementLine, ...]
    has_more: bool

    @property
    def closing_minor(self) -> int:
        """The balance after the last line shown."""
        return self.lines[-1].balance_minor if self.lines else self.opening_minor


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """All accounts of one code in one currency, together."""

    code: str
    kind: str
    currency: str
    debit_minor: int
    credit_minor: int


def balance(account: AccountKey) -> AccountBalance:
    """What stands on the account now; zeros when it was never opened."""
    return balances([account])[account]


def balances(accounts: Iterable[AccountKey]) -> dict[AccountKey, AccountBalance]:
    """What stands on each account now, all of one moment, in one round trip."""
    wanted = list(dict.fromkeys(accounts))
    names = json.dumps([_name(account) for account in wanted])
    found = {row.account: row for row in map(_balance, _rows(_CURRENT_OF_NAMED, [names]))}
    return {account: found.get(account) or _zero(account) for account in wanted}


def balances_of_owner(owner: str, *, livemode: bool) -> list[AccountBalance]:
    """What stands now on every account of the owner in this mode, by code and currency."""
    return [_balance(row) for row in _rows(_CURRENT_OF_OWNER, [owner, livemode])]


def balances_of_code(code: str, *, livemode: bool) -> list[AccountBalance]:
    """What stands now on every account of this code in this mode, by owner and currency."""
    return [_balance(row) for row in _rows(_CURRENT_OF_CODE, [code, livemode])]


def balance_as_of(
    account: AccountKey, at: datetime, *, clock: Clock = "effective"
) -> AccountBalance:
    """What stood on the account at a moment, entries of that very moment included.

    By `effective` time it is what was true in the world, with all that is known today; by
    `recorded` time it is what this ledger had recorded. Sums the account's lines: time grows with
    their number.
    """
    rows = _rows(_AS_OF_CLOCK[clock], [*_name(account).values(), at])
    return _balance(rows[0]) if rows else _zero(account)


def account_statement(
    account: AccountKey,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    after: StatementLine | None = None,
    limit: int = 100,
) -> Statement:
    """The account's posted lines with `since` <= effective time < `until`, each with its balance.

    The next page starts `after` the last line of this one. A later entry that is dated back
    appears where it belongs, and the balances after it follow. Sums the account's lines.
    """
    start = (after.effective_at, after.entry_id, after.line_number) if after else (since, 0, 0)
    rows = _rows(_STATEMENT, [*_name(account).values(), *start, until, limit + 1])
    sign = 1 if account.is_debit_normal else -1
    opening = running = sign * int(rows[0][0])
    lines = []
    for row in rows[:limit]:
        if row[1] is None:  # no line, only the opening balance
            break
        running += sign * (row[-2] - row[-1])
        lines.append(StatementLine(*(*row[1:], running)))
    return Statement(account, opening, tuple(lines), has_more=len(rows) > limit)


def entries_for_source(
    source_type: str, source_id: str, *, metadata: Mapping[str, Any] | None = None
) -> list[Entry]:
    """All journal entries made from this source, oldest first, with their lines.

    With `metadata` only those whose own contains it.
    """
    contained = json.dumps(dict(metadata or {}))
    return _entries(_rows(_ENTRIES_OF_SOURCE, [source_id, source_type, contained]))


def entry(entry_id: int) -> Entry | None:
    """The journal entry with this id, with its lines; None when there is none."""
    return next(iter(_entries(_rows(_ENTRY, [entry_id]))), None)


def trial_balance(*, livemode: bool) -> list[TrialBalanceRow]:
    """Posted totals by code and currency; per currency the debits equal the credits."""
    rows = _rows(_TRIAL_BALANCE, [livemode])
    return [TrialBalanceRow(*(*row[:3], int(row[3]), int(row[4]))) for row in rows]


def _name(account: AccountKey) -> dict[str, Any]:
    """The four columns that name an account, in the order of _IS_ACCOUNT."""
    return {
        "code": account.code,
        "owner": account.owner,
        "currency": account.currency,
        "livemode": account.livemode,
    }


def _rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def _balance(row: tuple[Any, ...]) -> AccountBalance:
    # Sums of bigints come as numeric: whole numbers of any size.
    return AccountBalance(AccountKey(*row[:7]), *(int(total) for total in row[7:]))


def _zero(account: AccountKey) -> AccountBalance:
    return AccountBalance(account, 0, 0, 0, 0)


def _entries(rows: list[tuple[Any, ...]]) -> list[Entry]:
    """Rows of _ENTRIES, ten columns of the header before those of a line, as entries."""
    lines: dict[tuple[Any, ...], list[PostedLine]] = {}
    for row in rows:
        number, debit, credit, pending, description = row[10:15]
        account = AccountKey(*row[15:])
        lines.setdefault(row[:10], []).append(
            PostedLine(row[0], number, account, debit, credit, pending, description)
        )
    return [Entry(*(*header, tuple(of_entry))) for header, of_entry in lines.items()]
