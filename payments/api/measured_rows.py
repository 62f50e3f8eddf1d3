"""What the groups of figures share: rows of a statement, the window, the label of the mode."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection

WINDOW = timedelta(hours=1)


def rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """All rows of one bounded statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def mode_label(livemode: bool) -> str:
    """The label `livemode` of a metric."""
    return "live" if livemode else "test"
