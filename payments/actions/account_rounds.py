"""Rounds of recovery: each provider account has threads of its own, so that none waits for another.

Mental model: a round is given the accounts that have something due and gives each a few threads out
of a bounded crew, which all rounds of a process share. It ends at its deadline, whether or not all
of them have come back. A thread works on its account's pieces one by one until none is left or the
round is over. A thread that hangs in a call goes on hanging until the call's own deadline: it
counts against its account's threads meanwhile, everybody else's recovery goes on, and what it had
leased is nobody else's.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait

import structlog
from django.conf import settings
from django.db import connection

from audit import log

# A round is over after this long; calls under way end by their own deadline.
ROUND_SECONDS = 5.0

# One thing to do, taken (leased) already; whatever it raises is logged.
Piece = Callable[[], object]

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


def work_by_account(
    *, due: Mapping[str, int], pieces: Callable[[str], Iterator[Piece]], job: str
) -> int:
    """One round. `due` says how much each account has due, those first that wait longest; `pieces`
    takes what an account has due, one by one.

    Returns how many pieces were worked on, so that a caller can go on until none is left; calls
    that are still under way count as one each.
    """
    deadline = time.monotonic() + ROUND_SECONDS
    started: list[Future[int]] = []
    for turn in range(settings.FLORIN_RESUME_THREADS_PER_ACCOUNT):
        for account_id, count in due.items():
            if count > turn:
                future = _crew.start(account_id, _worker(account_id, pieces, job, deadline))
                started += [future] if future is not None else []
    ended, under_way = wait(started, timeout=max(0.0, deadline - time.monotonic()))
    return sum(future.result() for future in ended) + len(under_way)


def _worker(
    account_id: str, pieces: Callable[[str], Iterator[Piece]], job: str, deadline: float
) -> Callable[[], int]:
    def work() -> int:
        worked = 0
        with log.acting_as(log.Actor(type="job", id=job)):
            for piece in pieces(account_id):
                try:
                    piece()
                except Exception:
                    # It keeps no other piece waiting: its lease runs out and it is tried again.
                    logger.exception("round.piece_failed", account=account_id, job=job)
                worked += 1
                if time.monotonic() >= deadline:
                    break
        return worked

    return work
