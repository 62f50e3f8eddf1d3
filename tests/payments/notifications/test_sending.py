"""Notifications reach a real mail server and a real listener, at least once, under one id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from payments.errors import FlorinError
from payments.models import Notification
from payments.notifications import email, sending
from payments.notifications.outcome import Outcome
from tests.payments.notifications.conftest import (
    ACTOR,
    email_rule,
    fresh_address,
    row_of,
    rows_of,
    slack_rule,
    tell,
)
from tests.payments.notifications.servers import MailServer, text_of
from tests.webhooks.receiver import Receiver, drip

Send = Callable[[datetime], int]
_KILLED_SENDER = "tests.payments.notifications.killed_sender"
LEASE_OVER = sending.LEASE + timedelta(seconds=1)


def test_a_mail_arrives_as_text_and_html_under_its_id(
    now: datetime, mail: MailServer, send_all: Send
) -> None:
    rule = email_rule()
    tell("inbox", now)
    send_all(now)
    row = row_of(rule)
    (received,) = mail.mails
    assert (row.status, row.attempts, row.finished_at, row.error) == ("sent", 1, now, "")
    assert mail.recipients == rule.addresses
    assert received["Message-ID"] == f"<{row.pk}@pay.example>"
    assert received["Subject"] == "[Florin] A queue is late"
    assert received["From"] == "Florin <florin@pay.example>"
    assert received["Auto-Submitted"] == "auto-generated"
    for kind in ("plain", "html"):
        words = text_of(received, kind)
        assert "Something happened to inbox." in words
        assert "What to do" in words
        assert "https://pay.example/admin/" in words
        assert row.pk in words


def test_an_address_that_is_refused_is_dead_at_once_and_the_others_hear_of_it_once(
    now: datetime, mail: MailServer, slack_server: Receiver, send_all: Send
) -> None:
    refused, other = (
        email_rule(asked=["queue_late", "notification_failed"]),
        slack_rule(slack_server, asked=["notification_failed"]),
    )
    mail.says_to_recipient = "550 no such mailbox"
    tell("inbox", now)
    tell("outbox", now)
    send_all(now)
    send_all(now)
    assert {(row.status, row.attempts) for row in rows_of(refused)} == {("dead", 1)}
    assert "550 no such mailbox" in rows_of(refused)[0].error
    # Two deaths of one recipient are one thing within the hour, and never told to itself.
    told = row_of(other)
    assert (told.kind, told.status, told.subject) == (
        "notification_failed",
        "sent",
        refused.addresses[0],
    )
    assert {row.kind for row in rows_of(refused)} == {"queue_late"}


def test_the_failure_of_a_message_about_a_failure_is_told_to_nobody(
    now: datetime, mail: MailServer, send_all: Send
) -> None:
    first, second = email_rule(), email_rule()
    mail.says_to_recipient = "550 no such mailbox"
    tell("inbox", now)
    for _ in range(3):
        send_all(now)
    of_failures = Notification.objects.filter(rule__in=(first, second), kind="notification_failed")
    assert sorted(row.recipient for row in of_failures) == sorted(
        first.addresses + second.addresses
    )
    assert {row.status for row in of_failures} == {"dead"}


def test_a_server_that_is_busy_gets_the_mail_later_with_the_same_id(
    now: datetime, mail: MailServer, send_all: Send
) -> None:
    rule = email_rule()
    tell("inbox", now)
    mail.says_to_content = "451 try again later"
    send_all(now)
    row = row_of(rule)
    assert (row.status, row.attempts) == ("retrying", 1)
    assert "451 try again later" in row.error
    assert row.due_at is not None
    assert 5 <= (row.due_at - now).total_seconds() <= 15
    mail.says_to_content = "250 OK"
    send_all(row.due_at)
    assert row_of(rule).status == "sent"
    assert mail.mails[0]["Message-ID"] == mail.mails[1]["Message-ID"]


def test_a_black_hole_and_a_closed_port_are_failures_within_the_time_out(
    now: datetime, mail: MailServer, send_all: Send, settings: Settings
) -> None:
    rule = email_rule()
    settings.EMAIL_TIMEOUT = 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_PORT = silent.getsockname()[1]
        tell("inbox", now)
        began = time.monotonic()
        send_all(now)
    assert time.monotonic() - began < 30
    assert "timed out" in row_of(rule).error
    send_all(now + timedelta(minutes=5))
    assert "ConnectionRefusedError" in row_of(rule).error


def test_a_mail_server_that_says_one_byte_at_a_time_is_cut_off_at_the_deadline(
    now: datetime,
    mail: MailServer,
    send_all: Send,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(email.WatchedEmailBackend, "deadline_seconds", 1.0)
    rule = email_rule()
    over = threading.Event()

    def dripping(server: socket.socket) -> None:
        taken, _ = server.accept()
        with taken:
            while not over.wait(0.05):
                try:
                    taken.sendall(b"2")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_PORT = server.getsockname()[1]
        thread = threading.Thread(target=dripping, args=[server])
        thread.start()
        tell("inbox", now)
        began = time.monotonic()
        send_all(now)
        over.set()
        thread.join()
    assert time.monotonic() - began < 30
    assert row_of(rule).error == "TimeoutError: the mail server was not done within 1 s"


def test_without_a_mail_server_nothing_counts_as_sent(
    now: datetime, send_all: Send, settings: Settings
) -> None:
    settings.EMAIL_HOST = ""
    rule = email_rule()
    tell("inbox", now)
    send_all(now)
    assert (row_of(rule).status, row_of(rule).error) == ("retrying", email.NOT_CONFIGURED)


def test_fifteen_failures_make_a_dead_row_that_a_person_sends_again_or_gives_up(
    now: datetime, mail: MailServer, send_all: Send
) -> None:
    rule = email_rule(asked=["queue_late"])
    tell("inbox", now)
    mail.says_to_content = "451 try again later"
    moment = now
    for _ in range(sending.ATTEMPT_LIMIT):
        send_all(moment)
        moment = row_of(rule).due_at or moment
    dead = row_of(rule)
    assert (dead.status, dead.attempts, len(mail.mails)) == ("dead", 15, 15)
    # Each of the fourteen waits is at least five seconds, and most of them far longer by chance.
    assert timedelta(seconds=14 * 5) <= moment - now < timedelta(hours=14)
    assert sending.retry([dead.pk], actor=ACTOR, now=moment) == 1
    mail.says_to_content = "250 OK"
    send_all(moment)
    assert row_of(rule).status == "sent"
    assert len({received["Message-ID"] for received in mail.mails}) == 1
    assert sending.retry([dead.pk], actor=ACTOR, now=moment) == 0


def test_a_dead_row_is_given_up_only_with_words(
    now: datetime, mail: MailServer, send_all: Send
) -> None:
    rule = email_rule()
    mail.says_to_recipient = "550 no such mailbox"
    tell("inbox", now)
    send_all(now)
    dead = row_of(rule)
    with pytest.raises(FlorinError, match="Say why"):
        sending.discard([dead.pk], reason=" ", actor=ACTOR, now=now)
    assert sending.discard([dead.pk], reason="Ada left", actor=ACTOR, now=now) == 1
    assert (row_of(rule).status, row_of(rule).reason) == ("discarded", "Ada left")


def test_slack_gets_blocks_and_a_plain_text(
    now: datetime, slack_server: Receiver, send_all: Send
) -> None:
    rule = slack_rule(slack_server)
    tell("pay_<!channel>", now, kind="discrepancy", mode="test")
    send_all(now)
    (request,) = slack_server.requests
    body = json.loads(request.body)
    assert row_of(rule).status == "sent"
    assert request.headers["florin-notification"] == row_of(rule).pk
    assert body["text"].startswith("[Test mode] A provider contradicts our books: Something")
    assert "<!channel>" not in body["text"]
    assert "&lt;!channel&gt;" in body["text"]
    marked = [
        block["text"] for block in body["blocks"] if block["type"] == "section" and "text" in block
    ]
    assert {text["verbatim"] for text in marked if text["type"] == "mrkdwn"} == {True}
    assert all("<!" not in text["text"] for text in marked if text["type"] == "mrkdwn")
    assert body["blocks"][0]["text"]["type"] == "plain_text"
    assert row_of(rule).pk in json.dumps(body["blocks"][-1])


def test_slack_that_fails_once_gets_the_same_again(
    now: datetime, slack_server: Receiver, send_all: Send
) -> None:
    rule = slack_rule(slack_server)
    slack_server.answer = (500, {}, b"no")
    tell("inbox", now)
    send_all(now)
    assert (row_of(rule).status, row_of(rule).error) == ("retrying", "status 500")
    slack_server.answer = (200, {}, b"ok")
    send_all(now + timedelta(minutes=1))
    assert row_of(rule).status == "sent"
    first, second = slack_server.requests
    assert first.body == second.body


def test_slack_is_left_alone_for_as_long_as_it_asks(
    now: datetime, slack_server: Receiver, send_all: Send
) -> None:
    rule = slack_rule(slack_server)
    slack_server.answer = (429, {"Retry-After": "120"}, b"rate_limited")
    tell("inbox", now)
    send_all(now)
    assert row_of(rule).due_at == now + timedelta(seconds=120)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_webhook_that_is_gone_is_not_tried_again(
    now: datetime, slack_server: Receiver, send_all: Send, status: int
) -> None:
    rule = slack_rule(slack_server)
    slack_server.answer = (status, {}, b"no_service")
    tell("inbox", now)
    send_all(now)
    assert (row_of(rule).status, row_of(rule).attempts) == ("dead", 1)


def test_slack_that_drips_bytes_is_cut_off_at_the_deadline(
    now: datetime, slack_server: Receiver, send_all: Send
) -> None:
    rule = slack_rule(slack_server)
    slack_server.answer = drip
    tell("inbox", now)
    began = time.monotonic()
    send_all(now)
    assert time.monotonic() - began < 30
    assert row_of(rule).error == "no complete answer within 2 s"


def test_a_webhook_that_may_not_receive_requests_any_more_gets_none(
    now: datetime, slack_server: Receiver, send_all: Send, settings: Settings
) -> None:
    rule = slack_rule(slack_server)
    settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = []
    tell("inbox", now)
    send_all(now)
    assert slack_server.requests == []
    assert row_of(rule).error.startswith("refused (port)")


def test_mail_that_hangs_does_not_hold_up_slack(
    now: datetime,
    mail: MailServer,
    slack_server: Receiver,
    certificate: Path,
    settings: Settings,
) -> None:
    email_rule(*(fresh_address() for _ in range(8)))
    over_slack = slack_rule(slack_server)
    settings.EMAIL_TIMEOUT = 60
    stopping = threading.Event()
    from functools import partial

    from webhooks import transport

    def deliver() -> None:
        try:
            sending.deliver(
                clock=lambda: now,
                stopping=stopping.is_set,
                idle_pause_seconds=0.05,
                post=partial(transport.post, ca_file=str(certificate)),
            )
        finally:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_PORT = silent.getsockname()[1]
        tell("inbox", now)
        sender = threading.Thread(target=deliver)
        began = time.monotonic()
        sender.start()
        while row_of(over_slack).status != "sent":
            assert time.monotonic() - began < 30, "Slack waits for the mail server"
            time.sleep(0.02)
        stopping.set()
    sender.join()


def test_of_two_senders_one_gets_the_row(now: datetime) -> None:
    rule = email_rule()
    tell("inbox", now)
    barrier, claims = threading.Barrier(2), []

    def claim() -> None:
        barrier.wait()
        try:
            claims.extend(sending.claim(channel="email", now=now, limit=5))
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [claimed.id for claimed in claims] == [row_of(rule).pk]


def test_what_a_sender_says_after_its_lease_was_taken_over_is_not_accepted(now: datetime) -> None:
    rule = email_rule()
    tell("inbox", now)
    (late,) = sending.claim(channel="email", now=now, limit=5)
    (current,) = sending.claim(channel="email", now=now + LEASE_OVER, limit=5)
    assert (late.fence, current.fence) == (1, 2)
    assert sending.record(current, Outcome(), now=now + LEASE_OVER)
    assert not sending.record(late, Outcome(error="too late"), now=now + LEASE_OVER)
    assert (row_of(rule).status, row_of(rule).interruptions) == ("sent", 1)


def test_a_row_that_interrupts_its_sender_twenty_times_is_dead(now: datetime) -> None:
    rule = email_rule(asked=["queue_late"])
    tell("inbox", now)
    for number in range(20):
        moment = now + number * LEASE_OVER
        assert len(sending.claim(channel="email", now=moment, limit=5)) == 1
    assert sending.claim(channel="email", now=now + 20 * LEASE_OVER, limit=5) == []
    assert row_of(rule).status == "dead"
    assert "interrupted 20 times" in row_of(rule).error


@pytest.mark.parametrize("point", ["claimed", "sent"])
def test_a_sender_killed_between_claim_and_record_leaves_a_mail_that_is_sent_under_the_same_id(
    now: datetime, mail: MailServer, send_all: Send, point: str
) -> None:
    rule = email_rule()
    tell("inbox", now)
    killed = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.payments.notifications.killed_sender",
            point,
            now.isoformat(),
        ],
        cwd=django_settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "EMAIL_URL": f"smtp://127.0.0.1:{mail.port}",
            "FLORIN_MAIL_FROM": "Florin <florin@pay.example>",
        },
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert row_of(rule).status == "pending"
    send_all(now + timedelta(seconds=30))
    assert len(mail.mails) == (1 if point == "sent" else 0)
    send_all(now + LEASE_OVER)
    assert row_of(rule).status == "sent"
    assert len(mail.mails) == (2 if point == "sent" else 1)
    assert {received["Message-ID"] for received in mail.mails} == {
        f"<{row_of(rule).pk}@pay.example>"
    }
