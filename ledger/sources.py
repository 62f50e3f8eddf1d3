"""What the books say of many sources at once: totals per source, kind of entry and account.

Mental model: an auditor compares a whole business table with the ledger, range by range of its
ids. Each range is one statement over the index of entries by source, summed here, so that the
caller holds a few totals per source and never the lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True, slots=True)
class SourceTotal:
    """Sums of one source's posted lines: one row per kind of entry, account and currency."""

    source_id: str
    kind: str
    account_code: str
    account_owner: str
    currency: str
    livemode: bool
    debit_minor: int
    credit_minor: int


def totals_by_source(source_type: str, *, after: str, until: str | None) -> Iterator[SourceTotal]:
    """Totals of every source of this type whose id is above `after` and at most `until` (None: no
    end), in no particular order. Pending lines (holds) are left out.
    """
    upper = "" if until is None else "AND e.source_id <= %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT e.source_id, e.kind, a.code, a.owner, l.currency, e.livemode,
                   sum(l.debit_minor)::bigint, sum(l.credit_minor)::bigint
              FROM ledger_journal_entry e
              JOIN ledger_line l ON l.entry_id = e.id AND NOT l.pending
              JOIN ledger_account a ON a.id = l.account_id
             WHERE e.source_type = %s AND e.source_id > %s {upper}
             GROUP BY e.source_id, e.kind, a.code, a.owner, l.currency, e.livemode
            """,  # noqa: S608
            [source_type, after, *([] if until is None else [until])],
        )
        for row in cursor:
            yield SourceTotal(*row)


@dataclass(frozen=True, slots=True)
class Position:
    """Where one source's money stands now: debits less credits per account code, over all its
    posted entries in one currency, and how many entries those are.
    """

    net_debit_minor: Mapping[str, int]
    entry_count: int

    def debit(self, code: str) -> int:
        """What stands on the debit side of `code` (negative: on the credit side)."""
        return self.net_debit_minor.get(code, 0)

    def credit(self, code: str) -> int:
        """What stands on the credit side of `code` (negative: on the debit side)."""
        return -self.net_debit_minor.get(code, 0)


def position(source_type: str, source_id: str, currency: str) -> Position:
    """The position of one source. Whoever holds the lock under which the source's entries are
    posted reads what will still be true at their own posting.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.code, sum(l.debit_minor - l.credit_minor)::bigint,
                   (SELECT count(*) FROM ledger_journal_entry c
                     WHERE c.source_type = %s AND c.source_id = %s)
              FROM ledger_journal_entry e
              JOIN ledger_line l ON l.entry_id = e.id AND NOT l.pending AND l.currency = %s
              JOIN ledger_account a ON a.id = l.account_id
             WHERE e.source_type = %s AND e.source_id = %s
             GROUP BY a.code
            """,
            [source_type, source_id, currency, source_type, source_id],
        )
        found = cursor.fetchall()
    return Position({code: net for code, net, _ in found}, found[0][2] if found else 0)


def entry_id(idempotency_key: str) -> int | None:
    """The entry that was posted under this key, or None."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM ledger_journal_entry WHERE idempotency_key = %s", [idempotency_key]
        )
        row = cursor.fetchone()
    return None if row is None else row[0]
