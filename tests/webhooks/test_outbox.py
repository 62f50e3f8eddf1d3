"""Domain events: emitted with their change, handled in order, once, and mended by people."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from pytest_django import Settings

from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR, HANDLERS, drain_outbox, emit
from tests.webhooks.counting import statements_sent
from webhooks import lanes, outbox, retries
from webhooks.models import DomainEvent, EventDelivery


def delivery(aggregate: str, seq: int = 1, handler: str = "blocking") -> EventDelivery:
    return EventDelivery.objects.select_related("event").get(
        lane=f"outbox:order:{aggregate}", seq=seq, handler=handler
    )


def fail_until_dead(aggregate: str, now: datetime) -> datetime:
    """Let every try fail; returns the time of the last one."""
    for _ in range(retries.FAILURE_LIMIT):
        drain_outbox(now)
        now += timedelta(hours=2)
    return now


def test_an_event_and_its_deliveries_are_written_in_one_statement(
    aggregate: str, now: datetime
) -> None:
    with transaction.atomic():
        emit(aggregate, now)  # the transaction has begun on the wire too
        with statements_sent() as sent:
            emitted = outbox.emit(
                type="order.placed",
                aggregate_type="order",
                aggregate_id=aggregate,
                owner="mer_1",
                livemode=True,
                payload={"total": 5},
                occurred_at=now,
                now=now,
            )
    assert (emitted.seq, sent) == (2, ["Execute"])
    assert DomainEvent.objects.get(pk=emitted.id).payload == {"total": 5}
    assert set(
        EventDelivery.objects.filter(event_id=emitted.id).values_list("handler", "status")
    ) == {("blocking", "pending"), ("skipping", "pending"), ("merchant_webhooks", "pending")}


def test_an_event_outside_a_transaction_is_refused(aggregate: str, now: datetime) -> None:
    with pytest.raises(outbox.NotInTransaction):
        outbox.emit(
            type="order.placed",
            aggregate_type="order",
            aggregate_id=aggregate,
            owner="",
            livemode=False,
            payload={},
            occurred_at=now,
            now=now,
        )


@pytest.mark.parametrize("type", ["order", "Order.placed", "order.", "order.placed!", ""])
def test_a_type_that_does_not_read_noun_verb_is_refused(
    aggregate: str, now: datetime, type: str
) -> None:
    with pytest.raises(ValueError, match=r"noun\.verb_past"):
        emit(aggregate, now, type=type)


def test_a_payload_that_is_not_json_is_refused_and_leaves_nothing(
    aggregate: str, now: datetime
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        emit(aggregate, now, ratio=float("nan"))
    assert not DomainEvent.objects.filter(aggregate_id=aggregate).exists()


def test_an_event_of_a_rolled_back_change_never_existed(aggregate: str, now: datetime) -> None:
    emit(aggregate, now)
    with transaction.atomic():
        emit(aggregate, now)
        transaction.set_rollback(True)
    assert emit(aggregate, now).seq == 2


def test_sequence_numbers_are_the_order_of_commits_without_gaps_under_a_race(
    aggregate: str, now: datetime
) -> None:
    def emit_some() -> None:
        try:
            for _ in range(10):
                emit(aggregate, now)
        finally:
            connection.close()

    threads = [threading.Thread(target=emit_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    rows = DomainEvent.objects.filter(aggregate_id=aggregate).order_by("seq")
    assert [row.seq for row in rows] == list(range(1, 41))


def test_each_handler_sees_the_events_of_a_stream_in_order_and_once(
    aggregate: str, now: datetime
) -> None:
    for _ in range(5):
        emit(aggregate, now, type="order.placed")
    drain_outbox(now)
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [1, 2, 3, 4, 5]
    assert effects.of("skipping", aggregate) == [1, 2, 3, 4, 5]
    assert delivery(aggregate).finished_at == now


def test_the_effect_of_a_handler_and_its_mark_share_a_transaction(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("half way")
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == []
    row = delivery(aggregate)
    assert (row.status, row.failures, row.reason) == ("failed", 1, "ValueError: half way")
    assert "raise trouble" in row.error


def test_a_failing_handler_is_retried_after_a_growing_random_delay_then_succeeds(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("not yet")
    drain_outbox(now)
    row = delivery(aggregate)
    assert row.due_at is not None
    assert 5 <= (row.due_at - now).total_seconds() <= 15
    drain_outbox(now + timedelta(seconds=4))
    assert delivery(aggregate).failures == 1
    effects.trouble.clear()
    drain_outbox(row.due_at)
    assert effects.of("blocking", aggregate) == [1]
    assert delivery(aggregate).status == "done"


def test_the_third_failure_makes_a_dead_letter_that_is_audited_and_announced(
    aggregate: str, now: datetime
) -> None:
    event = emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("never")
    fail_until_dead(aggregate, now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.reason) == ("dead", 3, "ValueError: never")
    announced = DomainEvent.objects.get(
        aggregate_type="dead_letter", aggregate_id=f"handler:{row.pk}"
    )
    assert announced.type == "dead_letter.added"
    assert announced.payload["what"] == "order.changed to blocking"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM audit_event WHERE event_type = 'dead_letter.added'"
            " AND stream_id = %s AND reference_list LIKE %s",
            [f"handler:{row.pk}", f"%{event.id}%"],
        )
        assert cursor.fetchone() == (1,)


def test_a_dead_letter_about_a_dead_letter_is_not_announced_again(
    aggregate: str, now: datetime, settings: Settings
) -> None:
    settings.FLORIN_EVENT_HANDLERS = [
        {
            "name": "blocking",
            "function": "tests.webhooks.effects.blocking_handler",
            "types": ["dead_letter.added"],
            "policy": "skip",
        }
    ]
    row_id = f"test:{aggregate}"
    with transaction.atomic():
        outbox.emit(
            type="dead_letter.added",
            aggregate_type="dead_letter",
            aggregate_id=row_id,
            owner="",
            livemode=False,
            payload={},
            occurred_at=now,
            now=now,
        )
    effects.trouble[row_id] = ValueError("the notifier is broken")
    fail_until_dead(aggregate, now)
    row = EventDelivery.objects.get(lane=f"outbox:dead_letter:{row_id}")
    assert row.status == "dead"
    assert not DomainEvent.objects.filter(aggregate_id=f"handler:{row.pk}").exists()


def test_a_blocking_handler_holds_later_events_of_its_stream_and_no_others(
    aggregate: str, now: datetime
) -> None:
    other = f"{aggregate}_other"
    for _ in range(3):
        emit(aggregate, now, type="order.placed", trouble_at=2)
        emit(other, now)
    effects.trouble[aggregate] = ValueError("poison")
    last = fail_until_dead(aggregate, now)
    emit(aggregate, last)
    drain_outbox(last)
    assert effects.of("blocking", aggregate) == [1]
    assert delivery(aggregate, 3).due_at is None
    assert delivery(aggregate, 4).due_at is None
    assert effects.of("blocking", other) == [1, 2, 3]


def test_a_skipping_handler_lets_later_events_pass(aggregate: str, now: datetime) -> None:
    for _ in range(3):
        emit(aggregate, now, type="order.placed", trouble_at=2)
    effects.trouble[aggregate] = ValueError("poison")
    drain_outbox(now)
    assert effects.of("skipping", aggregate) == [1, 3]
    assert effects.of("blocking", aggregate) == [1]


def test_a_replay_runs_the_dead_event_and_then_what_it_held_in_order(
    aggregate: str, now: datetime
) -> None:
    for _ in range(3):
        emit(aggregate, now, trouble_at=1)
    effects.trouble[aggregate] = ValueError("poison")
    last = fail_until_dead(aggregate, now)
    effects.trouble.clear()
    row = delivery(aggregate)
    assert outbox.replay([row.pk], actor=ACTOR, now=last) == 1
    drain_outbox(last)
    assert effects.of("blocking", aggregate) == [1, 2, 3]
    assert outbox.replay([row.pk], actor=ACTOR, now=last) == 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT actor_id FROM audit_event WHERE event_type = 'handler_delivery.replayed'"
            " AND stream_id = %s",
            [f"handler:{row.pk}"],
        )
        assert cursor.fetchall() == [("7",)]


def test_discarding_a_dead_event_needs_words_and_lets_the_others_pass(
    aggregate: str, now: datetime
) -> None:
    for _ in range(2):
        emit(aggregate, now, trouble_at=1)
    effects.trouble[aggregate] = ValueError("poison")
    last = fail_until_dead(aggregate, now)
    row = delivery(aggregate)
    with pytest.raises(ValueError, match="Say why"):
        outbox.discard([row.pk], reason=" ", actor=ACTOR, now=last)
    assert outbox.discard([row.pk], reason="booked by hand", actor=ACTOR, now=last) == 1
    drain_outbox(last)
    assert effects.of("blocking", aggregate) == [2]
    assert (delivery(aggregate).status, delivery(aggregate).reason) == (
        "discarded",
        "booked by hand",
    )


def test_a_check_that_only_fires_at_commit_fails_the_event_and_not_the_batch(
    aggregate: str, now: datetime
) -> None:
    good = f"{aggregate}_good"
    emit(aggregate, now, break_constraint=True)
    emit(good, now)
    drain_outbox(now)
    assert delivery(aggregate).reason.startswith("IntegrityError")
    assert effects.of("blocking", good) == [1]


def test_a_deadlock_is_postponed_and_not_held_against_the_handler(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    error = OperationalError("deadlock detected")
    error.__cause__ = psycopg.errors.DeadlockDetected("deadlock detected")
    effects.trouble[aggregate] = error
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 1)
    effects.trouble.clear()
    drain_outbox(now + timedelta(seconds=2))
    assert effects.of("blocking", aggregate) == [1]


def test_a_lane_that_a_run_did_not_survive_is_run_alone_and_the_rest_follows(
    aggregate: str, now: datetime
) -> None:
    for _ in range(3):
        emit(aggregate, now)
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    assert outbox.drain(now=now, limit=1).total == 1
    assert effects.of("blocking", aggregate) == [1]
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == [1, 2, 3]


def test_a_second_interruption_is_followed_by_a_pause(aggregate: str, now: datetime) -> None:
    for _ in range(2):
        emit(aggregate, now)
    for _ in range(2):
        lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 2)
    assert effects.of("blocking", aggregate) == []
    emit(aggregate, now)
    drain_outbox(now)
    assert effects.of("blocking", aggregate) == []
    drain_outbox(now + timedelta(minutes=2))
    assert effects.of("blocking", aggregate) == [1, 2, 3]


def test_a_suspect_whose_head_waits_holds_what_comes_later(aggregate: str, now: datetime) -> None:
    emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("wait")
    drain_outbox(now)
    emit(aggregate, now)
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    assert delivery(aggregate, 2).due_at == delivery(aggregate, 1).due_at
    assert effects.of("blocking", aggregate) == []


def test_a_suspect_that_raises_is_treated_as_any_failure(aggregate: str, now: datetime) -> None:
    emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("after the interruption")
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures, row.interruptions) == ("failed", 1, 1)


def test_an_interrupted_lane_with_nothing_runnable_only_holds_its_events(
    aggregate: str, now: datetime, settings: Settings
) -> None:
    settings.FLORIN_EVENT_HANDLERS = settings.FLORIN_EVENT_HANDLERS[:1]
    emit(aggregate, now)
    effects.trouble[aggregate] = ValueError("wait")
    drain_outbox(now)
    emit(aggregate, now)
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    assert delivery(aggregate, 2).due_at == delivery(aggregate, 1).due_at
    assert delivery(aggregate, 1).interruptions == 0


def test_what_kills_its_process_twenty_times_is_a_dead_letter(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    for _ in range(retries.INTERRUPTION_LIMIT):
        lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    row = delivery(aggregate)
    assert (row.status, row.failures) == ("dead", 0)
    assert "interrupted 20 times" in row.reason


def test_a_skipping_suspect_does_not_hold_what_comes_later(aggregate: str, now: datetime) -> None:
    emit(aggregate, now, type="order.placed")
    lane = f"outbox:order:{aggregate}"
    EventDelivery.objects.filter(lane=lane).exclude(handler="skipping").update(
        status="discarded", due_at=None, reason="not in this test"
    )
    for _ in range(2):
        lanes.leave_footprints([lane], now=now)
    drain_outbox(now)
    assert delivery(aggregate, handler="skipping").interruptions == 2
    emit(aggregate, now, type="order.placed")
    drain_outbox(now)
    assert effects.of("skipping", aggregate) == [2]


@pytest.mark.parametrize("how", ["together", "one by one", "alone"])
def test_the_handlers_of_an_event_run_in_the_order_of_the_setting(
    aggregate: str, now: datetime, settings: Settings, how: str
) -> None:
    blocking, skipping, _ = HANDLERS
    settings.FLORIN_EVENT_HANDLERS = [skipping, blocking]
    for _ in range(2):
        emit(aggregate, now, type="order.placed")
    if how == "one by one":
        failing = f"{aggregate}_failing"
        emit(failing, now)
        effects.trouble[failing] = ValueError("it spoils the batch")
    if how == "alone":
        lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now)
    assert effects.in_order(aggregate) == [
        *(("skipping", 1), ("blocking", 1)),
        *(("skipping", 2), ("blocking", 2)),
    ]


def test_a_handler_that_fails_is_overtaken_by_those_after_it_and_not_by_itself(
    aggregate: str, now: datetime
) -> None:
    for _ in range(2):
        emit(aggregate, now, type="order.placed", trouble_for="blocking", trouble_at=1)
    effects.trouble[aggregate] = ValueError("not yet")
    drain_outbox(now)
    assert effects.in_order(aggregate) == [("skipping", 1), ("skipping", 2)]
    effects.trouble.clear()
    drain_outbox(now + timedelta(minutes=1))
    assert effects.of("blocking", aggregate) == [1, 2]


def test_handlers_unknown_to_this_process_are_left_to_another(
    aggregate: str, now: datetime, settings: Settings
) -> None:
    emit(aggregate, now)
    settings.FLORIN_EVENT_HANDLERS = []
    drain_outbox(now)
    assert delivery(aggregate).status == "pending"


def test_a_drain_stops_at_its_limit(aggregate: str, now: datetime) -> None:
    emit(aggregate, now)
    assert outbox.drain(now=now, limit=0).total == 0
    assert delivery(aggregate).status == "pending"


def test_a_drain_inside_a_transaction_is_refused(now: datetime) -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        outbox.drain(now=now)


def test_the_database_refuses_a_blocking_delivery_out_of_order(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    emit(aggregate, now)
    with pytest.raises(IntegrityError, match="before the earlier delivery"):
        EventDelivery.objects.filter(pk=delivery(aggregate, 2).pk).update(
            status="done", due_at=None
        )


def test_the_database_refuses_to_reopen_what_is_done(aggregate: str, now: datetime) -> None:
    emit(aggregate, now)
    drain_outbox(now)
    with pytest.raises(IntegrityError, match="has had its effect"):
        EventDelivery.objects.filter(pk=delivery(aggregate).pk).update(status="pending", due_at=now)


def test_the_application_can_neither_change_nor_delete_an_event(
    aggregate: str, now: datetime
) -> None:
    event = emit(aggregate, now)
    for statement in (
        "UPDATE webhooks_domain_event SET payload = '{}' WHERE id = %s",
        "DELETE FROM webhooks_domain_event WHERE id = %s",
    ):
        with (
            pytest.raises(Exception, match="permission denied"),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, [event.id])


def test_the_head_of_a_stream_moves_by_one_even_for_the_owner(
    aggregate: str, now: datetime, owner_connection: psycopg.Connection
) -> None:
    emit(aggregate, now)
    with pytest.raises(psycopg.errors.IntegrityError, match="cannot go from seq 1 to 9"):
        owner_connection.execute(
            "UPDATE webhooks_event_stream SET last_seq = 9 WHERE aggregate_id = %s", [aggregate]
        )
