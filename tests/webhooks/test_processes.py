"""The pipeline as real processes: sweepers that are killed, a worker, PostgreSQL restarted."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config import processes
from config.embedded import PrivateServers
from tests.migrated_servers import migrated_servers
from tests.processes import running
from tests.webhooks import killing


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateServers]:
    """Servers for this module alone; each test leaves its queues empty."""
    with migrated_servers() as servers:
        killing.make_effects_table(servers)
        yield servers


@pytest.fixture
def owner(private: PrivateServers) -> Iterator[psycopg.Connection]:
    with psycopg.connect(private.servers.database_owner_url, autocommit=True) as connection:
        connection.execute("DELETE FROM test_effect")
        yield connection


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sweepers", "kills", "aggregates"),
    [(2, 1, 8), pytest.param(4, 3, 30, marks=pytest.mark.prove)],
)
def test_sweepers_that_keep_being_killed_lose_double_and_reorder_nothing(
    private: PrivateServers,
    owner: psycopg.Connection,
    tmp_path: Path,
    sweepers: int,
    kills: int,
    aggregates: int,
) -> None:
    seed = secrets.randbelow(10**6)
    outcome = killing.drain_under_fire(
        private,
        tmp_path,
        aggregates=aggregates,
        events=8,
        milliseconds=6,
        workers=sweepers,
        kills=kills,
        seed=seed,
        seconds=150,
    )
    assert (outcome.lost, outcome.doubled, outcome.out_of_order, outcome.dead) == (0, 0, 0, 0), (
        f"seed {seed}: {outcome}"
    )
    assert outcome.effects == aggregates * 8 * 3
    assert outcome.kills == kills


@pytest.mark.timeout(600)
def test_a_worker_needs_no_sweeper_and_survives_a_restart_of_the_database(
    private: PrivateServers, owner: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        running(
            processes.worker(concurrency=1),
            log_path=tmp_path / "worker.log",
            environment=killing.environment(private),
        ),
        killing.feeding(private, 2, 2, 0, "woken"),
    ):
        killing.wait_until_drained(owner)


@pytest.mark.timeout(600)
def test_a_sweeper_needs_no_redis_and_survives_a_restart_of_the_database(
    private: PrivateServers, owner: psycopg.Connection, tmp_path: Path
) -> None:
    private.redis.kill()
    log_path = tmp_path / "sweeper.log"
    try:
        with running(
            processes.sweeper(), log_path=log_path, environment=killing.environment(private)
        ) as sweeper:
            killing.feed(private, 2, 2, 0, "without_redis")
            killing.wait_until_drained(owner)
            private.postgres.restart()
            killing.feed(private, 2, 2, 0, "after_restart")
            with psycopg.connect(private.servers.database_owner_url, autocommit=True) as again:
                killing.wait_until_drained(again)
                beats = again.execute("SELECT role FROM webhooks_heartbeat").fetchall()
            assert ("sweeper",) in beats
            sweeper.process.send_signal(signal.SIGTERM)
            assert sweeper.process.wait(15) == 0
        assert "Stopped." in log_path.read_text()
    finally:
        private.redis.start()


@pytest.mark.timeout(600)
def test_two_sweepers_run_a_periodic_job_once_per_interval(
    private: PrivateServers, owner: psycopg.Connection, tmp_path: Path
) -> None:
    owner.execute("DELETE FROM webhooks_periodic_job")
    environment = killing.environment(private)
    with (
        running(processes.sweeper(), log_path=tmp_path / "one.log", environment=environment),
        running(processes.sweeper(), log_path=tmp_path / "two.log", environment=environment),
    ):
        deadline = time.monotonic() + 90
        ticks = 0
        while ticks < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            row = owner.execute(
                "SELECT (SELECT count(*) FROM test_effect WHERE handler = 'tick'), runs,"
                " extract(epoch FROM last_started_at), extract(epoch FROM due_at), last_error"
                " FROM webhooks_periodic_job"
            ).fetchone()
            ticks, runs, started, due, error = row or (0, 0, 0, 1, "")
    assert runs - 1 <= ticks <= runs
    assert (due - started, error) == (1, "")
