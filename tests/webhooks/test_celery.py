"""Celery on Redis in every way in which it loses, repeats or forgets tasks: nothing of it matters.

A sweeper would hide all of this, so none runs here: workers, beats and a Redis that dies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings

from config import processes
from config.embedded import PrivateServers
from config.supervisor import SILENT, Program, Supervisor
from tests.migrated_servers import migrated_servers
from tests.processes import RunningProcess, running
from tests.webhooks import killing
from tests.webhooks.broker_proxy import proxied

pytestmark = pytest.mark.timeout(1200)  # of which most is for servers on a busy machine


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateServers]:
    """Servers for this module alone; each test leaves its queues empty."""
    with migrated_servers() as servers:
        killing.make_effects_table(servers)
        yield servers


@pytest.fixture
def owner(private: PrivateServers) -> Iterator[psycopg.Connection]:
    with psycopg.connect(private.servers.database_owner_url, autocommit=True) as connection:
        for table in ("test_effect", "webhooks_heartbeat", "webhooks_periodic_job"):
            connection.execute(f"DELETE FROM {table}")
        yield connection


Start = Callable[[str], AbstractContextManager[RunningProcess]]


@pytest.fixture
def start(private: PrivateServers, tmp_path: Path) -> Start:
    """Start a worker or a beat for the length of a `with`; the name is its log's too."""

    def started(name: str) -> AbstractContextManager[RunningProcess]:
        schedule = tmp_path / f"{name}-schedule"
        command = (
            processes.worker(concurrency=1)
            if name.startswith("worker")
            else processes.beat(schedule_file=schedule)
        )
        environment = killing.environment(private)
        return running(command, log_path=tmp_path / f"{name}.log", environment=environment)

    return started


def redis_client(private: PrivateServers) -> redis.Redis:
    return redis.Redis.from_url(private.servers.redis_url)


def flush(private: PrivateServers) -> int:
    """Make Redis forget everything; how many messages there were."""
    with redis_client(private) as client:
        waiting = int(client.llen("events"))
        client.flushall()
    return waiting


