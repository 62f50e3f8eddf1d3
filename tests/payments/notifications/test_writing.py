"""Notifications are written once per recipient, the same thing once an hour, a storm as one."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from payments.models import Notification, NotificationWindow
from payments.notifications import rules, writing
from payments.notifications.kinds import KINDS
from tests.payments.notifications.conftest import (
    ACTOR,
    email_rule,
    fresh_address,
    notice_about,
    row_of,
    rows_of,
    tell,
)

HOUR = timedelta(hours=1)


def test_there_is_one_row_for_each_recipient(now: datetime) -> None:
    rule = email_rule(fresh_address(), fresh_address())
    assert tell("inbox", now) == 2
    assert sorted(row.recipient for row in rows_of(rule)) == sorted(rule.addresses)
    assert {(row.status, row.due_at, row.subject) for row in rows_of(rule)} == {
        ("pending", now, "inbox")
    }


def test_an_address_that_two_rules_name_is_told_once(now: datetime) -> None:
    address = fresh_address()
    first, second = email_rule(address), email_rule(address.upper())
    assert tell("inbox", now) == 1
    assert len(rows_of(first)) + len(rows_of(second)) == 1


def test_nothing_is_written_while_nobody_asks(now: datetime) -> None:
    rule = email_rule(asked=["dispute_opened"])
    rules.set_rule_active(rule=email_rule(), active=False, actor=ACTOR, now=now)
    assert tell("inbox", now) == 0
    assert rows_of(rule) == []


@pytest.mark.parametrize(
    ("asked", "of", "told"),
    [
        ("both", "test", True),
        ("live", "test", False),
        ("test", "test", True),
        ("live", "live", True),
        ("test", "live", False),
        ("test", "", True),
    ],
)
def test_a_rule_gets_the_mode_it_asks_for_and_what_has_none(
    now: datetime, asked: str, of: str, told: bool
) -> None:
    rule = email_rule(mode=asked)
    tell("pay_1", now, kind="discrepancy", mode=of)
    assert bool(rows_of(rule)) is told


def test_the_same_thing_is_told_once_an_hour_and_then_with_how_often_it_came(
    now: datetime,
) -> None:
    rule = email_rule()
    for minute in (0, 10, 59):
        tell("inbox", now + timedelta(minutes=minute))
    assert len(rows_of(rule)) == 1
    tell("inbox", now + timedelta(minutes=61))
    first, second = rows_of(rule)
    assert "more" not in first.content
    assert second.content["more"].startswith("And 2 more since")


def test_what_came_again_is_told_when_the_hour_is_over_though_nothing_follows(
    now: datetime,
) -> None:
    rule = email_rule()
    for minute in (0, 10, 20):
        tell("inbox", now + timedelta(minutes=minute))
    assert writing.tell_counted(now=now + timedelta(minutes=59)) == 0
    assert writing.tell_counted(now=now + HOUR) == 1
    assert writing.tell_counted(now=now + HOUR) == 0
    told = rows_of(rule)[1]
    assert (told.subject, told.title) == ("inbox", "A queue is late: 2 more")
    assert told.content["more"].startswith("This is the last of 2 since")
    # Telling it opened a new hour.
    tell("inbox", now + HOUR + timedelta(minutes=30))
    assert len(rows_of(rule)) == 2


def test_another_subject_kind_mode_or_recipient_is_another_thing(now: datetime) -> None:
    rule, other = email_rule(), email_rule()
    tell("inbox", now)
    tell("outbox", now)
    tell("inbox", now, kind="process_silent")
    tell("inbox", now, mode="live")
    assert len(rows_of(rule)) == len(rows_of(other)) == 4


def test_a_storm_is_ten_messages_and_one_digest(now: datetime) -> None:
    rule = email_rule()
    with transaction.atomic():
        for number in range(500):
            moment = now + timedelta(milliseconds=120 * number)
            subject = f"handler:{number}"
            writing.write(notice_about(subject, moment, kind="dead_letter"), now=moment)
    assert len(rows_of(rule)) == writing.STORM_LIMIT
    later = now + timedelta(minutes=3)
    assert writing.tell_counted(now=later) == 1
    digest = rows_of(rule)[-1]
    assert digest.title == "490 more: Something gave up and waits for a person"
    assert (digest.subject, digest.content["path"]) == ("", "/admin/webhooks/deadletter/")
    assert digest.content["happened"].startswith("490 more of this kind since")


def test_a_storm_that_goes_on_is_told_once_an_hour(now: datetime) -> None:
    rule = email_rule()
    for minute in range(0, 55, 1):
        tell(f"handler:{minute}", now + timedelta(minutes=minute), kind="dead_letter")
        writing.tell_counted(now=now + timedelta(minutes=minute, seconds=30))
    assert len(rows_of(rule)) == writing.STORM_LIMIT + 1
    assert writing.tell_counted(now=now + timedelta(hours=2)) == 1
    counted = [int(row.title.split()[0]) for row in rows_of(rule) if not row.subject]
    assert sum(counted) + writing.STORM_LIMIT == 55


def test_a_storm_in_test_mode_hides_nothing_live(now: datetime) -> None:
    rule = email_rule()
    for number in range(20):
        tell(f"handler:{number}", now, kind="dead_letter", mode="test")
    tell("handler:live", now, kind="dead_letter", mode="live")
    assert [row.subject for row in rows_of(rule) if row.mode == "live"] == ["handler:live"]


def test_what_was_counted_for_a_rule_that_is_off_by_then_is_not_told(now: datetime) -> None:
    rule = email_rule()
    tell("inbox", now)
    tell("inbox", now)
    rules.set_rule_active(rule=rule, active=False, actor=ACTOR, now=now)
    assert writing.tell_counted(now=now + HOUR) == 0
    assert len(rows_of(rule)) == 1


def test_windows_that_are_over_are_forgotten(now: datetime) -> None:
    email_rule()
    tell("inbox", now)
    assert NotificationWindow.objects.count() == 2
    writing.tell_counted(now=now + 2 * HOUR)
    assert NotificationWindow.objects.count() == 0


def test_of_many_writers_at_once_one_tells_and_the_others_are_counted(now: datetime) -> None:
    rule = email_rule()
    barrier = threading.Barrier(8)

    def write() -> None:
        barrier.wait()
        try:
            for _ in range(5):
                tell("inbox", now)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert row_of(rule).subject == "inbox"
    assert NotificationWindow.objects.get(recipient=rule.addresses[0], subject="inbox").untold == 39


def test_a_second_writer_waits_for_the_first_and_then_sees_what_it_told(now: datetime) -> None:
    rule = email_rule()
    told = threading.Event()
    second_done = threading.Event()

    def second() -> None:
        told.wait()
        try:
            tell("inbox", now)
        finally:
            connection.close()
            second_done.set()

    thread = threading.Thread(target=second)
    thread.start()
    with transaction.atomic():
        tell("inbox", now)
        told.set()
        assert not second_done.wait(0.3)
    thread.join()
    assert len(rows_of(rule)) == 1


def test_a_change_that_is_rolled_back_tells_nobody(now: datetime) -> None:
    rule = email_rule()

    def change() -> None:
        with transaction.atomic():
            tell("inbox", now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert rows_of(rule) == []
    assert NotificationWindow.objects.count() == 0


@pytest.mark.parametrize(
    "change", ["title = 'x'", "content = '{}'", "recipient = 'eve@evil.example'", "fence = -1"]
)
def test_the_database_refuses_to_change_what_was_told(now: datetime, change: str) -> None:
    rule = email_rule()
    tell("inbox", now)
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE payments_notification SET {change} WHERE id = %s", [row_of(rule).pk]
        )


def test_the_database_refuses_to_send_again_what_was_sent(now: datetime) -> None:
    rule = email_rule()
    tell("inbox", now)
    sent = Notification.objects.filter(rule=rule)
    sent.update(status="sent", due_at=None, finished_at=now)
    with pytest.raises(IntegrityError):
        sent.update(status="pending", due_at=now, finished_at=None)


def test_the_kinds_of_the_table_have_names_of_their_own() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
