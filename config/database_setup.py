"""Make a database ready for Florin: the application's role, its rights, the migrations.

Two parties use the database. The *owner* (alias `owner`) creates and alters tables. The
application (alias `default`) always works as the role `florin_app`, whatever login it comes in
with, and has no more than SELECT, INSERT, UPDATE and DELETE on tables and USAGE on sequences;
the ledger's and the audit's migrations take more away. Those rights are *default privileges* of
the owner, so they hold for every table a migration makes, from its creation on, and running the
setup again never gives back what a migration took away.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import IntegrityError

# Any fixed number: it names the one lock that setups of one database queue for.
_SETUP_LOCK = 4_617_231
_RETRY_SECONDS = 0.25
# A server that says this is up; waiting for it would not help.
_REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry")


class DatabaseSetupFailed(Exception):
    """The database cannot be made ready; the message holds what an administrator has to run."""


def set_up_database(*, wait_seconds: float, say: Callable[[str], None]) -> None:
    """Create the application's role, set its rights and migrate; safe to repeat and to race.

    Waits up to `wait_seconds` for a server that is starting. Raises DatabaseSetupFailed where the
    owner may not do a step, and django.db.OperationalError when no server answers in time.
    """
    owner = connections["owner"]
    _wait_until_reachable(owner, wait_seconds)
    waiting_room = owner.copy(alias="owner")
    try:
        with waiting_room.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0; SET statement_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", [_SETUP_LOCK])
        _ensure_role(owner)
        _ensure_membership(owner)
        set_default_privileges(owner)
        say(f"Role {settings.APPLICATION_ROLE} is ready.")
        call_command("migrate", database="owner", interactive=False, verbosity=0)
        _protect_migration_records(owner)
        say("Migrations are applied.")
    finally:
        waiting_room.close()  # ends the session, and with it the lock
        owner.close()


def _wait_until_reachable(owner: BaseDatabaseWrapper, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            owner.ensure_connection()
            return
        except OperationalError as error:
            refused = any(words in str(error) for words in _REFUSALS)
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _ensure_role(owner: BaseDatabaseWrapper) -> None:
    role = settings.APPLICATION_ROLE
    with owner.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone():
            return
        try:
            cursor.execute(f"CREATE ROLE {owner.ops.quote_name(role)} NOLOGIN")
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", "") != "42710":  # duplicate_object
                raise _ask_administrator(f"CREATE ROLE {role} NOLOGIN", error) from error
        except IntegrityError:
            return  # roles belong to the server: a setup of another database was faster


def _ensure_membership(owner: BaseDatabaseWrapper) -> None:
    """Let the application's login take on the role."""
    role, login = settings.APPLICATION_ROLE, application_login()
    with owner.cursor() as cursor:
        cursor.execute("SELECT pg_has_role(%s, %s, 'SET')", [login, role])
        if cursor.fetchone() == (True,):
            return
        grant = f"GRANT {owner.ops.quote_name(role)} TO {owner.ops.quote_name(login)}"
        try:
            cursor.execute(grant)
        except (ProgrammingError, OperationalError) as error:
            raise _ask_administrator(grant, error) from error


def set_default_privileges(owner: BaseDatabaseWrapper) -> None:
    """Let the application use every table and sequence that this owner makes from now on."""
    role = owner.ops.quote_name(settings.APPLICATION_ROLE)
    for statement in (
        f"GRANT USAGE ON SCHEMA public TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}",
    ):
        try:
            with owner.cursor() as cursor:
                cursor.execute(statement)
        except ProgrammingError as error:
            raise _ask_administrator(statement, error) from error


def _protect_migration_records(owner: BaseDatabaseWrapper) -> None:
    """The application reads which migrations ran, and cannot pretend others had."""
    role = owner.ops.quote_name(settings.APPLICATION_ROLE)
    with owner.cursor() as cursor:
        cursor.execute(f"REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}")


def application_login() -> str:
    """The login that the alias `default` uses, by libpq's own rules when the address names none."""
    named: str = settings.DATABASES["default"].get("USER") or os.environ.get("PGUSER", "")
    return named or getpass.getuser()


def _ask_administrator(statement: str, error: Exception) -> DatabaseSetupFailed:
    return DatabaseSetupFailed(
        f"The login of DATABASE_OWNER_URL may not do this: {str(error).strip()}. As an "
        f"administrator, run `{statement};` in this database, then start again."
    )
