"""Where the stream process learns what payers' pages should see: PostgreSQL, and a hint by Redis.

Mental model: the event loop never touches a database. Functions of this module read in one of a
few threads, each with its own connection; whatever a thread meets on a broken connection is tried
once on a new one. Who comes is let in by threads apart from those that read payments, so that a
crowd at the door keeps nothing from those who are in. `read_payments` shows many payments as they
stood at one moment, each with the number of its last domain event, in three statements however many
there are. `Subscription` hears from Redis which objects have just changed; it may hear nothing, for
as long as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import redis.asyncio
import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from payments.api import stream_metrics
from payments.api.client_payment import client_payment
from payments.api.rendering import to_json
from payments.models import Attempt, Payment
from payments.states import State
from webhooks import changes, events

# One reads payments, the other looks at heads and keys.
READING_THREADS = 2
DOOR_THREADS = 2
REDIS_TIMEOUT_SECONDS = 2.0
# A silent connection is asked this often whether it still is one.
REDIS_PING_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0
# What the payer waits for has come to an end; what follows concerns the merchant.
FINAL_STATES = frozenset(
    {
        State.CAPTURED,
        State.SETTLED,
        State.PARTIALLY_CAPTURED,
        State.DISPUTED,
        State.REFUNDED,
        State.REVERSED,
        State.CANCELED,
        State.FAILED,
    }
)

Result = TypeVar("Result")
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A payment as its payer's page sees it. `seq` counts its domain events, `frame` is what is
    sent, shared by everybody who watches.
    """

    payment_id: str
    merchant_id: str
    livemode: bool
    seq: int
    final: bool
    frame: bytes


class Threads:
    """Runs blocking functions beside the event loop."""

    def __init__(self, *, number: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=number, thread_name_prefix=name)

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """What `function` returns. Raises what it raises, django.db.Error included."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _on_a_living_connection, function, arguments)

    def close(self) -> None:
        """Take no more work; what runs is left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _on_a_living_connection(
    function: Callable[..., Result], arguments: tuple[object, ...]
) -> Result:
    try:
        return function(*arguments)
    except (OperationalError, InterfaceError):
        connection.close()  # the server may have been restarted since it was last used
    try:
        return function(*arguments)
    except (OperationalError, InterfaceError):
        connection.close()
        raise


def read_payments(payment_ids: Collection[str]) -> dict[str, Snapshot | Exception]:
    """Payment id -> snapshot, all of one moment; ids that do not exist are missing.

    A payment that cannot be shown (its encryption key is lost) is an exception in its place, so
    that it hides no other.
    """
    ids = list(payment_ids)
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        heads = events.heads("payment", ids)
        payments = list(Payment.objects.select_related("provider_account").filter(pk__in=ids))
        attempts = {
            attempt.payment_id: attempt
            for attempt in Attempt.objects.filter(payment__in=ids)
            .select_related("provider_account")
            .order_by("payment_id", "-number")
            .distinct("payment_id")
        }
    return {
        payment.pk: _shown(payment, attempts.get(payment.pk), heads.get(payment.pk, 0))
        for payment in payments
    }


def read_heads(payment_ids: Collection[str]) -> dict[str, int]:
    """Payment id -> number of its last domain event."""
    return events.heads("payment", payment_ids)


def _shown(payment: Payment, attempt: Attempt | None, seq: int) -> Snapshot | Exception:
    try:
        return _snapshot(payment, attempt, seq)
    except Exception as error:
        logger.exception("stream.payment_not_shown", payment=payment.pk)
        return error


def _snapshot(payment: Payment, attempt: Attempt | None, seq: int) -> Snapshot:
    data = to_json(client_payment(payment, attempt))
    return Snapshot(
        payment_id=payment.pk,
        merchant_id=payment.merchant_id,
        livemode=payment.livemode,
        seq=seq,
        final=payment.state in FINAL_STATES,
        frame=b"id: %d\nevent: payment.updated\ndata: %s\n\n" % (seq, data),
    )


class Subscription:
    """Listens for changes until it is cancelled, whatever Redis does meanwhile.

    `changed(id)` is called for each id that is heard; `missed()` each time it begins to listen,
    since nobody knows what was said before.
    """

    def __init__(
        self, redis_url: str, *, changed: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        self._url = redis_url
        self._changed = changed
        self._missed = missed
        self.is_up = False

    async def run(self) -> None:
        """Connect, listen, and connect again after a growing pause."""
        pause_seconds = 0.0
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as error:
                if self.is_up or not pause_seconds:
                    logger.warning("stream.redis_away", error=f"{type(error).__name__}: {error}")
                pause_seconds = 0.5 if self.is_up else min(LONGEST_PAUSE_SECONDS, 2 * pause_seconds)
                pause_seconds = max(0.5, pause_seconds)
                self._set_up(False)
            await asyncio.sleep(pause_seconds)

    async def _listen(self) -> None:
        client = redis.asyncio.Redis.from_url(
            self._url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(changes.channel(self._url))
            while True:
                message = await pubsub.get_message(timeout=REDIS_PING_SECONDS)
                if message is None:
                    await self._ping(pubsub)
                elif message["type"] == "subscribe":
                    self._set_up(True)
                    self._missed()
                elif message["type"] == "message":
                    self._changed(message["data"])

    async def _ping(self, pubsub: redis.asyncio.client.PubSub) -> None:
        """A connection without any sign of life is no connection. Raises redis.TimeoutError."""
        await pubsub.ping()
        if await pubsub.get_message(timeout=REDIS_TIMEOUT_SECONDS) is None:
            raise redis.TimeoutError("the subscription does not answer")

    def _set_up(self, up: bool) -> None:
        if up and not self.is_up:
            logger.info("stream.redis_listening")
        self.is_up = up
        stream_metrics.REDIS_UP.set(up)
