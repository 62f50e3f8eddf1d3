"""Appending through audit.log: what is kept and refused, and that refusing undoes the change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from audit import log
from audit.models import AuditEvent
from audit.timeline import timeline
from tests.audit.conftest import ACTOR, NOW, append_event, fresh_id

EVENT: dict[str, Any] = {
    "event_type": "payment.captured",
    "stream_type": "payment",
    "body": {},
    "occurred_at": NOW,
}


def events_of(stream_id: str) -> int:
    return AuditEvent.objects.filter(stream_id=stream_id).count()


def test_an_event_keeps_everything_it_was_given() -> None:
    payment, intent = fresh_id(), fresh_id("pi")
    before = datetime.now(UTC)
    with (
        transaction.atomic(),
        log.acting_as(ACTOR, trace_id="ab" * 16, request_id="req_1", reason="asked by phone"),
    ):
        number = log.append(
            event_type="payment.captured",
            stream_type="payment",
            stream_id=payment,
            body={"b": 1, "a": {"z": "ü", "y": [True, None]}},
            references=[("provider_payment", intent)],
            occurred_at=NOW,
        )
    (record,) = timeline(stream_type="payment", stream_id=payment)
    assert record.id == number
    assert (record.actor_type, record.actor_id, record.actor_display) == (
        "api_key",
        "key_test",
        "Test key",
    )
    assert record.body == {"b": 1, "a": {"z": "ü", "y": [True, None]}}
    assert record.body_text == '{"a":{"y":[true,null],"z":"ü"},"b":1}'
    assert record.references == (("provider_payment", intent),)
    assert (record.trace_id, record.request_id) == ("ab" * 16, "req_1")
    assert (record.reason, record.redacted, record.occurred_at) == ("asked by phone", False, NOW)
    assert before - timedelta(seconds=5) < record.recorded_at < before + timedelta(minutes=1)
    assert isinstance(record.xid, int)


def test_an_event_without_an_actor_is_refused_and_undoes_its_change() -> None:
    payment, other = fresh_id(), fresh_id()

    def change() -> None:
        with transaction.atomic():
            log.append(**EVENT, stream_id=other, actor=ACTOR)
            log.append(**EVENT, stream_id=payment)

    with pytest.raises(log.MissingActor, match=r"payment\.captured"):
        change()
    assert events_of(payment) == events_of(other) == 0


def test_an_event_outside_a_transaction_is_refused() -> None:
    payment = fresh_id()
    with pytest.raises(log.NotInTransaction):
        log.append(**EVENT, stream_id=payment, actor=ACTOR)
    with pytest.raises(log.NotInTransaction):
        log.append_many([log.Record(**EVENT, stream_id=payment, actor=ACTOR)])
    assert events_of(payment) == 0


def test_a_rolled_back_change_leaves_no_event() -> None:
    payment = fresh_id()
    with transaction.atomic():
        log.append(**EVENT, stream_id=payment, actor=ACTOR, references=[("order", payment)])
        transaction.set_rollback(True)
    assert events_of(payment) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_reference WHERE value = %s", [payment])
        assert cursor.fetchone() == (0,)


def test_nothing_is_appended_in_a_broken_transaction() -> None:
    payment = fresh_id()
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            log.append(**EVENT, stream_id=payment, actor=ACTOR)
    assert events_of(payment) == 0


def test_many_events_are_appended_by_one_statement_in_their_order(
    owner_connection: psycopg.Connection,
) -> None:
    payment = fresh_id()
    records = [
        log.Record(
            event_type="payment.captured",
            stream_type="payment",
            stream_id=payment,
            body={"step": step},
            references=[("step", f"{payment}:{step}")],
            occurred_at=NOW,
        )
        for step in range(50)
    ]
    with transaction.atomic(), log.acting_as(ACTOR):
        numbers = log.append_many(records)
    assert numbers == sorted(numbers)
    told = timeline(stream_type="payment", stream_id=payment)
    assert [(record.id, record.body["step"]) for record in reversed(told)] == list(
        zip(numbers, range(50), strict=True)
    )
    assert len({record.xid for record in told}) == 1


def test_of_many_events_one_bad_one_stops_all() -> None:
    payment = fresh_id()
    good = log.Record(**EVENT, stream_id=payment, actor=ACTOR)
    bad = log.Record(
        event_type="Captured!",
        stream_type="payment",
        stream_id=payment,
        body={},
        occurred_at=NOW,
        actor=ACTOR,
    )
    with pytest.raises(log.InvalidEvent, match="audit_event refused"), transaction.atomic():
        log.append_many([good, bad])
    assert events_of(payment) == 0


def test_appending_nothing_needs_nothing() -> None:
    assert log.append_many([]) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"event_type": "captured"}, "audit_event refused"),
        ({"stream_type": "Payment"}, "audit_event refused"),
        ({"stream_id": ""}, "1 to 200 characters"),
        ({"stream_id": " "}, "1 to 200 characters"),
        ({"stream_id": "x" * 201}, "1 to 200 characters"),
        ({"references": [("order", "")]}, "'order' must have 1 to 200"),
        ({"references": [("order", "x" * 201)]}, "'order' must have 1 to 200"),
        ({"occurred_at": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_an_event_of_no_valid_form_is_refused_with_words(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(log.InvalidEvent, match=message):
        append_event(**changed)


def test_a_body_that_json_cannot_carry_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"body\.payment\.raw is a bytes"):
        append_event(body={"payment": {"raw": b"x"}})


def test_line_breaks_cannot_forge_a_field_or_a_log_line() -> None:
    event = append_event(
        actor=log.Actor(type="user", id="1\n2", display="Eve\nadmin"),
        stream_id="a\r\nb",
        references=[("order", "7\n8")],
        body={"note": "one\ntwo"},
    )
    assert (event.actor_id, event.actor_display, event.stream_id) == ("1 2", "Eve admin", "a  b")
    assert event.reference_list == '[["order","7 8"]]'
    assert event.body == '{"note":"one\\ntwo"}'


def test_long_names_and_reasons_are_cut_and_not_refused() -> None:
    with log.acting_as(log.Actor(type="user", id="1", display="n" * 300), reason="r" * 600):
        event = append_event(actor=None)
    assert (len(event.actor_display), len(event.reason)) == (200, 500)


def test_a_secret_is_masked_before_it_is_hashed_and_flagged() -> None:
    event = append_event(
        body={"card": "4242 4242 4242 4242", "client_secret": "pi_1_secret_2"},
        references=[("order", "4242424242424242")],
    )
    assert event.redacted
    assert event.body == '{"card":"424242******4242","client_secret":"[redacted]"}'
    assert event.reference_list == '[["order","424242******4242"]]'
    assert event.fields().leaf_hash() == bytes(event.leaf_hash)


def test_amounts_beyond_what_json_numbers_carry_stay_exact() -> None:
    event = append_event(body={"amount_minor": 2**63 - 1, "rate": Decimal("1.10"), "half": 0.5})
    assert event.body == '{"amount_minor":"9223372036854775807","half":0.5,"rate":"1.10"}'


def test_an_actor_needs_a_known_type_and_an_id() -> None:
    with pytest.raises(ValueError, match="not one of user, api_key"):
        log.Actor(type="robot", id="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs an id"):
        log.Actor(type="user", id=" ")


def test_a_view_is_recorded_also_outside_a_transaction() -> None:
    payment = fresh_id()
    with log.acting_as(ACTOR):
        log.viewed(stream_type="payment", stream_id=payment, what="payment page", occurred_at=NOW)
        with transaction.atomic():
            log.viewed(stream_type="payment", stream_id=payment, what="export", occurred_at=NOW)
    told = timeline(stream_type="payment", stream_id=payment)
    assert [(record.event_type, record.body) for record in told] == [
        ("record.viewed", {"what": "export"}),
        ("record.viewed", {"what": "payment page"}),
    ]


def test_nobody_unknown_looks_at_anything() -> None:
    with pytest.raises(log.MissingActor):
        log.viewed(stream_type="payment", stream_id="x", what="page", occurred_at=NOW)


def test_an_append_is_one_round_trip_and_no_query_of_django() -> None:
    statements: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(watch):
        log.append(**EVENT, stream_id=fresh_id(), actor=ACTOR)
    assert statements == []


def test_a_pooler_that_changes_sessions_gets_no_prepared_statement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepared_here() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s",
                ["INSERT INTO public.audit_event%"],
            )
            return int(cursor.fetchone()[0])

    connection.close()
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    append_event()
    assert prepared_here() == 0
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", False)
    append_event()
    assert prepared_here() == 1


def test_writers_at_the_same_time_each_get_their_own_whole_event() -> None:
    payment = fresh_id()

    def write(_writer: int) -> None:
        try:
            for _ in range(25):
                append_event(stream_id=payment, references=[("order", payment)])
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=6) as writers:
        list(writers.map(write, range(6)))
    events = list(AuditEvent.objects.filter(stream_id=payment))
    assert len({event.pk for event in events}) == len({event.xid for event in events}) == 150
    assert all(event.fields().leaf_hash() == bytes(event.leaf_hash) for event in events)
