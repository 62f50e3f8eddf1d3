"""What deferred news waits for did not come: somebody has to ask the provider.

Mental model: news is deferred because its predecessor is missing, mostly our own commit a moment
later. Once it has waited longer than a predecessor can take, its deferral leaves a question, in the
same transaction. The question is a row of its own with its own due time: whoever knows the business
takes it, asks outside any transaction, and answers it with a function that applies the event in the
light of what was learnt, under the same lock, savepoint and key as any other. A question whose
event waits no more is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Min

from webhooks import inbox_runs, lanes
from webhooks.inbox_contract import Apply, InboxEventView
from webhooks.models import InboxEvent, InboxQuestion

FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class Question:
    """An event that waits, and how often its provider was asked about it, this time included."""

    event: InboxEventView
    tries: int


def due_accounts(*, now: datetime) -> dict[str, int]:
    """Account -> questions due, those first that wait longest."""
    due = InboxQuestion.objects.filter(due_at__lte=now).values("account_id")
    rows = due.annotate(number=Count("pk"), since=Min("due_at")).order_by("since")
    return {row["account_id"]: row["number"] for row in rows}


def take(account_id: str, *, lease_until: datetime, now: datetime) -> Question | None:
    """The account's question that is due the longest, for nobody else until the lease is over."""
    with transaction.atomic():
        due = InboxQuestion.objects.filter(account_id=account_id, due_at__lte=now)
        for row in due.select_for_update(skip_locked=True).order_by("due_at"):
            event = inbox_runs.waiting(row.pk)
            if event is None:
                row.delete()
                continue
            row.due_at, row.tries = lease_until, row.tries + 1
            row.save(update_fields=["due_at", "tries"])
            return Question(event=event, tries=row.tries)
    return None


def answer(question: Question, *, apply: Apply, now: datetime) -> str:
    """Apply the event with what was learnt; returns its status. While that is still `deferred`, the
    question is asked again after a pause that doubles up to an hour.
    """
    try:
        with transaction.atomic(durable=True):
            return _answer(question, apply, now=now)
    finally:
        lanes.close_side_connection()  # this thread may end now


def _answer(question: Question, apply: Apply, *, now: datetime) -> str:
    status = inbox_runs.run_waiting(question.event.id, apply, now=now)
    asked = InboxQuestion.objects.filter(pk=question.event.id)
    if status == InboxEvent.Status.DEFERRED:
        doubled = FIRST_PAUSE_SECONDS * 2 ** min(question.tries - 1, 10)
        pause = timedelta(seconds=min(doubled, LONGEST_PAUSE_SECONDS))
        asked.update(due_at=now + pause)
    else:
        asked.delete()
    return status
