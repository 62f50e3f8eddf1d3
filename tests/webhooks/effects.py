"""Handlers and appliers for the tests: their effects are rows, their failures are asked for."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime

from django.db import connection

from webhooks.handlers import EventView
from webhooks.inbox import Applied, InboxEventView

# aggregate or subject -> what happens when its events are run in this process
trouble: dict[str, BaseException] = {}


def write(handler: str, aggregate: str, seq: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO test_effect (handler, aggregate, seq) VALUES (%s, %s, %s)",
            [handler, aggregate, seq],
        )


def of(handler: str, aggregate: str) -> list[int]:
    """The seqs that took effect, in the order in which they did."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM test_effect WHERE handler = %s AND aggregate = %s ORDER BY id",
            [handler, aggregate],
        )
        return [seq for (seq,) in cursor.fetchall()]


def in_order(aggregate: str) -> list[tuple[str, int]]:
    """Handler and seq of each effect on `aggregate`, in the order in which they had it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT handler, seq FROM test_effect WHERE aggregate = %s ORDER BY id", [aggregate]
        )
        return cursor.fetchall()


def blocking_handler(event: EventView, *, now: datetime) -> None:
    _handle("blocking", event)


def skipping_handler(event: EventView, *, now: datetime) -> None:
    _handle("skipping", event)


def _handle(handler: str, event: EventView) -> None:
    write(handler, event.aggregate_id, event.seq)
    if "break_constraint" in event.payload:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO test_late_check (one) VALUES (1), (1)")
    if "sleep_seconds" in event.payload:
        time.sleep(event.payload["sleep_seconds"])
    if "kill" in event.payload:
        os.kill(os.getpid(), signal.SIGKILL)
    if "cut_off" in event.payload:
        connection.connection.close()
    concerned = (
        event.payload.get("trouble_at", event.seq) == event.seq
        and event.payload.get("trouble_for", handler) == handler
    )
    if concerned and event.aggregate_id in trouble:
        raise trouble[event.aggregate_id]


def apply(event: InboxEventView, *, now: datetime) -> Applied:
    """Applies `{"n": 3}`-like bodies of the provider "testing"; leaves others alone."""
    if event.provider != "testing":
        return Applied("ignored", "not of this test")
    number = int(event.raw)
    write("inbox", event.subject, number)
    time.sleep(0.002)
    if event.event_type == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if event.event_type == "early" and 1 not in of("inbox", event.subject):
        return Applied("deferred", "number 1 is missing")
    if event.event_type == "stale":
        return Applied("superseded", "older than what we know", payment_id="pay_stale")
    if event.subject in trouble and event.event_type != "fine":
        raise trouble[event.subject]
    return Applied("processed", "applied", payment_id=f"pay_{event.subject}")


def tick(*, now: datetime) -> None:
    """A periodic job that leaves a row each time."""
    write("tick", "tick", round(now.timestamp()))
    if "tick" in trouble:
        raise trouble["tick"]
