"""`verify` holds on clean books and names each kind of damage that somebody could plant."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from django.core.management import call_command
from django.db import transaction

from ledger.accounts import AccountKey
from ledger.posting import Line, post
from payments.verification import CHECKS, verify
from tests.databases import TestDatabases
from tests.payments.own_database import own_database, unguarded
from tests.payments.shop import Shop, open_shop
from tests.processes import RunningProcess
from webhooks import outbox


@pytest.fixture
def owner(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[psycopg.Connection]:
    """The owner's connection to a database of this test alone, on which Django works too."""
    with own_database(databases) as connection:
        yield connection


@pytest.fixture
def shop(owner: psycopg.Connection) -> Shop:
    """A shop in the test's own database."""
    return open_shop()


def settled_payment(shop: Shop) -> str:
    """A payment that went the whole way, its provider's news and its events handled."""
    payment_id = shop.created().pk
    shop.settle()
    shop.deliver_events()
    outbox.drain(now=shop.now())
    assert shop.payment(payment_id).state == "settled"
    return payment_id


def offences(shop: Shop) -> dict[str, set[str]]:
    """The objects that verify names, by kind of offence."""
    found: dict[str, set[str]] = {}
    for finding in verify(now=shop.now()).findings:
        for offence in finding.offences:
            found.setdefault(offence.kind, set()).add(offence.object)
    return found


def test_an_empty_database_holds(owner: psycopg.Connection) -> None:
    report = verify(now=datetime.now(UTC))
    assert report.holds, [finding for finding in report.findings if not finding.holds]
    assert [finding.check for finding in report.findings] == list(CHECKS)


def test_payments_in_every_state_of_an_ordinary_day_hold(shop: Shop) -> None:
    settled_payment(shop)
    shop.create(capture_method="manual")
    shop.create(payment_method="tok_insufficient_funds")
    shop.create(payment_method="tok_lost_card")
    shop.create(payment_method="tok_3ds")
    shop.create(payment_method="tok_bank")
    shop.create(payment_method="tok_drop_after_commit")
    shop.create(payment_method="tok_amount_mismatch")
    shop.create(confirm=False, payment_method="")
    shop.cancel(shop.created(capture_method="manual").pk)
    assert offences(shop) == {}
    books = next(f for f in verify(now=shop.now()).findings if f.check == "books")
    assert books.examined == 10


