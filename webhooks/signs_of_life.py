"""Who still works: a worker that reads a letter to itself, sent through the broker, is alive.

Mental model: a worker may live, hold its connections and take no message any more, for instance
after a broker that went away and came back. Its process says nothing about that, and neither does
a message that any other worker may have taken. So each worker has a queue of its own; a thread of
its main process puts a letter there every few seconds, a process of its pool reads it and writes
the worker's row. A row that grows old belongs to a worker that is deaf or hangs; it is restarted by
whoever supervises it (`manage.py check_liveness`). At most one letter waits in a queue. Sweepers,
streams and beats write their rows by their work: a pass, a look, a message that went out.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from celery.signals import celeryd_after_setup, worker_ready
from django.db.models import QuerySet
from kombu import Queue

from webhooks.models import Heartbeat
from webhooks.wakeup import Publisher

EVERY_SECONDS = 5.0
KEPT = timedelta(days=1)
LETTER = "webhooks.tasks.give_sign_of_life"

logger = structlog.get_logger(__name__)
# Of the worker's main process: taken when this is imported, before the pool is forked from it.
_WORKER_PID = os.getpid()
_STARTED_AT = datetime.now(UTC)


def give(
    *, role: str, started_at: datetime, passes: int, now: datetime, pid: int | None = None
) -> None:
    """Say that a process of this machine (this one, unless `pid` names another) has just done its
    work; forgets processes silent for a day.
    """
    Heartbeat.objects.update_or_create(
        process=_prefix(role) + str(pid or os.getpid()),
        defaults={"role": role, "started_at": started_at, "beat_at": now, "passes": passes},
    )
    Heartbeat.objects.filter(beat_at__lt=now - KEPT).delete()


def leave(role: str) -> None:
    """Say that this process ends as it should, so that nobody misses it."""
    Heartbeat.objects.filter(process=_prefix(role) + str(os.getpid())).delete()


def _prefix(role: str) -> str:
    return f"{role}:{socket.gethostname()}:"


def give_for_worker(*, passes: int, now: datetime) -> None:
    """A process of a worker's pool has read a letter: the whole worker lives."""
    give(role="worker", started_at=_STARTED_AT, passes=passes, now=now, pid=_WORKER_PID)


def on_this_machine(role: str) -> dict[int, datetime]:
    """Process id -> last sign of life, of the processes of a role on this machine."""
    prefix = _prefix(role)
    rows: QuerySet[Heartbeat] = Heartbeat.objects.filter(process__startswith=prefix)
    return {int(row.process.removeprefix(prefix)): row.beat_at for row in rows}


def queue_of(worker_name: str) -> str:
    """The queue that the worker with this node name alone takes messages from."""
    return f"letters.{worker_name}"


@celeryd_after_setup.connect
def _take_letters(sender: str, instance: Any, **_: Any) -> None:
    """Let a starting worker listen to its own queue too, whichever others it was told to take."""
    name = queue_of(sender)
    instance.app.amqp.queues.select_add(Queue(name, routing_key=name))


@worker_ready.connect
def _write_letters(sender: Any, **_: Any) -> None:
    name = queue_of(sender.hostname)
    publisher = Publisher(sender.app, sender.app.conf.broker_url)
    threading.Thread(
        target=keep_writing,
        args=(lambda: publisher.send(LETTER, queue=name, enough=1),),
        name="letters",
        daemon=True,
    ).start()


def keep_writing(write: Callable[[], None], *, every_seconds: float = EVERY_SECONDS) -> None:
    """Write a letter every few seconds for as long as the process lives, whatever becomes of it."""
    while True:
        try:
            write()
        except Exception as error:  # noqa: BLE001  a broker that is away comes back
            logger.warning("letter.not_sent", error=f"{type(error).__name__}: {error}")
        time.sleep(every_seconds)
