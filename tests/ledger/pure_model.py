"""The ledger in plain Python: what every operation should do, without a database.

Mental model: the oracle of the property tests. It keeps entries and works every answer out from
them each time; it is slow, single-threaded, and short enough to be right by reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Movement = tuple[str, int, bool]  # account, amount (debit above 0, credit below), pending


@dataclass
class ModelEntry:
    """One posted entry and what it points at."""

    movements: list[Movement]
    reverses: int | None = None
    resolves: int | None = None


@dataclass
class ModelLedger:
    """Liability accounts without and, in `floored`, with a floor of zero."""

    floored: frozenset[str]
    entries: dict[int, ModelEntry] = field(default_factory=dict)

    def posted(self, account: str) -> int:
        """Posted credits minus debits."""
        return -sum(
            amount
            for entry in self.entries.values()
            for name, amount, pending in entry.movements
            if name == account and not pending
        )

    def held(self, account: str) -> int:
        """Debits that open holds announce."""
        return sum(
            amount
            for number in self.open_holds()
            for name, amount, pending in self.entries[number].movements
            if name == account and pending and amount > 0
        )

    def open_holds(self) -> list[int]:
        """Entries with pending lines that nothing has resolved."""
        resolved = {entry.resolves for entry in self.entries.values()}
        return [
            number
            for number, entry in self.entries.items()
            if entry.resolves is None
            and number not in resolved
            and any(pending for _, _, pending in entry.movements)
        ]

    def reversible(self) -> list[int]:
        """Entries of posted lines alone that nothing has reversed."""
        reversed_ = {entry.reverses for entry in self.entries.values()}
        return [
            number
            for number, entry in self.entries.items()
            if number not in reversed_ and not any(pending for _, _, pending in entry.movements)
        ]

    def would_breach(self, entry: ModelEntry) -> bool:
        """Whether the entry lowers a floored account to less than nothing available."""
        before = {name: self.posted(name) - self.held(name) for name in self.floored}
        after = ModelLedger(self.floored, {**self.entries, -1: entry})
        return any(
            available > after.posted(name) - after.held(name) < 0
            for name, available in before.items()
        )
