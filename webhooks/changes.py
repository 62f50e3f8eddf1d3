"""Tell whoever watches which objects have just changed, without making a request wait.

Mental model: after the commit the id of a changed object goes into a set, and a thread of this
process publishes it on one Redis channel: once, however many events it had meanwhile, to whoever
happens to listen. The message is an id and never truth, it may be lost, and there need be no Redis:
a listener reads PostgreSQL, and asks it for the heads of what it watches (`webhooks.events.heads`)
whether or not it was told anything. NOTIFY would do the same under a lock that all commits of the
database share (docs/decisions).
"""

from __future__ import annotations

import os
import threading
from functools import partial

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from webhooks.wakeup import SOCKET_TIMEOUT_SECONDS, Waker


def channel(redis_url: str) -> str:
    """The channel of an installation: Redis knows no databases here, so their number is in it."""
    options = redis.connection.parse_url(redis_url)
    return f"florin:changed:{options.get('db', 0)}"


def tell_on_commit(aggregate_id: str) -> None:
    """Publish that this object has changed, once the current transaction is committed."""
    transaction.on_commit(partial(_tell, aggregate_id), robust=True)


def _tell(aggregate_id: str) -> None:
    _of_this_process().flag(aggregate_id)


class Publisher:
    """Publishes ids over one kept connection with short time-outs; raises redis.RedisError."""

    def __init__(self, redis_url: str) -> None:
        self._channel = channel(redis_url)
        self._client = redis.Redis.from_url(
            redis_url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def __call__(self, aggregate_id: str) -> None:
        self._client.publish(self._channel, aggregate_id)


_tellers: dict[int, Waker] = {}
_tellers_lock = threading.Lock()


def _of_this_process() -> Waker:
    """This process's thread; a forked child does not inherit its parent's."""
    teller = _tellers.get(os.getpid())
    if teller is None:
        with _tellers_lock:
            if os.getpid() not in _tellers:
                _tellers.clear()
                _tellers[os.getpid()] = Waker(Publisher(settings.REDIS_URL))
            teller = _tellers[os.getpid()]
    return teller
