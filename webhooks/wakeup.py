"""Wake the workers without ever making a request wait for Redis.

Mental model: `notify` sets a flag in this process and returns. One background thread per process
turns flags into messages: many flags become one message, a message carries no payload, and none
is sent while enough of them still wait in the queue, since a waiting message will see everything
committed before it is taken. A Redis that refuses or hangs costs this thread at most its short
socket time-outs; then it pauses, and the sweeper finds the work in PostgreSQL by itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import structlog
from django.db import transaction
from kombu import Connection

Kind = Literal["inbox", "outbox", "deliveries"]

SOCKET_TIMEOUT_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
# Under load every flag is up again at once; a hundred looks at the queue per second are enough.
REST_SECONDS = 0.01
WAITING_MESSAGES_ENOUGH = 4
QUEUE_OF_KIND: dict[str, str] = {"inbox": "events", "outbox": "events", "deliveries": "deliveries"}
TASK_OF_KIND: dict[str, str] = {
    "inbox": "webhooks.tasks.drain_inbox",
    "outbox": "webhooks.tasks.drain_outbox",
    "deliveries": "webhooks.tasks.deliver",
}

logger = structlog.get_logger(__name__)


def notify(kind: Kind) -> None:
    """Ask that work of `kind` be looked for soon. Never blocks, never raises, never publishes."""
    _of_this_process().flag(kind)


def notify_on_commit(kind: Kind) -> None:
    """`notify` once the current transaction is committed."""
    transaction.on_commit(_NOTIFIERS[kind], robust=True)


class Waker:
    """The background thread of one process. `publish` sends one message of a kind."""

    def __init__(self, publish: Callable[[str], None]) -> None:
        self._publish = publish
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def flag(self, kind: str) -> None:
        """Ask for one message of `kind`; the first call starts the thread."""
        with self._changed:
            self._wanted.add(kind)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wakeup", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        pause_seconds = 0.0
        while True:
            with self._changed:
                while not self._wanted:
                    self._changed.wait()
                wanted, self._wanted = self._wanted, set()
            try:
                for kind in sorted(wanted):
                    self._publish(kind)
                pause_seconds = 0.0
                time.sleep(REST_SECONDS)
            except Exception as error:  # noqa: BLE001  whatever the broker does, requests go on
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2 or 0.5)
                logger.warning(
                    "wakeup.not_sent",
                    error=f"{type(error).__name__}: {error}",
                    pause_seconds=pause_seconds,
                )
                time.sleep(pause_seconds)


class Publisher:
    """Sends messages without content over one kept connection with short time-outs.

    `broker_url` is the Celery broker. Raises whatever the transport raises; after that the next
    call connects anew.
    """

    def __init__(self, app: Any, broker_url: str) -> None:
        self._app = app
        self._broker_url = broker_url
        self._connection: Connection | None = None

    def __call__(self, kind: str) -> None:
        self.send(TASK_OF_KIND[kind], queue=QUEUE_OF_KIND[kind], enough=WAITING_MESSAGES_ENOUGH)

    def send(self, task: str, *, queue: str, enough: int) -> None:
        """Put one message into `queue`, unless `enough` of them wait there already."""
        try:
            connection = self._connect()
            channel = connection.default_channel
            if channel.client.llen(queue) >= enough:
                return
            self._app.send_task(
                task,
                queue=queue,
                connection=connection,
                retry=False,
                ignore_result=True,
            )
        except Exception:
            self.close()
            raise

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(
                self._broker_url,
                transport_options={
                    "socket_timeout": SOCKET_TIMEOUT_SECONDS,
                    "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
                    "max_retries": 0,
                    "retry_on_timeout": False,
                },
            )
        return self._connection

    def close(self) -> None:
        """Forget the connection, without speaking to a server that may not answer."""
        broken, self._connection = self._connection, None
        if broken is not None:
            broken.collect(socket_timeout=0.1)


_wakers: dict[int, Waker] = {}
_wakers_lock = threading.Lock()
_NOTIFIERS: dict[str, Callable[[], None]] = {
    "inbox": lambda: notify("inbox"),
    "outbox": lambda: notify("outbox"),
    "deliveries": lambda: notify("deliveries"),
}


def _of_this_process() -> Waker:
    """This process's waker; a forked child does not inherit its parent's thread."""
    waker = _wakers.get(os.getpid())
    if waker is None:
        with _wakers_lock:
            if os.getpid() not in _wakers:
                from celery import current_app

                _wakers.clear()
                _wakers[os.getpid()] = Waker(Publisher(current_app, current_app.conf.broker_url))
            waker = _wakers[os.getpid()]
    return waker
