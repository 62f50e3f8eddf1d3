"""Statements that are sent without detours.

Mental model: Django's cursor writes every value into the text of the statement, which for a body
of kilobytes costs more than the rest of the call. `select_one` sends the values beside it, over the
same connection and in the same transaction, with Django's errors.
`check_constraints` takes one round trip where Django's own takes two, and none of its own where
`CHECK_CONSTRAINTS` follows another statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection

CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"


def select_one(statement: str, values: Sequence[Any]) -> Any:
    """The first column of the one row that `statement` returns. Raises django.db.Error."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        row = cursor.execute(statement, values).fetchone()
    assert row is not None, f"Bug! {statement} returned nothing"
    return row[0]


def check_constraints() -> None:
    """Check here and now what is else checked at commit. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(CHECK_CONSTRAINTS)
