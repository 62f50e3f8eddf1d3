"""Sweepers that are killed at random while they drain, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg

from config import processes
from config.embedded import PrivateServers
from config.server_process import bound_to_parent
from tests.processes import RunningProcess, running

# How long a busy machine may take for what a quiet one does within seconds.
PATIENCE_SECONDS = 240.0
OPEN = """
    SELECT (SELECT count(*) FROM webhooks_event_delivery WHERE status IN ('pending', 'failed'))
         + (SELECT count(*) FROM webhooks_inbox_event
            WHERE status IN ('received', 'deferred', 'failed'))
"""
EFFECTS_TABLE = (
    "CREATE TABLE test_effect (id bigserial, handler text, aggregate text, seq bigint,"
    " pid int DEFAULT pg_backend_pid())"
)


@dataclass
class Outcome:
    """What a run did: effects in all, kills, and every way in which it was not as it should be."""

    effects: int = 0
    kills: int = 0
    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    dead: int = 0
    interruptions: int = 0
    # Of innocent events: how often one died while it ran alone, in all and at most.
    died_alone: int = 0
    died_alone_most: int = 0


def environment(private: PrivateServers) -> dict[str, str]:
    return {
        **private.environment(),
        "DJANGO_SETTINGS_MODULE": "tests.webhooks.settings_for_processes",
    }


def make_effects_table(private: PrivateServers) -> None:
    with psycopg.connect(private.servers.database_owner_url, autocommit=True) as owner:
        owner.execute(EFFECTS_TABLE)


@contextlib.contextmanager
def feeding(
    private: PrivateServers, aggregates: int, events: int, milliseconds: int, name: str
) -> Iterator[None]:
    """Emit from a process of its own that lives on, and wakes workers, for the length of a `with`.

    `name` tells the aggregates of one feed from another's.
    """
    arguments = [str(argument) for argument in (aggregates, events, milliseconds, name)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.webhooks.feed", *arguments],
        env=environment(private),
        cwd=processes.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=bound_to_parent(signal.SIGKILL),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "fed\n"
        yield
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def feed(
    private: PrivateServers, aggregates: int, events: int, milliseconds: int, name: str
) -> None:
    """Emit, and leave it to others to find it."""
    with feeding(private, aggregates, events, milliseconds, name):
        pass


def wait_until_drained(
    connection: psycopg.Connection, *, seconds: float = PATIENCE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        row = connection.execute(OPEN).fetchone()
        if row == (0,):
            return
        assert time.monotonic() < deadline, f"{row} deliveries and events are still open"
        time.sleep(0.05)


def drain_under_fire(
    private: PrivateServers,
    folder: Path,
    *,
    aggregates: int,
    events: int,
    milliseconds: int,
    workers: int,
    kills: int,
    seed: int,
    seconds: float,
) -> Outcome:
    """Feed, then drain with `workers` sweepers of which `kills` are killed one by one."""
    dice = random.Random(seed)
    feed(private, aggregates, events, milliseconds, "fire")
    outcome = Outcome()
    started = time.monotonic()
    with (
        psycopg.connect(private.servers.database_owner_url, autocommit=True) as owner,
        contextlib.ExitStack() as stack,
    ):

        def start(number: int) -> RunningProcess:
            log_path = folder / f"sweeper-{number}.log"
            return stack.enter_context(
                running(processes.sweeper(), log_path=log_path, environment=environment(private))
            )

        living = [start(number) for number in range(workers)]
        deadline = time.monotonic() + seconds
        while owner.execute(OPEN).fetchone() != (0,):
            assert time.monotonic() < deadline, "the queues were not drained in time"
            time.sleep(dice.uniform(0.02, 0.2))
            if outcome.kills < kills and (victim := _in_the_middle(owner, living, dice)):
                living.remove(victim)
                victim.kill()
                outcome.kills += 1
                living.append(start(workers + outcome.kills))
        outcome.seconds = time.monotonic() - started
        _judge(owner, outcome, aggregates=aggregates, events=events)
    return outcome


def _in_the_middle(
    owner: psycopg.Connection, living: list[RunningProcess], dice: random.Random
) -> RunningProcess | None:
    """A sweeper that is running events just now, by the footprint it has left."""
    rows = owner.execute("SELECT DISTINCT worker FROM webhooks_drain_footprint").fetchall()
    busy = {int(worker.rpartition("/")[2]) for (worker,) in rows}
    candidates = [child for child in living if child.process.pid in busy]
    return dice.choice(candidates) if candidates else None


def _judge(owner: psycopg.Connection, outcome: Outcome, *, aggregates: int, events: int) -> None:
    seen: dict[tuple[str, str], list[int]] = {}
    rows = owner.execute(
        "SELECT handler, aggregate, seq FROM test_effect WHERE handler <> 'tick' ORDER BY id"
    )
    for handler, aggregate, seq in rows:
        seen.setdefault((handler, aggregate), []).append(seq)
        outcome.effects += 1
    expected = [
        *(
            (handler, f"order_fire_{n}")
            for handler in ("blocking", "skipping")
            for n in range(aggregates)
        ),
        *(("inbox", f"subject_fire_{n}") for n in range(aggregates)),
    ]
    for key in expected:
        counted = Counter(seen.get(key, []))
        outcome.lost += sum(1 for seq in range(1, events + 1) if not counted[seq])
        outcome.doubled += sum(count - 1 for count in counted.values())
        in_order = seen.get(key, [])
        outcome.out_of_order += sum(1 for one, next_one in pairwise(in_order) if next_one < one)
    figures = owner.execute(
        "SELECT (SELECT count(*) FROM webhooks_event_delivery WHERE status = 'dead')"
        " + (SELECT count(*) FROM webhooks_inbox_event WHERE status = 'dead'),"
        " (SELECT sum(interruptions) FROM webhooks_event_delivery)"
        " + (SELECT sum(interruptions) FROM webhooks_inbox_event),"
        " (SELECT sum(failures) FROM webhooks_event_delivery)"
        " + (SELECT sum(failures) FROM webhooks_inbox_event),"
        " greatest((SELECT max(failures) FROM webhooks_event_delivery),"
        " (SELECT max(failures) FROM webhooks_inbox_event))"
    ).fetchone()
    assert figures is not None
    outcome.dead, outcome.interruptions, outcome.died_alone, outcome.died_alone_most = figures
