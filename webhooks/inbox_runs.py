"""Applying provider events: one transaction over one lane.

Mental model: a drain locks one lane (all news about one provider object) and hands each due event
to `apply` in a savepoint of its own. The key that makes further deliveries duplicates is inserted
first inside that savepoint: it is there if, and only if, the effect is.

    received --processed | superseded | ignored | duplicate--> (the end)
       |-----deferred (a predecessor is missing: lets the others pass; after a while the provider is
       |               asked, see webhooks.questions)
       |-----failed (apply raised: holds the lane) --third time--> dead --replay--> received
                                                                    |--discard--> discarded

A process that died while it applied one event alone is a failure of that event. Where it applied
several, each is only suspected and runs alone from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from audit import log
from webhooks import attempts, deaths, lanes, retries
from webhooks.inbox_contract import Applied, Apply, DrainResult, InboxEventView
from webhooks.models import InboxEvent, InboxQuestion
from webhooks.statements import CHECK_CONSTRAINTS, select_one

EVENTS_PER_TRANSACTION = 20
Status = InboxEvent.Status
_FINISH = (
    "UPDATE webhooks_inbox_event SET status = %s, due_at = NULL, finished_at = %s,"
    " interruptions = %s, reason = %s, payment_id = %s, error = ''"
    " WHERE id = %s AND received_at = %s"
)
_CUT_OFF = "its process ended, or lost the database, while applying it or others with it"
_DIED_ALONE = "its process ended while applying it and nothing else"

logger = structlog.get_logger(__name__)


@dataclass
class _Row:
    view: InboxEventView
    lane: str
    arrival: int
    status: str
    due_at: datetime
    deferrals: int
    failures: int
    interruptions: int
    backoff_seconds: float

    @property
    def is_suspect(self) -> bool:
        """Whether it may kill its process: it runs alone, so that it takes nobody along."""
        return self.interruptions > 0 or self.failures > 0

    def is_due(self, now: datetime) -> bool:
        return self.status in InboxEvent.OPEN and self.due_at <= now


def run_next_lane(apply: Apply, result: DrainResult, *, now: datetime) -> bool:
    """Lock one lane with due events and apply them; False when nothing was due or free."""
    lane = _lock_next_lane(now=now)
    if lane is None:
        return False
    _drain_lane(lane, apply, result, now=now)
    return True


def _lock_next_lane(*, now: datetime) -> str | None:
    """The lane of the longest due event that nobody is on. One lane per transaction: `apply`
    locks payments, and two drains holding several each could wait for one another.
    """
    lane: str | None = select_one("SELECT webhooks_lock_inbox_lane(%s)", [now])
    return lane


def _drain_lane(lane: str, apply: Apply, result: DrainResult, *, now: datetime) -> None:
    interruptions = lanes.interruptions_of([lane]).get(lane)
    rows = _load(lane, now=now)
    if interruptions:
        rows = _with_accused(rows, interruptions)
        _charge(rows, interruptions, result, now=now)
    portion = _portion(rows, now=now)
    alone = portion[0].view.id if _runs_alone(portion, now=now) else ""
    with lanes.run_on([lane], alone=alone, now=now):
        for row in portion:
            if row.is_due(now):
                _run(row, apply, result, now=now)
            if row.status == Status.FAILED:
                _hold_behind(row, now=now)
                break


def _runs_alone(portion: list[_Row], *, now: datetime) -> bool:
    return bool(portion) and portion[0].is_due(now) and portion[0].is_suspect


def _portion(rows: list[_Row], *, now: datetime) -> list[_Row]:
    """What one transaction runs: everything up to the next suspect, or that one alone. What has
    died meanwhile is left out, and what is failed and not due ends it.
    """
    portion: list[_Row] = []
    for row in rows:
        if row.status not in InboxEvent.OPEN:
            continue
        if not row.is_due(now):
            return [*portion, row]
        if row.is_suspect:
            return portion or [row]
        portion.append(row)
    return portion


def _load(lane: str, *, now: datetime) -> list[_Row]:
    """What is due on the locked lane, and the failed event that may hold it, by arrival.

    A new statement, so it sees everything that was committed before the lock was taken.
    """
    events = InboxEvent.objects.raw(
        "SELECT * FROM webhooks_open_inbox_events(%s, %s, %s)",
        [lane, now, EVENTS_PER_TRANSACTION],
    )
    return [_row(event) for event in events]


def _row(event: InboxEvent) -> _Row:
    assert event.due_at is not None, f"Bug! {event.pk} is open and never due"
    view = InboxEventView(
        id=event.pk,
        provider=event.provider,
        account_id=event.account_id,
        event_id=event.event_id,
        event_type=event.event_type,
        subject=event.subject,
        raw=bytes(event.raw),
        headers=event.headers,
        received_at=event.received_at,
        deferrals=event.deferrals,
        failures=event.failures,
    )
    return _Row(
        view=view,
        lane=event.lane,
        arrival=event.arrival,
        status=event.status,
        due_at=event.due_at,
        deferrals=event.deferrals,
        failures=event.failures,
        interruptions=event.interruptions,
        backoff_seconds=event.backoff_seconds,
    )


def _with_accused(rows: list[_Row], interruptions: lanes.Interruptions) -> list[_Row]:
    """`rows`, and what ran alone on their lane without being due: a deferred event whose provider
    was asked.
    """
    missing = set(interruptions.alone).difference(row.view.id for row in rows)
    accused = InboxEvent.objects.filter(pk__in=missing, status__in=InboxEvent.OPEN)
    return sorted([*rows, *map(_row, accused)], key=lambda row: row.arrival)


def _charge(
    rows: list[_Row], interruptions: lanes.Interruptions, result: DrainResult, *, now: datetime
) -> None:
    """Hold the runs that did not survive against what they ran: a death alone is a failure."""
    for row in rows:
        together = interruptions.together if row.is_due(now) else 0
        deaths = interruptions.alone.get(row.view.id, 0)
        if together:
            row.interruptions += together
            _remember(row, attempts.Outcome.INTERRUPTED, _CUT_OFF, "", now=now)
        if deaths:
            row.failures += deaths
            _remember(row, attempts.Outcome.INTERRUPTED, _DIED_ALONE, "", now=now)
            _fail(row, _DIED_ALONE, "", result, now=now)
        elif together:
            _pause_if_often_interrupted(row, result, now=now)


def _pause_if_often_interrupted(row: _Row, result: DrainResult, *, now: datetime) -> None:
    """The first time it is tried again at once."""
    if row.interruptions >= retries.INTERRUPTION_LIMIT:
        reason = f"its process was interrupted {row.interruptions} times while applying it"
        _die(row, reason, "", result, now=now)
    elif row.interruptions > 1:
        _postpone(row, "interrupted, tried again after a pause", "", result, now=now)
    else:
        stored(row.view.id, row.view.received_at).update(interruptions=row.interruptions)


def waiting(inbox_id: str) -> InboxEventView | None:
    """A deferred event as `apply` would see it; None when it waits no more."""
    event = InboxEvent.objects.filter(pk=inbox_id, status=Status.DEFERRED).first()
    return _row(event).view if event else None


def run_waiting(inbox_id: str, apply: Apply, *, now: datetime) -> str:
    """Apply one deferred event, due or not, in the caller's transaction; returns its status then.
    One that waits no more is left alone.
    """
    lane = InboxEvent.objects.values_list("lane", flat=True).get(pk=inbox_id)
    lanes.lock([lane])
    event = InboxEvent.objects.get(pk=inbox_id)
    if event.status != Status.DEFERRED:
        return event.status
    row, result = _row(event), DrainResult()
    if interruptions := lanes.interruptions_of([lane]).get(lane):
        others = [other for other in _load(lane, now=now) if other.view.id != inbox_id]
        accused = _with_accused([row, *others], interruptions)
        _charge(accused, interruptions, result, now=now)
    if row.status == Status.DEFERRED:
        with lanes.run_on([lane], alone=inbox_id, now=now):
            _run(row, apply, result, now=now)
    else:
        lanes.erase_footprints([lane])
    return row.status


class _LeaveNoTrace(Exception):
    """Rolls the savepoint back: the event had no effect."""


def _run(row: _Row, apply: Apply, result: DrainResult, *, now: datetime) -> None:
    """Apply one event in a savepoint; on an exception or a deferral all it did is undone."""
    event = row.view
    applied = Applied("ignored", "")
    began = time.monotonic()
    try:
        with transaction.atomic(), log.acting_as(_actor(event)):
            fresh = claim_key(event.provider, event.account_id, event.event_id, event.id, now=now)
            if fresh:
                applied = apply(event, now=now)
            if applied.outcome == "deferred":
                raise _LeaveNoTrace
            _finish(row, applied if fresh else None, now=now)
    except _LeaveNoTrace:
        _defer(row, applied, result, now=now)
        return
    except Exception as error:  # noqa: BLE001  an applier may raise anything
        _record_exception(row, error, result, began=began, now=now)
        return
    result.finished += 1
    if applied.outcome == "processed":
        _hasten_deferred(row.lane, now=now)


def claim_key(
    provider: str, account_id: str, event_id: str, inbox_id: str, *, now: datetime
) -> bool:
    """True when this provider event has had no effect yet; the key says so from now on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhooks_inbox_key (provider, account_id, event_id, inbox_id, finished_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [provider, account_id, event_id, inbox_id, now],
        )
        return bool(cursor.rowcount)


