"""Reading the audit log: from any id to the things it concerns, and the story of one thing.

An event is about one thing, its *stream* ("payment" "pay_..."), and may mention other ids, its
*references*. `find` goes from an id of any kind to streams; `timeline` tells the story of one
stream: the events about it and the events of other streams that mention it. Both go through
indexes only and look at a bounded number of rows, so they stay fast however much was recorded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from audit.canonical import microseconds
from audit.redaction import as_written

_MENTIONS_LOOKED_AT = 500
_LONGEST_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One recorded event as read. `position` is the cursor for `timeline(before=...)`.

    `body` is the parsed JSON, `body_text` the exact canonical text that was hashed.
    """

    id: int
    recorded_at: datetime
    xid: int
    occurred_at: datetime
    event_type: str
    actor_type: str
    actor_id: str
    actor_display: str
    stream_type: str
    stream_id: str
    trace_id: str
    request_id: str
    reason: str
    redacted: bool
    references: tuple[tuple[str, str], ...]
    body: dict[str, Any]
    body_text: str
    leaf_hash: bytes

    @property
    def position(self) -> str:
        """Where this event stands in the order of a timeline."""
        return f"{microseconds(self.recorded_at)}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStream:
    """A stream that an id leads to. `found_as` says how: "stream", "trace", "request" or the
    type of the reference ("provider_payment"). `recorded_at` is the latest such event.
    """

    stream_type: str
    stream_id: str
    found_as: str
    recorded_at: datetime


# Distinct stream types of one stream id by jumping from type to type in the index, and the latest
# event of each: a stream of a million events costs no more than one of two.
_STREAMS_WITH_ID = """
    WITH RECURSIVE kind AS (
        SELECT min(stream_type) AS name FROM public.audit_event WHERE stream_id = %(value)s
        UNION ALL
        SELECT (SELECT min(stream_type) FROM public.audit_event
                WHERE stream_id = %(value)s AND stream_type > kind.name)
        FROM kind WHERE kind.name IS NOT NULL
    )
    SELECT kind.name, %(value)s, 'stream', latest.recorded_at
    FROM kind, LATERAL (
        SELECT recorded_at FROM public.audit_event
        WHERE stream_id = %(value)s AND stream_type = kind.name
        ORDER BY recorded_at DESC LIMIT 1) latest
    WHERE kind.name IS NOT NULL
"""
_STREAMS_MENTIONING = """
    SELECT event.stream_type, event.stream_id, mention.type, max(event.recorded_at)
    FROM (SELECT type, recorded_at, event_id FROM public.audit_reference
          WHERE value = %(value)s ORDER BY recorded_at DESC, event_id DESC LIMIT %(mentions)s
         ) mention
    JOIN public.audit_event event
      ON event.id = mention.event_id AND event.recorded_at = mention.recorded_at
    GROUP BY 1, 2, 3
"""
_STREAMS_OF_REQUEST = """
    SELECT stream_type, stream_id, %(found_as)s, max(recorded_at)
    FROM (SELECT stream_type, stream_id, recorded_at FROM public.audit_event
          WHERE {column} = %(value)s AND {column} <> '' LIMIT %(mentions)s) part
    GROUP BY 1, 2
"""
_COLUMNS = """
    event.id, event.recorded_at, event.xid::text::bigint, event.occurred_at, event.event_type,
    event.actor_type, event.actor_id, event.actor_display, event.stream_type, event.stream_id,
    event.trace_id, event.request_id, event.reason, event.redacted, event.reference_list,
    event.body, event.leaf_hash
"""
_TIMELINE = f"""
    WITH own AS (
        SELECT recorded_at, id FROM public.audit_event
        WHERE stream_id = %(stream_id)s AND stream_type = %(stream_type)s
          AND recorded_at <= %(before_time)s
          AND (recorded_at, id) < (%(before_time)s, %(before_id)s)
        ORDER BY recorded_at DESC, id DESC LIMIT %(limit)s
    ), mentioned AS (
        SELECT recorded_at, event_id AS id FROM public.audit_reference
        WHERE value = %(stream_id)s AND type = %(stream_type)s
          AND recorded_at <= %(before_time)s
          AND (recorded_at, event_id) < (%(before_time)s, %(before_id)s)
        ORDER BY recorded_at DESC, event_id DESC LIMIT %(limit)s
    ), page AS (
        SELECT recorded_at, id FROM own UNION SELECT recorded_at, id FROM mentioned
        ORDER BY recorded_at DESC, id DESC LIMIT %(limit)s
    )
    SELECT {_COLUMNS}
    FROM page JOIN public.audit_event event
      ON event.id = page.id AND event.recorded_at = page.recorded_at
    ORDER BY event.recorded_at DESC, event.id DESC
"""  # noqa: S608 - no value is written into it
_SHORTEST_PREFIX = 4
_EVENTS_OF_ACTOR = """
    SELECT id FROM public.audit_event WHERE actor_id = %(value)s
    ORDER BY recorded_at DESC LIMIT %(limit)s
"""
_EVENTS_WITH_COLUMN = """
    SELECT id FROM public.audit_event WHERE {column} = %(value)s AND {column} <> ''
    LIMIT %(limit)s
"""
_EVENTS_WITH_STREAM = """
    SELECT id FROM public.audit_event WHERE stream_id = %(value)s LIMIT %(limit)s
"""
_EVENTS_WITH_REFERENCE = """
    SELECT event_id FROM public.audit_reference WHERE value = %(value)s
    ORDER BY recorded_at DESC LIMIT %(limit)s
"""
_EVENTS_WITH_STREAM_PREFIX = """
    SELECT id FROM public.audit_event WHERE stream_id >= %(value)s AND stream_id < %(beyond)s
    LIMIT %(limit)s
"""
_EVENTS_WITH_REFERENCE_PREFIX = """
    SELECT event_id FROM public.audit_reference WHERE value >= %(value)s AND value < %(beyond)s
    LIMIT %(limit)s
"""
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


