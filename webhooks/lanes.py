"""Lanes: who drains what, one drainer at a time, and how a killed drainer is noticed.

Mental model: a lane is a row that a drain locks (`FOR UPDATE SKIP LOCKED`) for one transaction.
Before the first event runs, the drain leaves a footprint per lane through a second connection, so
that it is committed whatever becomes of the drain; the drain erases it in the transaction of its
effects. While a lane's lock is held nobody else can be running on it, so every footprint found
then belongs to a run that ended without a trace: a killed process, a lost connection, a restarted
server. That is counted exactly, at once, without leases or clocks.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_local = threading.local()


def outbox_lane(aggregate_type: str, aggregate_id: str) -> str:
    """The lane of one aggregate's stream; the database function webhooks_emit says the same."""
    return f"outbox:{aggregate_type}:{aggregate_id}"


def inbox_lane(*, provider: str, account_id: str, subject: str, event_id: str) -> str:
    """The lane of one provider object; an event about no object has a lane of its own."""
    return f"inbox:{provider}:{account_id}:{subject or 'event/' + event_id}"


def interruptions_of(lanes: Collection[str]) -> dict[str, int]:
    """Lane -> runs that did not survive on it; for lanes locked by the open transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lane, count(*) FROM webhooks_drain_footprint WHERE lane = ANY(%s)"
            " GROUP BY lane",
            [sorted(lanes)],
        )
        return dict(cursor.fetchall())


def leave_footprints(lanes: Collection[str], *, now: datetime) -> None:
    """Commit that a run starts on `lanes`, all locked by the caller's open transaction.

    One round trip on this thread's second connection. A crash of the server may lose the mark
    (the commit does not wait for the disk), a crash of the worker cannot.
    """
    side = _side_connection()
    try:
        with side.cursor() as cursor:
            cursor.execute(
                "INSERT INTO webhooks_drain_footprint (lane, run_id, worker, started_at)"
                " SELECT lane, %s, %s, %s FROM unnest(%s::text[]) AS lane",
                [uuid.uuid4(), f"{socket.gethostname()}/{os.getpid()}", now, sorted(lanes)],
            )
    except Exception:
        side.close()
        raise


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
