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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import redis
from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.test import Client

from tests.proofs.kill_at import die  # isort: skip  sets Django up, where that was not done yet

from audit.log import Actor, acting_as
from payments.actions import ask_about_deferred, resume_rounds, sweep_events
from payments.notifications import sending
from webhooks import (
    backfill,
    changes,
    dead_letter_runs,
    delivery,
    inbox,
    lanes,
    outbox,
    transport,
    wakeup,
)

FAULTS = ("SIGKILL", "Redis flushed", "PostgreSQL crashed")


@dataclass(frozen=True)
class Point:
    """A place in the pipeline: a function, and where at it. `nth` counts its calls."""

    step: str
    function: str
    when: str
    nth: int = 1


_ASKING = "payments.actions.ask_about_deferred"
_BACKFILL = "webhooks.backfill"
_POLLING = "payments.actions.resume_payment"
_SENDING = "payments.notifications.sending"
_SWEEP = "payments.actions.sweep_events"
_RUNS = "webhooks.dead_letter_runs"

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
    "notifications: claimed": Point("notifications", f"{_SENDING}._prepared", "before"),
    "notifications: sent, not recorded": Point("notifications", f"{_SENDING}.record", "before"),
    "notifications: before commit": Point("notifications", f"{_SENDING}.record", "commit"),
    "notifications: recorded": Point("notifications", f"{_SENDING}.record", "after"),
    "sweep: account taken": Point("sweep", f"{_SWEEP}._ask", "before"),
    "sweep: page read": Point("sweep", f"{_SWEEP}._missing", "before"),
    "sweep: one event stored": Point("sweep", "webhooks.inbox.receive", "after"),
    "sweep: all stored, cursor not moved": Point("sweep", f"{_SWEEP}.note_found", "before"),
    "sweep: before commit": Point("sweep", f"{_SWEEP}._move_on", "commit"),
    "sweep: page done": Point("sweep", f"{_SWEEP}.sweep_page", "after"),
    "questions: taken": Point("questions", f"{_ASKING}._take", "after"),
    "questions: answered, not applied": Point("questions", "webhooks.questions.answer", "before"),
    "questions: footprint left": Point("questions", "webhooks.lanes.leave_footprints", "after"),
    "questions: before commit": Point("questions", "webhooks.questions._answer", "commit"),
    "questions: applied": Point("questions", "webhooks.questions.answer", "after"),
    "polling: payment taken": Point(
        "polling", "payments.actions.resume_rounds.poll_payment", "before"
    ),
    "polling: answered, not recorded": Point("polling", f"{_POLLING}._take_in_poll", "before"),
    "polling: before commit": Point("polling", f"{_POLLING}.observe", "commit"),
    "polling: recorded": Point("polling", f"{_POLLING}._take_in_poll", "after"),
    "back-fill: ordered": Point("back-fill", f"{_BACKFILL}._audit", "after"),
    "back-fill: lanes locked": Point("back-fill", f"{_BACKFILL}._lock_lanes", "after", nth=2),
    "back-fill: before commit": Point("back-fill", f"{_BACKFILL}._promise", "commit", nth=2),
    "back-fill: portion done": Point("back-fill", f"{_BACKFILL}._next_ids", "before", nth=3),
    "dead letters: handed back": Point("dead letters", f"{_RUNS}._carry_out", "after"),
    "dead letters: before commit": Point("dead letters", f"{_RUNS}._carry_out", "commit"),
    "dead letters: portion done": Point("dead letters", f"{_RUNS}.work", "before", nth=2),
}


