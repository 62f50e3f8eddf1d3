"""The inbox: how fast news that a provider really sent is applied, and whether in order.

Mental model: payments are made over HTTP with nobody draining, so the sandbox's news about them
heaps up. Two sweepers, started by the same command as in operation, first settle everything else
while the news is held; then it is let go, and the time runs from the first event that ends to the
last. Applying one is a whole business transaction (payment, transition, audit, ledger, domain
events), so the limit is the business that causes it: the rate at which the web processes, with the
machine to themselves, made payments that made the provider send it. A system below 1 falls behind
itself at its own top speed.

Order is judged by the audit log, which has one record per applied event, written in its
transaction: per provider object the records follow the arrivals.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from config import processes
from tests.benchmarks.http_bench import made_payments
from tests.processes import running
from tests.proofs.stand import Stand

DRAINING_BAR = 1.0
_PAYMENTS = 300
_WARM_UP = 20
# What the sandbox sends about a payment that is captured at once.
_EVENTS_PER_PAYMENT = 3
_DRAINERS = 2
_DEADLINE_SECONDS = 120.0

_OPEN = "status IN ('received', 'deferred', 'failed')"
_WAITING = f"SELECT count(*) FROM webhooks_inbox_event WHERE {_OPEN}"
_UNHANDLED = (
    "SELECT count(*) FROM webhooks_event_delivery"
    " WHERE status IN ('pending', 'failed') AND due_at <= now()"
)
_LAST_ARRIVAL = "SELECT coalesce(max(arrival), 0) FROM webhooks_inbox_event"
_ARRIVED = "SELECT count(*) FROM webhooks_inbox_event WHERE arrival > %s"
_WITHOUT_EFFECT = f"{_ARRIVED} AND status NOT IN ('processed', 'superseded')"
_RECORDS = """
    FROM webhooks_inbox_event AS event
    JOIN audit_event AS record
      ON record.event_type = 'provider.event' AND record.body::json ->> 'inbox' = event.id
    WHERE event.arrival > %s
"""
_OVERTAKEN = f"""
    SELECT count(*) FROM (
        SELECT event.arrival
            < lag(event.arrival) OVER (PARTITION BY event.lane ORDER BY record.id) AS overtaken
        {_RECORDS}
    ) AS applied WHERE overtaken
"""
_APPLIED_AGAIN = f"SELECT count(*) - count(DISTINCT event.id) {_RECORDS}"


def run(stand: Stand) -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    with (
        tempfile.TemporaryDirectory(prefix="florin-inbox-") as folder,
        psycopg.connect(stand.servers.servers.database_owner_url, autocommit=True) as owner,
    ):
        _made_with_all_their_news(owner, stand, _WARM_UP)
        before = _number(owner, _LAST_ARRIVAL)
        caused = _made_with_all_their_news(owner, stand, _PAYMENTS)
        drained = _drained(owner, stand, Path(folder))
        errors = sum(
            _number(owner, statement, before)
            for statement in (_WITHOUT_EFFECT, _OVERTAKEN, _APPLIED_AGAIN)
        )
        arrived = _number(owner, _ARRIVED, before)
    return [
        {
            "name": "inbox: draining the provider's news (events/s) against payments' making of it",
            "value": round(drained, 1),
            "limit": round(caused, 1),
            "ratio": round(drained / caused, 3),
            "bar": f">= {DRAINING_BAR}",
            "errors": errors,
            "error_rate": round(errors / arrived, 5),
            "holds": drained >= DRAINING_BAR * caused and errors == 0,
        }
    ]


def _made_with_all_their_news(owner: psycopg.Connection, stand: Stand, payments: int) -> float:
    """Make payments and wait until all the provider says of them is there; how many events per
    second the making of them caused.
    """
    before, expected = _number(owner, _LAST_ARRIVAL), payments * _EVENTS_PER_PAYMENT
    began = time.perf_counter()
    made_payments(stand, payments)
    duration = time.perf_counter() - began
    if not _wait(lambda: _number(owner, _ARRIVED, before) >= expected):
        raise TimeoutError(f"the sandbox sent less than {expected} events")
    return expected / duration


def _drained(owner: psycopg.Connection, stand: Stand, folder: Path) -> float:
    """Events per second from the first one that ends to the last."""
    owner.execute(
        f"UPDATE webhooks_inbox_event SET due_at = now() + interval '1 hour' WHERE {_OPEN}"
    )
    with contextlib.ExitStack() as stack:
        for number in range(_DRAINERS):
            log_path = folder / f"drainer-{number}.log"
            stack.enter_context(
                running(processes.sweeper(), log_path=log_path, environment=stand.environment)
            )
        _wait(lambda: _number(owner, _UNHANDLED) == 0)
        owner.execute("ANALYZE")
        held = _number(owner, _WAITING)
        owner.execute(f"UPDATE webhooks_inbox_event SET due_at = now() WHERE {_OPEN}")
        _wait(lambda: _number(owner, _WAITING) < held)
        first, began = _number(owner, _WAITING), time.perf_counter()
        _wait(lambda: _number(owner, _WAITING) == 0)
        duration = time.perf_counter() - began
        return (first - _number(owner, _WAITING)) / duration


def _number(owner: psycopg.Connection, statement: str, *values: int) -> int:
    row = owner.execute(statement, values).fetchone()
    assert row is not None, f"Bug! {statement} counts nothing"
    return int(row[0])


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
