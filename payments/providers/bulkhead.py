"""A limit on how many calls to one provider account are under way in this process at once.

A PSP that hangs keeps every thread that calls it until the deadline. The circuit breaker needs
failures before it opens; until then this limit keeps the other threads of a web process free for
other merchants. There is no queue: a call that finds no place is over at once, as NOT_SENT.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MAXIMUM_CONCURRENT_CALLS = 8


class BulkheadFull(Exception):
    """This account has as many calls under way as it may have. Nothing was sent."""


class Bulkhead:
    """Counts the calls under way per key. Thread-safe."""

    def __init__(self, limit: int = MAXIMUM_CONCURRENT_CALLS) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def place(self, key: str) -> Iterator[None]:
        """Hold one place of `key` for the length of a call. Raises BulkheadFull at once."""
        with self._lock:
            if self._under_way[key] >= self.limit:
                raise BulkheadFull(f"{self.limit} calls are already under way.")
            self._under_way[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[key] -= 1
                if not self._under_way[key]:
                    del self._under_way[key]


def account_key(provider: str, api_base: str, secret_key: str) -> str:
    """The key of one provider account; the secret itself is not kept."""
    digest = hashlib.sha256(f"{api_base}\n{secret_key}".encode()).hexdigest()
    return f"{provider}:{digest[:32]}"
