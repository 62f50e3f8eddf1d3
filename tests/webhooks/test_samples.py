"""Queues are sampled once a minute; the pictures read nothing but samples and young rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from tests.webhooks import effects
from tests.webhooks.conftest import emit
from webhooks import backlog, failures, outbox, samples
from webhooks.keys_in_time import first_id
from webhooks.models import FailedAttempt, FlowMinute, QueueSample
from webhooks.models.outbox import new_event_id

MINUTE = timedelta(minutes=1)


def real_now() -> datetime:
    """Ids are made by the wall clock, and here rows are found by their ids."""
    return datetime.now(UTC)


def last(queue: str) -> QueueSample:
    return QueueSample.objects.filter(queue=queue).latest("sampled_at")


def test_the_first_id_of_a_moment_parts_what_was_made_before_from_what_came_after() -> None:
    before = new_event_id()
    moment = real_now() + timedelta(milliseconds=2)
    assert before < first_id("evt", moment) < first_id("evt", moment + timedelta(milliseconds=1))
    assert first_id("evt", moment - MINUTE) < before


def test_a_sample_tells_what_came_in_and_what_was_handled_since_the_last(aggregate: str) -> None:
    effects.trouble[aggregate] = ValueError("poison")
    samples.take(now=real_now())
    before = last("outbox")
    for number in range(3):
        emit(aggregate, real_now(), type="order.placed", trouble_at=2 if number else 0)
    while outbox.drain(now=real_now()).total:
        pass
    samples.take(now=real_now())
    after = last("outbox")
    # Three handlers each: "merchant_webhooks" and "skipping" take all but number 2, "blocking"
    # stops at number 2.
    assert after.arrived == 9
    assert after.handled is not None
    assert after.handled == 9 - (after.waiting - before.waiting) - (after.dead - before.dead)
    assert after.handled == 6


def test_without_a_sample_lately_nothing_is_said_about_the_pace() -> None:
    QueueSample.objects.all().delete()
    now = real_now()
    samples.take(now=now)
    assert (last("inbox").arrived, last("inbox").handled) == (None, None)
    samples.take(now=now + samples.GAP_MAX + MINUTE)
    assert (last("inbox").arrived, last("inbox").handled) == (None, None)


def test_what_became_of_a_minute_is_counted_once_and_young_minutes_when_looked_at(
    aggregate: str,
) -> None:
    now = real_now()
    emit(aggregate, now)
    while outbox.drain(now=now).total:
        pass
    start = samples.stretches_start(step=MINUTE, count=60, now=now)

    def handled() -> int:
        found = samples.inflow("outbox", start=start, step=MINUTE, now=real_now())
        return sum(counts.get("done", 0) for _, counts in found)

    live = handled()
    assert live >= 2
    later = now + samples.SETTLED_AFTER + MINUTE
    samples.take(now=later)
    samples.take(now=later)
    settled = FlowMinute.objects.filter(flow="outbox", status="done")
    assert sum(settled.filter(minute__gte=start).values_list("count", flat=True)) == live
    assert handled() == live
    FlowMinute.objects.all().delete()


def test_old_samples_are_forgotten() -> None:
    now = real_now()
    QueueSample.objects.create(
        queue="inbox", sampled_at=now - timedelta(days=15), waiting=0, late_seconds=0, dead=0
    )
    samples.take(now=now)
    assert not QueueSample.objects.filter(sampled_at__lt=now - samples.KEPT).exists()


def test_history_has_a_gap_where_nothing_was_sampled() -> None:
    QueueSample.objects.all().delete()
    now = real_now()
    start = samples.stretches_start(step=MINUTE, count=60, now=now)
    assert now - start < timedelta(hours=1) <= now - start + MINUTE
    samples.take(now=now)
    found = samples.history(start=start, step=MINUTE, now=now)["inbox"]
    assert len(found) == 60
    assert [each.waiting is None for each in found] == [True] * 59 + [False]


def test_failures_are_told_by_handler_and_endpoints_by_how_they_do(aggregate: str) -> None:
    now = real_now()
    for number in range(3):
        FailedAttempt.objects.create(
            kind="handler",
            row_id="1",
            source=aggregate,
            number=number + 1,
            outcome="interrupted" if number == 2 else "failed",
            recorded_at=now,
            worker="here/1",
            reason="ValueError: poison",
        )
    found = {each.name: each for each in failures.by_source(since=now - MINUTE, limit=100)}
    assert (found[aggregate].failed, found[aggregate].interrupted) == (2, 1)
    assert set(failures.endpoint_counts()) == {"healthy", "failing", "disabled"}
    dead = {each.kind: each for each in failures.dead_by_age(now=now)}
    assert set(dead) == {"inbox", "handler", "merchant"}


def test_the_figures_are_read_along_indexes() -> None:
    """However many rows there are: no statement of the page walks through a big table."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for table, column, prefix, _ in samples._FLOWS.values():
            cursor.execute(
                f"EXPLAIN SELECT status, count(*) FROM {table}"
                f" WHERE {column} >= %s AND {column} < %s GROUP BY status",
                [first_id(prefix, real_now() - MINUTE), first_id(prefix, real_now())],
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan, plan
    assert {queue.name for queue in backlog.queues(now=real_now())} >= set(samples.FLOWS)
