"""Carry out one step of the event pipeline and meet a fault at a named point of it.

Runs in a child of the fork server. Nothing of Florin is replaced: the function at the point is
called as always, and right before or after it, or right before the commit of its transaction, the
process dies, Redis forgets everything, or PostgreSQL crashes and is started again by the parent.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

import redis
from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.test import Client

from tests.proofs.kill_at import die  # sets Django up, where that was not done yet
from webhooks import delivery, inbox, lanes, outbox

FAULTS = ("SIGKILL", "Redis flushed", "PostgreSQL crashed")


@dataclass(frozen=True)
class Point:
    """A place in the pipeline: a function, and where at it. `nth` counts its calls."""

    step: str
    function: str
    when: str
    nth: int = 1


POINTS = {
    "verified, not stored": Point("intake", "webhooks.inbox.receive", "before"),
    "stored, not committed": Point("intake", "webhooks.inbox.select_one", "in a transaction"),
    "committed, not answered": Point("intake", "webhooks.inbox.receive", "after"),
    "answered, nobody woken": Point("intake", "webhooks.wakeup.Publisher.__call__", "answered"),
    "inbox: lane locked": Point("inbox", "webhooks.inbox_runs._lock_next_lane", "after"),
    "inbox: footprint left": Point("inbox", "webhooks.lanes.leave_footprints", "after"),
    "inbox: applied": Point("inbox", "payments.actions.apply_provider_event._apply", "after"),
    "inbox: before commit": Point("inbox", "webhooks.inbox_runs.run_next_lane", "commit"),
    "inbox: committed": Point("inbox", "webhooks.inbox_runs.run_next_lane", "before", nth=2),
    "handlers: lanes locked": Point("handlers", "webhooks.handler_runs._lock_due_lanes", "after"),
    "handlers: footprint left": Point("handlers", "webhooks.lanes.leave_footprints", "after"),
    "handlers: fanned out": Point("handlers", "webhooks.delivery.fan_out", "after"),
    "handlers: before commit": Point("handlers", "webhooks.handler_runs.run_due_lanes", "commit"),
    "handlers: committed": Point(
        "handlers", "webhooks.handler_runs.run_due_lanes", "before", nth=2
    ),
    "delivery: claimed": Point("delivery", "webhooks.destinations.pin", "before"),
    "delivery: answered, not recorded": Point("delivery", "webhooks.delivery.record", "before"),
    "delivery: before commit": Point("delivery", "webhooks.delivery.record", "commit"),
    "delivery: recorded": Point("delivery", "webhooks.delivery.record", "after"),
}


@dataclass(frozen=True)
class Servers:
    """Where the child works: the settings of its database and the address of its Redis."""

    database: Mapping[str, Any]
    redis_url: str

    def use(self) -> None:
        """Point this process at them."""
        lanes.close_side_connection()
        for alias in connections:
            connections[alias].close()
            connections[alias].settings_dict.update(self.database)
        settings.REDIS_URL = self.redis_url
        current_app.conf.broker_url = self.redis_url


@dataclass(frozen=True)
class Webhook:
    """One request of the provider, signed."""

    path: str
    body: bytes
    headers: Mapping[str, str]

    def send(self) -> int:
        """The status of Florin's answer, by the whole stack from the middleware on."""
        client = Client(headers=dict(self.headers), SERVER_NAME="localhost")
        answer = client.post(self.path, data=self.body, content_type="application/json")
        return answer.status_code


class Fault:
    """What happens at the point, once."""

    def __init__(self, name: str, parent: Connection) -> None:
        self._name = name
        self._parent = parent
        self.answered = threading.Event()
        self.happened = threading.Event()

    def strike(self) -> None:
        """Let it happen; a later call does nothing."""
        if self.happened.is_set():
            return
        if self._name == "SIGKILL":
            die()
        if self._name == "Redis flushed":
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                client.flushall()
        else:
            self._parent.send("crash PostgreSQL")
            self._parent.recv()
        self.happened.set()


def arm(point: Point, fault: Fault) -> None:
    """Put the fault at the point."""
    owner_path, _, name = point.function.rpartition(".")
    try:
        owner: Any = importlib.import_module(owner_path)
    except ModuleNotFoundError:  # a method of a class
        module, _, class_name = owner_path.rpartition(".")
        owner = getattr(importlib.import_module(module), class_name)
    setattr(owner, name, _armed(getattr(owner, name), point, fault))


def _armed(function: Callable[..., Any], point: Point, fault: Fault) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != point.nth:
            return function(*arguments, **options)
        if point.when == "before":
            fault.strike()
        if point.when == "answered":  # in the thread that wakes, which may be faster
            fault.answered.wait(30)
            fault.strike()
        if point.when == "commit":
            _strike_before_the_next_commit(fault)
        if point.when == "in a transaction":  # the statement commits by itself; here it is stopped
            with transaction.atomic():
                function(*arguments, **options)
                fault.strike()
                transaction.set_rollback(True)
            return function(*arguments, **options)
        result = function(*arguments, **options)
        if point.when == "after":
            fault.strike()
        return result

    return call


def _strike_before_the_next_commit(fault: Fault) -> None:
    commit = connection.commit

    def strike_and_commit() -> None:
        fault.strike()
        commit()

    connection.commit = strike_and_commit  # type: ignore[method-assign]


def _now() -> datetime:
    return datetime.now(UTC)


STEPS: dict[str, Callable[[], Any]] = {
    "inbox": lambda: inbox.drain(apply=inbox.configured_apply(), now=_now()),
    "handlers": lambda: outbox.drain(now=_now()),
    "delivery": lambda: delivery.deliver(clock=_now, stopping=lambda: False),
}


def run(name: str, fault_name: str, servers: Servers, webhook: Webhook, parent: Connection) -> None:
    """Carry out the step of the point; tells the parent the status of an answered webhook."""
    point, fault = POINTS[name], Fault(fault_name, parent)
    servers.use()
    arm(point, fault)
    if point.step == "intake":
        parent.send(webhook.send())
        fault.answered.set()
        if point.when == "answered":
            fault.happened.wait(30)
    else:
        try:
            STEPS[point.step]()
        except DatabaseError:
            if fault_name != "PostgreSQL crashed":
                raise
    assert fault.happened.is_set(), f"Bug! {name} was never reached"
