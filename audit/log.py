"""The one way into the audit log: append an event in the transaction of the change it tells of.

An event and its change are committed together or not at all. Nothing is written without an actor,
outside a transaction, or in a month that has no partition: each of these raises, and so undoes the
change too (the log fails closed). The time, the transaction id, the number and the hash of an
event are given by the database, which refuses every later change. An append is one round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction

from audit.context import (
    Actor,
    AuditContext,
    MissingActor,
    acting_as,
    current_actor,
    current_context,
    set_actor,
)
from audit.redaction import writable_json, writable_text

__all__ = [
    "Actor",
    "AuditContext",
    "InvalidEvent",
    "MissingActor",
    "MissingPartition",
    "NotInTransaction",
    "Record",
    "acting_as",
    "append",
    "append_many",
    "current_actor",
    "current_context",
    "set_actor",
    "viewed",
]

log = structlog.get_logger(__name__)

_COLUMNS = {
    "occurred_at": "timestamptz",
    "event_type": "text",
    "actor_type": "text",
    "actor_id": "text",
    "actor_display": "text",
    "stream_type": "text",
    "stream_id": "text",
    "trace_id": "text",
    "request_id": "text",
    "reason": "text",
    "redacted": "boolean",
    "reference_list": "text",
    "body": "text",
}
_INSERT = f"INSERT INTO public.audit_event ({', '.join(_COLUMNS)})"
_APPEND_ONE = f"{_INSERT} VALUES ({', '.join(['%s'] * len(_COLUMNS))}) RETURNING id"
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in _COLUMNS.values())
_APPEND_MANY = f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) RETURNING id"  # noqa: S608
# Line breaks would end a line of the hashed text, and other control characters forge log lines.
_CONTROL_CHARACTERS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
_LONGEST_ID = 200
_LONGEST_DISPLAY = 200
_LONGEST_REASON = 500
_LONGEST_REQUEST_ID = 100


class NotInTransaction(Exception):
    """An event must be committed together with the change it tells of, so one has to be open."""


class InvalidEvent(ValueError):
    """An event that the log cannot take; the message names the field and what it should be."""


class MissingPartition(Exception):
    """No partition exists for this month, so nothing can be recorded and nothing be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event to append; the fields mean what the arguments of `append` mean."""

    event_type: str
    stream_type: str
    stream_id: str
    body: Mapping[str, Any]
    occurred_at: datetime
    references: Iterable[tuple[str, str]] = ()
    actor: Actor | None = None


def append(
    *,
    event_type: str,
    stream_type: str,
    stream_id: str,
    body: Mapping[str, Any],
    occurred_at: datetime,
    references: Iterable[tuple[str, str]] = (),
    actor: Actor | None = None,
) -> int:
    """Append one event to the stream of the thing it is about and return its number.

    `event_type` is a dotted lower-case name ("payment.captured"), `stream_type` and `stream_id`
    name the thing ("payment", "pay_..."), `references` are (type, id) pairs of other ids under
    which the event shall be found ("provider_payment", "pi_..."). `body` is kept as canonical
    JSON after audit.redaction has masked secrets in it. `occurred_at` is when it happened, aware;
    when it was recorded is the database's own time. `actor` is by default that of the context.

    Raises MissingActor, NotInTransaction, MissingPartition, InvalidEvent.
    """
    event = Record(
        event_type=event_type,
        stream_type=stream_type,
        stream_id=stream_id,
        body=body,
        occurred_at=occurred_at,
        references=references,
        actor=actor,
    )
    return _insert(_APPEND_ONE, _row(event))[0]


def append_many(events: Sequence[Record]) -> list[int]:
    """Append events with one statement and return their numbers, in the same order.

    Raises what `append` raises; then none of them is written.
    """
    if not events:
        return []
    return _insert(_APPEND_MANY, [list(column) for column in zip(*map(_row, events), strict=True)])


def viewed(
    *,
    stream_type: str,
    stream_id: str,
    occurred_at: datetime,
    what: str,
    references: Iterable[tuple[str, str]] = (),
) -> int:
    """Record that the current actor looked at something, in its stream, and return the number.

    `what` says which page or report was seen. Opens a transaction by itself when none is open,
    because looking changes nothing that the event would have to be committed with. Raises
    MissingActor: what nobody is known to look at must not be shown.
    """
    with transaction.atomic(savepoint=False):
        return append(
            event_type="record.viewed",
            stream_type=stream_type,
            stream_id=stream_id,
            body={"what": what},
            references=references,
            occurred_at=occurred_at,
        )


def _row(event: Record) -> list[Any]:
    """The column values of an event, in the order of _COLUMNS, cleaned and checked."""
    actor = event.actor or current_actor()
    if actor is None:
        raise MissingActor(
            f"{event.event_type} on {event.stream_type} {event.stream_id} has no actor: pass one, "
            "or work inside audit.log.acting_as(...)"
        )
    if event.occurred_at.tzinfo is None:
        raise InvalidEvent(f"occurred_at of {event.event_type} has no time zone")
    context = current_context()
    body = writable_json(event.body)
    references = writable_json(
        [[kind, _identifier(value, kind)] for kind, value in event.references]
    )
    display = writable_text(_single_line(actor.display, _LONGEST_DISPLAY))
    reason = writable_text(_single_line(context.reason, _LONGEST_REASON))
    redacted = body.masked or references.masked or display.masked or reason.masked
    if redacted:
        log.warning("audit.redacted", event_type=event.event_type, stream_id=event.stream_id)
    return [
        event.occurred_at,
        event.event_type,
        actor.type,
        _identifier(actor.id, "actor"),
        display.text,
        event.stream_type,
        _identifier(event.stream_id, event.stream_type),
        context.trace_id,
        _single_line(context.request_id, _LONGEST_REQUEST_ID),
        reason.text,
        redacted,
        references.text,
        body.text,
    ]


def _identifier(value: str, kind: str) -> str:
    """An id as one line; one that is empty or too long is refused, because half an id is none."""
    line = _single_line(value, _LONGEST_ID + 1)
    if not line.strip() or len(line) > _LONGEST_ID:
        raise InvalidEvent(f"the id of {kind!r} must have 1 to {_LONGEST_ID} characters")
    return line


def _single_line(text: str, longest: int) -> str:
    if not text.isprintable():
        text = text.translate(_CONTROL_CHARACTERS)
    return text[:longest]


def _insert(statement: str, values: list[Any]) -> list[int]:
    """Run one prepared insert on the connection of the open transaction and return the numbers."""
    connection = connections[DEFAULT_DB_ALIAS]
    if not connection.in_atomic_block:
        raise NotInTransaction(
            "an audit event is committed together with its change: open transaction.atomic() first"
        )
    connection.validate_no_broken_transaction()
    try:
        with connection.wrap_database_errors, _prepared_statements(connection.connection):
            cursor = psycopg.Cursor(connection.connection)
            cursor.execute(statement, values, prepare=True)
            return [number for (number,) in cursor.fetchall()]
    except IntegrityError as error:
        raise _explained(error) from error


@contextmanager
def _prepared_statements(driver_connection: psycopg.Connection) -> Iterator[None]:
    """Let a cursor of the driver prepare, which Django turns off for its whole connection.

    Django's own cursors write the values into the text, so the server parses and plans the
    statement anew each time: a third of the cost of an append. With a pooler that gives each
    transaction another session (DISABLE_SERVER_SIDE_CURSORS) nothing can be prepared.
    """
    if connections[DEFAULT_DB_ALIAS].settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        yield
        return
    usual = driver_connection.prepare_threshold
    driver_connection.prepare_threshold = 0
    try:
        yield
    finally:
        driver_connection.prepare_threshold = usual


def _explained(error: IntegrityError) -> Exception:
    cause = error.__cause__
    # A row without a partition is a check violation that names no constraint.
    if isinstance(cause, psycopg.errors.CheckViolation) and not cause.diag.constraint_name:
        return MissingPartition(
            "the audit log has no partition for this month, so nothing can be done: run "
            "audit.partitions.ensure_partitions(now=...), and see why it was not made ahead"
        )
    return InvalidEvent(str(cause))
