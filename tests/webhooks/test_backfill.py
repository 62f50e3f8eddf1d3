"""A handler that was added later is promised the past: by time range, in order, once."""

from __future__ import annotations

import io
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings
from typeid import TypeID
from uuid_utils import UUID

from audit.models import AuditEvent
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR, HANDLERS, drain_outbox, emit, make_effect_tables
from webhooks import backfill, lanes
from webhooks.backfill import Tally
from webhooks.keys_in_time import first_id
from webhooks.models import EventDelivery
from webhooks.statements import select_one

Handlers = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def database(databases: TestDatabases) -> Iterator[None]:
    """A run reads all events of a time range, so they are of a database of their own."""
    with own_database(databases) as owner:
        make_effect_tables(owner)
        yield


@pytest.fixture
def family(aggregate: str) -> str:
    """Event types that only this test emits."""
    return f"{aggregate.replace('ord_', 'ord')}.changed"


@pytest.fixture
def late(settings: Settings, family: str) -> Callable[[str], None]:
    """Add the handler `blocking` or `skipping` now; until then nobody listens to the family."""

    def add(name: str) -> None:
        entry = next(entry for entry in HANDLERS if entry["name"] == name)
        settings.FLORIN_EVENT_HANDLERS = [
            {**entry, "types": [family.replace("changed", "*")]},
            HANDLERS[2],
        ]

    return add


def began() -> datetime:
    """The range is that of the keys, which are made by the real clock."""
    return datetime.now(UTC) - timedelta(seconds=1)


def emit_earlier(aggregate: str, type: str, *, minutes: int) -> None:
    """An event whose key was made some minutes ago, by the clock of whoever made it."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    time_bits = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62
    event_id = str(TypeID.from_uuid(UUID(int=time_bits | secrets.randbits(62)), "evt"))
    select_one(
        "SELECT webhooks_emit(%s,%s,'order',%s,'',false,'{}',%s,%s,'','{}','{}')",
        [event_id, type, aggregate, moment, moment],
    )


def run(name: str, since: datetime, now: datetime, *, portion: int = 500) -> Tally:
    portions = backfill.backfill(
        handler_name=name,
        since=since,
        until=datetime.now(UTC) + timedelta(seconds=1),
        actor=ACTOR,
        clock=lambda: now,
        portion=portion,
    )
    return list(portions)[-1]


def test_a_handler_added_later_sees_the_past_in_order_once_and_then_the_present(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    for _ in range(5):
        emit(aggregate, now, type=family)
    drain_outbox(now)
    late("blocking")
    emit(aggregate, now, type=family)  # promised as it is emitted, and not done yet
    assert run("blocking", since, now, portion=2).counts == {
        "promised": 5,
        "known": 1,
        "overtaken": 0,
    }
    assert run("blocking", since, now).counts == {"promised": 0, "known": 6, "overtaken": 0}
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [1, 2, 3, 4, 5, 6]


def test_only_the_range_and_the_types_of_the_handler_are_promised(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    emit(aggregate, now, type=family)
    moment = datetime.now(UTC)
    while datetime.now(UTC) < moment + timedelta(milliseconds=2):
        pass  # the next key is of a later millisecond
    emit(aggregate, now, type=family)
    emit(aggregate, now, type="order.shipped")
    late("skipping")
    assert run("skipping", moment + timedelta(milliseconds=1), now).promised == 1
    drain_outbox(now)
    assert effects.of("skipping", aggregate) == [2]


def test_a_blocking_handler_is_not_promised_what_precedes_an_event_it_has_done(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    for _ in range(4):
        emit(aggregate, now, type=family)
    late("blocking")
    emit(aggregate, now, type=family)
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [5]
    assert run("blocking", since, now).counts == {"promised": 0, "known": 1, "overtaken": 4}
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [5]


def test_postgresql_refuses_such_a_promise_too(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    first = emit(aggregate, now, type=family)
    late("blocking")
    emit(aggregate, now, type=family)
    drain_outbox(now)
    with pytest.raises(IntegrityError, match="has done a later event"), transaction.atomic():
        EventDelivery.objects.create(
            event_id=first.id,
            lane=lanes.outbox_lane("order", aggregate),
            seq=1,
            handler="blocking",
            policy="block",
            status="pending",
            due_at=now,
        )


def test_a_skipping_handler_may_see_the_past_after_the_present(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    for _ in range(2):
        emit(aggregate, now, type=family)
    late("skipping")
    emit(aggregate, now, type=family)
    drain_outbox(now)
    assert run("skipping", since, now).promised == 2
    drain_outbox(now)
    assert effects.of("skipping", aggregate) == [3, 1, 2]


def test_an_interrupted_run_is_mended_by_running_it_again(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    for _ in range(7):
        emit(aggregate, now, type=family)
    late("blocking")
    portions = backfill.backfill(
        handler_name="blocking",
        since=since,
        until=datetime.now(UTC) + timedelta(seconds=1),
        actor=ACTOR,
        clock=lambda: now,
        portion=3,
    )
    while not next(portions).promised:
        pass  # events of other tests
    del portions  # cut off behind a committed portion
    drain_outbox(now)
    done = len(effects.of("blocking", aggregate))
    assert 0 < done < 7
    assert run("blocking", since, now, portion=3).counts == {
        "promised": 7 - done,
        "known": done,
        "overtaken": 0,
    }
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [1, 2, 3, 4, 5, 6, 7]


def test_an_event_whose_key_is_younger_than_its_successors_is_promised_with_them(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    """Two processes' clocks differ: the first event of the stream has the key that sorts last."""
    since = datetime.now(UTC) - timedelta(minutes=8)
    for minutes in (3, 5, 4):
        emit_earlier(aggregate, family, minutes=minutes)
    late("blocking")
    portions = backfill.backfill(
        handler_name="blocking",
        since=since,
        until=datetime.now(UTC),
        actor=ACTOR,
        clock=lambda: now,
        portion=1,
    )
    counted = []
    for tally in portions:
        drain_outbox(now)
        counted.append(tally.counts)
    assert counted[-1] == {"promised": 3, "known": 0, "overtaken": 0}
    assert effects.of("blocking", aggregate) == [1, 2, 3]


