"""Who watches which payment, and how news reaches them: the heart of the stream process.

Mental model: one event loop, so nothing here is locked. A payment that somebody watches is read
again when Redis says that it changed and when a look at the heads of all watched payments, once a
second, finds it ahead of what was sent; it is read once, in a batch with the others, and handed to
all its listeners. A listener keeps the newest snapshot alone: who reads slowly misses what was in
between and never the end, and costs no memory.

A key that is revoked, or whose merchant is suspended, is noticed every few seconds for all open
streams in one statement; its streams end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from payments.api import stream_metrics
from payments.api.authentication import digests_in_force
from payments.api.stream_source import (
    DOOR_THREADS,
    READING_THREADS,
    Snapshot,
    Subscription,
    Threads,
    read_heads,
    read_payments,
)
from payments.errors import ErrorCode, FlorinError
from webhooks import signs_of_life

LOOK_EVERY_SECONDS = 1.0
KEYS_EVERY_SECONDS = 2.0
BEAT_EVERY_SECONDS = 5.0
# Payments read by one batch; the next batch takes the rest.
BATCH_MAX = 200
READ_TIMEOUT_SECONDS = 10.0
STOP_SECONDS = 5.0
RETRY_AFTER_SECONDS = 5
# Requests without a payment's secret that may wait to have their key looked up: each has to be
# refused in the right words, but a flood of them must not make a page wait. Of those that have a
# secret as many may wait as streams of that payment may be open.
STRANGERS_MAX = 20
ROLE = "stream"

Result = TypeVar("Result")
logger = structlog.get_logger(__name__)


class Listener:
    """One open stream, as the hub sees it."""

    __slots__ = ("_wake", "ending", "key_digest", "newest", "payment_id")

    def __init__(self, *, payment_id: str, key_digest: str) -> None:
        self.payment_id = payment_id
        self.key_digest = key_digest
        self.newest: Snapshot | None = None
        self.ending = ""
        self._wake = asyncio.Event()

    def show(self, snapshot: Snapshot) -> None:
        """There is news, unless something newer is known already."""
        if self.newest is None or snapshot.seq > self.newest.seq:
            self.newest = snapshot
            self._wake.set()

    def end(self, reason: str) -> None:
        """Ask the stream to end; the first reason counts."""
        self.ending = self.ending or reason
        self._wake.set()

    async def news(self, *, seconds: float) -> bool:
        """Wait until something happened, so many seconds at most; whether it did."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True


