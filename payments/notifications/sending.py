"""Carrying notifications out: claimed, sent without a transaction, recorded under a fence.

Mental model: the three steps of webhooks.delivery, for staff instead of merchants.

    claim   one committed statement gives a lease and a new fence to due rows of a channel
    send    SMTP or HTTP in a thread that knows no database
    record  what came of it, accepted from the holder of the current fence only

A process that dies in between leaves a lease that runs out; the row is then sent again under the
same id. Each channel has a few threads of its own, so that a mail server that hangs holds up mail
and nothing else. What cannot be sent is dead: it waits in the back office, and others are told of
it once, never the recipient that could not be reached, and never of that message in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet

from audit import log
from audit.encryption import DecryptionFailed
from payments.errors import ErrorCode, FlorinError
from payments.models import Notification, NotificationChannel
from payments.notifications import email, kinds, slack, writing
from payments.notifications.events import page
from payments.notifications.message import Message, message_of
from payments.notifications.outcome import Outcome
from webhooks import retries
from webhooks.doorbell import Doorbell

# Longer than a mail may take in all, so that a slow one is not sent twice.
LEASE = timedelta(seconds=90)
# Fifteen tries with decorrelated jitter reach over a few hours.
ATTEMPT_LIMIT = 15
RETRY_AFTER_CAP_SECONDS = 3600.0
THREADS_PER_CHANNEL = 2

Status = Notification.Status
Clock = Callable[[], datetime]
_OPEN = (Status.PENDING, Status.RETRYING)
_ACTOR = log.Actor(type="job", id="notifications")


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """One row that is being sent: the fence its result must show, and how to send it."""

    id: str
    fence: int
    call: Callable[..., Outcome]


def claim(*, channel: str, now: datetime, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows of a channel and commit that they are taken, the oldest first."""
    if limit <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {"channel": channel, "now": now, "lease_until": now + LEASE, "limit": limit},
        )
        taken = [row_id for (row_id,) in cursor.fetchall()]
    rows = Notification.objects.filter(pk__in=taken).select_related("rule").order_by("pk")
    return [claimed for row in rows if (claimed := _prepared(row, now=now)) is not None]


_CLAIM = """
    UPDATE payments_notification AS row
    SET interruptions = interruptions + (lease_until IS NOT NULL)::int,
        fence = fence + 1, lease_until = %(lease_until)s, due_at = %(lease_until)s
    FROM (
        SELECT id FROM payments_notification
        WHERE channel = %(channel)s AND status IN ('pending', 'retrying') AND due_at <= %(now)s
        ORDER BY due_at LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE row.id = due.id
    RETURNING row.id
"""


def record(claimed: Claimed, outcome: Outcome, *, now: datetime) -> bool:
    """Store what came of a try; False when another process has taken over since."""
    with transaction.atomic():
        row = (
            Notification.objects.select_for_update()
            .filter(pk=claimed.id, fence=claimed.fence, status__in=_OPEN)
            .first()
        )
        if row is None:
            return False
        row.attempts += 1
        row.lease_until = None
        row.error = outcome.error[:500]
        if outcome.succeeded:
            _finish(row, Status.SENT, now=now)
        elif outcome.final or row.attempts >= ATTEMPT_LIMIT:
            _die(row, now=now)
        else:
            row.backoff_seconds = retries.decorrelated_backoff_seconds(row.backoff_seconds)
            asked = min(outcome.retry_after_seconds or 0.0, RETRY_AFTER_CAP_SECONDS)
            row.status = Status.RETRYING
            row.due_at = now + timedelta(seconds=max(row.backoff_seconds, asked))
            row.save()
    return True


def deliver(
    *,
    clock: Clock,
    stopping: Callable[[], bool],
    idle_pause_seconds: float | None = None,
    doorbell: Doorbell | None = None,
    post: slack.Post | None = None,
) -> int:
    """Claim, send and record until nothing is due; returns how many tries were made.

    With `idle_pause_seconds` it waits for more instead, or for `doorbell`, until `stopping()`.
    Tries run in threads; this thread alone talks to the database. `post` stands in for the way to
    Slack.
    """
    made = 0
    running: dict[Future[Outcome], tuple[str, Claimed]] = {}
    channels = NotificationChannel.values
    with ThreadPoolExecutor(THREADS_PER_CHANNEL * len(channels), "notify") as pool:
        while True:
            for channel in [] if stopping() else channels:
                busy = sum(1 for taken, _ in running.values() if taken == channel)
                free = THREADS_PER_CHANNEL - busy
                for claimed in claim(channel=channel, now=clock(), limit=free):
                    call = partial(claimed.call, post=post) if post else claimed.call
                    running[pool.submit(call)] = (channel, claimed)
            if running:
                ended, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in ended:
                    record(running.pop(future)[1], future.result(), now=clock())
                    made += 1
            elif idle_pause_seconds is None or stopping():
                return made
            else:
                (doorbell.wait if doorbell else time.sleep)(idle_pause_seconds)


