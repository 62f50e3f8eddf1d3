"""Many dead letters at once: counted first, carried out in portions, each row reached once."""

from __future__ import annotations

import io
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from config import processes
from tests.databases import TestDatabases
from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR, drain_outbox, emit
from tests.webhooks.test_dead_letters import staff
from webhooks import dead_letter_filter, dead_letter_runs, outbox, retries
from webhooks.dead_letter_filter import Filter
from webhooks.models import DeadLetterRun, DeadLetterRunPortion, EventDelivery


def dead_handlers(
    databases: TestDatabases, name: str, count: int, died_at: datetime, *, lanes: int = 1
) -> Filter:
    """`count` dead deliveries to a handler of this name, spread over lanes; what matches them."""
    with psycopg.connect(databases.servers.database_owner_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO webhooks_lane (key) SELECT 'outbox:order:' || %s || n"
            " FROM generate_series(0, %s) AS n ON CONFLICT DO NOTHING",
            [name, lanes - 1],
        )
        owner.execute(
            "INSERT INTO webhooks_domain_event (id, aggregate_type, aggregate_id, seq, type, owner,"
            " livemode, payload, causation_id, occurred_at, created_at)"
            " SELECT %(name)s || n, 'order', %(name)s || n %% %(lanes)s, n / %(lanes)s + 1,"
            " 'order.changed', '', false, '{}', '', %(at)s, %(at)s"
            " FROM generate_series(0, %(count)s - 1) AS n",
            {"name": name, "lanes": lanes, "count": count, "at": died_at},
        )
        owner.execute(
            "INSERT INTO webhooks_event_delivery (event_id, lane, seq, handler, policy, status,"
            " failures, interruptions, backoff_seconds, reason, error, finished_at)"
            " SELECT %(name)s || n, 'outbox:order:' || %(name)s || n %% %(lanes)s,"
            " n / %(lanes)s + 1, %(name)s, 'skip', 'dead', 3, 0, 0, 'ValueError: poison', '',"
            " %(at)s FROM generate_series(0, %(count)s - 1) AS n ORDER BY n",
            {"name": name, "lanes": lanes, "count": count, "at": died_at},
        )
    return Filter(handler=name)


@pytest.fixture(autouse=True)
def _end_what_is_left() -> Iterator[None]:
    yield
    for run in DeadLetterRun.objects.filter(status="running"):
        dead_letter_runs.cancel(run.pk, actor=ACTOR, now=run.created_at)


def start(wanted: Filter, now: datetime, **options: str) -> DeadLetterRun:
    return dead_letter_runs.start(
        **{"action": "replay", **options}, wanted=wanted, actor=ACTOR, now=now
    )


def work_out(run: DeadLetterRun, now: datetime) -> DeadLetterRun:
    for _ in range(1000):
        dead_letter_runs.work(now=now)
        run.refresh_from_db()
        if run.status != DeadLetterRun.Status.RUNNING:
            return run
    raise AssertionError("it never ended")


def statuses(wanted: Filter) -> dict[str, int]:
    rows = EventDelivery.objects.filter(handler=wanted.handler)
    return {s: rows.filter(status=s).count() for s in set(rows.values_list("status", flat=True))}


