"""Deliveries to merchants: how soon, how many, and whether bad endpoints slow the good ones.

`run()` starts the worker and the sweeper by the same commands as in operation, with the shipped
concurrency, and one process that plays all merchants' servers. Latency is from the return of the
emitting transaction's commit to the arrival at the merchant's server, by one clock. Both runs offer
50 events per second to 200 endpoints, each event to one of them; in the second, 20 are dead (half
of them let connections hang, the others refuse them or answer 500) and 20 answer after ten seconds.
Every event of a healthy endpoint counts, from the first second on, while nobody knows who is bad.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.test import override_settings

from audit import log
from config import processes
from tests.databases import free_ports
from tests.processes import running
from webhooks import endpoints, outbox

ENDPOINTS = 200
DEAD = 20
SLOW = 20
EVENTS_PER_SECOND = 50
FAIR_RATIO = 1.5
RATE_LIMIT_PER_SECOND = 100.0
_HEALTHY_SECONDS = 20
_MIXED_SECONDS = 30
_WARM_UP_EVENTS = 50
_START_SECONDS = 90.0
_BACKLOG = 3000
_ARRIVAL_SECONDS = 20.0
_SEED = 20261130


@dataclass(frozen=True)
class Merchant:
    """One endpoint; each has an owner of its own."""

    owner: str
    healthy: bool


@dataclass(frozen=True)
class Measured:
    """Milliseconds to the healthy ones' servers; events that did not arrive, or more than once."""

    p50: float
    p95: float
    lost: int
    doubled: int


