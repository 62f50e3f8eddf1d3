"""An event that kills its process is counted although the process could not count it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import Error as DatabaseError
from django.db import connection, connections

from tests.proofs.fork_server import FORK_SERVER
from tests.webhooks import effects
from tests.webhooks.conftest import drain_outbox, emit
from tests.webhooks.drain_once import drain_once
from webhooks import handler_runs, inbox, lanes, outbox, retries
from webhooks.models import EventDelivery, FailedAttempt, InboxEvent

ROUNDS = 12


def drain_in_another_process(now: datetime) -> bool:
    """Whether a process that drains everything due survives it."""
    database = connections["default"].settings_dict["NAME"]
    process = FORK_SERVER.Process(target=drain_once, args=(database, now))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def deaths_until(is_over: Callable[[], bool], now: datetime) -> int:
    """Drain in one process after another; whenever one survives, go on two minutes later."""
    deaths = 0
    for _ in range(ROUNDS):
        if drain_in_another_process(now):
            now += timedelta(minutes=2)
        else:
            deaths += 1
        if is_over():
            return deaths
    raise AssertionError(f"it goes on after {deaths} deaths")


def delivery(aggregate: str, seq: int = 1) -> EventDelivery:
    return EventDelivery.objects.get(lane=f"outbox:order:{aggregate}", handler="blocking", seq=seq)


def receive(subject: str, number: int, now: datetime, event_type: str) -> InboxEvent:
    received = inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=f"evt_{subject}_{number}",
        event_type=event_type,
        subject=subject,
        raw=str(number).encode(),
        headers={},
        received_at=now,
    )
    return InboxEvent.objects.get(pk=received.id)


def tries(kind: str, row_id: str) -> list[tuple[int, str]]:
    rows = FailedAttempt.objects.filter(kind=kind, row_id=row_id).order_by("id")
    return list(rows.values_list("number", "outcome"))


FOUR_INTERRUPTIONS = [(number, "interrupted") for number in (1, 2, 3, 4)]


def test_a_handler_that_kills_its_process_is_dead_after_three_deaths_alone_and_no_other_is(
    aggregate: str, now: datetime
) -> None:
    innocent = f"{aggregate}_innocent"
    emit(aggregate, now, kill=True)
    emit(aggregate, now)
    emit(innocent, now)
    assert deaths_until(lambda: delivery(aggregate).status == "dead", now) == 1 + 3
    row = delivery(aggregate)
    assert (row.failures, row.interruptions) == (retries.FAILURE_LIMIT, 1)
    assert "while running it and nothing else" in row.reason
    assert tries("handler", str(row.pk)) == FOUR_INTERRUPTIONS
    assert effects.of("blocking", innocent) == [1]
    assert delivery(innocent).failures == 0
    behind = delivery(aggregate, seq=2)
    assert (behind.status, behind.due_at, behind.failures) == ("pending", None, 0)


def test_a_provider_event_that_kills_its_process_is_dead_after_three_deaths_alone_and_no_other_is(
    aggregate: str, now: datetime
) -> None:
    before, killer, after = (
        receive(aggregate, number, now, event_type)
        for number, event_type in ((1, "fine"), (2, "kill"), (3, "fine"))
    )
    other = receive(f"{aggregate}_other", 1, now, "fine")

    def is_over() -> bool:
        killer.refresh_from_db()
        return killer.status == "dead"

    assert deaths_until(is_over, now) == 1 + 3
    assert (killer.failures, killer.interruptions) == (retries.FAILURE_LIMIT, 1)
    assert "while applying it and nothing else" in killer.reason
    assert tries("inbox", killer.pk) == FOUR_INTERRUPTIONS
    for row in (before, after, other):
        row.refresh_from_db()
        assert (row.status, row.failures) == ("processed", 0)
    assert effects.of("inbox", aggregate) == [1, 3]


def test_an_event_that_outlives_an_interruption_keeps_the_count(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now + timedelta(seconds=1))
    assert (delivery(aggregate).status, delivery(aggregate).interruptions) == ("done", 1)


def test_a_run_that_a_restart_of_the_server_cut_off_is_no_death_of_its_event(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    lane = f"outbox:order:{aggregate}"
    run_id = lanes.leave_footprints([lane], now=now, alone=str(delivery(aggregate).pk))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhooks_drain_footprint SET"
            " server_started_at = server_started_at - interval '1 minute' WHERE run_id = %s",
            [run_id],
        )
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.interruptions) == ("done", 0, 1)


def test_a_death_alone_counts_however_much_is_due_on_other_lanes(
    aggregate: str, now: datetime
) -> None:
    # Two handlers each; what was due first on every lane is found by one look at what is due.
    beside = [f"{aggregate}_{n}" for n in range(handler_runs.LANES_PER_TRANSACTION // 2 - 1)]
    last = f"{aggregate}_z"
    for one in (last, *beside):
        emit(one, now)
    for _ in range(handler_runs.DELIVERIES_PER_TRANSACTION // len(beside) // 2):
        for one in beside:
            emit(one, now + timedelta(seconds=1))
    now += timedelta(seconds=2)
    lane = f"outbox:order:{last}"
    lanes.leave_footprints([lane], now=now, alone=str(delivery(last).pk))
    outbox.drain(now=now, limit=1)
    assert delivery(last).failures == 1
    assert lanes.interruptions_of([lane]) == {}
    drain_outbox(now + timedelta(minutes=2))
    assert delivery(last).status == "done"


def test_a_process_that_lives_to_see_its_run_cut_off_accuses_nobody(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now, cut_off=True)
    lane = f"outbox:order:{aggregate}"
    lanes.leave_footprints([lane], now=now)  # so that it runs alone
    with pytest.raises(DatabaseError):
        outbox.drain(now=now)
    connection.close()
    found = lanes.interruptions_of([lane])[lane]
    assert (found.together, found.alone) == (2, {})
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 2)
    EventDelivery.objects.filter(lane=lane).update(
        status="discarded", due_at=None, reason="end of the test"
    )


def test_a_server_that_crashes_forgets_whose_runs_it_cut_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence FROM pg_class WHERE relname = 'webhooks_drain_footprint'"
        )
        assert cursor.fetchone() == ("u",)


def test_deferred_news_that_killed_whoever_asked_about_it_is_charged_when_it_is_not_due(
    aggregate: str, now: datetime
) -> None:
    early = receive(aggregate, 2, now, "early")
    inbox.drain(apply=effects.apply, now=now)
    lanes.leave_footprints([early.lane], now=now, alone=early.pk)
    receive(aggregate, 3, now, "fine")
    inbox.drain(apply=effects.apply, now=now)
    early.refresh_from_db()
    assert (early.status, early.failures, early.deferrals) == ("failed", 1, 1)
    assert effects.of("inbox", aggregate) == [], "what came later was to wait behind it"
