"""The application works with florin_app's rights, whatever login it comes in with."""

from __future__ import annotations

import psycopg
import pytest
from django.db import ProgrammingError, connection


def test_the_application_works_as_the_role_florin_app() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("florin_app",)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE attack (id int)",
        "TRUNCATE django_session",
        "ALTER TABLE django_session DISABLE TRIGGER ALL",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
        "SET session_replication_role = replica",
        "CREATE ROLE attack",
    ],
)
def test_the_application_cannot_change_the_schema_or_weaken_it(statement: str) -> None:
    with pytest.raises(ProgrammingError), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_superuser_connection_can_switch_triggers_off(
    superuser_connection: psycopg.Connection,
) -> None:
    superuser_connection.execute("SET session_replication_role = replica")


def test_the_owner_owns_the_tables_and_the_application_does_not(
    owner_connection: psycopg.Connection, second_connection: psycopg.Connection
) -> None:
    question = "SELECT tableowner = current_user FROM pg_tables WHERE tablename = 'django_session'"
    assert owner_connection.execute(question).fetchone() == (True,)
    assert second_connection.execute(question).fetchone() == (False,)
