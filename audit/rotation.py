"""Re-encryption of everything at rest with the first key of the ring, in batches.

Every token begins with the id of its key, so what is left to do can be asked of the database, and
an interrupted run simply goes on: rows that are done no longer match. Each row is replaced only if
its token is still the one that was read, so a secret that changes meanwhile is not overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from audit.encryption import (
    EncryptedColumn,
    decrypt,
    encrypt,
    first_key_id,
    registered_columns,
    token_header,
)
from audit.log import append

_BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class RotatedColumn:
    """How far a column is: rows re-encrypted in this run, rows that still have an older key."""

    column: EncryptedColumn
    rotated: int
    remaining: int


def rotate(
    *,
    now: datetime,
    report: Callable[[RotatedColumn], None] = lambda progress: None,
    batch_rows: int = _BATCH_ROWS,
) -> list[RotatedColumn]:
    """Re-encrypt every registered column and record it; `report` is called after each batch.

    Raises audit.encryption.DecryptionFailed for a token that no key of the ring opens (what was
    done before it stays done), MissingActor when nobody is known to ask for it.
    """
    results = [
        _rotate_column(column, report, batch_rows=batch_rows) for column in registered_columns()
    ]
    with transaction.atomic():
        append(
            event_type="encryption.rotated",
            stream_type="encryption_key",
            stream_id=first_key_id(),
            body={
                f"{result.column.model_label}.{result.column.column}": result.rotated
                for result in results
            },
            occurred_at=now,
        )
    return results


def _rotate_column(
    column: EncryptedColumn, report: Callable[[RotatedColumn], None], *, batch_rows: int
) -> RotatedColumn:
    older = _count_older(column)
    rotated = 0
    after: Any = None
    while True:
        count, after = _rotate_batch(column, after, batch_rows=batch_rows)
        rotated += count
        if after is None:
            # Counted anew: a process that has not got the new key yet may have written meanwhile.
            return RotatedColumn(column, rotated=rotated, remaining=_count_older(column))
        report(RotatedColumn(column, rotated=rotated, remaining=max(older - rotated, 0)))


def _rotate_batch(column: EncryptedColumn, after: Any, *, batch_rows: int) -> tuple[int, Any]:
    """One transaction, in the order of the primary key; how many rows, and the last key or None."""
    table, key, token = _quoted(column)
    beyond = f"AND {key} > %(after)s" if after is not None else ""
    rotated, last = 0, None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key}, {token} FROM {table} WHERE {_is_older(token)} {beyond} "  # noqa: S608
            f"ORDER BY {key} LIMIT %(rows)s",
            {**_header(), "rows": batch_rows, "after": after},
        )
        for last, old in cursor.fetchall():
            context = column.context(last)
            clear = decrypt(bytes(old), context=context)
            written: dict[str, bytes | str] = {token: encrypt(clear, context=context)}
            if column.index is not None:
                written[_quoted_index(column)] = column.index(clear.decode())
            assigned = ", ".join(f"{name} = %s" for name in written)
            cursor.execute(
                f"UPDATE {table} SET {assigned} WHERE {key} = %s AND {token} = %s",  # noqa: S608
                [*written.values(), last, old],
            )
            rotated += cursor.rowcount
    return rotated, last


def _count_older(column: EncryptedColumn) -> int:
    table, _key, token = _quoted(column)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {_is_older(token)}", _header())  # noqa: S608
        (count,) = cursor.fetchone()
    return int(count)


def _is_older(token: str) -> str:
    return f"length({token}) > 0 AND substring({token} FROM 1 FOR %(length)s) <> %(header)s"


def _header() -> dict[str, Any]:
    header = token_header(first_key_id())
    return {"header": header, "length": len(header)}


def _quoted(column: EncryptedColumn) -> tuple[str, str, str]:
    """Table, primary key and token column, quoted for SQL. Raises LookupError for a wrong name."""
    model = apps.get_model(column.model_label)
    quote = connection.ops.quote_name
    field = model._meta.get_field(column.column)
    return (
        quote(model._meta.db_table),
        quote(model._meta.pk.column),
        quote(str(field.column)),
    )


def _quoted_index(column: EncryptedColumn) -> str:
    field = apps.get_model(column.model_label)._meta.get_field(column.index_column)
    return connection.ops.quote_name(str(field.column))