def audited(event_type: str, stream_ids: list[str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM audit_event WHERE event_type = %s AND stream_id = ANY(%s)",
            [event_type, stream_ids],
        )
        return int(cursor.fetchone()[0])


def test_a_run_replays_what_its_filter_means_and_nothing_else(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 250, now)
    other = dead_handlers(databases, f"other_{aggregate}", 3, now)
    assert dead_letter_filter.counts(wanted) == {"handler": 250}
    run = work_out(start(wanted, now + timedelta(hours=1)), now + timedelta(hours=1))
    assert (run.status, run.total, run.done, run.passed_over) == ("finished", 250, 250, 0)
    assert statuses(wanted) == {"pending": 250}
    assert statuses(other) == {"dead": 3}
    assert DeadLetterRunPortion.objects.filter(run=run).count() == 3
    rows = EventDelivery.objects.filter(handler=aggregate).values_list("pk", flat=True)
    assert audited("handler_delivery.replayed", [f"handler:{pk}" for pk in rows]) == 250
    assert audited("dead_letter_run.started", [run.pk]) == 1
    assert audited("dead_letter_run.finished", [run.pk]) == 1


def test_a_filter_takes_times_types_and_words(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 4, now)
    dead_handlers(databases, f"{aggregate}_late", 2, now + timedelta(hours=5))
    hour = timedelta(hours=1)
    for asked, count in (
        (Filter(handler=aggregate, since=now, until=now + hour), 4),
        (Filter(handler=aggregate, since=now + hour), 0),
        (Filter(handler=aggregate, until=now), 0),
        (Filter(handler=aggregate, event_type="order.*"), 4),
        (Filter(handler=aggregate, event_type="order.changed"), 4),
        (Filter(handler=aggregate, event_type="order"), 0),
        (Filter(handler=aggregate, reason_contains="POISON"), 4),
        (Filter(handler=aggregate, reason_contains="%"), 0),
    ):
        assert dead_letter_filter.counts(asked) == {"handler": count}, asked
    assert Filter.from_json(wanted.died_before(now).as_json()) == wanted.died_before(now)
    assert ("Handler", aggregate) in wanted.words()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"kind": "letter"}, "kind is one of"),
        ({"handler": "a", "endpoint_id": "we_1"}, "never both"),
        ({"handler": "a", "kind": "inbox"}, "goes with the kind handler"),
        ({"endpoint_id": "we_1", "kind": "inbox"}, "goes with the kind merchant"),
        ({"since": datetime(2026, 1, 1)}, "need a zone"),  # noqa: DTZ001
        ({"reason_contains": "x" * 201}, "longer than 200"),
    ],
)
def test_a_filter_that_cannot_match_is_refused(members: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Filter(**members)  # type: ignore[arg-type]


def test_an_empty_time_range_is_refused(now: datetime) -> None:
    with pytest.raises(ValueError, match="time range is empty"):
        Filter(since=now, until=now)


def test_rows_of_one_lane_run_again_in_their_order(aggregate: str, now: datetime) -> None:
    effects.trouble[aggregate] = ValueError("poison")
    for _ in range(3):
        emit(aggregate, now, type="order.placed")
    moment = now
    for _ in range(3 * retries.FAILURE_LIMIT):
        drain_outbox(moment)
        moment += timedelta(hours=2)
    effects.trouble.clear()
    wanted = Filter(handler="skipping", since=now, until=moment)
    work_out(start(wanted, moment), moment)
    drain_outbox(moment)
    assert effects.of("skipping", aggregate) == [1, 2, 3]


def test_what_dies_again_is_told_and_not_tried_again_by_the_same_run(
    aggregate: str, now: datetime
) -> None:
    effects.trouble[aggregate] = ValueError("poison")
    emit(aggregate, now, type="order.placed", trouble_at=1)
    moment = now
    for _ in range(retries.FAILURE_LIMIT):
        drain_outbox(moment)
        moment += timedelta(hours=2)
    run = start(Filter(handler="skipping", since=now, until=moment), moment)
    assert dead_letter_runs.work(now=moment) == 1
    for _ in range(retries.FAILURE_LIMIT):
        drain_outbox(moment)
        moment += timedelta(hours=2)
    run = work_out(run, moment)
    assert (run.done, dead_letter_runs.progress(run).again_dead) == (1, 1)
    assert dead_letter_runs.progress(run).percentage == 100


def test_a_row_that_somebody_else_replayed_is_passed_over(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 3, now)
    later = now + timedelta(hours=1)
    run = start(wanted, later)
    first = EventDelivery.objects.filter(handler=aggregate).order_by("id")[0]
    outbox.replay([first.pk], actor=ACTOR, now=later)
    run = work_out(run, later)
    assert (run.total, run.done) == (3, 2)
    assert audited("handler_delivery.replayed", [f"handler:{first.pk}"]) == 1


def test_two_processes_at_once_reach_each_row_once(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 220, now, lanes=7)
    later = now + timedelta(hours=1)
    run = start(wanted, later)

    def attempt() -> None:
        work_out(DeadLetterRun.objects.get(pk=run.pk), later)
        connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    run.refresh_from_db()
    assert (run.status, run.done, run.passed_over) == ("finished", 220, 0)
    assert reached_once(run) == 220


def reached_once(run: DeadLetterRun) -> int:
    """Rows that the run's portions name; no row twice."""
    portions = DeadLetterRunPortion.objects.filter(run=run).values_list("row_ids", flat=True)
    rows = list(itertools.chain.from_iterable(portions))
    assert len(rows) == len(set(rows))
    return len(rows)


KILLED = """
import os, signal, sys, django
django.setup()
from datetime import datetime
from webhooks import dead_letters, dead_letter_runs
now, portions = datetime.fromisoformat(sys.argv[1]), int(sys.argv[2])
for _ in range(portions):
    assert dead_letter_runs.work(now=now) == 100
replay = dead_letters.replay
def replay_and_die(*arguments, **options):
    replay(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
dead_letters.replay = replay_and_die
dead_letter_runs.work(now=now)
"""


def test_a_process_killed_in_a_portion_leaves_it_undone_and_another_goes_on(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 250, now, lanes=5)
    later = now + timedelta(hours=1)
    run = start(wanted, later)
    for portions in (1, 1):
        completed = subprocess.run(
            [sys.executable, "-c", KILLED, later.isoformat(), str(portions)],
            cwd=processes.BASE_DIR,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.webhooks.settings_for_processes"},
            check=False,
            timeout=60,
        )
        assert completed.returncode == -signal.SIGKILL
    run.refresh_from_db()
    assert (run.status, run.done, reached_once(run)) == ("running", 200, 200)
    run = work_out(run, later)
    assert (run.done, run.passed_over, reached_once(run)) == (250, 0, 250)
    rows = EventDelivery.objects.filter(handler=aggregate).values_list("pk", flat=True)
    assert audited("handler_delivery.replayed", [f"handler:{pk}" for pk in rows]) == 250


def test_a_canceled_run_keeps_what_it_did_and_does_no_more(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 250, now)
    later = now + timedelta(hours=1)
    run = start(wanted, later)
    dead_letter_runs.work(now=later)
    assert dead_letter_runs.cancel(run.pk, actor=ACTOR, now=later)
    assert not dead_letter_runs.cancel(run.pk, actor=ACTOR, now=later)
    assert dead_letter_runs.work(now=later) == 0
    run.refresh_from_db()
    assert (run.status, run.done) == ("canceled", 100)
    assert statuses(wanted) == {"pending": 100, "dead": 150}
    assert audited("dead_letter_run.canceled", [run.pk]) == 1
    with pytest.raises(IntegrityError, match="cannot become"), transaction.atomic():
        DeadLetterRun.objects.filter(pk=run.pk).update(
            status="running", due_at=later, finished_at=None
        )


def test_a_form_sent_twice_starts_one_run(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 2, now)
    later = now + timedelta(hours=1)
    run_id = f"dlr_{'0' * 10}{aggregate[4:]}"
    assert start(wanted, later, run_id=run_id).pk == start(wanted, later, run_id=run_id).pk
    assert audited("dead_letter_run.started", [run_id]) == 1


@pytest.mark.prove
def test_five_thousand_rows_are_replayed_in_bounded_memory(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 5000, now, lanes=50)
    later = now + timedelta(hours=1)
    run = start(wanted, later)
    dead_letter_runs.work(now=later)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = work_out(run, later)
    grown_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (run.done, reached_once(run)) == (5000, 5000)
    assert grown_kilobytes < 20_000


def test_a_portion_that_raises_is_told_and_tried_after_a_pause(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 1, now)
    later = now + timedelta(hours=1)
    run = start(wanted, later)
    with psycopg.connect(databases.servers.database_owner_url) as other:
        other.execute(
            "SELECT FROM webhooks_lane WHERE key = %s FOR UPDATE", [f"outbox:order:{aggregate}0"]
        )
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        try:
            assert dead_letter_runs.work(now=later) == 0
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
    run.refresh_from_db()
    assert "lock timeout" in run.error
    assert dead_letter_runs.work(now=later) == 0
    assert work_out(run, later + dead_letter_runs.PAUSE).done == 1
    assert run.error == ""


def test_discarding_many_needs_words_on_every_entry_point(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 2, now)
    later = now + timedelta(hours=1)
    with pytest.raises(ValueError, match="Say why"):
        start(wanted, later, action="discard", reason="  ")
    with pytest.raises(CommandError, match="Say why"):
        call_command("replay_dead_letters", "--handler", aggregate, "--discard")
    client, _ = staff("view_deadletter", "view_deadletterrun", "change_deadletter")
    answer = client.post(
        reverse("admin:webhooks_deadletterrun_start"),
        {"handler": aggregate, "action": "discard", "reason": " "},
        follow=True,
    )
    assert "Say why" in answer.content.decode()
    assert statuses(wanted) == {"dead": 2}
    with pytest.raises(IntegrityError, match="discard_has_reason"), transaction.atomic():
        DeadLetterRun.objects.create(
            action="discard", wanted={}, actor_type="user", total=1, due_at=now, created_at=now
        )
    run = work_out(start(wanted, later, action="discard", reason="obsolete"), later)
    assert (run.done, statuses(wanted)) == (2, {"discarded": 2})
    assert EventDelivery.objects.filter(handler=aggregate)[0].reason == "obsolete"


def test_the_command_counts_then_replays_and_says_so(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    died_at = now - timedelta(days=365 * 20)
    wanted = dead_handlers(databases, aggregate, 120, died_at)
    told = io.StringIO()
    call_command("replay_dead_letters", "--handler", aggregate, "--dry-run", stdout=told)
    assert "120" in told.getvalue()
    assert statuses(wanted) == {"dead": 120}
    told = io.StringIO()
    since = (died_at - timedelta(hours=1)).isoformat()
    call_command("replay_dead_letters", "--handler", aggregate, "--since", since, stdout=told)
    assert re.search(r"dlr_\w+ finished: 120 of 120 done", told.getvalue())
    assert statuses(wanted) == {"pending": 120}
    call_command("replay_dead_letters", "--handler", aggregate, stdout=told)
    assert "Nothing to do" in told.getvalue() or "nothing to do" in told.getvalue()


def test_the_command_refuses_times_without_a_zone_and_filters_that_cannot_match() -> None:
    with pytest.raises(CommandError, match="since"):
        call_command("replay_dead_letters", "--since", "2026-11-30T12:00:00")
    with pytest.raises(CommandError, match="goes with the kind"):
        call_command("replay_dead_letters", "--kind", "inbox", "--handler", "x")


def test_staff_count_start_follow_and_cancel_a_run_in_the_back_office(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    dead_handlers(databases, aggregate, 3, now - timedelta(days=365 * 20))
    client, _ = staff("view_deadletter", "view_deadletterrun", "change_deadletter")
    page = client.get(
        reverse("admin:webhooks_deadletterrun_new"), {"preview": "1", "handler": aggregate}
    ).content.decode()
    assert "3 dead letters" in page
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    answer = client.post(
        reverse("admin:webhooks_deadletterrun_start"), {**sent, "action": "replay"}, follow=True
    )
    run = DeadLetterRun.objects.get(pk=sent["run_id"])
    assert "Cancel" in answer.content.decode()
    figures = client.get(reverse("admin:webhooks_deadletterrun_progress", args=[run.pk])).json()
    assert (figures["status"], figures["total"], figures["done"]) == ("running", 3, 0)
    cancel = reverse("admin:webhooks_deadletterrun_cancel", args=[run.pk])
    assert "what was done stays done" in client.post(cancel, follow=True).content.decode()
    assert "It had ended before" in client.post(cancel, follow=True).content.decode()
    listed = client.get(reverse("admin:webhooks_deadletterrun_changelist")).content.decode()
    assert run.pk in listed


def test_who_may_only_look_sees_no_button_and_starts_nothing(
    databases: TestDatabases, aggregate: str, now: datetime
) -> None:
    wanted = dead_handlers(databases, aggregate, 2, now)
    run = start(wanted, now + timedelta(hours=1))
    client, _ = staff("view_deadletter", "view_deadletterrun")
    page = client.get(reverse("admin:webhooks_deadletterrun_change", args=[run.pk]))
    assert page.status_code == 200
    assert "Cancel" not in page.content.decode()
    row = EventDelivery.objects.filter(handler=aggregate)[0]
    letter = client.get(reverse("admin:webhooks_deadletter_change", args=[f"handler:{row.pk}"]))
    assert letter.status_code == 200
    assert '<form method="post" action="/admin/webhooks/deadletter' not in letter.content.decode()
    listed = client.get(reverse("admin:webhooks_deadletter_changelist")).content.decode()
    assert "Many at once" not in listed
    assert client.get(reverse("admin:webhooks_deadletterrun_new")).status_code == 403
    for name, arguments in (
        ("webhooks_deadletterrun_start", []),
        ("webhooks_deadletterrun_cancel", [run.pk]),
        ("webhooks_deadletter_replay", [f"handler:{row.pk}"]),
        ("webhooks_deadletter_discard", [f"handler:{row.pk}"]),
    ):
        answer = client.post(reverse(f"admin:{name}", args=arguments), {"reason": "x"})
        assert answer.status_code == 403, name
    assert statuses(wanted) == {"dead": 2}
    nobody, _ = staff()
    for name in ("change", "progress"):
        url = reverse(f"admin:webhooks_deadletterrun_{name}", args=[run.pk])
        assert nobody.get(url).status_code == 403
