"""What is so without having happened: a queue that is late, a process that is silent, a deadline.

Mental model: a periodic job asks every condition what is so at this moment and compares that with
the rows of StandingCondition. What is new is told, what goes on is told again once a day, what is
over is forgotten. A deadline is one condition per step (72 hours, 24 hours), so each step is told
once. What nobody asked for yet is told as soon as somebody does.

The checks run in the sweeper or a worker. When all of them are down nobody checks: that is what the
alerts on `/metrics` and `/readyz` are for (docs/metrics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction

from audit import partitions
from payments.amounts import amount_words
from payments.machines import DisputeState
from payments.models import Dispute, StandingCondition
from payments.notifications import kinds, writing
from payments.notifications.events import dispute_facts, moment_words, page
from payments.notifications.kinds import KINDS
from payments.notifications.notice import Notice
from payments.representation import dispute_object
from webhooks import backlog
from webhooks import partitions as inbox_partitions

# A process that has said nothing for this long is silent.
SILENT_AFTER = timedelta(seconds=60)
# A queue whose longest due row is later than this is late.
LATE_AFTER = timedelta(minutes=5)
# The logs make their months three ahead; under this many days a person has to look.
PARTITION_DAYS_MIN = 20
DEADLINE_STEPS = (timedelta(hours=24), timedelta(hours=72))
TOLD_AGAIN_AFTER = timedelta(days=1)

# Every log whose months are made ahead: its name for people, and for how many days it has room.
PARTITIONED_LOGS: tuple[tuple[str, Callable[..., float]], ...] = (
    ("audit trail", partitions.covered_days),
    ("inbox of providers' news", inbox_partitions.covered_days),
)
_QUEUES = {
    "inbox": ("news from providers", "webhooks_inboxevent_changelist"),
    "outbox": ("events for our own handlers", "webhooks_eventdelivery_changelist"),
    "merchant_webhooks": ("webhooks to merchants", "webhooks_merchantdelivery_changelist"),
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A condition that holds: what is told of it, and whether once is enough."""

    notice: Notice
    once: bool = False


def watch(*, now: datetime) -> None:
    """Periodic job: tell what has begun to be so, forget what is over."""
    found = {
        (standing.notice.kind, standing.notice.subject): standing
        for condition in CONDITIONS
        for standing in condition(now)
    }
    with transaction.atomic():
        known = {
            (row.kind, row.subject): row for row in StandingCondition.objects.select_for_update()
        }
        over = [row.pk for key, row in known.items() if key not in found]
        StandingCondition.objects.filter(pk__in=over).delete()
        for key, standing in sorted(found.items()):
            row = known.get(key)
            if row is None:
                # Of two checkers at a time the second one waits here and finds it told.
                row, made = StandingCondition.objects.get_or_create(
                    kind=key[0], subject=key[1], defaults={"since": standing.notice.since}
                )
                if not made:
                    continue
            if _is_to_be_told(row, standing, now=now):
                notice = replace(standing.notice, since=row.since)
                if writing.write(notice, now=now):
                    row.told_at = now
                    row.save(update_fields=["told_at"])


def _is_to_be_told(row: StandingCondition, standing: Standing, *, now: datetime) -> bool:
    if row.told_at is None:
        return True
    return not standing.once and now - row.told_at >= TOLD_AGAIN_AFTER


def silent_processes(now: datetime) -> Iterator[Standing]:
    """Worker, sweeper, beat: every role that was heard of within a day and is silent now."""
    for role, beat_at in sorted(backlog.last_heartbeats().items()):
        if now - beat_at > SILENT_AFTER:
            yield Standing(
                notice=kinds.notice(
                    KINDS["process_silent"],
                    subject=role,
                    mode="",
                    title=f"No sign of life of the {role}",
                    happened=f"The {role} has given no sign of life since {moment_words(beat_at)}.",
                    since=beat_at,
                    path=page("index"),
                )
            )


def late_queues(now: datetime) -> Iterator[Standing]:
    """Queues whose longest due row waits longer than LATE_AFTER."""
    for queue, (words, list_page) in _QUEUES.items():
        due_at = backlog.oldest_due(queue)
        if due_at is not None and now - due_at > LATE_AFTER:
            yield Standing(
                notice=kinds.notice(
                    KINDS["queue_late"],
                    subject=queue,
                    mode="",
                    title=f"Late: {words}",
                    happened=f"The queue of {words} is behind: what waits longest should have "
                    f"been done at {moment_words(due_at)}.",
                    since=due_at,
                    path=page(list_page),
                )
            )


def short_partitions(now: datetime) -> Iterator[Standing]:
    """Logs that have room for fewer than PARTITION_DAYS_MIN days."""
    for name, covered_days in PARTITIONED_LOGS:
        days = covered_days(now=now)
        if days < PARTITION_DAYS_MIN:
            yield Standing(
                notice=kinds.notice(
                    KINDS["partitions_missing"],
                    subject=name,
                    mode="",
                    title=f"The {name} has room for {int(days)} days",
                    happened=f"The {name} has room for {int(days)} more days, until "
                    f"{moment_words(now + timedelta(days=days))}.",
                    since=now,
                    path=page("index"),
                )
            )


def dispute_deadlines(now: datetime) -> Iterator[Standing]:
    """Disputes without an answer, one step at a time as the deadline comes nearer."""
    due = Dispute.objects.filter(
        state=DisputeState.NEEDS_RESPONSE,
        evidence_due_at__gt=now,
        evidence_due_at__lte=now + max(DEADLINE_STEPS),
    ).select_related("payment")
    for dispute in due.order_by("evidence_due_at"):
        deadline = dispute.evidence_due_at
        assert deadline is not None
        step = min(step for step in DEADLINE_STEPS if deadline <= now + step)
        hours = round(step.total_seconds() / 3600)
        amount = amount_words(dispute.amount_minor, dispute.currency)
        yield Standing(
            once=True,
            notice=kinds.notice(
                KINDS["dispute_deadline"],
                subject=f"{dispute.pk} {hours} h before {deadline:%Y-%m-%dT%H:%M}",
                mode="live" if dispute.payment.livemode else "test",
                title=f"Dispute over {amount}: less than {hours} hours left",
                happened=f"A dispute over {amount} has no answer yet. The evidence is due at "
                f"{moment_words(deadline)}, in less than {hours} hours.",
                since=dispute.created_at,
                path=page("payments_dispute_change", dispute.pk),
                facts=dispute_facts(dispute_object(dispute), dispute.payment.merchant_id),
            ),
        )


CONDITIONS: tuple[Callable[[datetime], Iterator[Standing]], ...] = (
    silent_processes,
    late_queues,
    short_partitions,
    dispute_deadlines,
)
