"""Every kind of news becomes a notification in words a person understands, and nothing leaks."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from audit import log
from payments.models import Dispute, StandingCondition
from payments.notifications import conditions, kinds, writing
from payments.notifications.kinds import KINDS
from tests.payments.notifications.conftest import ACTOR, email_rule, row_of, rows_of
from tests.payments.shop import Shop, open_shop
from webhooks import delivery, endpoints, outbox, redelivery, transport
from webhooks.handlers import EventView, registered

_SECRET = "https://bob.example/hook?token=hunter2"
# event type, payload, kind, words of the title, words of what happened
EVENTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    (
        "dead_letter.added",
        {
            "kind": "merchant",
            "id": "whd_1",
            "what": f"payment.settled to {_SECRET}",
            "reason": "ada@home.example is unknown",
        },
        "dead_letter",
        "Something gave up and waits for a person",
        "An event could not be delivered to a merchant: payment.settled.",
    ),
    (
        "dead_letter.added",
        {"kind": "inbox", "id": "inb_1", "what": "payment.captured from sandbox", "reason": "no"},
        "dead_letter",
        "Something gave up and waits for a person",
        "News from a provider could not be applied: payment.captured from sandbox.",
    ),
    (
        "request.given_up",
        {
            "id": "7",
            "operation": "payments.create",
            "merchant": "mer_1",
            "payment": "pay_1",
            "request": "req_1",
        },
        "dead_letter",
        "Something gave up and waits for a person",
        "A merchant's request could not be carried out: payments.create.",
    ),
    (
        "payment.contradicted",
        {
            "id": "pay_1",
            "amount_minor": 123456,
            "currency": "EUR",
            "description": "ada@home.example",
        },
        "discrepancy",
        "A provider contradicts our books",
        "What the provider says about a payment does not fit what our books say.",
    ),
    (
        "review.opened",
        {"id": "case_1", "payment": "pay_1", "kind": "late_money", "words": "ada@home.example"},
        "review_case",
        "A payment waits for a decision",
        "A case was opened about a payment: money on a payment that was over.",
    ),
    (
        "dispute.opened",
        {
            "id": "dp_1",
            "payment": "pay_1",
            "amount_minor": 4200,
            "currency": "EUR",
            "evidence_due_at": "2046-12-20T10:00:00.000Z",
        },
        "dispute_opened",
        "Dispute over 42.00 EUR",
        "The payer's bank disputes 42.00 EUR of a payment.",
    ),
    (
        "breaker.opened",
        {
            "id": "pacc_1:money",
            "provider": "stripe",
            "provider_account": "pacc_1",
            "operation_class": "money",
            "calls": 20,
            "failures": 15,
            "slow_calls": 2,
        },
        "breaker_opened",
        "Stripe is left alone",
        "Too many requests to Stripe failed or were slow, so capturing and canceling stopped "
        "there.",
    ),
    (
        "breaker.closed",
        {
            "id": "pacc_1:money",
            "provider": "stripe",
            "provider_account": "pacc_1",
            "operation_class": "money",
            "calls": 0,
            "failures": 0,
            "slow_calls": 0,
        },
        "breaker_closed",
        "Stripe answers again",
        "Stripe answers again: capturing and canceling goes on as usual.",
    ),
    (
        "endpoint.failing",
        {"id": "we_1", "url": _SECRET},
        "endpoint_failing",
        "A merchant's endpoint does not take its webhooks",
        "An endpoint of a merchant has not taken what it was sent for some time.",
    ),
    (
        "endpoint.disabled",
        {"id": "we_1", "reason": "ada@home.example"},
        "endpoint_disabled",
        "A merchant's endpoint was disabled",
        "An endpoint of a merchant was disabled.",
    ),
]


def event(type: str, payload: dict[str, Any], now: datetime) -> EventView:
    return EventView(
        id="evt_1",
        type=type,
        aggregate_type=type.partition(".")[0],
        aggregate_id=str(payload["id"]),
        seq=1,
        owner="",
        livemode=True,
        payload=payload,
        causation_id="",
        occurred_at=now,
        created_at=now,
    )


@pytest.mark.parametrize(
    ("type", "payload", "kind", "title", "happened"), EVENTS, ids=[entry[0] for entry in EVENTS]
)
def test_an_event_is_told_in_plain_words_without_what_belongs_behind_the_login(
    now: datetime, type: str, payload: dict[str, Any], kind: str, title: str, happened: str
) -> None:
    rule = email_rule(asked=[kind])
    with transaction.atomic():
        writing.tell_of_event(event(type, payload, now), now=now)
    row = row_of(rule)
    assert (row.kind, row.mode, row.title) == (kind, "live", title)
    assert row.content["happened"] == happened
    assert row.content["blocks"] == KINDS[kind].blocks
    assert row.content["path"].startswith("/admin/")
    told = json.dumps(row.content)
    assert "hunter2" not in told
    assert "ada@home.example" not in told


def test_every_event_of_the_table_is_told_above_and_handed_to_the_handler() -> None:
    assert {entry[0] for entry in EVENTS} == set(kinds.event_types())
    (handler,) = [one for one in registered() if one.name == "notifications"]
    assert sorted(handler.types) == sorted(kinds.event_types())


def test_a_contradiction_is_told_once_though_it_opens_a_case_too(now: datetime) -> None:
    rule = email_rule()
    payload = {"id": "case_1", "payment": "pay_1", "kind": "contradiction"}
    with transaction.atomic():
        writing.tell_of_event(event("review.opened", payload, now), now=now)
    assert rows_of(rule) == []


def test_an_emitted_event_reaches_the_handler_through_the_outbox(now: datetime) -> None:
    rule = email_rule(asked=["endpoint_disabled"])
    emit_disabled(now)
    drain(now)
    assert (row_of(rule).kind, row_of(rule).mode) == ("endpoint_disabled", "test")


def test_staff_are_told_of_a_merchants_endpoint_by_what_health_and_disabling_emit(
    now: datetime,
) -> None:
    failing, disabled = (email_rule(asked=[f"endpoint_{what}"]) for what in ("failing", "disabled"))
    shop = open_shop()
    with log.acting_as(ACTOR):
        view, secret = endpoints.create(
            owner=shop.merchant.pk,
            livemode=False,
            url="http://93.184.216.34/in/hunter2?key=hunter2",
            event_types=["*"],
            now=now,
        )
    for hours in (0, 25, 121):
        moment = now + timedelta(hours=hours)
        with log.acting_as(ACTOR):
            made = redelivery.send_test(
                owner=view.owner, livemode=False, endpoint_id=view.id, now=moment
            )
        for claimed in delivery.claim(now=moment, limit=100):
            if claimed.id == made.id:
                refused = transport.Answer(status=500, error="status 500: hunter2")
                delivery.record(claimed, refused, now=moment)
        drain(moment)
    for rule, kind in ((failing, "endpoint_failing"), (disabled, "endpoint_disabled")):
        row = row_of(rule)
        told = json.dumps(row.content)
        assert (row.kind, row.mode) == (kind, "test")
        for words in (view.id, shop.merchant.name, "93.184.216.34"):
            assert words in told
        assert "hunter2" not in told
        assert secret not in told


def emit_disabled(now: datetime) -> None:
    with transaction.atomic():
        outbox.emit(
            type="endpoint.disabled",
            aggregate_type="webhook_endpoint",
            aggregate_id=f"we_{now.timestamp()}",
            owner="",
            livemode=False,
            payload={"id": "we_1"},
            occurred_at=now,
            now=now,
        )


def drain(now: datetime) -> None:
    while outbox.drain(now=now).total:
        pass


def test_a_log_that_runs_out_of_room_is_told_once_a_day(now: datetime) -> None:
    rule = email_rule(asked=["partitions_missing"])
    for hours in (0, 1, 23):
        conditions.watch(now=now + timedelta(hours=hours))
    of_audit, of_inbox = sorted(rows_of(rule), key=lambda row: row.subject)
    assert of_audit.title == "The audit trail has room for 0 days"
    assert of_inbox.title == "The inbox of providers' news has room for 0 days"
    assert "no payment can be made" in of_audit.content["blocks"]
    conditions.watch(now=now + timedelta(hours=24))
    assert len(rows_of(rule)) == 4


def test_a_condition_is_told_as_soon_as_somebody_asks_and_forgotten_when_it_is_over(
    now: datetime,
) -> None:
    drain(now)
    emit_disabled(now)
    later = now + timedelta(minutes=6)
    standing = StandingCondition.objects.filter(kind="queue_late", subject="outbox")
    conditions.watch(now=now + timedelta(minutes=4))
    assert not standing.exists()
    conditions.watch(now=later)
    assert standing.get().told_at is None
    rule = email_rule(asked=["queue_late"])
    for _ in range(2):
        conditions.watch(now=later)
    (row,) = [row for row in rows_of(rule) if row.subject == "outbox"]
    assert row.title == "Late: events for our own handlers"
    drain(later)
    conditions.watch(now=later)
    assert not standing.exists()


def test_a_silent_process_is_told(now: datetime) -> None:
    from webhooks.models import Heartbeat

    started = now - timedelta(hours=1)
    beat = Heartbeat.objects.create(
        process=f"worker:there:{now.timestamp()}",
        role="worker",
        started_at=started,
        beat_at=now - timedelta(seconds=59),
    )
    rule = email_rule(asked=["process_silent"])
    conditions.watch(now=now)
    assert "worker" not in [row.subject for row in rows_of(rule)]
    conditions.watch(now=now + timedelta(seconds=2))
    beat.delete()
    assert "No sign of life of the worker" in [row.title for row in rows_of(rule)]


def test_a_dispute_without_an_answer_is_told_72_and_24_hours_before_its_deadline_once_each(
    now: datetime, shop: Shop, settings: Settings
) -> None:
    payment = shop.created()
    deadline = now + timedelta(hours=100)
    dispute = Dispute.objects.create(
        payment=payment,
        provider_account=payment.provider_account,
        provider_reference=f"dp_{now.timestamp()}",
        stage="chargeback",
        amount_minor=4200,
        currency="EUR",
        evidence_due_at=deadline,
        created_at=now,
    )
    rule = email_rule(asked=["dispute_deadline"])
    try:
        for hours in (0, 27, 29, 30, 60, 77, 78, 99, 101):
            conditions.watch(now=now + timedelta(hours=hours))
    finally:
        Dispute.objects.filter(pk=dispute.pk).update(evidence_due_at=None)
    assert [(row.title, row.created_at) for row in rows_of(rule)] == [
        ("Dispute over 42.00 EUR: less than 72 hours left", now + timedelta(hours=29)),
        ("Dispute over 42.00 EUR: less than 24 hours left", now + timedelta(hours=77)),
    ]
    assert {row.mode for row in rows_of(rule)} == {"test"}