def _finish(row: _Row, applied: Applied | None, *, now: datetime) -> None:
    """Mark the outcome; `applied` is None for a repetition of an event that had its effect. In the
    same round trip, what is only checked at commit fails here and not there.
    """
    row.status = Status(applied.outcome) if applied else Status.DUPLICATE
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_FINISH}; {CHECK_CONSTRAINTS}",
            [
                row.status,
                now,
                row.interruptions,
                applied.reason if applied else "",
                applied.payment_id if applied else "",
                row.view.id,
                row.view.received_at,
            ],
        )


def _defer(row: _Row, applied: Applied, result: DrainResult, *, now: datetime) -> None:
    if now - row.view.received_at > retries.DEFERRAL_LIFETIME:
        _die(row, f"its predecessor never came: {applied.reason}", "", result, now=now)
        return
    row.deferrals += 1
    row.due_at = now + timedelta(seconds=retries.deferral_seconds(row.deferrals))
    result.deferred += 1
    _save(row, Status.DEFERRED, applied.reason, "")
    if now - row.view.received_at > retries.DEFERRAL_PATIENCE:
        question = InboxQuestion(inbox_id=row.view.id, account_id=row.view.account_id, due_at=now)
        InboxQuestion.objects.bulk_create([question], ignore_conflicts=True)