def run() -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    with tempfile.TemporaryDirectory(prefix="florin-deliveries-") as name, _hole() as hole_port:
        folder = Path(name)
        port, refused_port = free_ports(2)
        allowed = [f"127.0.0.1:{one}" for one in (port, hole_port, refused_port)]
        environment = {**os.environ, "FLORIN_WEBHOOK_ALLOWED_HOSTS": ",".join(allowed)}
        command = [sys.executable, "-m", "tests.benchmarks.merchants", str(port)]
        server = f"http://127.0.0.1:{port}"
        with contextlib.ExitStack() as stack:
            stack.enter_context(override_settings(FLORIN_WEBHOOK_ALLOWED_HOSTS=allowed))
            stack.enter_context(
                running(
                    command, log_path=folder / "merchants.log", url=server, ready_path="/arrivals"
                )
            )
            good = [f"{server}/quick"] * ENDPOINTS
            bad = [
                *[f"http://127.0.0.1:{hole_port}/hole"] * (DEAD // 2),
                *[f"http://127.0.0.1:{refused_port}/refused"] * (DEAD // 4),
                *[f"{server}/broken"] * (DEAD - DEAD // 2 - DEAD // 4),
                *[f"{server}/slow"] * SLOW,
            ]
            all_healthy = _merchants(good)
            mixed = _merchants(good[len(bad) :]) + _merchants(bad, healthy=False)
            for kind, process in (("worker", processes.worker()), ("sweeper", processes.sweeper())):
                log_path = folder / f"{kind}.log"
                stack.enter_context(running(process, log_path=log_path, environment=environment))
            _offer(server, all_healthy, events=_WARM_UP_EVENTS, seconds=_START_SECONDS)
            alone = _offer(server, all_healthy, events=EVENTS_PER_SECOND * _HEALTHY_SECONDS)
            beside = _offer(server, mixed, events=EVENTS_PER_SECOND * _MIXED_SECONDS)
            rate, lost = _draining(server, all_healthy)
    return [
        _fair("p50", alone.p50, beside.p50, alone, beside),
        _fair("p95", alone.p95, beside.p95, alone, beside),
        {
            "name": "deliveries: a backlog to 200 endpoints (deliveries/s)",
            "value": round(rate),
            "limit": RATE_LIMIT_PER_SECOND,
            "ratio": round(rate / RATE_LIMIT_PER_SECOND, 2),
            "bar": 1.0,
            "errors": lost,
            "holds": rate >= RATE_LIMIT_PER_SECOND and not lost,
        },
    ]


def _fair(
    which: str, alone_ms: float, beside_ms: float, alone: Measured, beside: Measured
) -> dict[str, Any]:
    """The latency beside bad endpoints, against the one without; `bar` is the most it may be."""
    ratio = beside_ms / alone_ms
    errors = alone.lost + alone.doubled + beside.lost + beside.doubled
    return {
        "name": f"deliveries: {which} beside 20 dead and 20 slow of 200 (ms, at most 1.5 x)",
        "value": round(beside_ms, 1),
        "limit": round(alone_ms, 1),
        "ratio": round(ratio, 2),
        "bar": FAIR_RATIO,
        "errors": errors,
        "holds": ratio <= FAIR_RATIO and errors == 0,
    }


def _offer(
    server: str, merchants: list[Merchant], *, events: int, seconds: float = _ARRIVAL_SECONDS
) -> Measured:
    """Emit at the fixed rate, to the merchants in turn and in random order, and wait for it all."""
    chosen = random.Random(_SEED)
    turns = [merchant for _ in range(events // len(merchants) + 1) for merchant in merchants]
    chosen.shuffle(turns)
    committed: dict[str, float] = {}
    began = time.monotonic()
    for number, merchant in enumerate(turns[:events]):
        time.sleep(max(0.0, began + number / EVENTS_PER_SECOND - time.monotonic()))
        event_id = _emit(merchant)
        if merchant.healthy:
            committed[event_id] = time.time()
    arrivals = _arrivals(server, committed, seconds=seconds)
    times = [(arrivals[one][0] - committed[one]) * 1000 for one in committed if one in arrivals]
    return Measured(
        p50=statistics.median(times),
        p95=statistics.quantiles(times, n=20)[18],
        lost=len(committed) - len(times),
        doubled=sum(len(found) > 1 for found in arrivals.values()),
    )


def _draining(server: str, merchants: list[Merchant]) -> tuple[float, int]:
    """Deliveries per second of a backlog that is emitted in one transaction, and how many lack."""
    with transaction.atomic():
        emitted = {_emit(merchants[number % len(merchants)]): 0.0 for number in range(_BACKLOG)}
    arrivals = _arrivals(server, emitted, seconds=60.0)
    moments = sorted(found[0] for found in arrivals.values())
    if len(moments) < 2:
        return 0.0, len(emitted)
    return len(moments) / (moments[-1] - moments[0]), len(emitted) - len(arrivals)


def _arrivals(
    server: str, emitted: dict[str, float], *, seconds: float = _ARRIVAL_SECONDS
) -> dict[str, list[float]]:
    """When each of the events arrived, as soon as all have, at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        with urllib.request.urlopen(f"{server}/arrivals") as answer:
            known = json.load(answer)
        found = {event_id: known[event_id] for event_id in emitted if event_id in known}
        if len(found) == len(emitted) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _emit(merchant: Merchant) -> str:
    now = datetime.now(UTC)
    aggregate_id = f"ord_{secrets.token_hex(8)}"
    with transaction.atomic():
        return outbox.emit(
            type="order.changed",
            aggregate_type="order",
            aggregate_id=aggregate_id,
            owner=merchant.owner,
            livemode=False,
            payload={"id": aggregate_id, "amount_minor": 1000, "currency": "EUR"},
            occurred_at=now,
            now=now,
        ).id


def _merchants(urls: list[str], *, healthy: bool = True) -> list[Merchant]:
    made = []
    for number, url in enumerate(urls):
        merchant = Merchant(owner=f"mer_{secrets.token_hex(8)}", healthy=healthy)
        with log.acting_as(log.Actor(type="job", id="benchmark")):
            endpoints.create(
                owner=merchant.owner,
                livemode=False,
                url=f"{url}/{number}",
                event_types=["order.*"],
                now=datetime.now(UTC),
            )
        made.append(merchant)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhooks_endpoint")
    return made


@contextlib.contextmanager
def _hole() -> Iterator[int]:
    """A port at which connections hang: its queue is full and nobody takes anything out of it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port
