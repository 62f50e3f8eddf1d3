"""The pipeline as real processes: sweepers that are killed, a worker, PostgreSQL restarted."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from config import processes
from config.embedded import PrivateServers
from tests.processes import running
from tests.webhooks import killing

Servers = Callable[..., AbstractContextManager[PrivateServers]]


@pytest.mark.timeout(120)
def test_four_sweepers_that_keep_being_killed_lose_double_and_reorder_nothing(
    private_servers: Servers, tmp_path: Path
) -> None:
    seed = secrets.randbelow(10**6)
    with private_servers(migrated=True) as private:
        outcome = killing.drain_under_fire(
            private,
            tmp_path,
            aggregates=30,
            events=8,
            milliseconds=6,
            workers=4,
            kills=4,
            seed=seed,
            seconds=90,
        )
    assert (outcome.lost, outcome.doubled, outcome.out_of_order, outcome.dead) == (0, 0, 0, 0), (
        f"seed {seed}: {outcome}"
    )
    assert outcome.effects == 30 * 8 * 3
    assert outcome.kills > 0


@pytest.mark.timeout(120)
def test_a_worker_handles_what_is_committed_without_a_sweeper_and_a_sweeper_without_redis(
    private_servers: Servers, tmp_path: Path
) -> None:
    with private_servers(migrated=True) as private:
        killing.make_effects_table(private)
        environment = killing.environment(private)
        with psycopg.connect(private.servers.database_owner_url, autocommit=True) as owner:
            worker_log = tmp_path / "worker.log"
            command = processes.worker(concurrency=1)
            with running(command, log_path=worker_log, environment=environment):
                killing.feed(private, 3, 2, 0, stay=3)
                killing.wait_until_drained(owner, seconds=30)
            private.redis.kill()
            killing.feed(private, 3, 2, 0)
            sweeper_log = tmp_path / "sweeper.log"
            with running(
                processes.sweeper(), log_path=sweeper_log, environment=environment
            ) as sweeper:
                killing.wait_until_drained(owner, seconds=30)
                private.postgres.restart()
                killing.feed(private, 3, 2, 0)
                with psycopg.connect(private.servers.database_owner_url, autocommit=True) as again:
                    killing.wait_until_drained(again, seconds=30)
                    beats = again.execute("SELECT role FROM webhooks_heartbeat").fetchall()
                assert beats == [("sweeper",)]
                sweeper.process.send_signal(signal.SIGTERM)
                assert sweeper.process.wait(15) == 0
            assert "Stopped." in sweeper_log.read_text()


@pytest.mark.timeout(120)
def test_two_sweepers_run_a_periodic_job_once_per_interval(
    private_servers: Servers, tmp_path: Path
) -> None:
    with private_servers(migrated=True) as private:
        killing.make_effects_table(private)
        environment = killing.environment(private)
        with (
            psycopg.connect(private.servers.database_owner_url, autocommit=True) as owner,
            running(processes.sweeper(), log_path=tmp_path / "one.log", environment=environment),
            running(processes.sweeper(), log_path=tmp_path / "two.log", environment=environment),
        ):
            deadline = time.monotonic() + 60
            ticks: list[tuple[int]] = []
            while len(ticks) < 4:
                assert time.monotonic() < deadline
                ticks = owner.execute(
                    "SELECT seq FROM test_effect WHERE handler = 'tick' ORDER BY id"
                ).fetchall()
                time.sleep(0.1)
            runs = owner.execute("SELECT runs, last_error FROM webhooks_periodic_job").fetchone()
    assert runs is not None
    assert len(ticks) <= runs[0] <= len(ticks) + 1
    assert runs[1] == ""
    seconds = [second for (second,) in ticks]
    assert len(set(seconds)) >= len(seconds) - 1
