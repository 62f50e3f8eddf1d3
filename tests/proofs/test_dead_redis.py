"""A Redis that is gone, or that hangs, under load: no event is lost and no request pays for it.

Rate limits, circuit breakers, wake-ups and live status all use Redis; each has a way without. Both
runs belong to `make prove`, for seconds and for minutes (FLORIN_PROOF_SECONDS, 120 for each way).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from rich.console import Console
from rich.table import Table

from tests.proofs.faults import open_rows
from tests.proofs.stand import Stand, running_stand
from tests.proofs.steady_load import SteadyLoad

_SETTINGS = {"bank_result_after_seconds": 0.5, "settle_after_seconds": 0.5}
# What a request may take: its questions to a Redis that does not answer, a quarter of a second
# each; on a machine that is busy with other things, a multiple of what it takes on a healthy day.
_P99_LIMIT_MS = 1500.0
_P99_LIMIT_RATIO = 4.0


@contextmanager
def dead(stand: Stand) -> Iterator[None]:
    """No Redis: connections are refused."""
    stand.servers.redis.kill()
    yield
    stand.servers.redis.start()


@contextmanager
def black_holed(stand: Stand) -> Iterator[None]:
    """A Redis that accepts connections and answers nothing any more."""
    process = stand.servers.redis.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


def survive(folder: Path, *, seconds: float, healthy_seconds: float) -> None:
    """Steady load, Redis dead, load, Redis hanging, load; then judge."""
    with running_stand(folder, web_workers=1) as stand:
        stand.sandbox("POST", "/v1/control/settings", _SETTINGS)
        load = SteadyLoad(stand)
        load.start()
        time.sleep(healthy_seconds)
        for phase, fault in (("dead", dead), ("black-holed", black_holed)):
            load.phase = phase
            with fault(stand):
                time.sleep(seconds)
            load.phase = "healthy"
            time.sleep(healthy_seconds)
        load.stop()
        show(load, seconds)
        judge(stand, load)


def show(load: SteadyLoad, seconds: float) -> None:
    """Print statuses and durations."""
    console = Console(width=110)
    table = Table(title=f"Requests under a steady load, Redis away for {seconds:.0f} s twice")
    for heading in ("request", "Redis", "requests", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    p50, p99 = load.percentiles_ms(0.5), load.percentiles_ms(0.99)
    for kind, phase in sorted(p50):
        count = sum(1 for one in load.answers if (one.kind, one.phase) == (kind, phase))
        row = (f"{p50[kind, phase]:.0f}", f"{p99[kind, phase]:.0f}")
        table.add_row(kind, phase, str(count), *row)
    console.print(table)
    console.print(f"Answers: {dict(load.statuses())}")


def judge(stand: Stand, load: SteadyLoad) -> None:
    """No failure, no event lost, nothing left to do, every payment where its provider has it."""
    failures = {key: count for key, count in load.statuses().items() if not 200 <= key[1] < 300}
    assert failures == {}
    p99 = load.percentiles_ms(0.99)
    for (kind, phase), milliseconds in p99.items():
        limit = max(_P99_LIMIT_MS, _P99_LIMIT_RATIO * p99[kind, "healthy"])
        assert milliseconds <= limit, f"{kind} with Redis {phase}: {p99}"
    owner_url = stand.servers.servers.database_owner_url
    with psycopg.connect(owner_url, autocommit=True) as owner:
        assert open_rows(owner, seconds=90) == 0
        stored = owner.execute(
            "SELECT event_id, status FROM webhooks_inbox_event WHERE event_id = ANY(%s)",
            [load.events],
        ).fetchall()
        assert sorted(stored) == sorted((event_id, "ignored") for event_id in load.events)
        deadline = time.monotonic() + 90
        while True:
            states: dict[str, str] = dict(
                owner.execute("SELECT id, state FROM payments_payment").fetchall()
            )
            unsettled = {key: state for key, state in states.items() if state != "settled"}
            if not unsettled or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    assert unsettled == {}
    assert set(states) == set(load.payments)
    moved = [(one["kind"], one["amount_minor"]) for one in stand.movements()]
    assert sorted(moved) == sorted([("hold", 4200), ("capture", 4200)] * len(states))
    assert stand.manage("verify", "--json").returncode == 0


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_redis_away_for_seconds_costs_no_event_and_no_failure(tmp_path: Path) -> None:
    survive(tmp_path, seconds=6, healthy_seconds=3)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_redis_away_for_minutes_costs_no_event_and_no_failure(tmp_path: Path) -> None:
    seconds = float(os.environ.get("FLORIN_PROOF_SECONDS") or 120)
    survive(tmp_path, seconds=seconds, healthy_seconds=min(20.0, seconds))
