"""The sweeper: completes whatever is due in PostgreSQL, whether or not Redis and workers live.

Mental model: a loop that asks the database twice a second. It needs no message, remembers nothing
and holds nothing between two passes, so any number of sweepers may run, next to workers and
beat, and any of them may be killed. Periodic jobs, and what sends to other people's servers
(settings.FLORIN_SENDERS), may take seconds; they have threads of their own, so that they cannot
hold up the events.

A periodic job is a function `job(*, now)` named in settings.FLORIN_PERIODIC_JOBS as
{"name", "function", "every_seconds"}; its row in PostgreSQL says when it is due and who has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.utils.module_loading import import_string

from audit import log
from webhooks import dead_letter_runs, inbox, lanes, outbox, retries, signs_of_life
from webhooks.doorbell import Doorbell
from webhooks.models import PeriodicJob

PASS_SECONDS = 0.5
# About as many a pass of each queue: the sign of life after it is never long in coming, however
# slow the machine, and a pass that did something is followed by the next at once.
PASS_EVENTS = 100
# What another process made to be sent rings no bell here; a look for it costs a millisecond.
SENDERS_PAUSE_SECONDS = 0.1
# A job that outlives this may be started a second time, so it has to be safe to run twice.
JOB_LEASE = timedelta(minutes=10)
LONGEST_PAUSE_SECONDS = 5.0
STOP_SECONDS = 10.0

Clock = Callable[[], datetime]
logger = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """The clock of a real sweeper."""
    return datetime.now(UTC)


def registered_jobs() -> dict[str, float]:
    """Name -> interval in seconds of every job in settings.FLORIN_PERIODIC_JOBS."""
    return {job["name"]: job["every_seconds"] for job in settings.FLORIN_PERIODIC_JOBS}


def drain_queues(*, now: datetime) -> int:
    """Apply due provider events, then hand due domain events on; returns how many.

    Then a portion of what a person wants replayed, so that a pass finds it due the next time.
    """
    applied = inbox.drain(apply=inbox.configured_apply(), now=now, limit=PASS_EVENTS)
    handled = outbox.drain(now=now, limit=PASS_EVENTS)
    return applied.total + handled.total + dead_letter_runs.work(now=now)


def run_if_due(name: str, *, clock: Clock) -> bool:
    """Run a registered job if it is due and nobody has it; False when there was nothing to do.

    An exception of the job is logged and kept on its row; the job is due again as usual.
    """
    job = next(job for job in settings.FLORIN_PERIODIC_JOBS if job["name"] == name)
    fence = _claim_job(name, job["every_seconds"], now=clock())
    if fence is None:
        return False
    error = ""
    try:
        with log.acting_as(log.Actor(type="job", id=name)):
            import_string(job["function"])(now=clock())
    except Exception as exception:
        logger.exception("periodic_job.failed", job=name)
        error = retries.describe_error(exception)[0]
    PeriodicJob.objects.filter(name=name, fence=fence).update(
        lease_until=None, last_finished_at=clock(), last_error=error
    )
    return True


def _claim_job(name: str, every_seconds: float, *, now: datetime) -> int | None:
    """Move the job's row to its next time, in one statement that only one process can win."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO webhooks_periodic_job AS job (
                name, due_at, lease_until, fence, runs, last_started_at, last_error
            )
            VALUES (%(name)s, %(next)s, %(lease)s, 1, 1, %(now)s, '')
            ON CONFLICT (name) DO UPDATE SET due_at = %(next)s, lease_until = %(lease)s,
                fence = job.fence + 1, runs = job.runs + 1, last_started_at = %(now)s
            WHERE job.due_at <= %(now)s
              AND (job.lease_until IS NULL OR job.lease_until <= %(now)s)
            RETURNING fence
            """,
            {
                "name": name,
                "now": now,
                "next": now + timedelta(seconds=every_seconds),
                "lease": now + JOB_LEASE,
            },
        )
        row = cursor.fetchone()
    return row[0] if row else None


class Sweeper:
    """The loop of `manage.py sweep`; `stop` may be called from a signal handler."""

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._started_at = clock()
        self._passes = 0
        self._last_sign = float("-inf")
        self._jobs: dict[str, Future[None]] = {}
        self._doorbells = {name: Doorbell() for name in settings.FLORIN_SENDERS}

    def stop(self) -> None:
        self._stopping.set()
        self._ring()

    def _ring(self) -> None:
        for doorbell in self._doorbells.values():
            doorbell.ring()

    def run(self) -> bool:
        """Sweep until `stop`. True when every thread ended in time; what did not is harmless:
        its lease runs out and another process takes over.
        """
        senders = [
            threading.Thread(target=self._send, args=[name], name=name, daemon=True)
            for name in self._doorbells
        ]
        for sender in senders:
            sender.start()
        jobs = ThreadPoolExecutor(max_workers=4, thread_name_prefix="job")
        pause_seconds = PASS_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                handled = self._pass(jobs)
                pause_seconds = PASS_SECONDS if handled == 0 else 0.0
            except DatabaseError:
                logger.exception("sweep.database_unreachable")
                connection.close()
                lanes.close_side_connection()
                pause_seconds = min(LONGEST_PAUSE_SECONDS, max(PASS_SECONDS, pause_seconds * 2))
            except Exception:
                logger.exception("sweep.pass_failed")
                pause_seconds = min(LONGEST_PAUSE_SECONDS, max(PASS_SECONDS, pause_seconds * 2))
            self._stopping.wait(max(0.0, pause_seconds - (time.monotonic() - began)))
        jobs.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + STOP_SECONDS
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        while self._running_jobs() and time.monotonic() < deadline:
            time.sleep(0.05)
        lanes.close_side_connection()
        connection.close()
        return not any(sender.is_alive() for sender in senders) and not self._running_jobs()

    def _pass(self, jobs: ThreadPoolExecutor) -> int:
        now = self._clock()
        handled = drain_queues(now=now)
        if handled:
            self._ring()
        for name in self._due_jobs(now=now) - self._running_jobs():
            self._jobs[name] = jobs.submit(self._run_job, name)
        self._passes += 1
        if time.monotonic() - self._last_sign >= signs_of_life.EVERY_SECONDS:
            signs_of_life.give(
                role="sweeper", started_at=self._started_at, passes=self._passes, now=now
            )
            self._last_sign = time.monotonic()
        return handled

    def _due_jobs(self, *, now: datetime) -> set[str]:
        """One cheap look before threads are spent; the claim decides."""
        resting = PeriodicJob.objects.filter(due_at__gt=now).values_list("name", flat=True)
        return set(registered_jobs()).difference(resting)

    def _running_jobs(self) -> set[str]:
        return {name for name, future in self._jobs.items() if not future.done()}

    def _run_job(self, name: str) -> None:
        try:
            run_if_due(name, clock=self._clock)
        except DatabaseError:
            logger.exception("periodic_job.database_unreachable", job=name)
        finally:
            close_old_connections()  # kept from job to job: some come every second

    def _send(self, name: str) -> None:
        """Run one of FLORIN_SENDERS until the end, and again whenever it raises."""
        while not self._stopping.is_set():
            try:
                import_string(name)(
                    clock=self._clock,
                    stopping=self._stopping.is_set,
                    idle_pause_seconds=SENDERS_PAUSE_SECONDS,
                    doorbell=self._doorbells[name],
                )
            except Exception:
                logger.exception("sweep.sending_failed", sender=name)
                connection.close()
                self._stopping.wait(PASS_SECONDS)
        connection.close()
