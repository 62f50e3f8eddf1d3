"""Periodic jobs are claimed in PostgreSQL, and a sweeper says when it last worked."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from pytest_django import Settings

from tests.webhooks import effects
from webhooks import inbox, lanes, signs_of_life, sweeper, tasks
from webhooks.models import Heartbeat, InboxEvent, PeriodicJob


@pytest.fixture
def job(settings: Settings, aggregate: str) -> str:
    settings.FLORIN_PERIODIC_JOBS = [
        {"name": aggregate, "function": "tests.webhooks.effects.tick", "every_seconds": 60.0}
    ]
    return aggregate


def ticks() -> int:
    return len(effects.of("tick", "tick"))


def test_a_job_runs_when_due_and_not_before(job: str, now: datetime) -> None:
    before = ticks()
    assert sweeper.run_if_due(job, clock=lambda: now)
    assert not sweeper.run_if_due(job, clock=lambda: now + timedelta(seconds=59))
    assert sweeper.run_if_due(job, clock=lambda: now + timedelta(seconds=60))
    assert ticks() - before == 2
    row = PeriodicJob.objects.get(pk=job)
    assert (row.runs, row.lease_until, row.last_error) == (2, None, "")


def test_of_many_that_try_at_once_one_runs_the_job(job: str, now: datetime) -> None:
    before, won = ticks(), []

    def attempt() -> None:
        won.append(sweeper.run_if_due(job, clock=lambda: now))
        connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (sum(won), ticks() - before) == (1, 1)


def test_a_job_that_is_still_running_is_not_started_again_until_its_lease_ends(
    job: str, now: datetime
) -> None:
    sweeper.run_if_due(job, clock=lambda: now)
    PeriodicJob.objects.filter(pk=job).update(lease_until=now + sweeper.JOB_LEASE)
    assert not sweeper.run_if_due(job, clock=lambda: now + timedelta(minutes=2))
    assert sweeper.run_if_due(job, clock=lambda: now + timedelta(minutes=11))


def test_a_job_that_fails_keeps_its_error_and_its_rhythm(job: str, now: datetime) -> None:
    effects.trouble["tick"] = ValueError("no luck")
    assert sweeper.run_if_due(job, clock=lambda: now)
    assert PeriodicJob.objects.get(pk=job).last_error == "ValueError: no luck"
    effects.trouble.clear()
    assert sweeper.run_if_due(job, clock=lambda: now + timedelta(minutes=1))
    assert PeriodicJob.objects.get(pk=job).last_error == ""


def test_a_sweeper_beats_while_it_works_and_stops_cleanly(
    settings: Settings, now: datetime
) -> None:
    settings.FLORIN_PERIODIC_JOBS = []
    settings.FLORIN_INBOX_APPLY = "tests.webhooks.effects.apply"
    subject = sweeper.Sweeper(clock=lambda: now)
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(subject.run()))
    thread.start()
    deadline = time.monotonic() + 20
    while not Heartbeat.objects.filter(role="sweeper", beat_at=now).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    subject.stop()
    thread.join(20)
    assert ended == [True]


def test_heartbeats_of_processes_long_gone_are_forgotten(now: datetime) -> None:
    Heartbeat.objects.create(
        process=f"gone {now}",
        role="sweeper",
        started_at=now - timedelta(days=3),
        beat_at=now - timedelta(days=2),
    )
    signs_of_life.give(role="test", started_at=now, passes=1, now=now)
    assert not Heartbeat.objects.filter(process=f"gone {now}").exists()


@pytest.mark.parametrize("task", ["drain_inbox", "drain_outbox"])
def test_a_message_of_either_kind_sees_the_work_of_the_other(
    settings: Settings, aggregate: str, task: str
) -> None:
    settings.FLORIN_INBOX_APPLY = "tests.webhooks.effects.apply"
    received = inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=f"{aggregate}_1",
        event_type="fine",
        subject=aggregate,
        raw=b"1",
        headers={},
        received_at=datetime.now(UTC),
    )
    getattr(tasks, task)()
    assert InboxEvent.objects.get(pk=received.id).finished_at is not None
    lanes.close_side_connection()


def test_the_tasks_carry_nothing_and_do_what_is_due(
    settings: Settings, job: str, aggregate: str
) -> None:
    settings.FLORIN_INBOX_APPLY = "tests.webhooks.effects.apply"
    tasks.drain_inbox()
    tasks.drain_outbox()
    tasks.deliver()
    tasks.sweep()
    assert PeriodicJob.objects.get(pk=job).runs == 1
    lanes.close_side_connection()


def test_one_process_of_a_worker_sends_and_a_killed_one_makes_way() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(tasks._one_sender, fcntl.LOCK_EX)
        os.write(writer, b"held")
        signal.pause()
    assert os.read(reader, 4) == b"held"
    started = time.monotonic()
    tasks.deliver()
    with pytest.raises(OSError, match="unavailable"):
        fcntl.lockf(tasks._one_sender, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert time.monotonic() - started < 30  # the other one never makes way by itself
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fcntl.lockf(tasks._one_sender, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(tasks._one_sender, fcntl.LOCK_UN)
    os.close(reader)
    os.close(writer)
