"""Writing notifications: one row per recipient, the same thing once an hour, a storm as one.

Mental model: `write` runs in the transaction of what it tells of. Two windows per recipient decide
(payments.models.NotificationWindow): that of the very thing, an hour long, in which it is counted
instead of told again; and that of the whole kind, in which after STORM_LIMIT messages an hour the
rest is counted too. What was counted is told in one message when its window's `due_at` comes
(`tell_counted`, a periodic job). Live and test have windows of their own, so that a storm in test
mode hides nothing real.

One writer at a time: an advisory lock, held until the transaction ends, makes reading the windows
and writing them one step and cannot meet a second lock in another order. Only what is worth a
message gets here, so few transactions ever wait.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from audit import log
from payments.models import Notification, NotificationRule, NotificationWindow
from payments.notifications import kinds, rules
from payments.notifications.events import moment_words, notice_of, page
from payments.notifications.notice import SUBJECT_LENGTH_MAX, Notice, from_content
from webhooks.handlers import EventView

SAME_THING = timedelta(hours=1)
# Messages of one kind that a recipient gets one by one within STORM_WINDOW.
STORM_LIMIT = 10
STORM_WINDOW = timedelta(hours=1)
# A storm is told after a minute, when most of it has been counted; then once an hour.
DIGEST_DELAY = timedelta(minutes=1)

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('florin notifications', 0))"


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One address of a rule; `key` is what `Notification.recipient` holds."""

    rule: NotificationRule
    key: str


def tell_of_event(event: EventView, *, now: datetime) -> None:
    """Event handler: write what staff want to know of `event`. Sends nothing."""
    notice = notice_of(event)
    if notice is not None:
        write(notice, now=now)


def write(notice: Notice, *, now: datetime, not_to: Collection[str] = ()) -> int:
    """Write a notice to everybody whose rules ask for it, in the open transaction.

    Returns how many recipients there are; some of them may have been told lately, and theirs is
    counted. `not_to` are recipients left out. Nothing is written while nobody is to be told.
    """
    assert connection.in_atomic_block, "Bug! a notification is written with what it tells of"
    recipients = _recipients(notice, not_to=not_to)
    if recipients:
        _lock()
        windows = _windows_of(notice, recipients)
        written = [
            row
            for recipient in recipients
            if (row := _told(recipient, notice, windows, now=now)) is not None
        ]
        _save(list(windows.values()))
        Notification.objects.bulk_create(written)
    return len(recipients)


def send_test(rule: NotificationRule, *, actor: log.Actor, now: datetime) -> list[Notification]:
    """Write a test to every recipient of a rule, past all windows; it is sent like any other."""
    notice = kinds.notice(
        kinds.TEST,
        subject=rule.pk,
        mode="",
        happened=f"Somebody wanted to see whether the rule “{rule.name}” reaches you.",
        since=now,
        path=page("payments_notificationrule_change", rule.pk),
    )
    rows = [
        _row(Recipient(rule=rule, key=key), notice, now=now) for key in rules.recipients_of(rule)
    ]
    with log.acting_as(actor), transaction.atomic(durable=True):
        log.append(
            event_type="notification_rule.tested",
            stream_type="notification_rule",
            stream_id=rule.pk,
            body={"notifications": [row.pk for row in rows]},
            occurred_at=now,
        )
        return Notification.objects.bulk_create(rows)


def tell_counted(*, now: datetime) -> int:
    """Periodic job: tell in one message each what was only counted; returns how many messages.

    Forgets windows that are over.
    """
    with transaction.atomic():
        _lock()
        due = NotificationWindow.objects.filter(due_at__lte=now).select_related("rule")
        written = []
        for window in list(due.order_by("pk")):
            if window.rule.active:
                written.append(_counted_row(window, now=now))
            window.opened_at, window.untold, window.latest, window.due_at = now, 0, None, None
            if window.subject:
                window.until = now + SAME_THING
            else:
                window.quiet_until = now + STORM_WINDOW
            window.save()
        Notification.objects.bulk_create(written)
        over = Q(quiet_until__isnull=True) | Q(quiet_until__lte=now)
        NotificationWindow.objects.filter(over, until__lte=now, untold=0).delete()
    return len(written)


def _recipients(notice: Notice, *, not_to: Collection[str]) -> list[Recipient]:
    """Everybody who wants it, each once although two rules may name the same address."""
    wanted = NotificationRule.objects.filter(active=True, kinds__contains=[notice.kind])
    if notice.mode:
        wanted = wanted.filter(mode__in=["both", notice.mode])
    found: dict[str, Recipient] = {}
    for rule in wanted.order_by("pk"):
        for key in rules.recipients_of(rule):
            if key not in not_to:
                found.setdefault(key, Recipient(rule=rule, key=key))
    return list(found.values())


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)


