"""What the tests of notifications share: a time of their own, a mail server, Slack, rules.

The tests live twenty years from now, each a month of its own, so that a sweeper another test of
this process has started leaves their rows alone, and they its. Rules are switched off afterwards.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import transaction
from pytest_django import Settings

from audit.log import Actor
from payments.models import (
    Notification,
    NotificationRule,
    NotificationWindow,
    StandingCondition,
)
from payments.notifications import kinds, rules, sending, writing
from payments.notifications.kinds import KINDS
from payments.notifications.notice import Notice
from tests.payments.notifications.servers import (
    MailServer,
    certificate_of_loopback,
    mail_server,
    tls_of,
)
from tests.webhooks.receiver import Receiver, receiving
from webhooks import transport
from webhooks.models import EventDelivery

ACTOR = Actor(type="user", id="7", display="dora")
_months = itertools.count()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC) + timedelta(days=7300 + 30 * next(_months))


@pytest.fixture(autouse=True)
def _nobody_else_is_told() -> Iterator[None]:
    _forget()
    yield
    _forget()


def _forget() -> None:
    # Events that other tests left would be told of, too.
    EventDelivery.objects.filter(status__in=("pending", "failed")).update(
        status="discarded",
        reason="of another test",
        due_at=None,
        finished_at=datetime.now(UTC),
    )
    for rule in NotificationRule.objects.filter(active=True):
        rules.set_rule_active(rule=rule, active=False, actor=ACTOR, now=datetime.now(UTC))
    NotificationWindow.objects.all().delete()
    StandingCondition.objects.all().delete()
    Notification.objects.exclude(status__in=("sent", "discarded")).update(
        status="discarded",
        reason="of another test",
        due_at=None,
        lease_until=None,
        finished_at=datetime.now(UTC),
    )


@pytest.fixture
def mail(settings: Settings) -> Iterator[MailServer]:
    """A mail server, and Florin told of it."""
    with mail_server() as server:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_BACKEND = "payments.notifications.email.WatchedEmailBackend"
        settings.DEFAULT_FROM_EMAIL = "Florin <florin@pay.example>"
        settings.FLORIN_BASE_URL = "https://pay.example"
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_of_loopback(tmp_path_factory.mktemp("slack"))


@pytest.fixture
def slack_server(settings: Settings, certificate: Path) -> Iterator[Receiver]:
    """A listener with TLS in Slack's place."""
    with receiving(0, tls=tls_of(certificate)) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        settings.FLORIN_BASE_URL = "https://pay.example"
        yield server


@pytest.fixture
def send_all(certificate: Path) -> Callable[[datetime], int]:
    """Send everything that is due at a moment, as a sender does; returns the number of tries."""
    post = partial(transport.post, ca_file=str(certificate), deadline_seconds=2.0)

    def send(moment: datetime) -> int:
        return sending.deliver(clock=lambda: moment, stopping=lambda: False, post=post)

    return send


def email_rule(*addresses: str, asked: object = None, mode: str = "both") -> NotificationRule:
    """A rule that writes mails; asks for every kind unless told otherwise."""
    return rules.create_rule(
        channel="email",
        wanted=rules.Wanted(
            name="Everybody on call",
            kinds=list(asked) if isinstance(asked, list) else list(KINDS),
            mode=mode,
            addresses=addresses or (fresh_address(),),
        ),
        actor=ACTOR,
        now=datetime.now(UTC),
    )


def slack_rule(server: Receiver, *, asked: object = None) -> NotificationRule:
    """A rule that writes to Slack."""
    return rules.create_rule(
        channel="slack",
        wanted=rules.Wanted(
            name="#payments",
            kinds=list(asked) if isinstance(asked, list) else list(KINDS),
            webhook_url=f"https://127.0.0.1:{server.port}/services/T000/B000/{secrets.token_hex(8)}",
        ),
        actor=ACTOR,
        now=datetime.now(UTC),
    )


def fresh_address() -> str:
    return f"ada-{secrets.token_hex(4)}@shop.example"


def notice_about(
    subject: str, now: datetime, *, kind: str = "queue_late", mode: str = ""
) -> Notice:
    """A notice of something."""
    return kinds.notice(
        KINDS[kind],
        subject=subject,
        mode=mode,
        happened=f"Something happened to {subject}.",
        since=now,
        path="/admin/",
    )


def tell(subject: str, now: datetime, *, kind: str = "queue_late", mode: str = "") -> int:
    """Write a notice in a transaction of its own."""
    with transaction.atomic():
        return writing.write(notice_about(subject, now, kind=kind, mode=mode), now=now)


def rows_of(rule: NotificationRule) -> list[Notification]:
    """The rule's notifications, the oldest first."""
    return list(Notification.objects.filter(rule=rule).order_by("pk"))


def row_of(rule: NotificationRule) -> Notification:
    """The rule's only notification."""
    return Notification.objects.get(rule=rule)
