"""Books of a test's own: accounts with a fresh owner, and short ways to post to them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connections, transaction
from psycopg import sql

from ledger.accounts import AccountKey
from ledger.posting import Line, PostedEntry, Posting, post, post_many
from tests.databases import TestDatabases

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Books:
    """The accounts of one owner that no other test knows."""

    owner: str = field(default_factory=lambda: f"test_{secrets.token_hex(8)}")
    posted: int = 0

    def account(self, code: str, kind: str, currency: str = "EUR", **options: Any) -> AccountKey:
        """An account of this owner; test mode unless `livemode` says otherwise."""
        livemode = options.pop("livemode", False)
        return AccountKey(code, kind, currency, livemode, self.owner, **options)

    @property
    def clearing(self) -> AccountKey:
        """A striped asset."""
        return self.account("psp:clearing", "asset", stripes=8)

    @property
    def pending(self) -> AccountKey:
        """A liability without a floor."""
        return self.account("merchant:pending", "liability")

    @property
    def wallet(self) -> AccountKey:
        """A liability that requests cannot take below zero."""
        return self.account("merchant:available", "liability", floor_minor=0)

    def posting(self, *lines: Line, **options: Any) -> Posting:
        """A posting with a key and a source of its own."""
        self.posted += 1
        name = f"{self.owner}:{self.posted}"
        facts: dict[str, Any] = {
            "idempotency_key": name,
            "kind": "test",
            "effective_at": NOON,
            "source_type": "test",
            "source_id": name,
            "livemode": False,
        }
        return Posting(lines=lines, **{**facts, **options})

    def post(self, *lines: Line, **options: Any) -> PostedEntry:
        """Post and commit one entry."""
        with transaction.atomic():
            return post_many([self.posting(*lines, **options)])[0]

    def move(
        self, debited: AccountKey, credited: AccountKey, amount_minor: int, **options: Any
    ) -> PostedEntry:
        """Post and commit an entry of two lines; `pending` makes it a hold."""
        pending = options.pop("pending", False)
        return self.post(
            Line(debited, debit_minor=amount_minor, pending=pending),
            Line(credited, credit_minor=amount_minor, pending=pending),
            **options,
        )

    def fund(self, amount_minor: int) -> PostedEntry:
        """Put money into the wallet."""
        return self.move(self.clearing, self.wallet, amount_minor)


@pytest.fixture
def books() -> Books:
    """Books of this test's own."""
    return Books()


@pytest.fixture
def posted() -> Callable[..., PostedEntry]:
    """`ledger.posting.post` in a transaction of its own."""

    def _post(**arguments: Any) -> PostedEntry:
        with transaction.atomic():
            return post(**arguments)

    return _post


@pytest.fixture
def spare_database(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """A connection as owner to a further clone, for a test that damages books or schema.

    The ledger's functions work on the clone while the test runs. The clone is dropped afterwards.
    """
    name = f"{databases.name}_spare_{secrets.token_hex(3)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    drop = sql.SQL("DROP DATABASE {}")
    url = urlunsplit(urlsplit(databases.servers.database_owner_url)._replace(path=f"/{name}"))
    default = connections["default"]
    with psycopg.connect(databases.server.database_owner_url, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(4617232)")
        server.execute(create.format(sql.Identifier(name), sql.Identifier(databases.template)))
        server.execute("SELECT pg_advisory_unlock(4617232)")
        default.close()
        original = default.settings_dict["NAME"]
        default.settings_dict["NAME"] = name
        try:
            with psycopg.connect(url, autocommit=True) as owner:
                yield owner
        finally:
            default.close()
            default.settings_dict["NAME"] = original
            server.execute(drop.format(sql.Identifier(name)))
