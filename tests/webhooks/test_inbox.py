"""Provider events: stored before the answer, applied in order, each with one effect."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from pytest_django import Settings

from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR
from tests.webhooks.counting import statements_sent
from webhooks import inbox, lanes, retries
from webhooks.models import DomainEvent, InboxEvent, InboxKey


def receive(
    subject: str, number: int, now: datetime, *, event_type: str = "fine", event_id: str = ""
) -> inbox.Received:
    return inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=event_id or f"evt_{subject}_{number}",
        event_type=event_type,
        subject=subject,
        raw=str(number).encode(),
        headers={"X-Signature": "t=1"},
        received_at=now,
    )


def drain(now: datetime) -> None:
    while inbox.drain(apply=effects.apply, now=now).total:
        pass


def stored(received: inbox.Received) -> InboxEvent:
    return InboxEvent.objects.get(pk=received.id)


def fail_until_dead(now: datetime) -> datetime:
    for _ in range(retries.FAILURE_LIMIT):
        drain(now)
        now += timedelta(hours=2)
    return now


def test_a_delivery_is_committed_as_it_came_in_one_statement(
    aggregate: str, now: datetime, second_connection: psycopg.Connection
) -> None:
    with statements_sent() as sent:
        received = inbox.receive(
            provider="testing",
            account_id="pacc_1",
            event_id="evt_1" + aggregate,
            event_type="fine",
            subject=aggregate,
            raw=b'\x00\xff{"n": 1}\r\n',
            headers={"Stripe-Signature": "t=1,v1=ab", "X-Name": "jos\u00e9"},
            received_at=now,
        )
    row = second_connection.execute(
        "SELECT raw, headers ->> 'Stripe-Signature', status FROM webhooks_inbox_event"
        " WHERE id = %s",
        [received.id],
    ).fetchone()
    assert row == (b'\x00\xff{"n": 1}\r\n', "t=1,v1=ab", "received")
    assert (len(sent), received.duplicate) == (1, False)


def test_receiving_inside_a_transaction_is_refused(aggregate: str, now: datetime) -> None:
    with pytest.raises(RuntimeError, match="commit by itself"), transaction.atomic():
        receive(aggregate, 1, now)


def test_the_effect_the_key_and_the_mark_are_there_together(aggregate: str, now: datetime) -> None:
    received = receive(aggregate, 1, now)
    drain(now)
    row = stored(received)
    assert (row.status, row.reason, row.payment_id) == ("processed", "applied", f"pay_{aggregate}")
    assert InboxKey.objects.filter(inbox_id=received.id).exists()
    assert effects.of("inbox", aggregate) == [1]


def test_a_repetition_of_a_processed_event_is_a_visible_duplicate(
    aggregate: str, now: datetime
) -> None:
    receive(aggregate, 1, now)
    drain(now)
    again = receive(aggregate, 1, now)
    drain(now)
    assert again.duplicate
    assert stored(again).status == "duplicate"
    assert effects.of("inbox", aggregate) == [1]


def test_repetitions_that_arrive_before_the_work_have_one_effect(
    aggregate: str, now: datetime
) -> None:
    received = [receive(aggregate, 1, now) for _ in range(3)]
    assert not any(event.duplicate for event in received)
    drain(now)
    assert [stored(event).status for event in received] == [
        "processed",
        "duplicate",
        "duplicate",
    ]
    assert effects.of("inbox", aggregate) == [1]


def test_a_repetition_of_an_event_that_failed_is_tried_in_its_own_right(
    aggregate: str, now: datetime
) -> None:
    effects.trouble[aggregate] = ValueError("poison")
    first = receive(aggregate, 1, now, event_type="bad")
    later = fail_until_dead(now)
    assert stored(first).status == "dead"
    effects.trouble.clear()
    again = receive(aggregate, 1, later, event_type="bad")
    drain(later)
    assert (again.duplicate, stored(again).status) == (False, "processed")
    inbox.replay([first.id], actor=ACTOR, now=later)
    drain(later)
    assert stored(first).status == "duplicate"
    assert effects.of("inbox", aggregate) == [1]


def test_news_about_one_object_is_applied_in_order_of_arrival(
    aggregate: str, now: datetime
) -> None:
    for number in (3, 1, 2):
        receive(aggregate, number, now)
    drain(now)
    assert effects.of("inbox", aggregate) == [3, 1, 2]


def test_a_failing_event_holds_its_own_subject_only_and_until_it_is_dead(
    aggregate: str, now: datetime
) -> None:
    other = f"{aggregate}_other"
    effects.trouble[aggregate] = ValueError("poison")
    poison = receive(aggregate, 1, now, event_type="bad")
    receive(aggregate, 2, now)
    receive(other, 1, now)
    drain(now)
    receive(aggregate, 3, now)
    drain(now)
    assert effects.of("inbox", aggregate) == []
    assert effects.of("inbox", other) == [1]
    row = stored(poison)
    assert (row.status, row.failures, row.reason) == ("failed", 1, "ValueError: poison")
    fail_until_dead(now + timedelta(minutes=1))
    assert stored(poison).status == "dead"
    assert effects.of("inbox", aggregate) == [2, 3]
    announced = DomainEvent.objects.get(aggregate_id=f"inbox:{poison.id}")
    assert (announced.type, announced.payload["what"]) == (
        "dead_letter.added",
        "bad from testing",
    )


def test_what_an_event_did_before_it_raised_is_undone(aggregate: str, now: datetime) -> None:
    effects.trouble[aggregate] = ValueError("half way")
    receive(aggregate, 1, now, event_type="bad")
    drain(now)
    assert effects.of("inbox", aggregate) == []
    assert not InboxKey.objects.filter(event_id=f"evt_{aggregate}_1").exists()


def test_early_news_waits_without_failing_and_follows_its_predecessor_at_once(
    aggregate: str, now: datetime
) -> None:
    early = receive(aggregate, 2, now, event_type="early")
    drain(now)
    row = stored(early)
    assert (row.status, row.deferrals, row.failures) == ("deferred", 1, 0)
    assert row.reason == "number 1 is missing"
    assert effects.of("inbox", aggregate) == []
    receive(aggregate, 1, now)
    drain(now)
    assert stored(early).status == "processed"
    assert effects.of("inbox", aggregate) == [1, 2]


def test_a_deferral_waits_longer_each_time_and_ends_as_a_dead_letter_after_days(
    aggregate: str, now: datetime
) -> None:
    early = receive(aggregate, 2, now, event_type="early")
    waits = []
    moment = now
    for _ in range(3):
        drain(moment)
        due_at = stored(early).due_at
        assert due_at is not None
        waits.append((due_at - moment).total_seconds())
        moment = due_at
    assert 0.8 <= waits[0] <= 1.2
    assert 4 <= waits[2] <= 6
    drain(now + retries.DEFERRAL_LIFETIME + timedelta(minutes=1))
    row = stored(early)
    assert (row.status, row.failures) == ("dead", 0)
    assert "predecessor never came" in row.reason


def test_superseded_news_counts_as_having_had_its_effect(aggregate: str, now: datetime) -> None:
    stale = receive(aggregate, 1, now, event_type="stale")
    drain(now)
    assert (stored(stale).status, stored(stale).payment_id) == ("superseded", "pay_stale")
    assert receive(aggregate, 1, now).duplicate


def test_events_about_no_object_do_not_wait_for_each_other(aggregate: str, now: datetime) -> None:
    effects.trouble[""] = ValueError("poison")
    bad = receive("", 1, now, event_type="bad", event_id=f"{aggregate}_1")
    good = receive("", 2, now, event_id=f"{aggregate}_2")
    drain(now)
    assert (stored(bad).status, stored(good).status) == ("failed", "processed")


def test_a_deadlock_is_postponed_and_not_held_against_the_event(
    aggregate: str, now: datetime
) -> None:
    error = OperationalError("deadlock detected")
    error.__cause__ = psycopg.errors.DeadlockDetected("deadlock detected")
    effects.trouble[aggregate] = error
    received = receive(aggregate, 1, now, event_type="bad")
    drain(now)
    row = stored(received)
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 1)
    effects.trouble.clear()
    drain(now + timedelta(minutes=1))
    assert stored(received).status == "processed"


def test_after_an_interruption_the_suspect_runs_alone(aggregate: str, now: datetime) -> None:
    received = [receive(aggregate, number, now) for number in (1, 2)]
    lanes.leave_footprints([f"inbox:testing:pacc_1:{aggregate}"], now=now)
    while stored(received[0]).status == "received":
        inbox.drain(apply=effects.apply, now=now, limit=1)
    assert stored(received[0]).interruptions == 1
    drain(now)
    assert effects.of("inbox", aggregate) == [1, 2]


def test_a_second_interruption_is_followed_by_a_pause(aggregate: str, now: datetime) -> None:
    received = receive(aggregate, 1, now)
    for _ in range(2):
        lanes.leave_footprints([f"inbox:testing:pacc_1:{aggregate}"], now=now)
    drain(now)
    assert (stored(received).status, stored(received).failures) == ("failed", 0)
    drain(now + timedelta(minutes=2))
    assert stored(received).status == "processed"


def test_what_kills_its_process_twenty_times_is_a_dead_letter(
    aggregate: str, now: datetime
) -> None:
    received = receive(aggregate, 1, now)
    for _ in range(retries.INTERRUPTION_LIMIT):
        lanes.leave_footprints([f"inbox:testing:pacc_1:{aggregate}"], now=now)
    drain(now)
    assert (stored(received).status, stored(received).failures) == ("dead", 0)
    assert "interrupted 20 times" in stored(received).reason


def test_footprints_of_a_lane_without_work_are_forgotten(aggregate: str, now: datetime) -> None:
    receive(aggregate, 1, now)
    drain(now)
    lane = f"inbox:testing:pacc_1:{aggregate}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM webhooks_drain_footprint WHERE lane = %s", [lane])
        assert cursor.fetchone() == (0,)


def test_discarding_needs_words_and_makes_later_copies_duplicates(
    aggregate: str, now: datetime
) -> None:
    effects.trouble[aggregate] = ValueError("poison")
    dead = receive(aggregate, 1, now, event_type="bad")
    later = fail_until_dead(now)
    with pytest.raises(ValueError, match="Say why"):
        inbox.discard([dead.id], reason="", actor=ACTOR, now=later)
    assert inbox.discard([dead.id], reason="settled by phone", actor=ACTOR, now=later) == 1
    assert inbox.discard([dead.id], reason="settled by phone", actor=ACTOR, now=later) == 0
    assert stored(dead).status == "discarded"
    assert receive(aggregate, 1, later).duplicate


def test_two_drains_at_once_apply_every_event_once_and_in_order(
    aggregate: str, now: datetime
) -> None:
    subjects = [f"{aggregate}_{number}" for number in range(6)]
    for number in range(1, 6):
        for subject in subjects:
            receive(subject, number, now)

    def work() -> None:
        try:
            drain(now)
        finally:
            lanes.close_side_connection()
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for subject in subjects:
        assert effects.of("inbox", subject) == [1, 2, 3, 4, 5]


def test_receiving_does_not_wait_for_a_drain_of_the_same_object(
    aggregate: str, now: datetime, second_connection: psycopg.Connection
) -> None:
    receive(aggregate, 1, now)
    with second_connection.transaction():
        second_connection.execute(
            "SELECT key FROM webhooks_lane WHERE key = %s FOR UPDATE",
            [f"inbox:testing:pacc_1:{aggregate}"],
        )
        second_connection.execute(
            "SELECT id FROM webhooks_inbox_event WHERE subject = %s FOR UPDATE", [aggregate]
        )
        assert not receive(aggregate, 2, now).duplicate
        drain(now)
        assert effects.of("inbox", aggregate) == []
    drain(now)
    assert effects.of("inbox", aggregate) == [1, 2]


def test_the_application_cannot_rewrite_what_a_provider_sent(aggregate: str, now: datetime) -> None:
    received = receive(aggregate, 1, now)
    for statement in (
        "UPDATE webhooks_inbox_event SET raw = '' WHERE id = %s",
        "DELETE FROM webhooks_inbox_event WHERE id = %s",
        "DELETE FROM webhooks_inbox_key WHERE inbox_id = %s",
    ):
        with (
            pytest.raises(Exception, match="permission denied"),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, [received.id])


def test_the_database_refuses_to_reopen_an_event_that_had_its_effect(
    aggregate: str, now: datetime
) -> None:
    received = receive(aggregate, 1, now)
    drain(now)
    with pytest.raises(IntegrityError, match="has had its effect"):
        InboxEvent.objects.filter(pk=received.id).update(status="received", due_at=now)


def test_the_configured_applier_is_loaded_by_its_dotted_path(settings: Settings) -> None:
    settings.FLORIN_INBOX_APPLY = "tests.webhooks.effects.apply"
    assert inbox.configured_apply() is effects.apply
