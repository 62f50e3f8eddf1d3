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

from config.database_setup import set_default_privileges
from tests.databases import TestDatabases, cloned_database
from webhooks import lanes


@contextlib.contextmanager
def own_database(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """Point Django at a new clone; gives an autocommit connection of the tables' owner to it."""
    own = dataclasses.replace(databases, name=f"{databases.name}_{secrets.token_hex(2)}")
    with cloned_database(own), _worked_on(own) as owner:
        yield owner


@contextlib.contextmanager
def empty_database(databases: TestDatabases) -> Iterator[psycopg.Connection]:
    """The same with a database in which nothing is yet, as before the first migration."""
    nothing = dataclasses.replace(databases, template="template0")
    with own_database(nothing) as owner:
        set_default_privileges(connections["owner"])
        yield owner


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


@contextlib.contextmanager
def _worked_on(own: TestDatabases) -> Iterator[psycopg.Connection]:
    owner_url = urlsplit(own.servers.database_owner_url)
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    _work_on(dict.fromkeys(names, own.name))
    try:
        with psycopg.connect(
            urlunsplit(owner_url._replace(path=f"/{own.name}")), autocommit=True
        ) as owner:
            yield owner
    finally:
        _work_on(names)


def _work_on(names: dict[str, str]) -> None:
    lanes.close_side_connection()
    for alias, name in names.items():
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
