"""From any id to its story, page by page, through indexes alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from audit import log
from audit.timeline import event_ids, find, timeline
from tests.audit.conftest import ACTOR, NOW, append_event, fresh_id


def found(value: str) -> set[tuple[str, str, str]]:
    return {(stream.stream_type, stream.stream_id, stream.found_as) for stream in find(value)}


def test_every_kind_of_id_leads_to_the_payment() -> None:
    payment, intent, order, trace = fresh_id(), fresh_id("pi"), fresh_id("order"), fresh_id()[4:]
    trace_id = f"{abs(hash(trace)):032x}"
    request_id = fresh_id("req")
    with log.acting_as(log.Actor(type="job", id="j"), trace_id=trace_id, request_id=request_id):
        append_event(
            stream_id=payment,
            references=[("provider_payment", intent), ("merchant_reference", order)],
        )
    assert found(payment) == {("payment", payment, "stream")}
    assert found(intent) == {("payment", payment, "provider_payment")}
    assert found(order) == {("payment", payment, "merchant_reference")}
    assert found(trace_id) == {("payment", payment, "trace")}
    assert found(f" {request_id} ") == {("payment", payment, "request")}
    assert found(fresh_id()) == found("") == set()


def test_an_id_used_by_several_things_leads_to_all_of_them_the_latest_first() -> None:
    shared = fresh_id("x")
    for kind in ("payment", "refund", "dispute"):
        append_event(stream_type=kind, stream_id=shared)
        append_event(stream_type=kind, stream_id=shared)
    other = append_event(stream_type="merchant", references=[("shared", shared)])
    assert [(stream.stream_type, stream.found_as) for stream in find(shared)] == [
        ("merchant", "shared"),
        ("dispute", "stream"),
        ("refund", "stream"),
        ("payment", "stream"),
    ]
    assert find(shared)[0].recorded_at == other.recorded_at
    assert len(find(shared, limit=2)) == 2


def test_the_story_of_a_payment_includes_events_of_others_that_mention_it() -> None:
    payment = fresh_id()
    own = append_event(stream_id=payment)
    refund = append_event(
        stream_type="refund",
        stream_id=fresh_id("re"),
        event_type="refund.created",
        references=[("payment", payment)],
    )
    append_event(stream_type="order", stream_id=payment)
    append_event(stream_type="order", references=[("order", payment)])
    both = append_event(stream_id=payment, references=[("payment", payment)])
    told = timeline(stream_type="payment", stream_id=payment)
    assert [record.id for record in told] == [both.pk, refund.pk, own.pk]


def test_pages_join_without_a_gap_or_a_double() -> None:
    payment = fresh_id()
    numbers = [append_event(stream_id=payment).pk for _ in range(7)]
    told: list[int] = []
    before = None
    while page := timeline(stream_type="payment", stream_id=payment, limit=3, before=before):
        assert len(page) <= 3
        told += [record.id for record in page]
        before = page[-1].position
    assert told == numbers[::-1]


@pytest.mark.parametrize("position", ["x", "1", "1-", "1-x", "-1-2", "1" * 40 + "-1"])
def test_a_position_that_is_none_is_refused(position: str) -> None:
    with pytest.raises(ValueError, match="position"):
        timeline(stream_type="payment", stream_id="x", before=position)


def test_the_search_finds_events_by_the_beginning_of_an_id() -> None:
    payment, intent = fresh_id(), fresh_id("pi")
    actor = log.Actor(type="user", id=fresh_id("usr"))
    first = append_event(stream_id=payment, references=[("provider_payment", intent)], actor=actor)
    second = append_event(stream_id=payment)
    assert event_ids(payment) == event_ids(payment[:-2]) == [second.pk, first.pk]
    assert event_ids(intent[:-1]) == event_ids(actor.id) == [first.pk]
    assert event_ids(payment + "x") == event_ids("") == []


def test_an_order_number_that_was_taken_for_a_card_is_found_by_the_order_number() -> None:
    event = append_event(references=[("merchant_reference", "4000056655665556")])
    assert event.redacted
    assert event.pk in event_ids("4000056655665556")
    assert event.stream_id in {stream.stream_id for stream in find("4000056655665556")}


def test_a_search_for_what_no_text_can_hold_finds_nothing() -> None:
    assert find("pay\0load") == []
    assert event_ids("pay\0load") == []


def test_three_characters_are_no_beginning_but_may_be_an_id() -> None:
    event = append_event(stream_id="q7x", references=[("order", "z7q")])
    append_event(stream_id="q7xy")
    assert event_ids("q7x")[0] == event_ids("z7q")[0] == event.pk


def test_no_look_up_reads_a_whole_table() -> None:
    """With enough rows of others that reading all of them would not be the cheapest way."""
    with transaction.atomic(), log.acting_as(ACTOR):
        log.append_many(
            [
                log.Record(
                    event_type="filler.made",
                    stream_type="filler",
                    stream_id=fresh_id("fill"),
                    body={},
                    references=[("filler", fresh_id("ref"))],
                    occurred_at=NOW,
                )
                for _ in range(3_000)
            ]
        )
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        execute("EXPLAIN " + sql, params, many, context)
        plans.extend(line for (line,) in context["cursor"].fetchall())
        return execute(sql, params, many, context)

    payment = fresh_id()
    with connection.execute_wrapper(explain):
        find(payment)
        timeline(stream_type="payment", stream_id=payment)
        event_ids(payment)
    month = datetime.now(UTC)
    filled = (f"audit_event_{month:%Y_%m}", f"audit_reference_{month:%Y_%m}")
    assert any("Index" in line for line in plans)
    assert not [line for line in plans if "Seq Scan" in line and any(t in line for t in filled)]
