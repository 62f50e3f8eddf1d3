"""How often a merchant may ask: token buckets per key and per merchant, reads apart from writes.

Mental model: a bucket fills with `per_second` tokens up to `capacity`, and each request takes one
from its key's bucket and one from its merchant's, in one step in Redis, so all web processes share
them. Publishable keys are public, so a payer's browser draws on buckets of its own and cannot use
up what the merchant's server needs. While Redis is away each process counts by itself, under the
same limits: requests are never refused because the counter is lost, nor let through uncounted.

What is refused here has written nothing: the limit comes before the body is read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from payments.api.authentication import Caller
from payments.errors import ErrorCode, FlorinError
from payments.models import ApiKey
from payments.quick_redis import QuickRedis, Script, shared_redis

_SCRIPT = Script(Path(__file__).with_suffix(".lua"))
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_BUCKETS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One bucket: its key in Redis, how fast it fills, how much it holds."""

    key: str
    per_second: float
    capacity: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is left of the tightest bucket after a request, for the answer's headers."""

    limit: int
    remaining: int
    reset_seconds: int
    retry_after_seconds: int = 0

    def headers(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers: the quota, what is left, and in how many
        seconds all of it is there again.
        """
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


def buckets_of(caller: Caller, method: str) -> tuple[Bucket, Bucket]:
    """The key's bucket and the merchant's for a request of this method."""
    if caller.kind == ApiKey.Kind.PUBLISHABLE:
        kind, limits = "client", settings.FLORIN_RATE_LIMITS["client"]
    elif method in _READS:
        kind, limits = "read", settings.FLORIN_RATE_LIMITS["read"]
    else:
        kind, limits = "write", settings.FLORIN_RATE_LIMITS["write"]
    share = 1.0 if caller.livemode else settings.FLORIN_RATE_LIMIT_TEST_MODE_SHARE
    mode = "live" if caller.livemode else "test"
    burst = settings.FLORIN_RATE_LIMIT_BURST_SECONDS
    of_key, of_merchant = (per_second * share for per_second in limits)
    return (
        Bucket(
            key=f"florin:rate:{caller.key_id}:{kind}",
            per_second=of_key,
            capacity=max(1.0, of_key * burst),
        ),
        Bucket(
            key=f"florin:rate:{caller.merchant.pk}:{mode}:{kind}",
            per_second=of_merchant,
            capacity=max(1.0, of_merchant * burst),
        ),
    )


def take(caller: Caller, method: str) -> Standing:
    """Count one request of `caller`. The standing says in how many seconds to come again where
    there was no token for it.
    """
    return _limiter().take(buckets_of(caller, method))


def refusal(standing: Standing) -> FlorinError:
    """The 429 of a request that found no token."""
    seconds = standing.retry_after_seconds
    return FlorinError(
        ErrorCode.rate_limited,
        f"More than {standing.limit} requests at once; come again in {seconds} s.",
        retry_after_seconds=seconds,
    )


class Limiter:
    """Takes tokens in Redis, or in this process while Redis is away. `clock` is in seconds."""

    def __init__(self, *, shared: QuickRedis, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock
        self._lock = threading.Lock()
        self._local: dict[str, tuple[float, float]] = {}  # key -> tokens, at

    def take(self, buckets: Sequence[Bucket]) -> Standing:
        """One token of each bucket, or of none."""
        now = self._clock()
        arguments: list[float] = [round(now * 1000)]
        for bucket in buckets:
            arguments += [bucket.per_second, bucket.capacity]
        answer = self._shared.run(_SCRIPT, [bucket.key for bucket in buckets], arguments)
        if answer is None:
            return _standing(buckets, *self._take_here(buckets, now))
        return _standing(buckets, bool(answer[0]), [left / 1000 for left in answer[1:]])

    def _take_here(self, buckets: Sequence[Bucket], now: float) -> tuple[bool, list[float]]:
        with self._lock:
            if len(self._local) > _LOCAL_BUCKETS_MAX:
                self._local.clear()
            left = []
            for bucket in buckets:
                had, at = self._local.get(bucket.key, (bucket.capacity, now))
                filled = had + max(0.0, now - at) * bucket.per_second
                left.append(min(bucket.capacity, filled))
            taken = all(tokens >= 1 for tokens in left)
            left = [tokens - taken for tokens in left]
            for bucket, tokens in zip(buckets, left, strict=True):
                self._local[bucket.key] = (tokens, now)
            return taken, left


def _standing(buckets: Sequence[Bucket], taken: bool, left: Sequence[float]) -> Standing:
    tokens, tightest = min(zip(left, buckets, strict=True), key=lambda pair: pair[0])
    wait = 0.0
    if not taken:
        wait = max(
            (1 - tokens) / bucket.per_second
            for tokens, bucket in zip(left, buckets, strict=True)
            if tokens < 1
        )
    return Standing(
        limit=math.floor(tightest.capacity),
        remaining=max(0, math.floor(tokens)),
        reset_seconds=math.ceil((tightest.capacity - tokens) / tightest.per_second),
        retry_after_seconds=0 if taken else max(1, math.ceil(wait)),
    )


_limiters: dict[QuickRedis, Limiter] = {}


def _limiter() -> Limiter:
    shared = shared_redis()
    limiter = _limiters.get(shared)
    if limiter is None:
        limiter = _limiters.setdefault(shared, Limiter(shared=shared))
    return limiter
