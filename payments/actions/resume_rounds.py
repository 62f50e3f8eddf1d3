"""Rounds of recovery: each provider account has threads of its own, so that none waits for another.

Mental model: a round asks which accounts have something due, gives each a few threads out of a
bounded crew, and ends at its deadline, whether or not all of them have come back. A thread works
on its account's operations and polls one by one until none is left or the round is over. A thread
that hangs in a call goes on hanging until the call's own deadline: it counts against its account's
threads meanwhile, everybody else's recovery goes on, and what it had leased is nobody else's.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, Min, OuterRef, QuerySet

from audit import log
from payments.actions.call_provider import lease_until
from payments.actions.change import Cause, Clock
from payments.actions.resume_payment import lease_operation, poll_payment, resume_operation
from payments.models import Payment, ProviderOperation

# A round is over after this long; calls under way end by their own deadline.
ROUND_SECONDS = 5.0
BATCH_SIZE = 20

logger = structlog.get_logger(__name__)


class Crew:
    """Threads of this process, at most `total` at once and at most `per_account` for one account.

    Threads end with the process: what they had leased is taken up again when the lease runs out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()

    def start(self, account_id: str, work: Callable[[], int]) -> Future[int] | None:
        """Have a thread do `work`, or None where there is no thread for this account."""
        with self._lock:
            if (
                self._busy[account_id] >= settings.FLORIN_RESUME_THREADS_PER_ACCOUNT
                or self._busy.total() >= settings.FLORIN_RESUME_THREADS
            ):
                self._busy += Counter()  # forget accounts at zero
                return None
            self._busy[account_id] += 1
        future: Future[int] = Future()
        threading.Thread(
            target=self._run, args=(account_id, work, future), name="resume", daemon=True
        ).start()
        return future

    def _run(self, account_id: str, work: Callable[[], int], future: Future[int]) -> None:
        try:
            worked = work()
        except Exception:
            logger.exception("resume_round.thread_failed", account=account_id)
            worked = 0
        finally:
            connection.close()
            with self._lock:
                self._busy[account_id] -= 1
                self._busy += Counter()
        future.set_result(worked)


_crew = Crew()


def resume_due(*, clock: Clock) -> int:
    """One round of everything that is due: operations without an outcome, payments that owe news.

    Returns how many pieces were worked on, so that a caller can go on until none is left; calls
    that are still under way count as one each.
    """
    deadline = time.monotonic() + ROUND_SECONDS
    due = _due_accounts(clock())
    started: list[Future[int]] = []
    for turn in range(settings.FLORIN_RESUME_THREADS_PER_ACCOUNT):
        for account_id, count in due.items():
            if count > turn:
                future = _crew.start(account_id, _worker(account_id, deadline, clock))
                started += [future] if future is not None else []
    ended, under_way = wait(started, timeout=max(0.0, deadline - time.monotonic()))
    return sum(future.result() for future in ended) + len(under_way)


def _worker(account_id: str, deadline: float, clock: Clock) -> Callable[[], int]:
    def work() -> int:
        with log.acting_as(log.Actor(type="job", id="resume_payments")):
            worked = 0
            for piece in _pieces(account_id, clock):
                with _alone(account_id):
                    piece()
                worked += 1
                if time.monotonic() >= deadline:
                    break
            return worked

    return work


def _pieces(account_id: str, clock: Clock) -> Iterator[Callable[[], object]]:
    """What is due for an account, each piece taken just before it is handed out."""
    while found := _due_operations(account_id, clock()):
        for operation_id in found:
            operation = lease_operation(operation_id, now=clock())
            if operation is not None:
                yield partial(resume_operation, operation, cause=Cause(type="poll"), clock=clock)
    while (payment_id := _claim_due_poll(account_id, clock())) is not None:
        yield partial(poll_payment, payment_id, clock=clock)


@contextmanager
def _alone(account_id: str) -> Iterator[None]:
    """What one payment raises is logged and keeps no other payment waiting; its lease runs out
    and it is tried again.
    """
    try:
        yield
    except Exception:
        logger.exception("payment_not_resumed", account=account_id)


def _due_accounts(now: datetime) -> dict[str, int]:
    """Accounts with something due and how much of it, those that wait longest first."""
    operations = ProviderOperation.objects.filter(finished_at__isnull=True, next_try_at__lte=now)
    found: dict[str, tuple[datetime, int]] = {}
    for account_id, since, count in [
        *operations.values_list("attempt__provider_account")
        .annotate(since=Min("next_try_at"), number=Count("pk"))
        .order_by(),
        *_due_polls(now)
        .values_list("provider_account")
        .annotate(since=Min("poll_due_at"), number=Count("pk"))
        .order_by(),
    ]:
        earlier, counted = found.get(account_id, (since, 0))
        found[account_id] = (min(earlier, since), counted + count)
    by_wait = sorted(found.items(), key=lambda item: item[1][0])
    return {account_id: count for account_id, (_, count) in by_wait}


def _due_operations(account_id: str, now: datetime) -> list[str]:
    return list(
        ProviderOperation.objects.filter(
            finished_at__isnull=True, next_try_at__lte=now, attempt__provider_account=account_id
        )
        .order_by("next_try_at")
        .values_list("pk", flat=True)[:BATCH_SIZE]
    )


def _due_polls(now: datetime) -> QuerySet[Payment]:
    being_driven = ProviderOperation.objects.filter(
        payment=OuterRef("pk"), finished_at__isnull=True
    )
    return Payment.objects.filter(~Exists(being_driven), poll_due_at__lte=now)


def _claim_due_poll(account_id: str, now: datetime) -> str | None:
    """Take a due poll by moving its time ahead, so that a second poller finds it taken."""
    with transaction.atomic(durable=True):
        due = (
            _due_polls(now)
            .select_for_update(skip_locked=True, of=("self",), no_key=True)
            .filter(provider_account=account_id)
            .order_by("poll_due_at")
            .values_list("pk", flat=True)
            .first()
        )
        if due is not None:
            Payment.objects.filter(pk=due).update(poll_due_at=lease_until(now))
        return due