def _record_exception(
    row: _Row, error: Exception, result: DrainResult, *, began: float, now: datetime
) -> None:
    reason, trace = retries.describe_error(error)
    logger.warning("inbox.apply_raised", inbox_id=row.view.id, error=reason)
    if retries.is_transient(error):
        row.interruptions += 1
        _remember(row, attempts.Outcome.INTERRUPTED, reason, trace, began=began, now=now)
        _postpone(row, reason, trace, result, now=now)
        return
    row.failures += 1
    _remember(row, attempts.Outcome.FAILED, reason, trace, began=began, now=now)
    _fail(row, reason, trace, result, now=now)


def _fail(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    """Try again later, or give it up, after a failure that is counted."""
    if row.failures >= retries.FAILURE_LIMIT:
        _die(row, reason, trace, result, now=now)
        return
    row.backoff_seconds = retries.decorrelated_backoff_seconds(row.backoff_seconds)
    row.due_at = now + timedelta(seconds=row.backoff_seconds)
    result.failed += 1
    _save(row, Status.FAILED, reason, trace)


def _remember(
    row: _Row,
    outcome: attempts.Outcome,
    reason: str,
    trace: str,
    *,
    now: datetime,
    began: float | None = None,
) -> None:
    attempts.record(
        kind="inbox",
        row_id=row.view.id,
        source=row.view.provider,
        number=row.failures + row.interruptions,
        outcome=outcome,
        reason=reason,
        trace=trace,
        began=began,
        now=now,
    )


def _postpone(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    row.due_at = now + timedelta(seconds=retries.interruption_seconds(row.interruptions))
    result.postponed += 1
    _save(row, Status.FAILED, reason, trace)


def _die(row: _Row, reason: str, trace: str, result: DrainResult, *, now: datetime) -> None:
    event = row.view
    result.dead += 1
    _save(row, Status.DEAD, reason, trace, due_at=None, finished_at=now)
    with log.acting_as(_actor(event)):
        deaths.announce(
            kind="inbox",
            row_id=event.id,
            what=f"{event.event_type} from {event.provider}",
            reason=reason,
            livemode=_is_live(event.account_id),
            about="inbox_event",
            references=[("inbox_event", event.id), ("provider_event", event.event_id)],
            now=now,
        )


def _is_live(account_id: str) -> bool:
    """The mode of a provider account, which only the business knows."""
    is_live: Callable[[str], bool] = import_string(settings.FLORIN_INBOX_IS_LIVE)
    return is_live(account_id)


def _save(row: _Row, status: Status, reason: str, trace: str, **times: datetime | None) -> None:
    row.status = status
    columns: dict[str, Any] = {"due_at": row.due_at, **times}
    stored(row.view.id, row.view.received_at).update(
        status=status,
        failures=row.failures,
        deferrals=row.deferrals,
        interruptions=row.interruptions,
        backoff_seconds=row.backoff_seconds,
        reason=reason,
        error=trace,
        **columns,
    )


def _hold_behind(row: _Row, *, now: datetime) -> None:
    """Keep later news of the lane out of the queue until the failed event is due again."""
    InboxEvent.objects.filter(
        lane=row.lane, arrival__gt=row.arrival, status__in=InboxEvent.OPEN, due_at__lte=now
    ).update(due_at=row.due_at)


def _hasten_deferred(lane: str, *, now: datetime) -> None:
    """Deferred news may have got the predecessor it waits for. Rows in use are left alone.

    What is deferred until later than now is younger than the patience of deferrals, with a day for
    the last pause: that keeps the months before out of it.
    """
    since = now - retries.DEFERRAL_LIFETIME - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE webhooks_inbox_event SET due_at = %s
            WHERE received_at > %s AND (id, received_at) IN (
                SELECT id, received_at FROM webhooks_inbox_event
                WHERE lane = %s AND status = 'deferred' AND due_at > %s AND received_at > %s
                FOR UPDATE SKIP LOCKED
            )
            """,
            [now, since, lane, now, since],
        )


def stored(inbox_id: str, received_at: datetime) -> QuerySet[InboxEvent]:
    """The row of one event. The time leads to its month, so that no other is looked into."""
    return InboxEvent.objects.filter(pk=inbox_id, received_at=received_at)


def _actor(event: InboxEventView) -> log.Actor:
    return log.Actor(type="psp", id=event.provider, display=event.account_id)
