"""A Redis that is gone, or that hangs, under load: no event is lost and no request pays for it.

Rate limits, circuit breakers, wake-ups and live status all use Redis; each has a way without. The
short proof takes it away for seconds, the long one for minutes: FLORIN_PROOF_SECONDS (120) for each
way, under FLORIN_PROOF_LOAD (1) of the usual rates.
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

from tests.proofs.stand import Stand, running_stand
from tests.proofs.steady_load import SteadyLoad
from tests.webhooks.receiver import Receiver, receiving

_SETTINGS = {"bank_result_after_seconds": 0.5, "settle_after_seconds": 0.5}
# What a request may take: its questions to a Redis that does not answer, a quarter of a second
# each; on a machine that is busy with other things, a multiple of what it takes on a healthy day.
_P99_LIMIT_MS = 1500.0
_P99_LIMIT_RATIO = 4.0
# After the load, on a busy machine; and what must then be no more: what, how, how many, why.
_AFTERWARDS_SECONDS = 120.0
_OPEN = """
    SELECT 'inbox ' || event_type, status, count(*), max(error) FROM webhooks_inbox_event
    WHERE status IN ('received', 'deferred', 'failed', 'dead') GROUP BY 1, 2
    UNION ALL
    SELECT 'handler ' || handler, status, count(*), max(error) FROM webhooks_event_delivery
    WHERE status <> 'done' GROUP BY 1, 2
    UNION ALL
    SELECT 'to the merchant', status, count(*), max(reason) FROM webhooks_merchant_delivery
    WHERE status <> 'delivered' GROUP BY 2
    UNION ALL
    SELECT 'payment', state, count(*), '' FROM payments_payment WHERE state <> 'settled' GROUP BY 2
"""


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


def survive(
    folder: Path, *, seconds: float, healthy_seconds: float, load_share: float = 1.0
) -> None:
    """Steady load, Redis dead, load, Redis hanging, load; then judge."""
    with (
        running_stand(folder, web_workers=1) as stand,
        receiving(stand.receiver_port) as receiver,
    ):
        stand.sandbox("POST", "/v1/control/settings", _SETTINGS)
        stand.send_events_to(receiver.url)
        load = SteadyLoad(stand, share=load_share)
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
        judge(stand, load, receiver, afterwards_seconds=_AFTERWARDS_SECONDS + 3 * seconds)


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


def judge(stand: Stand, load: SteadyLoad, receiver: Receiver, *, afterwards_seconds: float) -> None:
    """No failure, no event lost, nothing left to do, every payment where its provider has it."""
    failures = {key: count for key, count in load.statuses().items() if not 200 <= key[1] < 300}
    assert failures == {}
    p99 = load.percentiles_ms(0.99)
    for (kind, phase), milliseconds in p99.items():
        limit = max(_P99_LIMIT_MS, _P99_LIMIT_RATIO * p99[kind, "healthy"])
        assert milliseconds <= limit, f"{kind} with Redis {phase}: {p99}"
    owner_url = stand.servers.servers.database_owner_url
    with psycopg.connect(owner_url, autocommit=True) as owner:
        took = wait_until_nothing_is_open(owner, seconds=afterwards_seconds)
        stored = owner.execute(
            "SELECT event_id, status FROM webhooks_inbox_event WHERE event_id = ANY(%s)",
            [load.events],
        ).fetchall()
        payments = owner.execute("SELECT id FROM payments_payment").fetchall()
        told = owner.execute("SELECT id FROM webhooks_domain_event WHERE owner <> ''").fetchall()
    Console(width=110).print(
        f"{took:.0f} s after the load nothing was open: {len(stored)} strangers' events, "
        f"{len(payments)} payments settled, {len(told)} events of ours with the merchant"
    )
    assert sorted(stored) == sorted((event_id, "ignored") for event_id in load.events)
    assert {payment_id for (payment_id,) in payments} == set(load.payments)
    received = {request.headers["webhook-id"] for request in receiver.requests}
    assert received == {event_id for (event_id,) in told}
    moved = [(one["kind"], one["amount_minor"]) for one in stand.movements()]
    assert sorted(moved) == sorted([("hold", 4200), ("capture", 4200)] * len(payments))
    assert stand.manage("verify", "--json").returncode == 0


def wait_until_nothing_is_open(owner: psycopg.Connection, *, seconds: float) -> float:
    """Every event handled, every delivery made, every payment settled; returns how long it took.

    Fails with what is still open.
    """
    began = time.monotonic()
    while found := owner.execute(_OPEN).fetchall():
        assert time.monotonic() < began + seconds, found
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.mark.timeout(600)
@pytest.mark.prove
def test_a_redis_away_for_seconds_costs_no_event_and_no_failure(tmp_path: Path) -> None:
    survive(tmp_path, seconds=10, healthy_seconds=2)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_redis_away_for_minutes_costs_no_event_and_no_failure(tmp_path: Path) -> None:
    seconds = float(os.environ.get("FLORIN_PROOF_SECONDS") or 120)
    share = float(os.environ.get("FLORIN_PROOF_LOAD") or 1)
    survive(tmp_path, seconds=seconds, healthy_seconds=min(20.0, seconds), load_share=share)