# table to unguard -> statement, kind of offence it has to be named as. {payment} is its id.
DAMAGE = {
    "a captured amount is changed": (
        "payments_payment",
        "UPDATE payments_payment SET amount_captured_minor = 4199, amount_settled_minor = 4199",
        "books_differ",
    ),
    "a provider's fee is changed": (
        "payments_payment",
        "UPDATE payments_payment SET provider_fee_minor = provider_fee_minor + 1",
        "books_differ",
    ),
    "a settled amount is changed": (
        "payments_payment",
        "UPDATE payments_payment SET amount_settled_minor = 0",
        "settled_in_part",
    ),
    "a state is set back": (
        "payments_payment",
        "UPDATE payments_payment SET state = 'authorized'",
        "money_in_state_without",
    ),
    "a state has no transition": (
        "payments_payment",
        "UPDATE payments_payment SET state = 'disputed'",
        "state_without_transition",
    ),
    "a transition is deleted": (
        "payments_transition",
        "DELETE FROM payments_transition WHERE version = 2",
        "transitions_gap",
    ),
    "a transition is bent": (
        "payments_transition",
        "UPDATE payments_transition SET to_state = 'authorized' WHERE version = 3",
        "transition_broken",
    ),
    "a transition takes an edge that does not exist": (
        "payments_transition",
        "UPDATE payments_transition SET event = 'late_money' WHERE version = 3",
        "transition_illegal",
    ),
    "an event's type is changed": (
        "webhooks_domain_event",
        "UPDATE webhooks_domain_event SET type = 'payment.forgotten' WHERE seq = 3",
        "transition_not_announced",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_payment_is_named(owner: psycopg.Connection, shop: Shop, damage: str) -> None:
    payment_id = settled_payment(shop)
    assert offences(shop) == {}
    table, statement, kind = DAMAGE[damage]
    unguarded(owner, table, statement)
    assert payment_id in offences(shop).get(kind, set()), offences(shop)


def test_an_entry_without_a_payment_is_named(shop: Shop) -> None:
    def account(code: str, kind: str) -> AccountKey:
        return AccountKey(code=code, kind=kind, currency="EUR", livemode=False, owner="test")

    with transaction.atomic():
        post(
            idempotency_key="nobody:payment.captured",
            kind="payment.captured",
            lines=[
                Line(account=account("psp:clearing", "asset"), debit_minor=5),
                Line(account=account("merchant:pending", "liability"), credit_minor=5),
            ],
            effective_at=shop.now(),
            source_type="payment",
            source_id="pay_nobody",
            livemode=False,
        )
    assert offences(shop) == {"books_without_payment": {"pay_nobody"}}


def test_a_lost_event_is_named_as_a_gap_and_as_silence(
    owner: psycopg.Connection, shop: Shop
) -> None:
    payment_id = settled_payment(shop)
    unguarded(owner, "webhooks_event_delivery", "DELETE FROM webhooks_event_delivery WHERE seq = 2")
    unguarded(
        owner,
        "webhooks_domain_event",
        "DELETE FROM webhooks_domain_event WHERE seq = 2 AND aggregate_type = 'payment'",
    )
    found = offences(shop)
    assert found["stream_gap"] == {f"payment {payment_id}"}
    assert found["transition_not_announced"] == {payment_id}


def test_changed_ledger_lines_and_counters_are_named(owner: psycopg.Connection, shop: Shop) -> None:
    settled_payment(shop)
    unguarded(
        owner,
        "ledger_line",
        "UPDATE ledger_line SET debit_minor = debit_minor + 1 WHERE line_number = 1 "
        "AND debit_minor > 0",
    )
    found = offences(shop)
    assert {"entry_unbalanced", "balance_unexplained", "books_differ"} <= found.keys()


def test_changed_audit_bytes_are_named(owner: psycopg.Connection, shop: Shop) -> None:
    settled_payment(shop)
    table = owner.execute(
        "SELECT tableoid::regclass::text FROM audit_event WHERE event_type = 'payment.create'"
    ).fetchone()
    assert table is not None
    unguarded(
        owner, table[0], f"UPDATE {table[0]} SET body = '{{}}' WHERE event_type = 'payment.create'"
    )
    audit = next(f for f in verify(now=shop.now()).findings if f.check == "audit")
    assert not audit.holds


def test_a_guard_that_was_taken_off_is_named(owner: psycopg.Connection, shop: Shop) -> None:
    owner.execute("ALTER TABLE ledger_line DISABLE TRIGGER USER")
    assert any(kind.startswith("schema_") for kind in offences(shop))


def test_an_operation_that_nobody_asks_about_is_named(shop: Shop) -> None:
    payment_id = shop.create(payment_method="tok_drop_after_commit").payment_id
    assert offences(shop) == {}
    shop.ahead_by(minutes=30)
    operation = shop.payment(payment_id).operations.get()
    assert offences(shop)["operation_abandoned"] == {operation.pk}


def test_an_operation_that_is_asked_about_for_ever_is_named(
    owner: psycopg.Connection, shop: Shop
) -> None:
    payment_id = shop.create(payment_method="tok_drop_after_commit").payment_id
    shop.ahead_by(days=30)
    unguarded(
        owner,
        "payments_provideroperation",
        "UPDATE payments_provideroperation SET next_try_at = now() + interval '40 days'",
    )
    operation = shop.payment(payment_id).operations.get()
    assert offences(shop)["operation_never_ends"] == {operation.pk}


def test_requests_that_nobody_answers_are_named(owner: psycopg.Connection, shop: Shop) -> None:
    for _ in range(3):
        shop.create()
    keys = owner.execute("SELECT id FROM payments_idempotencykey ORDER BY id").fetchall()
    never_answered, given_up, abandoned = (key for (key,) in keys)
    reopened = "response_status = NULL, response_body = NULL, completion_due_at = now()"
    for key, changes in {
        never_answered: "recovery_point = 'submitting'",
        given_up: "recovery_point = 'started', completion_count = 3, completion_error = 'KeyError'",
        abandoned: "recovery_point = 'started', provider_operation_id = NULL",
    }.items():
        unguarded(
            owner,
            "payments_idempotencykey",
            f"UPDATE payments_idempotencykey SET {changes}, {reopened} WHERE id = {key}",
        )
    shop.ahead_by(minutes=30)
    found = offences(shop)
    assert found["request_without_answer"] == {str(never_answered)}
    assert found["request_given_up"] == {str(given_up)}
    assert found["request_abandoned"] == {str(abandoned)}


def test_undelivered_events_are_explained_for_a_while_and_named_then(shop: Shop) -> None:
    shop.create()
    assert offences(shop) == {}
    shop.ahead_by(minutes=30)
    assert "delivery_overdue" in offences(shop)


def test_provider_news_that_nobody_applies_is_named(shop: Shop) -> None:
    payment_id = shop.created().pk
    outbox.drain(now=shop.now())
    for event in shop.sandbox("GET", f"/v1/events?payment={shop.provider_reference(payment_id)}")[
        "data"
    ]:
        shop.receive(event)
    shop.ahead_by(minutes=30)
    assert "inbox_overdue" in offences(shop)
    shop.drain()
    assert "inbox_overdue" not in offences(shop)


def test_an_effect_that_could_happen_again_is_named(owner: psycopg.Connection, shop: Shop) -> None:
    settled_payment(shop)
    unguarded(owner, "webhooks_inbox_key", "DELETE FROM webhooks_inbox_key")
    assert "inbox_effect_without_key" in offences(shop)


def test_the_command_exits_0_with_a_table_on_clean_books(shop: Shop) -> None:
    settled_payment(shop)
    output = io.StringIO()
    call_command("verify", stdout=output)
    assert "Everything holds." in output.getvalue()
    assert all(check in output.getvalue() for check in CHECKS)


def test_the_command_exits_1_with_the_offending_rows(owner: psycopg.Connection, shop: Shop) -> None:
    payment_id = settled_payment(shop)
    table, statement, kind = DAMAGE["a captured amount is changed"]
    unguarded(owner, table, statement)
    output = io.StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("verify", stdout=output)
    assert payment_id in output.getvalue()
    output = io.StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("verify", "--json", stdout=output)
    report = json.loads(output.getvalue())
    assert report["holds"] is False
    books = next(finding for finding in report["findings"] if finding["check"] == "books")
    assert books["offences"][0]["kind"] == kind
    assert books["offences"][0]["object"] == payment_id
