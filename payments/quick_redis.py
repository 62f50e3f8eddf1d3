"""Redis for decisions on the request path: one atomic script per question, or no answer at all.

Mental model: circuit breakers and rate limits are shared through Redis, yet no payment may wait
for it. So a script that is not answered within a short time counts as "Redis is away", and for
some seconds nobody in this process asks again: the caller then decides by itself, with the same
rules (every caller has a fallback of its own). What is kept here may be lost at any time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

# Redis answers in well under a millisecond; what takes this long is broken or far away.
TIMEOUT_SECONDS = 0.25
# After a failure the script is not tried again for this long; then one caller tries.
PAUSE_SECONDS = 3.0

logger = structlog.get_logger(__name__)


class QuickRedis:
    """One Redis server, asked by scripts; thread-safe, safe to use after a fork."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._away_until = 0.0

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any | None:
        """What the script returns (never None), or None while Redis is away."""
        return self.ask(lambda client: script.run(client, keys, arguments))

    def ask(self, question: Callable[[redis.Redis], Any]) -> Any | None:
        """What `question` reads from Redis (never None), or None while Redis is away."""
        if self._away_until and not self._may_try_again():
            return None
        try:
            answer = question(self._client)
        except redis.RedisError as error:
            self._keep_away(error)
            return None
        if self._away_until:
            self._away_until = 0.0
            logger.info("redis.back")
        return answer

    def _may_try_again(self) -> bool:
        """Whether the pause is over; only one caller is told so, as it may have to wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._away_until:
                return False
            self._away_until = now + self._pause_seconds
            return True

    def _keep_away(self, error: redis.RedisError) -> None:
        with self._lock:
            if not self._away_until:
                logger.warning("redis.away", error=f"{type(error).__name__}: {error}")
            self._away_until = time.monotonic() + self._pause_seconds


class Script:
    """A Lua script of a file next to its module, sent by its hash."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text(encoding="utf-8")
        self._sha = redis.Redis().register_script(self._text).sha

    def run(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """One round trip; a second one where Redis has forgotten the script."""
        try:
            return client.evalsha(self._sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return client.eval(self._text, len(keys), *keys, *arguments)


@cache
def _redis_at(url: str) -> QuickRedis:
    return QuickRedis(url)


def shared_redis() -> QuickRedis:
    """The Redis of this installation."""
    return _redis_at(settings.REDIS_URL)
