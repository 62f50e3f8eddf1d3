"""Lanes: who drains what, one drainer at a time, and how a killed drainer is noticed.

Mental model: a lane is a row that a drain locks (`FOR UPDATE SKIP LOCKED`) for one transaction.
Before the first event runs, the drain leaves a footprint per lane through a second connection, so
that it is committed whatever becomes of the drain; the drain erases it in the transaction of its
effects. While a lane's lock is held nobody else can be running on it, so every footprint found
then belongs to a run that ended without a trace: a killed process, a lost connection, a restarted
server. That is counted exactly, at once, without leases or clocks.

A run of several rows that did not survive accuses each of them, so each runs alone from then on; a
footprint of such a run names its row. Only the death of a process that ran one row alone is that
row's own. A process that lives to see its run cut off takes the name off its footprint; a server
that was restarted since, or that crashed and forgot (the table is UNLOGGED), accuses nobody.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

_local = threading.local()
logger = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Interruptions:
    """Runs that did not survive on a lane. `alone` counts per row those in which a process died
    while it ran that row and nothing else; `together` are all others.
    """

    together: int = 0
    alone: dict[str, int] = field(default_factory=dict)


def outbox_lane(aggregate_type: str, aggregate_id: str) -> str:
    """The lane of one aggregate's stream; the database function webhooks_emit says the same."""
    return f"outbox:{aggregate_type}:{aggregate_id}"


def inbox_lane(*, provider: str, account_id: str, subject: str, event_id: str) -> str:
    """The lane of one provider object; an event about no object has a lane of its own."""
    return f"inbox:{provider}:{account_id}:{subject or 'event/' + event_id}"


def interruptions_of(lanes: Collection[str]) -> dict[str, Interruptions]:
    """Lane -> runs that did not survive on it; for lanes locked by the open transaction."""
    found: dict[str, Interruptions] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT lane, CASE WHEN server_started_at = pg_postmaster_start_time()
                              THEN alone ELSE '' END, count(*)
            FROM webhooks_drain_footprint WHERE lane = ANY(%s) GROUP BY 1, 2
            """,
            [sorted(lanes)],
        )
        for lane, alone, count in cursor.fetchall():
            of_lane = found.setdefault(lane, Interruptions())
            if alone:
                of_lane.alone[alone] = count
            else:
                of_lane.together = count
    return found


@contextlib.contextmanager
def run_on(lanes: Collection[str], *, now: datetime, alone: str = "") -> Iterator[None]:
    """Leave footprints for the length of a run, and erase them with those of runs before it, in
    the caller's transaction. `alone` is the row, where the run is of one row only.
    """
    run_id = leave_footprints(lanes, now=now, alone=alone)
    try:
        yield
    except BaseException:
        if alone:
            _accuse_nobody(run_id)
        raise
    erase_footprints(lanes)


def leave_footprints(lanes: Collection[str], *, now: datetime, alone: str = "") -> uuid.UUID:
    """Commit that a run starts on `lanes`, all locked by the caller's open transaction.

    One round trip on this thread's second connection. A crash of the server loses the mark, a crash
    of the worker cannot.
    """
    run_id = uuid.uuid4()
    side = _side_connection()
    try:
        with side.cursor() as cursor:
            cursor.execute(
                "INSERT INTO webhooks_drain_footprint"
                " (lane, run_id, worker, started_at, alone, server_started_at)"
                " SELECT lane, %s, %s, %s, %s, pg_postmaster_start_time()"
                " FROM unnest(%s::text[]) AS lane",
                [run_id, f"{socket.gethostname()}/{os.getpid()}", now, alone, sorted(lanes)],
            )
    except Exception:
        side.close()
        raise
    return run_id


def _accuse_nobody(run_id: uuid.UUID) -> None:
    """Say that the process of a run lives, so that the row it ran did not kill it. Where the
    database cannot be told, the run counts as a death.
    """
    try:
        with _side_connection().cursor() as cursor:
            cursor.execute(
                "UPDATE webhooks_drain_footprint SET alone = '' WHERE run_id = %s", [run_id]
            )
    except DatabaseError as error:
        logger.warning("footprint.not_cleared", error=f"{type(error).__name__}: {error}")
        close_side_connection()


def erase_footprints(lanes: Collection[str]) -> None:
    """Say, in the draining transaction, that its run on `lanes` has ended and that those which
    did not are counted.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM webhooks_drain_footprint WHERE lane = ANY(%s)", [sorted(lanes)])


def lock(lanes: Sequence[str]) -> None:
    """Wait for `lanes` and hold them until the transaction ends, in one fixed order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key FROM webhooks_lane WHERE key = ANY(%s) ORDER BY key FOR UPDATE",
            [sorted(lanes)],
        )


def close_side_connection() -> None:
    """Give this thread's second connection back; the next run opens another."""
    side: BaseDatabaseWrapper | None = getattr(_local, "connection", None)
    if side is not None:
        side.close()
        _local.process_id = None  # the next one follows the default connection, wherever it goes


def _side_connection() -> BaseDatabaseWrapper:
    if getattr(_local, "process_id", None) != os.getpid():  # never share one across a fork
        side = connections[DEFAULT_DB_ALIAS].copy()
        options = side.settings_dict["OPTIONS"]
        options["options"] = f"{options.get('options', '')} -c synchronous_commit=off"
        _local.process_id, _local.connection = os.getpid(), side
    kept: BaseDatabaseWrapper = _local.connection
    kept.close_if_unusable_or_obsolete()
    return kept
