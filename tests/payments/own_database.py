"""A database for one test alone: a fresh clone that Django works on meanwhile.

Whole-database proofs need one, because the tests' shared database holds what other tests left,
damage included. `unguarded` takes every trigger of a table off for one plain statement and puts
each back as it was, as an owner with bad intentions would.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.db import connections
from psycopg import sql

from tests.databases import TestDatabases, cloned_database
from webhooks import lanes


@contextlib.contextmanager
def own_database(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """Point Django at a new clone; gives an autocommit connection of the tables' owner to it."""
    own = dataclasses.replace(databases, name=f"{databases.name}_{secrets.token_hex(2)}")
    owner_url = urlsplit(databases.servers.database_owner_url)
    with cloned_database(own):
        names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
        _work_on(dict.fromkeys(names, own.name))
        try:
            with psycopg.connect(
                urlunsplit(owner_url._replace(path=f"/{own.name}")), autocommit=True
            ) as owner:
                yield owner
        finally:
            _work_on(names)


def unguarded(owner: psycopg.Connection, table: str, statement: str) -> None:
    """Run `statement` while no trigger of `table` fires, then put each back as it was."""
    modes = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}
    name = sql.Identifier(table)
    triggers = owner.execute(
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = %s::regclass "
        "AND NOT tgisinternal",
        [table],
    ).fetchall()
    owner.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
    changed = owner.execute(statement.encode()).rowcount
    for trigger, mode in triggers:
        owner.execute(
            sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
                name, sql.SQL(modes[mode]), sql.Identifier(trigger)
            )
        )
    assert changed, f"{statement!r} changed nothing"


def _work_on(names: dict[str, str]) -> None:
    lanes.close_side_connection()
    for alias, name in names.items():
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
