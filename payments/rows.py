"""Rows of the payment's hot path, read and written by statements that are composed once.

Mental model: the ORM composes every statement anew, which costs more than running it. `Table` knows
a model's columns and keeps its statements; values are adapted as the ORM does (JSON as jsonb). It
takes instances of the models and gives them back, so nothing else has to know. `execute` sends
several statements in one round trip, and the database runs them in order. What a request for a
payment does not pass through uses the ORM.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import JSONField, Model
from psycopg.types.json import Jsonb

Row = TypeVar("Row", bound=Model)


class Statement(NamedTuple):
    """One statement and its values."""

    sql: str
    values: Sequence[Any]


class Table(Generic[Row]):
    """The statements of one model. Get it by `table(Model)`."""

    def __init__(self, model: type[Row]) -> None:
        self._model = model
        self._name = connection.ops.quote_name(model._meta.db_table)
        fields = model._meta.concrete_fields
        generated = model._meta.auto_field
        self._names = [field.attname for field in fields]
        self._json = [field.attname for field in fields if isinstance(field, JSONField)]
        self._column = {
            field.attname: connection.ops.quote_name(str(field.column)) for field in fields
        }
        self._inserted = [field.attname for field in fields if field is not generated]
        self._key = model._meta.pk.attname
        self._kept: dict[object, str] = {}

    def insert(self, rows: Sequence[Row]) -> Statement:
        """Insert new rows; the database gives ids that are numbers, which are not read back."""
        if "insert" not in self._kept:
            columns = ", ".join(self._column[name] for name in self._inserted)
            self._kept["insert"] = f"INSERT INTO {self._name} ({columns}) VALUES "  # noqa: S608
        places = f"({', '.join(['%s'] * len(self._inserted))})"
        values = [value for row in rows for value in self._adapted(row.__dict__, self._inserted)]
        for row in rows:
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
        return Statement(self._kept["insert"] + ", ".join([places] * len(rows)), values)

    def update(self, row: Row, names: Sequence[str] = (), **held: Any) -> Statement:
        """Write the columns `names` (all, unless told) of a row, where the columns `held` are."""
        written = names or [name for name in self._names if name != self._key]
        new = {name: row.__dict__[name] for name in written}
        return self.change(new, **{self._key: row.pk}, **held)

    def change(self, new: Mapping[str, Any], **held: Any) -> Statement:
        """Write `new` values where the columns `held` are as told; None is told as NULL."""
        shape = ("update", *new, "where", *((name, value is None) for name, value in held.items()))
        if shape not in self._kept:
            assigned = ", ".join(f"{self._column[name]} = %s" for name in new)
            self._kept[shape] = f"UPDATE {self._name} SET {assigned} WHERE {self._where(held)}"  # noqa: S608
        return Statement(self._kept[shape], [*self._adapted(new, new), *_given(held)])

    def find(self, *, lock: bool = False, **held: Any) -> Row | None:
        """The row whose columns are `held`; with `lock` its row lock, keys excepted, is taken."""
        shape = ("select", lock, *((name, value is None) for name, value in held.items()))
        if shape not in self._kept:
            columns = ", ".join(self._column[name] for name in self._names)
            tail = " FOR NO KEY UPDATE" if lock else ""
            self._kept[shape] = (
                f"SELECT {columns} FROM {self._name} WHERE {self._where(held)}{tail}"  # noqa: S608
            )
        with connection.cursor() as cursor:
            cursor.execute(self._kept[shape], _given(held))
            values = cursor.fetchone()
        return None if values is None else self._load(values)

    def _where(self, held: Mapping[str, Any]) -> str:
        return " AND ".join(
            f"{self._column[name]} {'IS NULL' if value is None else '= %s'}"
            for name, value in held.items()
        )

    def _adapted(self, values: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
        return [
            Jsonb(values[name]) if name in self._json and values[name] is not None else values[name]
            for name in names
        ]

    def _load(self, values: Sequence[Any]) -> Row:
        row = self._model.from_db(DEFAULT_DB_ALIAS, self._names, values)
        for name in self._json:
            value = row.__dict__[name]
            if value is not None:
                row.__dict__[name] = json.loads(value)
        return row


@cache
def table(model: type[Row]) -> Table[Row]:
    """The statements of `model`, one per process."""
    return Table(model)


def _given(held: Mapping[str, Any]) -> list[Any]:
    return [value for value in held.values() if value is not None]


def execute(statements: Sequence[Statement]) -> list[int]:
    """Run statements in one round trip and in order; how many rows each of them wrote."""
    counts = []
    with connection.cursor() as cursor:
        # Each is composed by itself: the driver keeps what it knows about a statement of this
        # size, and reads one of all of them together anew each time.
        composed = [cursor.cursor.mogrify(sql, values) for sql, values in statements]
        cursor.execute("; ".join(composed))
        while True:
            counts.append(cursor.rowcount)
            if not cursor.nextset():
                return counts
