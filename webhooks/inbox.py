"""Provider events: stored before they are answered, applied in order, each with one effect.

Mental model: `receive` is one statement that commits by itself; after it the provider may forget
the event. `drain` hands due events to `apply` (webhooks.inbox_runs), which moves our payment and
says what came of it. Only an event that has had its effect makes further deliveries of it
duplicates, so one that failed never keeps its own repetition from being tried.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from audit import log
from webhooks import inbox_runs, lanes, wakeup
from webhooks.inbox_contract import Applied, Apply, DrainResult, InboxEventView
from webhooks.models import InboxEvent
from webhooks.models.inbox import new_inbox_event_id
from webhooks.statements import select_one

__all__ = [
    "Applied",
    "Apply",
    "DrainResult",
    "InboxEventView",
    "Received",
    "configured_apply",
    "discard",
    "drain",
    "known",
    "receive",
    "replay",
]

Status = InboxEvent.Status


@dataclass(frozen=True)
class Received:
    """`duplicate`: this provider event has already had its effect; `id` is this delivery's."""

    id: str
    duplicate: bool


def receive(
    *,
    provider: str,
    account_id: str,
    event_id: str,
    event_type: str,
    subject: str,
    raw: bytes,
    headers: Mapping[str, str],
    received_at: datetime,
) -> Received:
    """Store one verified delivery of a provider, committed when this returns.

    `subject` is the provider object whose news must be applied in order of arrival, "" for none.
    Verify first: whatever comes here is kept. Never publishes, never waits for a drain.
    """
    if connection.in_atomic_block:
        raise RuntimeError("Bug! receive() must commit by itself, before the provider is answered")
    inbox_id = new_inbox_event_id()
    lane = lanes.inbox_lane(
        provider=provider, account_id=account_id, subject=subject, event_id=event_id
    )
    duplicate = select_one(
        "SELECT webhooks_receive(%s,%s,%s,%s,%s,%s,%s,%s,%s::jsonb,%s)",
        [
            inbox_id,
            provider,
            account_id,
            event_id,
            event_type,
            subject,
            lane,
            raw,
            json.dumps(dict(headers)),
            received_at,
        ],
    )
    if not duplicate:
        wakeup.notify("inbox")
    return Received(id=inbox_id, duplicate=duplicate)


def known(*, provider: str, account_id: str, event_ids: Collection[str]) -> set[str]:
    """Which of these provider events the inbox has, whatever became of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_id FROM webhooks_inbox_event"
            " WHERE provider = %(provider)s AND account_id = %(account)s"
            " AND event_id = ANY(%(events)s) UNION SELECT event_id FROM webhooks_inbox_key"
            " WHERE provider = %(provider)s AND account_id = %(account)s"
            " AND event_id = ANY(%(events)s)",
            {"provider": provider, "account": account_id, "events": list(event_ids)},
        )
        return {event_id for (event_id,) in cursor.fetchall()}


def configured_apply() -> Apply:
    """The function that settings.FLORIN_INBOX_APPLY names."""
    loaded: Apply = import_string(settings.FLORIN_INBOX_APPLY)
    return loaded


def drain(*, apply: Apply, now: datetime, limit: int = 200) -> DrainResult:
    """Apply what is due until nothing is due at `now` or about `limit` events are handled.

    Safe to run in any number of processes at once, killed at any moment. Must not be called in a
    transaction. Raises only what is not an event's doing (the database is gone).
    """
    result = DrainResult()
    while result.total < limit:
        with transaction.atomic(durable=True):
            if not inbox_runs.run_next_lane(apply, result, now=now):
                break
    return result


def replay(inbox_ids: Collection[str], *, actor: log.Actor, now: datetime) -> int:
    """Queue dead events again with a fresh count of failures; returns how many were dead."""
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(inbox_ids)
        _audit(rows, "inbox_event.replayed", now=now)
        _stored(rows).update(
            status=Status.RECEIVED,
            due_at=now,
            finished_at=None,
            failures=0,
            interruptions=0,
            deferrals=0,
            backoff_seconds=0,
        )
        wakeup.notify_on_commit("inbox")
    return len(rows)


def discard(inbox_ids: Collection[str], *, reason: str, actor: log.Actor, now: datetime) -> int:
    """Give dead events up for good, with words; another delivery of one will be a duplicate.

    Returns how many were dead. Raises ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Say why these events are given up; the words stay with them.")
    with transaction.atomic(), log.acting_as(actor):
        rows = _locked_dead(inbox_ids)
        for row in rows:
            inbox_runs.claim_key(row.provider, row.account_id, row.event_id, row.id, now=now)
        _audit(rows, "inbox_event.discarded", reason=reason, now=now)
        _stored(rows).update(status=Status.DISCARDED, reason=reason, finished_at=now)
    return len(rows)


def _stored(rows: Collection[InboxEvent]) -> QuerySet[InboxEvent]:
    """Their rows, looked for in their months only."""
    return InboxEvent.objects.filter(
        pk__in=[row.pk for row in rows], received_at__in={row.received_at for row in rows}
    )


def _locked_dead(inbox_ids: Collection[str]) -> list[InboxEvent]:
    dead = InboxEvent.objects.filter(id__in=inbox_ids, status=Status.DEAD)
    lanes.lock(list(dead.values_list("lane", flat=True)))
    return list(dead.defer("raw").order_by("arrival"))


def _audit(rows: Sequence[InboxEvent], event_type: str, *, now: datetime, reason: str = "") -> None:
    """One record per row; without a `reason` of the person's, with why it died."""
    log.append_many(
        [
            log.Record(
                event_type=event_type,
                stream_type="dead_letter",
                stream_id=f"inbox:{row.pk}",
                body={
                    "provider": row.provider,
                    "event": row.event_id,
                    "reason": reason or row.reason,
                },
                references=[("inbox_event", row.pk), ("provider_event", row.event_id)],
                occurred_at=now,
            )
            for row in rows
        ]
    )