@dataclass(frozen=True)
class Servers:
    """Where the child works: its database, its Redis, and where it may send mail and requests."""

    database: Mapping[str, Any]
    redis_url: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    # Who vouches for the server in Slack's place.
    ca_file: str = ""

    def use(self) -> None:
        """Point this process at them."""
        lanes.close_side_connection()
        for alias in connections:
            connections[alias].close()
            connections[alias].settings_dict.update(self.database)
        settings.REDIS_URL = self.redis_url
        current_app.conf.broker_url = self.redis_url
        # The threads that tell Redis keep the address with which they were made.
        wakeup._wakers.clear()
        changes._tellers.clear()
        for name, value in self.settings.items():
            setattr(settings, name, value)

    def send_notifications(self, *, clock: Callable[[], datetime]) -> None:
        """Send what is due by mail and to Slack."""
        post = partial(transport.post, ca_file=self.ca_file)
        sending.deliver(clock=clock, stopping=lambda: False, post=post)


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


def sweep(account_id: str, *, clock: Callable[[], datetime]) -> None:
    """Read what the provider lists of an account, page by page, as long as one is due."""
    with acting_as(Actor(type="job", id="sweep")):
        for page in sweep_events.pages_of(account_id, clock=clock):
            page()


def ask(account_id: str, *, clock: Callable[[], datetime]) -> None:
    """Ask the provider about all deferred news of an account that is due."""
    with acting_as(Actor(type="job", id="ask")):
        for piece in ask_about_deferred.questions_of(account_id, clock=clock):
            piece()


def poll(account_id: str, *, clock: Callable[[], datetime]) -> None:
    """Ask the provider about each payment of an account that is due."""
    with acting_as(Actor(type="job", id="poll")):
        for piece in resume_rounds.pieces_of(account_id, clock=clock):
            piece()


# Its effects are rows (tests.webhooks.effects); it blocks, so that it is told of order too.
LATE_HANDLER: dict[str, Any] = {
    "name": "late_keeper",
    "function": "tests.webhooks.effects.blocking_handler",
    "types": ["payment.*"],
    "policy": "block",
}


def back_fill(since: datetime, until: datetime, *, clock: Callable[[], datetime]) -> None:
    """Promise a handler that was added later what was emitted in the range, two by two."""
    portions = backfill.backfill(
        handler_name=LATE_HANDLER["name"],
        since=since,
        until=until,
        actor=Actor(type="system", id="back-fill"),
        clock=clock,
        portion=2,
    )
    for _ in portions:
        pass


def carry_out_dead_letter_runs(*, now: datetime) -> None:
    """Portion after portion, as long as one is due."""
    while dead_letter_runs.work(now=now):
        pass


@dataclass(frozen=True)
class Task:
    """What there is to do: the webhook of an intake, the account of a sweep, how far its clock is
    ahead, and when the events of a back-fill were emitted.
    """

    webhook: Webhook
    account_id: str
    ahead: timedelta
    emitted: tuple[datetime, datetime]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def carry_out(self, step: str, servers: Servers) -> None:
        """One step but the intake, to its end."""
        if step == "inbox":
            inbox.drain(apply=inbox.configured_apply(), now=self.now())
        elif step == "handlers":
            outbox.drain(now=self.now())
        elif step == "delivery":
            delivery.deliver(clock=self.now, stopping=lambda: False)
        elif step == "notifications":
            servers.send_notifications(clock=self.now)
        elif step == "sweep":
            sweep(self.account_id, clock=self.now)
        elif step == "questions":
            ask(self.account_id, clock=self.now)
        elif step == "polling":
            poll(self.account_id, clock=self.now)
        elif step == "back-fill":
            back_fill(*self.emitted, clock=self.now)
        else:
            carry_out_dead_letter_runs(now=self.now())


def run(name: str, fault_name: str, servers: Servers, task: Task, parent: Connection) -> None:
    """Carry out the step of the point; tells the parent the status of an answered webhook."""
    point, fault = POINTS[name], Fault(fault_name, parent)
    servers.use()
    arm(point, fault)
    if point.step == "intake":
        parent.send(task.webhook.send())
        fault.answered.set()
        if point.when == "answered":
            fault.happened.wait(30)
    else:
        try:
            task.carry_out(point.step, servers)
        except DatabaseError:
            if fault_name != "PostgreSQL crashed":
                raise
    assert fault.happened.is_set(), f"Bug! {name} was never reached"
