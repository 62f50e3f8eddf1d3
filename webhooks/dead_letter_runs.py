"""Replay or discard many dead letters by filter, in portions, with progress.

Mental model: `start` counts, audits and stores an order; whoever drains the queues also carries one
portion of it out per pass (`work`), so that what a portion lets run again is drained before the
next. The run's row stays locked for the transaction of a portion: one process at a time works on
it, one that dies gives it free at once, and its portion was done whole or not at all. A row is
reached once, because the cursor passes it, and what dies again died after the order was given.

    running --last portion--> finished
       |-----cancel---------> canceled
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import structlog
from django.db import connection, transaction

from audit import log
from audit.context import ActorType
from webhooks import dead_letter_filter, dead_letters, retries
from webhooks.dead_letter_filter import Filter
from webhooks.models import DeadLetterRun, DeadLetterRunPortion
from webhooks.models.dead_letter_runs import new_run_id

PORTION = 100
# After a portion that raised (a lane was held too long, say).
PAUSE = timedelta(seconds=10)

Action = DeadLetterRun.Action
Status = DeadLetterRun.Status

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come, in rows. `again_dead` were replayed by it and are dead now."""

    status: str
    total: int
    done: int
    passed_over: int
    again_dead: int
    error: str

    @property
    def percentage(self) -> int:
        if self.status == Status.FINISHED:
            return 100
        return min(100, 100 * (self.done + self.passed_over) // max(1, self.total))


class NothingMatches(ValueError):
    """No dead letter is as described, so there is nothing to do."""


def start(
    *,
    action: str,
    wanted: Filter,
    actor: log.Actor,
    now: datetime,
    reason: str = "",
    run_id: str = "",
) -> DeadLetterRun:
    """Order that what is dead now and matches be replayed, or discarded with words.

    With a `run_id` that exists the existing run is returned, so that a form sent twice orders once.
    Raises NothingMatches; ValueError for a discard without a reason.
    """
    action = Action(action)
    if action == Action.DISCARD and not reason.strip():
        raise ValueError("Say why these are given up; the words stay with them.")
    existing = DeadLetterRun.objects.filter(pk=run_id).first() if run_id else None
    if existing is not None:
        return existing
    wanted = wanted.died_before(now)
    with transaction.atomic(), log.acting_as(actor):
        total = sum(dead_letter_filter.counts(wanted).values())
        if total == 0:
            raise NothingMatches("No dead letter matches: nothing to do.")
        run = DeadLetterRun(
            id=run_id or new_run_id(),
            action=action,
            wanted=wanted.as_json(),
            reason=reason.strip(),
            actor_type=actor.type,
            actor_id=actor.id,
            actor_display=actor.display,
            total=total,
            due_at=now,
            created_at=now,
        )
        run.save(force_insert=True)
        _audit(run, "dead_letter_run.started", now=now)
    return run


def cancel(run_id: str, *, actor: log.Actor, now: datetime) -> bool:
    """Stop a run after the portion it is in; False when it had ended before."""
    with transaction.atomic(), log.acting_as(actor):
        run = DeadLetterRun.objects.select_for_update().get(pk=run_id)
        if run.status != Status.RUNNING:
            return False
        _end(run, Status.CANCELED, now=now)
        _audit(run, "dead_letter_run.canceled", now=now)
    return True


def work(*, now: datetime) -> int:
    """Carry out one portion of the run that is due longest and free; returns its rows.

    What goes wrong with a portion is kept on the run, which is due again after a pause. Must not be
    called in a transaction. Raises only when the database is gone.
    """
    due = DeadLetterRun.objects.filter(status=Status.RUNNING, due_at__lte=now).order_by("due_at")
    if not due.exists():
        return 0
    run = None
    try:
        with transaction.atomic(durable=True):
            run = due.select_for_update(skip_locked=True).first()
            return 0 if run is None else _portion(run, now=now)
    except Exception as error:
        if run is None:
            raise
        logger.exception("dead_letter_run.portion_failed", run=run.pk)
        DeadLetterRun.objects.filter(pk=run.pk, status=Status.RUNNING).update(
            due_at=now + PAUSE, error=retries.describe_error(error)[0]
        )
        return 0


def progress(run: DeadLetterRun) -> Progress:
    """How far it has come by now."""
    return Progress(
        status=run.status,
        total=run.total,
        done=run.done,
        passed_over=run.passed_over,
        again_dead=_again_dead(run),
        error=run.error,
    )


def unfinished() -> tuple[int, int]:
    """(runs that are under way, rows they have still to reach)."""
    running = DeadLetterRun.objects.filter(status=Status.RUNNING)
    left = [max(0, run.total - run.done - run.passed_over) for run in running]
    return len(left), sum(left)


def _portion(run: DeadLetterRun, *, now: datetime) -> int:
    wanted = Filter.from_json(run.wanted)
    kinds = wanted.kinds
    first = kinds.index(run.cursor_kind) if run.cursor_kind else 0
    for kind in kinds[first:]:
        after = run.cursor if kind == run.cursor_kind else ""
        rows = dead_letter_filter.next_rows(kind, wanted, after=after, limit=PORTION)
        if rows:
            _carry_out(run, kind, [row_id for _, row_id in rows], now=now)
            run.cursor_kind, run.cursor = kind, rows[-1][0]
            run.save(
                update_fields=["cursor_kind", "cursor", "done", "passed_over", "due_at", "error"]
            )
            return len(rows)
    _end(run, Status.FINISHED, now=now)
    with log.acting_as(_actor(run)):
        _audit(run, "dead_letter_run.finished", now=now)
    return 0


def _carry_out(run: DeadLetterRun, kind: str, row_ids: list[str], *, now: datetime) -> None:
    ids = [f"{kind}:{row_id}" for row_id in row_ids]
    actor = _actor(run)
    if run.action == Action.DISCARD:
        handled = dead_letters.discard(ids, reason=run.reason, actor=actor, now=now)
    else:
        handled = dead_letters.replay(ids, actor=actor, now=now)
    run.done += handled
    run.passed_over += len(ids) - handled
    run.due_at, run.error = now, ""
    DeadLetterRunPortion.objects.create(
        run=run, kind=kind, row_ids=row_ids, handled=handled, handled_at=now
    )


def _end(run: DeadLetterRun, status: DeadLetterRun.Status, *, now: datetime) -> None:
    run.status, run.due_at, run.finished_at = status, None, now
    run.save(update_fields=["status", "due_at", "finished_at"])


def _again_dead(run: DeadLetterRun) -> int:
    """Rows that this run let run again and that are dead now, along the index of dead rows."""
    if run.action == Action.DISCARD:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN_DEAD, {"run": run.pk})
        (found,) = cursor.fetchone()
    return int(found)