def find(value: str, *, limit: int = 50) -> list[FoundStream]:
    """The streams that an id of any kind leads to, those of the latest events first.

    `value` may be a stream's own id, any referenced id (a provider's payment, a webhook's event, a
    merchant's order number), a trace id or a request id. For an id that is mentioned very often
    the latest 500 mentions count. Empty when nobody ever recorded it.
    """
    value = as_written(value.strip())
    parameters: dict[str, Any] = {"value": value, "mentions": _MENTIONS_LOOKED_AT}
    rows: list[tuple[str, str, str, datetime]] = []
    with connection.cursor() as cursor:
        for statement in (_STREAMS_WITH_ID, _STREAMS_MENTIONING):
            cursor.execute(statement, parameters)
            rows += cursor.fetchall()
        for column, found_as in (("trace_id", "trace"), ("request_id", "request")):
            statement = _STREAMS_OF_REQUEST.format(column=column)
            cursor.execute(statement, {**parameters, "found_as": found_as})
            rows += cursor.fetchall()
    rows.sort(key=lambda row: row[3], reverse=True)
    return [
        FoundStream(stream_type=kind, stream_id=stream, found_as=found_as, recorded_at=latest)
        for kind, stream, found_as, latest in rows[:limit]
    ]


def timeline(
    *, stream_type: str, stream_id: str, limit: int = 100, before: str | None = None
) -> list[AuditRecord]:
    """The latest `limit` (at most 500) events about a thing or mentioning it, latest first.

    `before` is the `position` of the last event of the page before. Raises ValueError for a
    position that is none.
    """
    before_time, before_id = _parsed_position(before) if before else (_END_OF_TIME, 0)
    parameters: dict[str, Any] = {
        "stream_type": stream_type,
        "stream_id": stream_id,
        "before_time": before_time,
        "before_id": before_id,
        "limit": min(limit, _LONGEST_PAGE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_TIMELINE, parameters)
        return [_record(row) for row in cursor.fetchall()]


def event_ids(value: str, *, limit: int = 500) -> list[int]:
    """The numbers of the latest events that an id leads to, latest first.

    The id may be that of a stream, a reference, a trace, a request or an actor; of a stream or a
    reference its first characters do too, if there are at least 4.
    """
    value = as_written(value.strip())
    if not value:
        return []
    # In the order of the columns' collation this is the least text that begins with no `value`.
    parameters: dict[str, Any] = {"value": value, "limit": limit, "beyond": value + chr(0x10FFFF)}
    searches = [_EVENTS_OF_ACTOR, _EVENTS_WITH_COLUMN.format(column="trace_id")]
    searches.append(_EVENTS_WITH_COLUMN.format(column="request_id"))
    if len(value) >= _SHORTEST_PREFIX:
        searches += [_EVENTS_WITH_STREAM_PREFIX, _EVENTS_WITH_REFERENCE_PREFIX]
    else:
        searches += [_EVENTS_WITH_STREAM, _EVENTS_WITH_REFERENCE]
    found: set[int] = set()
    with connection.cursor() as cursor:
        for statement in searches:
            cursor.execute(statement, parameters)
            found.update(number for (number,) in cursor.fetchall())
    return sorted(found, reverse=True)[:limit]


def _parsed_position(position: str) -> tuple[datetime, int]:
    time_text, _, id_text = position.partition("-")
    if not (time_text.isdecimal() and id_text.isdecimal() and len(position) <= 40):
        raise ValueError(f"{position!r} is not the position of an audit event")
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(time_text))
    return moment, int(id_text)


def _record(row: tuple[Any, ...]) -> AuditRecord:
    *fields, reference_list, body, leaf_hash = row
    names = [name for name in AuditRecord.__slots__ if name not in _DERIVED]
    return AuditRecord(
        **dict(zip(names, fields, strict=True)),
        references=tuple((kind, value) for kind, value in json.loads(reference_list)),
        body=json.loads(body),
        body_text=body,
        leaf_hash=bytes(leaf_hash),
    )


_DERIVED = ("references", "body", "body_text", "leaf_hash")
