"""Events: how soon after its commit an event is handled, and how fast ordered streams drain.

`run()` works on the servers of the environment, with nothing else running on them, and starts the
processes it measures by the same commands as in operation. Latency is what a second connection
sees: from the return of the emitting transaction's commit to the moment the delivery is read as
done. The draining rate counts every event once, from the first effect to the last, with one row
written per event; while draining, streams are in order only if their effects' numbers are.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, transaction
from django.test import override_settings

from config import processes
from tests.processes import running
from tests.webhooks.settings_for_processes import FLORIN_EVENT_HANDLERS
from webhooks import outbox

WITH_REDIS_LIMIT_MILLISECONDS = 50.0
WITHOUT_REDIS_LIMIT_MILLISECONDS = 1200.0
DRAINING_LIMIT_EVENTS_PER_SECOND = 1500.0
_WARM_UP = 20
_SAMPLES_WITH_REDIS = 300
_SAMPLES_WITHOUT_REDIS = 60
_STREAMS = 400
_EVENTS_PER_STREAM = 20
_DRAINERS = 2
_NOWHERE = "redis://127.0.0.1:1/0"


def run() -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    with tempfile.TemporaryDirectory(prefix="florin-events-") as folder:
        return [with_redis(Path(folder)), without_redis(Path(folder)), draining(Path(folder))]


def with_redis(folder: Path) -> dict[str, Any]:
    """p99 milliseconds from commit to handled, idle, a Celery worker woken through Redis."""
    command = processes.worker(concurrency=1)
    with _process(command, folder / "worker.log"):
        times, errors = _latencies(_SAMPLES_WITH_REDIS, pause=lambda: random.uniform(0.01, 0.04))
    return _latency_figure(
        "events: commit to handled with Redis (p99 ms)",
        times,
        errors,
        WITH_REDIS_LIMIT_MILLISECONDS,
    )


def without_redis(folder: Path) -> dict[str, Any]:
    """The same with a sweeper alone, whose Redis does not exist."""
    environment = {**os.environ, "REDIS_URL": _NOWHERE}
    with _process(processes.sweeper(), folder / "sweeper.log", environment):
        times, errors = _latencies(_SAMPLES_WITHOUT_REDIS, pause=lambda: random.uniform(0, 0.5))
    return _latency_figure(
        "events: commit to handled without Redis (p99 ms)",
        times,
        errors,
        WITHOUT_REDIS_LIMIT_MILLISECONDS,
    )


def draining(folder: Path) -> dict[str, Any]:
    """Events per second that two sweepers hand to a blocking handler with one INSERT each."""
    name = secrets.token_hex(4)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS test_effect (id bigserial, handler text, aggregate text,"
            " seq bigint)"
        )
        owner.execute(
            "ALTER TABLE test_effect ADD COLUMN IF NOT EXISTS at timestamptz"
            " DEFAULT clock_timestamp()"
        )
        with override_settings(FLORIN_EVENT_HANDLERS=FLORIN_EVENT_HANDLERS[:1]):
            for _ in range(_EVENTS_PER_STREAM):
                with transaction.atomic():
                    for number in range(_STREAMS):
                        _emit(f"{name}_{number}")
        owner.execute("ANALYZE")
        expected = _STREAMS * _EVENTS_PER_STREAM
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.webhooks.settings_for_processes",
        }
        with contextlib.ExitStack() as stack:
            for number in range(_DRAINERS):
                log_path = folder / f"drainer-{number}.log"
                stack.enter_context(_process(processes.sweeper(), log_path, environment))
            complete = _wait(lambda: _effects(owner, name) >= expected, seconds=120)
        figures = owner.execute(
            "SELECT count(*), extract(epoch FROM max(at) - min(at)) FROM test_effect"
            " WHERE aggregate LIKE %s",
            [f"{name}%"],
        ).fetchone()
        violations = _violations(owner, name)
    assert figures is not None
    count, seconds = int(figures[0]), float(figures[1] or 1)
    lost_or_doubled = abs(expected - count) + (0 if complete else 1)
    rate = count / seconds
    return {
        "name": "events: ordered draining (events/s)",
        "value": round(rate),
        "limit": DRAINING_LIMIT_EVENTS_PER_SECOND,
        "ratio": round(rate / DRAINING_LIMIT_EVENTS_PER_SECOND, 2),
        "bar": 1.0,
        "errors": lost_or_doubled + violations,
        "holds": rate >= DRAINING_LIMIT_EVENTS_PER_SECOND and not lost_or_doubled + violations,
    }


def _latencies(samples: int, *, pause: Callable[[], float]) -> tuple[list[float], int]:
    """Milliseconds from commit to handled, and how many were not handled in ten seconds."""
    times, errors = [], 0
    for number in range(samples + _WARM_UP):
        with transaction.atomic():
            event = _emit(f"latency_{secrets.token_hex(8)}")
        committed = time.perf_counter()
        if not _wait(lambda event_id=event.id: _is_done(event_id), seconds=10, step=0.0005):  # type: ignore[misc]
            errors += number >= _WARM_UP
        elif number >= _WARM_UP:
            times.append((time.perf_counter() - committed) * 1000)
        time.sleep(pause())
    return times, errors


def _latency_figure(
    name: str, times: list[float], errors: int, limit_milliseconds: float
) -> dict[str, Any]:
    p99 = statistics.quantiles(times, n=100)[98] if len(times) > 1 else float("inf")
    return {
        "name": name,
        "value": round(p99, 1),
        "limit": limit_milliseconds,
        "ratio": round(p99 / limit_milliseconds, 3),
        "bar": 1.0,
        "errors": errors,
        "holds": p99 <= limit_milliseconds and errors == 0,
    }


def _emit(aggregate: str) -> outbox.EmittedEvent:
    now = datetime.now(UTC)
    return outbox.emit(
        type="order.changed",
        aggregate_type="order",
        aggregate_id=aggregate,
        owner="mer_bench",
        livemode=False,
        payload={"id": aggregate, "amount_minor": 1000, "currency": "EUR"},
        occurred_at=now,
        now=now,
    )


def _is_done(event_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE status <> 'done') FROM webhooks_event_delivery"
            " WHERE event_id = %s",
            [event_id],
        )
        (open_deliveries,) = cursor.fetchone()
    return bool(open_deliveries == 0)


def _effects(owner: psycopg.Connection, name: str) -> int:
    row = owner.execute(
        "SELECT count(*) FROM test_effect WHERE aggregate LIKE %s", [f"{name}%"]
    ).fetchone()
    assert row is not None
    return int(row[0])


def _violations(owner: psycopg.Connection, name: str) -> int:
    """Neighbouring effects of one stream that are not in the order of the stream."""
    streams: dict[str, list[int]] = {}
    rows = owner.execute(
        "SELECT aggregate, seq FROM test_effect WHERE aggregate LIKE %s ORDER BY id", [f"{name}%"]
    )
    for aggregate, seq in rows:
        streams.setdefault(aggregate, []).append(seq)
    return sum(
        1 for seqs in streams.values() for one, following in pairwise(seqs) if following != one + 1
    )


def _wait(condition: Callable[[], bool], *, seconds: float, step: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


@contextlib.contextmanager
def _process(
    command: list[str], log_path: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    with running(command, log_path=log_path, environment=environment):
        yield