def test_a_race_with_live_emission_and_a_drain_keeps_the_order(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    for _ in range(20):
        emit(aggregate, now, type=family)
    late("blocking")
    trouble: list[BaseException] = []

    def go_on(what: Callable[[], object], times: int) -> None:
        try:
            for _ in range(times):
                what()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            trouble.append(error)
        finally:
            lanes.close_side_connection()
            connection.close()

    emitter = threading.Thread(target=go_on, args=(lambda: emit(aggregate, now, type=family), 20))
    emitter.start()
    run("blocking", since, now, portion=100)  # before the first drain, as the documents say
    drainer = threading.Thread(target=go_on, args=(lambda: drain_outbox(now), 20))
    drainer.start()
    again = run("blocking", since, now, portion=3)
    emitter.join(30)
    drainer.join(30)
    drain_outbox(now)
    assert (trouble, again.promised, again.overtaken) == ([], 0, 0)
    assert effects.of("blocking", aggregate) == list(range(1, 41))


def test_a_portion_waits_for_the_drain_that_holds_its_stream(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    """Two connections: what is being done elsewhere is not overtaken in the middle."""
    since = began()
    emit(aggregate, now, type=family)
    late("blocking")
    found: list[Tally] = []

    def back_fill() -> None:
        try:
            found.append(run("blocking", since, now))
        finally:
            connection.close()

    with transaction.atomic():
        lanes.lock([lanes.outbox_lane("order", aggregate)])
        thread = threading.Thread(target=back_fill)
        thread.start()
        waits_for_a_lock()
        assert not EventDelivery.objects.filter(
            lane=lanes.outbox_lane("order", aggregate), handler="blocking"
        ).exists()
    thread.join(30)
    assert [tally.promised for tally in found] == [1]


def waits_for_a_lock() -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=4)
    while datetime.now(UTC) < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits for a lane")


def test_nothing_outside_the_range_is_read(now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN SELECT id FROM webhooks_domain_event WHERE id >= %s AND id < %s"
            " ORDER BY id LIMIT 500",
            [first_id("evt", now), first_id("evt", now + timedelta(hours=1))],
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index" in plan
    assert "Index Cond" in plan


def test_a_run_is_audited_with_its_counts(
    aggregate: str, family: str, late: Callable[[str], None], now: datetime
) -> None:
    since = began()
    emit(aggregate, now, type=family)
    late("skipping")
    run("skipping", since, now)
    ended, ordered = AuditEvent.objects.filter(
        stream_type="event_handler", stream_id="skipping"
    ).order_by("-id")[:2]
    assert (ordered.event_type, ended.event_type) == (
        "handler_backfill.ordered",
        "handler_backfill.ended",
    )
    assert (ended.actor_type, ended.actor_id) == ("user", "7")
    body = json.loads(ended.body)
    assert (body["promised"], body["since"]) == (1, since.isoformat())


@pytest.mark.parametrize(
    ("name", "since", "until", "words"),
    [
        ("nobody", -9, -5, "No handler is named nobody"),
        ("skipping", -5, -9, "range is empty"),
        ("skipping", -9, -1, "two minutes ago"),
    ],
)
def test_a_run_that_cannot_be_right_is_refused(
    now: datetime, name: str, since: int, until: int, words: str
) -> None:
    with pytest.raises((ValueError, LookupError), match=words):
        next(
            backfill.preview(
                handler_name=name,
                since=now + timedelta(minutes=since),
                until=now + timedelta(minutes=until),
                clock=lambda: now,
            )
        )


def command(name: str, *options: str) -> str:
    """Run it over the ten minutes that ended two minutes ago; what it told."""
    told = io.StringIO()
    now = datetime.now(UTC)
    since, until = now - timedelta(minutes=12), now - timedelta(minutes=2, seconds=1)
    times = ("--since", since.isoformat(), "--until", until.isoformat())
    call_command("backfill_handler", name, *times, *options, stdout=told)
    return told.getvalue()


def test_the_command_counts_promises_and_says_what_it_did(
    aggregate: str, family: str, late: Callable[[str], None]
) -> None:
    for _ in range(3):
        emit_earlier(aggregate, family, minutes=5)
    late("skipping")
    promised = EventDelivery.objects.filter(
        lane=lanes.outbox_lane("order", aggregate), handler="skipping"
    )
    assert "would be" in command("skipping", "--dry-run")
    assert promised.count() == 0
    assert "3 promised" in command("skipping")
    assert promised.count() == 3
    with pytest.raises(CommandError, match="No handler is named"):
        command("nobody")
    with pytest.raises(CommandError, match="1 or more"):
        command("skipping", "--per-second", "0")


def test_a_command_that_meets_a_lock_for_too_long_says_how_to_go_on(
    aggregate: str, family: str, late: Callable[[str], None]
) -> None:
    emit_earlier(aggregate, family, minutes=5)
    late("skipping")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "SELECT key FROM webhooks_lane WHERE key = %s FOR UPDATE",
                [lanes.outbox_lane("order", aggregate)],
            )
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        with pytest.raises(CommandError, match="run the same command again"):
            command("skipping")
    finally:
        other.close()
        connection.close()
    assert "1 promised" in command("skipping")