_Key = tuple[str, str]  # recipient, subject


def _windows_of(notice: Notice, recipients: Iterable[Recipient]) -> dict[_Key, NotificationWindow]:
    """The windows that decide, per recipient, where there are any: of this thing, of its kind."""
    found = NotificationWindow.objects.filter(
        recipient__in=[recipient.key for recipient in recipients],
        kind=notice.kind,
        mode=notice.mode,
        subject__in=[_subject(notice), ""],
    )
    return {(window.recipient, window.subject): window for window in found}


def _told(
    recipient: Recipient,
    notice: Notice,
    windows: dict[_Key, NotificationWindow],
    *,
    now: datetime,
) -> Notification | None:
    """The message to this recipient, or None when it was counted instead. Keeps the windows."""
    same = windows.get((recipient.key, _subject(notice)))
    if same is not None and now < same.until:
        _count(same, recipient, notice, due_at=same.until)
        return None
    before = same.untold if same is not None else 0
    whole = windows.get((recipient.key, ""))
    if whole is None:
        whole = windows[recipient.key, ""] = _opened(recipient, notice, subject="", now=now)
    elif whole.until <= now:
        whole.opened_at, whole.until, whole.told = now, now + STORM_WINDOW, 0
    if whole.told >= STORM_LIMIT:
        soonest = max(now + DIGEST_DELAY, whole.quiet_until or now)
        _count(whole, recipient, notice, due_at=soonest)
        return None
    whole.told += 1
    row = _row(recipient, notice, now=now, untold=before, last_told=same.opened_at if same else now)
    if same is None:
        opened = _opened(recipient, notice, subject=_subject(notice), now=now)
        windows[recipient.key, opened.subject] = opened
    else:
        same.opened_at, same.until = now, now + SAME_THING
        same.untold, same.latest, same.due_at = 0, None, None
    return row


def _opened(
    recipient: Recipient, notice: Notice, *, subject: str, now: datetime
) -> NotificationWindow:
    return NotificationWindow(
        recipient=recipient.key,
        kind=notice.kind,
        mode=notice.mode,
        subject=subject,
        rule=recipient.rule,
        opened_at=now,
        until=now + (SAME_THING if subject else STORM_WINDOW),
    )


def _count(
    window: NotificationWindow, recipient: Recipient, notice: Notice, *, due_at: datetime
) -> None:
    window.untold += 1
    window.rule, window.latest = recipient.rule, notice.content()
    window.due_at = window.due_at or due_at


def _save(windows: list[NotificationWindow]) -> None:
    """Write the windows, known and new, however many recipients there are, at once."""
    NotificationWindow.objects.bulk_create(
        windows,
        update_conflicts=True,
        unique_fields=["recipient", "kind", "mode", "subject"],
        update_fields=_WINDOW_STATE,
    )


_WINDOW_STATE = (
    "rule",
    "opened_at",
    "until",
    "told",
    "untold",
    "latest",
    "due_at",
    "quiet_until",
)


def _row(
    recipient: Recipient,
    notice: Notice,
    *,
    now: datetime,
    untold: int = 0,
    last_told: datetime | None = None,
) -> Notification:
    content: dict[str, Any] = notice.content()
    if untold and last_told is not None:
        content["more"] = f"And {untold} more since {moment_words(last_told)}."
    return Notification(
        rule=recipient.rule,
        channel=recipient.rule.channel,
        recipient=recipient.key,
        kind=notice.kind,
        mode=notice.mode,
        subject=_subject(notice),
        title=notice.title[:200],
        content=content,
        due_at=now,
        created_at=now,
    )


def _counted_row(window: NotificationWindow, *, now: datetime) -> Notification:
    """One message for everything a window has counted."""
    kind, latest = kinds.by_name(window.kind), from_content(window.latest or {})
    row = _row(Recipient(rule=window.rule, key=window.recipient), latest, now=now)
    since = moment_words(window.opened_at)
    if window.subject:
        title = f"{latest.title}: {window.untold:,} more"
        row.content["more"] = f"This is the last of {window.untold:,} since {since}."
    else:
        title = f"{window.untold:,} more: {kind.title}"
        row.content["happened"] = (
            f"{window.untold:,} more of this kind since {since}; open the list. "
            f"The last of them: {latest.happened}"
        )
        row.content["path"] = page(kind.list_page)
    row.subject, row.title, row.content["title"] = window.subject, title[:200], title[:200]
    return row


def _subject(notice: Notice) -> str:
    return notice.subject[:SUBJECT_LENGTH_MAX]