class Hub:
    """All streams of this process."""

    def __init__(self) -> None:
        self.threads = Threads(number=READING_THREADS, name="stream")
        self._door = Threads(number=DOOR_THREADS, name="door")
        self._at_the_door: Counter[str] = Counter()
        self.stopping = False
        self._watched: dict[str, set[Listener]] = {}
        self._per_key: Counter[str] = Counter()
        self._known: dict[str, int] = {}  # watched payment -> seq that its listeners have
        self._wanted: dict[str, list[asyncio.Future[Snapshot | None]]] = {}
        self._any_wanted = asyncio.Event()
        self._look_now = asyncio.Event()
        self._blind = False
        self._passes = 0
        self._started_at = datetime.now(UTC)
        self.subscription = Subscription(
            settings.REDIS_URL, changed=self._changed, missed=self._look_now.set
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return self._per_key.total()

    def start(self) -> None:
        """Begin to listen and to look."""
        work: list[Coroutine[Any, Any, None]] = [
            self.subscription.run(),
            self._read_wanted(),
            self._look_at_heads(),
            self._look_at_keys(),
            self._beat(),
        ]
        self._tasks = [asyncio.create_task(task) for task in work]

    async def stop(self) -> None:
        """End every stream, wait for their last frames, and stop."""
        self.stopping = True
        for listener in self._listeners():
            listener.end("shutdown")
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while self.open_streams and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(self.threads.run(signs_of_life.leave, ROLE), STOP_SECONDS)
        except (DatabaseError, TimeoutError):
            logger.warning("stream.heartbeat_left_behind")
        self.threads.close()
        self._door.close()

    async def let_in(
        self, look_up: Callable[..., Result], *arguments: object, secret_of: str
    ) -> Result:
        """What `look_up` says of who is at the door with the secret of this payment, "" for none.

        Raises what it raises; FlorinError(service_unavailable) when too many wait there already.
        """
        most = settings.FLORIN_STREAMS_MAX_PER_PAYMENT if secret_of else STRANGERS_MAX
        if self._at_the_door[secret_of] >= most:
            raise _too_many()
        self._at_the_door[secret_of] += 1
        try:
            return await self._door.run(look_up, *arguments)
        finally:
            self._at_the_door[secret_of] -= 1
            if not self._at_the_door[secret_of]:
                del self._at_the_door[secret_of]

    def refuse_if_full(self) -> None:
        """Raises FlorinError(service_unavailable) when no stream can be opened now."""
        if self.stopping or self.open_streams >= settings.FLORIN_STREAMS_MAX:
            raise _too_many()

    def join(self, *, payment_id: str, key_digest: str) -> Listener:
        """A new listener; `leave` has to follow.

        Raises FlorinError: service_unavailable when this process is full, rate_limited when the
        payment or the key has all the streams it may have.
        """
        self.refuse_if_full()
        of_payment = len(self._watched.get(payment_id, ()))
        for held, limit, whose in (
            (of_payment, settings.FLORIN_STREAMS_MAX_PER_PAYMENT, "payment"),
            (self._per_key[key_digest], settings.FLORIN_STREAMS_MAX_PER_KEY, "key"),
        ):
            if held >= limit:
                raise FlorinError(
                    ErrorCode.rate_limited,
                    f"This {whose} has {limit} streams open, and no more are allowed.",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
        listener = Listener(payment_id=payment_id, key_digest=key_digest)
        self._watched.setdefault(payment_id, set()).add(listener)
        self._per_key[key_digest] += 1
        stream_metrics.OPEN.set(self.open_streams)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        listeners = self._watched[listener.payment_id]
        listeners.remove(listener)
        if not listeners:
            del self._watched[listener.payment_id]
            self._known.pop(listener.payment_id, None)
        self._per_key[listener.key_digest] -= 1
        if not self._per_key[listener.key_digest]:
            del self._per_key[listener.key_digest]
        stream_metrics.OPEN.set(self.open_streams)

    async def read(self, payment_id: str) -> Snapshot | None:
        """The payment as it stands now, None when there is none.

        Raises FlorinError(service_unavailable) when PostgreSQL does not answer in time.
        """
        future: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(payment_id, []).append(future)
        self._any_wanted.set()
        try:
            return await asyncio.wait_for(future, READ_TIMEOUT_SECONDS)
        except (DatabaseError, TimeoutError) as error:
            raise FlorinError(
                ErrorCode.service_unavailable, retry_after_seconds=RETRY_AFTER_SECONDS
            ) from error

    def _listeners(self) -> list[Listener]:
        return [listener for listeners in self._watched.values() for listener in listeners]

    def _changed(self, aggregate_id: str) -> None:
        """Somebody committed something about this object."""
        if aggregate_id in self._watched:
            self._wanted.setdefault(aggregate_id, [])
            self._any_wanted.set()

    async def _read_wanted(self) -> None:
        """Read what is wanted, one batch after the other; meanwhile the next one gathers."""
        while True:
            await self._any_wanted.wait()
            batch = {name: self._wanted.pop(name) for name in self._next_batch()}
            if not self._wanted:
                self._any_wanted.clear()
            try:
                found = await self.threads.run(read_payments, batch.keys())
            except Exception as error:  # noqa: BLE001  told to whoever waits
                self._tell_blindness(error)
                for future in _unanswered(batch.values()):
                    future.set_exception(error)
                continue
            self._blind = False
            for payment_id, futures in batch.items():
                self._hand_over(found.get(payment_id), futures)

    def _hand_over(
        self, found: Snapshot | Exception | None, futures: list[asyncio.Future[Snapshot | None]]
    ) -> None:
        """Give what was read of one payment to those who asked, and to all who watch it."""
        for future in _unanswered([futures]):
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(found)
        if isinstance(found, Snapshot):
            self._show(found)

    def _next_batch(self) -> list[str]:
        return list(islice(self._wanted, BATCH_MAX))

    def _show(self, snapshot: Snapshot) -> None:
        listeners = self._watched.get(snapshot.payment_id, ())
        for listener in listeners:
            listener.show(snapshot)
        if listeners:
            known = self._known.get(snapshot.payment_id, 0)
            self._known[snapshot.payment_id] = max(known, snapshot.seq)

    async def _look_at_heads(self) -> None:
        """Find what changed without being told, once a second and whenever something was missed."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), LOOK_EVERY_SECONDS)
            self._look_now.clear()
            if not self._watched:
                continue
            try:
                heads = await self.threads.run(read_heads, list(self._watched))
            except Exception as error:  # noqa: BLE001  whatever it is, the next look may work
                self._tell_blindness(error)
                continue
            self._blind = False
            for payment_id, seq in heads.items():
                if seq > self._known.get(payment_id, 0):
                    self._changed(payment_id)

    async def _look_at_keys(self) -> None:
        """End the streams of keys that would not be let in any more."""
        while True:
            await asyncio.sleep(KEYS_EVERY_SECONDS)
            digests = list(self._per_key)
            if not digests:
                continue
            try:
                in_force = await self.threads.run(_in_force_now, digests)
            except Exception as error:  # noqa: BLE001  nothing can be read, so nothing is shown
                self._tell_blindness(error)
                continue
            refused = set(digests) - in_force
            for listener in self._listeners():
                if listener.key_digest in refused:
                    listener.end("key")

    async def _beat(self) -> None:
        """Say in PostgreSQL that this process works."""
        while True:
            self._passes += 1
            try:
                await self.threads.run(_beat_now, self._started_at, self._passes)
            except Exception as error:  # noqa: BLE001  a silent process is what the row shows then
                self._tell_blindness(error)
            await asyncio.sleep(BEAT_EVERY_SECONDS)

    def _tell_blindness(self, error: Exception) -> None:
        """One line when PostgreSQL stops answering, not one a second."""
        if not self._blind:
            logger.error("stream.database_unreachable", error=f"{type(error).__name__}: {error}")
        self._blind = True


def _too_many() -> FlorinError:
    return FlorinError(
        ErrorCode.service_unavailable,
        "No more streams can be opened now; ask for the payment instead.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def _unanswered(
    waiting: Iterable[list[asyncio.Future[Snapshot | None]]],
) -> list[asyncio.Future[Snapshot | None]]:
    return [future for futures in waiting for future in futures if not future.done()]


def _in_force_now(digests: list[str]) -> set[str]:
    return digests_in_force(digests, now=datetime.now(UTC))


def _beat_now(started_at: datetime, passes: int) -> None:
    signs_of_life.give(role=ROLE, started_at=started_at, passes=passes, now=datetime.now(UTC))
