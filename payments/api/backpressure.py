"""Refuse new work while the old is not done: 429 for new payments, 503 for providers' webhooks.

Mental model: three signs say that this installation does not keep up: provider operations that
should have been tried again a while ago, news from providers that waits unapplied, and threads
that queue for a database connection. Each process looks at them at most once a second, at one of
the two that cost a query in turn, and remembers what it saw; a request only compares numbers.
Overdue operations are counted per merchant first, so that one merchant whose provider fails is
asked to wait before everybody is. Nothing has been written when a request is refused here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from payments.errors import ErrorCode, FlorinError
from webhooks import backlog

LOOK_EVERY_SECONDS = 1.0
# What was seen before so long a silence says nothing any more.
FORGET_AFTER_SECONDS = 5.0
# An operation is tried again when it is due, within a second; this late, the round is not coming.
OVERDUE_AFTER_SECONDS = 30
# A pool that grows with the first load makes threads wait too, for some milliseconds.
POOL_WAIT_SECONDS = 1.0
# Asking the pool costs as much as checking a signature. Once somebody waits it is asked each time.
POOL_LOOK_EVERY_SECONDS = 0.1
RETRY_AFTER_SECONDS = 5
WEBHOOK_RETRY_AFTER_SECONDS = 60

logger = structlog.get_logger(__name__)

# Literals in the words of the partial index of open operations. Counting stops at the limit.
_OVERDUE = """
    SELECT payment.merchant_id, count(*)
    FROM (
        SELECT payment_id FROM payments_provideroperation
        WHERE finished_at IS NULL AND next_try_at < now() - make_interval(secs => %s)
        ORDER BY next_try_at LIMIT %s
    ) AS late
    JOIN payments_payment AS payment ON payment.id = late.payment_id
    GROUP BY 1
"""


@dataclass
class _Seen:
    """What the last looks found."""

    overdue: dict[str, int] = field(default_factory=dict)  # merchant -> operations
    overdue_total: int = 0
    inbox_late_seconds: float = 0.0


class Pressure:
    """What one process knows of how far behind the installation is. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        waiting_threads: Callable[[], int] | None = None,
    ) -> None:
        self._clock = clock
        self._waiting_threads = waiting_threads or _waiting_for_a_connection
        self._waiting_since = 0.0
        self._next_pool_look = 0.0
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._looks = 0
        self._seen = _Seen()

    def refuse_payment(self, merchant_id: str) -> None:
        """Raises FlorinError(too_busy) when a new payment of this merchant has to wait."""
        self._look()
        reason = self._reason(merchant_id)
        if reason:
            logger.warning("backpressure.payment_refused", reason=reason, merchant=merchant_id)
            raise FlorinError(ErrorCode.too_busy, retry_after_seconds=RETRY_AFTER_SECONDS)

    def refuse_webhook(self) -> None:
        """Raises FlorinError(service_unavailable) when a provider's webhook has to come again."""
        self._look()
        late = self._seen.inbox_late_seconds > settings.FLORIN_WEBHOOK_BUSY_INBOX_SECONDS
        if late or self._pool_is_exhausted():
            logger.warning("backpressure.webhook_refused", late=late)
            raise FlorinError(
                ErrorCode.service_unavailable, retry_after_seconds=WEBHOOK_RETRY_AFTER_SECONDS
            )

    def _reason(self, merchant_id: str) -> str:
        seen = self._seen
        if seen.overdue.get(merchant_id, 0) > settings.FLORIN_TOO_BUSY_MERCHANT_OPERATIONS:
            return "operations of the merchant"
        if seen.overdue_total > settings.FLORIN_TOO_BUSY_OPERATIONS:
            return "operations"
        if seen.inbox_late_seconds > settings.FLORIN_TOO_BUSY_INBOX_SECONDS:
            return "inbox"
        return "database pool" if self._pool_is_exhausted() else ""

    def _pool_is_exhausted(self) -> bool:
        """Whether too many threads have been waiting for a connection for a while."""
        now = self._clock()
        if self._waiting_since or now >= self._next_pool_look:
            self._next_pool_look = now + POOL_LOOK_EVERY_SECONDS
            too_many = self._waiting_threads() > settings.FLORIN_TOO_BUSY_POOL_WAITING
            self._waiting_since = (self._waiting_since or now) if too_many else 0.0
        return bool(self._waiting_since) and now - self._waiting_since >= POOL_WAIT_SECONDS

    def _look(self) -> None:
        """Look if it is time; a second thread goes on with what the last look found."""
        if self._clock() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            now = self._clock()
            if now < self._next_look:
                return
            if now - self._next_look >= FORGET_AFTER_SECONDS:
                self._seen = _Seen()
            self._next_look = now + LOOK_EVERY_SECONDS
            # With threads queueing for connections there is none to spare for looking.
            if not self._waiting_threads():
                self._looks += 1
                (self._look_at_inbox if self._looks % 2 else self._look_at_operations)()
        except DatabaseError:
            logger.warning("backpressure.look_failed", exc_info=True)
        finally:
            self._lock.release()

    def _look_at_inbox(self) -> None:
        oldest = backlog.oldest_due("inbox")
        late = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        self._seen.inbox_late_seconds = late

    def _look_at_operations(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                _OVERDUE, [OVERDUE_AFTER_SECONDS, settings.FLORIN_TOO_BUSY_OPERATIONS + 1]
            )
            overdue = dict(cursor.fetchall())
        self._seen.overdue, self._seen.overdue_total = overdue, sum(overdue.values())


def _waiting_for_a_connection() -> int:
    """How many threads of this process wait for a database connection; no query."""
    pool = getattr(connection, "pool", None)
    return int(pool.get_stats().get("requests_waiting", 0)) if pool is not None else 0


pressure = Pressure()
