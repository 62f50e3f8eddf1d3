"""What the rate limit adds to a request, against one bare round trip to the same Redis."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from payments.api.rate_limits import Bucket, Limiter
from payments.quick_redis import QuickRedis

# One script that reads and writes two buckets, and the arithmetic around it.
COUNTING_BAR = 3.0
_ROUNDS = 5
_REQUESTS = 500


def run() -> list[dict[str, Any]]:
    """One figure: the time of counting a request. A count that Redis did not make is an error."""
    redis = QuickRedis(settings.REDIS_URL)
    limiter = Limiter(shared=redis)
    buckets = [
        Bucket(key=f"bench:rate:{name}", per_second=1e6, capacity=1e6)
        for name in ("key", "merchant")
    ]

    def count() -> None:
        limiter.take(buckets)

    def ping() -> None:
        redis.ask(lambda client: client.ping())

    rounds = [(_median_ms(count), _median_ms(ping)) for _ in range(_ROUNDS)]
    ratio = statistics.median(counted / pinged for counted, pinged in rounds)
    counted_here = int(redis.ask(lambda client: client.exists(*(b.key for b in buckets))) or 0) < 2
    return [
        {
            "name": "counting a request for the rate limits: ms against a PING",
            "value": round(statistics.median(counted for counted, _ in rounds), 3),
            "limit": round(statistics.median(pinged for _, pinged in rounds), 3),
            "ratio": round(ratio, 2),
            "bar": f"<= {COUNTING_BAR}",
            "errors": int(counted_here),
            "holds": ratio <= COUNTING_BAR and not counted_here,
        }
    ]


def _median_ms(question: Callable[[], None]) -> float:
    durations = []
    for _ in range(_REQUESTS):
        started = time.perf_counter()
        question()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1000
