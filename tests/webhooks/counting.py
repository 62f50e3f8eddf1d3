"""Counts the statements that reach PostgreSQL, however they are sent, by libpq's own trace."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.db import connection


@contextlib.contextmanager
def statements_sent() -> Iterator[list[str]]:
    """What this thread's connection sent during the `with`: one entry per execution."""
    connection.ensure_connection()
    sent: list[str] = []
    with tempfile.NamedTemporaryFile("rb") as file:
        descriptor = os.open(file.name, os.O_WRONLY)
        connection.connection.pgconn.trace(descriptor)
        try:
            yield sent
        finally:
            connection.connection.pgconn.untrace()
            os.close(descriptor)
            for line in Path(file.name).read_bytes().split(b"\n"):
                fields = line.split(b"\t")
                if len(fields) > 3 and fields[1] == b"F" and fields[3] in (b"Query", b"Execute"):
                    sent.append(fields[3].decode())