def wait_for(condition: Callable[[], bool], *, seconds: float = killing.PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def busy_process(owner: psycopg.Connection) -> int:
    """The process that is running an event just now, by the footprint it has left."""
    found: list[int] = []

    def is_busy() -> bool:
        rows = owner.execute("SELECT worker FROM webhooks_drain_footprint").fetchall()
        found[:] = [int(worker.rpartition("/")[2]) for (worker,) in rows]
        return bool(found)

    wait_for(is_busy)
    return found[0]


def effects_of(owner: psycopg.Connection, name: str) -> list[tuple[str, int]]:
    return owner.execute(
        "SELECT handler, seq FROM test_effect WHERE aggregate LIKE %s ORDER BY 1, 2", [f"%{name}%"]
    ).fetchall()


def said_by(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.stdout


ONE_EVENT_EACH = [("blocking", 1), ("inbox", 1), ("skipping", 1)]


def test_a_process_of_the_pool_that_is_killed_in_its_task_loses_none(
    private: PrivateServers, owner: psycopg.Connection, start: Start
) -> None:
    with start("worker"), killing.feeding(private, 1, 1, 1500, "child"):
        os.kill(busy_process(owner), signal.SIGKILL)
        killing.wait_until_drained(owner)
    assert effects_of(owner, "child") == ONE_EVENT_EACH


@pytest.mark.parametrize(
    "flushed",
    [pytest.param(False, marks=pytest.mark.prove), True],
    ids=["", "and Redis is flushed"],
)
def test_a_worker_killed_in_its_task_is_succeeded_before_celery_would_notice(
    private: PrivateServers, owner: psycopg.Connection, start: Start, flushed: bool
) -> None:
    name = "flushed" if flushed else "killed"
    with start("worker-1") as worker, killing.feeding(private, 1, 1, 1500, name):
        busy_process(owner)
        worker.kill()
    killed_at = time.monotonic()
    if flushed:
        flush(private)
    with start("worker-2"), start("beat"):
        killing.wait_until_drained(owner)
    # Celery by itself takes what the dead worker had back after the visibility timeout.
    by_itself_seconds = settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
    assert time.monotonic() - killed_at < by_itself_seconds
    assert effects_of(owner, name) == ONE_EVENT_EACH


@pytest.mark.prove
def test_messages_that_redis_forgot_while_they_waited_are_not_missed(
    private: PrivateServers, owner: psycopg.Connection, start: Start
) -> None:
    with killing.feeding(private, 2, 2, 0, "waiting"), redis_client(private) as client:
        wait_for(lambda: int(client.llen("events")) > 0)
    assert flush(private) > 0
    with start("worker"), start("beat"):
        killing.wait_until_drained(owner)
    assert len(effects_of(owner, "waiting")) == 12


def test_a_worker_waits_for_a_broker_that_refuses_and_outlives_its_flush_and_restart(
    private: PrivateServers, owner: psycopg.Connection, start: Start
) -> None:
    def signs() -> int:
        row = owner.execute("SELECT coalesce(sum(passes), 0) FROM webhooks_heartbeat").fetchone()
        return int(row[0]) if row else 0

    private.redis.kill()
    try:
        with start("worker") as worker:
            wait_for(lambda: "Cannot connect to" in worker.log_path.read_text())
            private.redis.start()
            wait_for(lambda: signs() > 0)
            for name, harm in (("f", partial(flush, private)), ("r", private.redis.restart)):
                harm()
                with killing.feeding(private, 1, 1, 0, name):
                    killing.wait_until_drained(owner)
                before = signs()
                wait_for(lambda before=before: signs() > before)  # type: ignore[misc]
            assert worker.process.poll() is None
    finally:
        private.redis.restart()


def test_two_beats_start_a_periodic_job_once_per_interval(
    private: PrivateServers, owner: psycopg.Connection, start: Start
) -> None:
    def ticks() -> list[int]:
        rows = owner.execute("SELECT seq FROM test_effect WHERE handler = 'tick' ORDER BY id")
        return [seq for (seq,) in rows.fetchall()]

    with start("worker"), start("beat-1") as one, start("beat-2") as two:
        for beat in (one, two):
            wait_for(lambda beat=beat: "Sending due task sweep" in beat.log_path.read_text())  # type: ignore[misc]
        beats = "SELECT count(*) FROM webhooks_heartbeat WHERE role = 'beat'"
        wait_for(lambda: owner.execute(beats).fetchone() == (2,))
        before = len(ticks())
        wait_for(lambda: len(ticks()) >= before + 3)
    seconds = ticks()
    assert seconds == sorted(set(seconds)), "two runs within the same second"


def test_a_deaf_worker_is_found_by_what_it_does_not_do_and_started_again(
    private: PrivateServers, owner: psycopg.Connection, tmp_path: Path
) -> None:
    environment = killing.environment(private)
    check = processes.manage("check_liveness", "worker", "--within", "7")
    said: list[str] = []

    def processes_with_a_sign() -> set[int]:
        rows = owner.execute("SELECT process FROM webhooks_heartbeat WHERE role = 'worker'")
        return {int(process.rpartition(":")[2]) for (process,) in rows.fetchall()}

    with (
        proxied(private.servers.redis_url) as proxy,
        Supervisor(folder=tmp_path, log_folder=tmp_path, say=said.append) as supervisor,
    ):
        direct = ["env", f"REDIS_URL={private.servers.redis_url}"]
        supervisor.start(
            Program(
                name="worker",
                command=processes.worker(concurrency=1),
                environment={**environment, "REDIS_URL": proxy.url},
                ready_log_text=" ready.",
                liveness_command=[*direct, *check],
            )
        )
        supervisor.wait_until_ready()
        wait_for(lambda: bool(processes_with_a_sign()))
        (deaf,) = processes_with_a_sign()
        alive = "Every worker of this machine worked within 7 s.\n"
        wait_for(lambda: said_by(check, environment) == alive)
        # A proxy that has forgotten its connections tells neither side.
        proxy.open.clear()
        age = "SELECT extract(epoch FROM clock_timestamp() - beat_at) FROM webhooks_heartbeat"
        wait_for(lambda: (owner.execute(age).fetchone() or (0,))[0] > 7)

        def is_ended() -> bool:
            # The supervisor is told the time: nobody has to wait until it looks first.
            supervisor.end_the_silent(monotonic_seconds=time.monotonic() + 60)
            return bool(said)

        wait_for(is_ended)
        assert f"worker lives and does not work. Silent worker: process {deaf} for " in (
            said[0].replace("CommandError: ", "")
        )
        proxy.open.set()

        def is_back() -> bool:
            supervisor.restart_the_dead(monotonic_seconds=time.monotonic())
            return len(processes_with_a_sign()) == 2

        wait_for(is_back)


def test_where_nobody_gave_a_sign_a_restart_is_due_and_without_a_broker_none_helps(
    private: PrivateServers, owner: psycopg.Connection
) -> None:
    environment = killing.environment(private)

    def check(role: str, **changes: str) -> tuple[int, str]:
        command = processes.manage("check_liveness", role)
        ended = subprocess.run(
            command,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=killing.PATIENCE_SECONDS,
        )
        return ended.returncode, ended.stdout + ended.stderr

    status, words = check("sweeper")
    assert (status, "No sweeper of this machine" in words) == (SILENT, True)
    status, words = check("worker", REDIS_URL="redis://127.0.0.1:1/0")
    assert (status, words) == (0, "Cannot be told: the broker does not answer.\n")
    status, words = check("sweeper", DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    assert status == 0
    assert words.startswith("Cannot be told: the database does not answer")