# Few rows are dead, however many were replayed: start from those.
_AGAIN_DEAD = """
    WITH reached AS MATERIALIZED (
        SELECT portion.kind, unnest(portion.row_ids) AS row_id
        FROM webhooks_dead_letter_run_portion AS portion WHERE portion.run_id = %(run)s
    )
    SELECT (SELECT count(*) FROM webhooks_inbox_event WHERE status = 'dead'
              AND id IN (SELECT row_id FROM reached WHERE kind = 'inbox'))
         + (SELECT count(*) FROM webhooks_event_delivery WHERE status = 'dead'
              AND id IN (SELECT row_id::bigint FROM reached WHERE kind = 'handler'))
         + (SELECT count(*) FROM webhooks_merchant_delivery WHERE status = 'dead'
              AND id IN (SELECT row_id FROM reached WHERE kind = 'merchant'))
"""


def _actor(run: DeadLetterRun) -> log.Actor:
    kind = cast(ActorType, run.actor_type)
    return log.Actor(type=kind, id=run.actor_id, display=run.actor_display)


def _audit(run: DeadLetterRun, event_type: str, *, now: datetime) -> None:
    log.append(
        event_type=event_type,
        stream_type="dead_letter_run",
        stream_id=run.pk,
        body={
            "action": run.action,
            "filter": run.wanted,
            "reason": run.reason,
            "total": run.total,
            "done": run.done,
            "passed_over": run.passed_over,
        },
        occurred_at=now,
    )