def retry(notification_ids: Collection[str], *, actor: log.Actor, now: datetime) -> int:
    """Send dead notifications again under the same ids, with a fresh count; returns how many."""
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(notification_ids)
        for row in rows:
            _audit(row, "retried", {"error": row.error}, now=now)
            row.status, row.due_at, row.finished_at = Status.PENDING, now, None
            row.attempts, row.interruptions, row.backoff_seconds = 0, 0, 0
            row.save()
    return len(rows)


def discard(
    notification_ids: Collection[str], *, reason: str, actor: log.Actor, now: datetime
) -> int:
    """Give dead notifications up, with words; returns how many were dead.

    Raises FlorinError(parameter_invalid) without a reason.
    """
    if not reason.strip():
        raise FlorinError(ErrorCode.parameter_invalid, "Say why.", param="reason")
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(notification_ids)
        for row in rows:
            _audit(row, "discarded", {"reason": reason}, now=now)
            row.status, row.reason, row.finished_at = Status.DISCARDED, reason.strip()[:500], now
            row.save()
    return len(rows)


def _prepared(row: Notification, *, now: datetime) -> Claimed | None:
    """How a claimed row is sent; None when it must not be tried again and was closed instead."""
    if row.interruptions >= retries.INTERRUPTION_LIMIT:
        _give_up(row, f"its sender was interrupted {row.interruptions} times", now=now)
        return None
    message = message_of(row)
    if row.channel == NotificationChannel.EMAIL:
        return Claimed(
            id=row.pk, fence=row.fence, call=partial(_by_email, message, address=row.recipient)
        )
    try:
        url = row.rule.reveal_webhook_url()
    except DecryptionFailed as failure:
        _give_up(row, f"the webhook's address cannot be read: {failure}", now=now)
        return None
    return Claimed(id=row.pk, fence=row.fence, call=partial(_by_slack, message, url=url, now=now))


def _by_email(message: Message, *, address: str, post: slack.Post | None = None) -> Outcome:
    return email.send(message, address=address)


def _by_slack(
    message: Message, *, url: str, now: datetime, post: slack.Post | None = None
) -> Outcome:
    ways = {"post": post} if post else {}
    return slack.send(message, url=url, now=now, **ways)


def _give_up(row: Notification, error: str, *, now: datetime) -> None:
    """Close a row that was claimed and cannot be tried."""
    with transaction.atomic():
        held = Notification.objects.select_for_update().filter(
            pk=row.pk, fence=row.fence, status__in=_OPEN
        )
        for still_ours in held:
            still_ours.error, still_ours.lease_until = error[:500], None
            _die(still_ours, now=now)


def _die(row: Notification, *, now: datetime) -> None:
    """Let a row wait for a person, and tell the others, unless it tells of such a death itself."""
    _finish(row, Status.DEAD, now=now)
    with log.acting_as(_ACTOR):
        _audit(row, "dead", {"error": row.error, "attempts": row.attempts}, now=now)
    if row.kind == kinds.FAILED.name:
        return
    told = kinds.notice(
        kinds.FAILED,
        subject=row.recipient,
        mode="",
        happened=f"A message by {row.get_channel_display()} could not be delivered after "
        f"{row.attempts} tries. It said: {row.title}.",
        since=row.created_at,
        path=page("payments_notification_change", row.pk),
        facts=(("Notification", row.pk), ("Rule", row.rule.name)),
    )
    writing.write(told, now=now, not_to=[row.recipient])


def _finish(row: Notification, status: Status, *, now: datetime) -> None:
    row.status, row.due_at, row.lease_until, row.finished_at = status, None, None, now
    row.save()


def _locked_dead(notification_ids: Collection[str]) -> QuerySet[Notification]:
    dead = Notification.objects.filter(pk__in=notification_ids, status=Status.DEAD)
    return dead.select_for_update().order_by("pk")


def _audit(row: Notification, what: str, body: dict[str, object], *, now: datetime) -> None:
    log.append(
        event_type=f"notification.{what}",
        stream_type="notification",
        stream_id=row.pk,
        body={"kind": row.kind, "rule": row.rule_id, **body},
        occurred_at=now,
    )
