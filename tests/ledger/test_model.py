"""Whatever is posted in whatever order, the ledger answers as the model in plain Python does."""

from __future__ import annotations

from typing import Any

from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger import balances
from ledger.accounts import AccountKey
from ledger.posting import FloorBreached, IdempotencyConflict, Line
from tests.ledger.conftest import Books
from tests.ledger.pure_model import ModelEntry, ModelLedger, Movement

FLOORED = ("wallet_a", "wallet_b")
NAMES = (*FLOORED, "open_a", "open_b")
amounts = st.one_of(st.integers(1, 20), st.integers(1, 10**12))


class Books_against_model(RuleBasedStateMachine):
    """Every rule is posted to PostgreSQL and to the model, then both are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.model = ModelLedger(frozenset(FLOORED))
        self.keys: dict[int, tuple[str, list[Line], dict[str, Any]]] = {}

    def account(self, name: str) -> AccountKey:
        """The account of this name; open_b is striped."""
        return self.books.account(
            name,
            "liability",
            floor_minor=0 if name in FLOORED else None,
            stripes=4 if name == "open_b" else 1,
        )

    def try_posting(self, movements: list[Movement], *, refusable: bool, **links: int) -> None:
        """Post, and compare acceptance or refusal with the model's."""
        entry = ModelEntry(movements, links.get("reverses"), links.get("resolves"))
        refused = refusable and self.model.would_breach(entry)
        lines = [
            Line(self.account(name), max(amount, 0), max(-amount, 0), pending)
            for name, amount, pending in movements
        ]
        options: dict[str, Any] = {
            "enforce_floors": refusable,
            "idempotency_key": f"{self.books.owner}:{len(self.keys)}:{self.books.posted}",
            "source_id": self.books.owner,
            **links,
        }
        try:
            posted = self.books.post(*lines, **options)
        except FloorBreached:
            assert refused, "PostgreSQL refused what the model takes"
            return
        assert not refused, "PostgreSQL took what the model refuses"
        assert posted.created
        self.model.entries[posted.id] = entry
        self.keys[posted.id] = (options["idempotency_key"], lines, options)

    @rule(
        movement=st.permutations(NAMES), amount=amounts, refusable=st.booleans(), hold=st.booleans()
    )
    def move(self, movement: list[str], amount: int, *, refusable: bool, hold: bool) -> None:
        """A transfer or a hold between two accounts."""
        debited, credited = movement[:2]
        self.try_posting([(debited, amount, hold), (credited, -amount, hold)], refusable=refusable)

    @rule(parts=st.permutations(NAMES), first=amounts, second=amounts, refusable=st.booleans())
    def split(self, parts: list[str], first: int, second: int, *, refusable: bool) -> None:
        """One account pays two others."""
        self.try_posting(
            [
                (parts[0], first + second, False),
                (parts[1], -first, False),
                (parts[2], -second, False),
            ],
            refusable=refusable,
        )

    @precondition(lambda self: self.model.open_holds())
    @rule(data=st.data(), share=st.integers(0, 3), refusable=st.booleans())
    def resolve(self, data: st.DataObject, share: int, *, refusable: bool) -> None:
        """Void a hold (0), or post a third, two thirds or all of it."""
        hold = data.draw(st.sampled_from(self.model.open_holds()))
        held = self.model.entries[hold].movements
        movements = [(name, -amount, True) for name, amount, _ in held]
        part = held[0][1] * share // 3
        if part:
            movements += [(held[0][0], part, False), (held[1][0], -part, False)]
        self.try_posting(movements, refusable=refusable, resolves=hold)

    @precondition(lambda self: self.model.reversible())
    @rule(data=st.data(), refusable=st.booleans())
    def reverse(self, data: st.DataObject, *, refusable: bool) -> None:
        """Take a whole entry back."""
        target = data.draw(st.sampled_from(self.model.reversible()))
        movements = [
            (name, -amount, False) for name, amount, _ in self.model.entries[target].movements
        ]
        self.try_posting(movements, refusable=refusable, reverses=target)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same posting again changes nothing, whatever happened since."""
        entry_id = data.draw(st.sampled_from(sorted(self.keys)))
        _, lines, options = self.keys[entry_id]
        again = self.books.post(*reversed(lines), **options)
        assert (again.id, again.created) == (entry_id, False)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), amount=amounts)
    def contradict(self, data: st.DataObject, amount: int) -> None:
        """A known key with more money is refused."""
        entry_id = data.draw(st.sampled_from(sorted(self.keys)))
        _, lines, options = self.keys[entry_id]
        pair = [Line(self.account("open_a"), amount), Line(self.account("open_b"), 0, amount)]
        try:
            self.books.post(*lines, *pair, **options)
        except IdempotencyConflict:
            return
        raise AssertionError("A key was taken for two things")

    @invariant()
    def balances_agree(self) -> None:
        """Counters, sums of lines and the model say the same."""
        accounts = {name: self.account(name) for name in NAMES}
        found = balances.balances(accounts.values())
        for name, account in accounts.items():
            assert found[account].balance_minor == self.model.posted(name)
            assert found[account].held_minor == self.model.held(name)
        assert sum(balance.balance_minor for balance in found.values()) == 0

    def teardown(self) -> None:
        """At the end the lines alone lead to the same balances."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            now = cursor.fetchone()[0]
        for name in NAMES:
            account = self.account(name)
            replayed = balances.balance_as_of(account, now, clock="recorded")
            current = balances.balance(account)
            assert replayed.balance_minor == current.balance_minor
            assert replayed.held_minor == current.held_minor


TestBooksAgainstModel = Books_against_model.TestCase
TestBooksAgainstModel.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
