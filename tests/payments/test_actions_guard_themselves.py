"""Impossible things raise with words, and nothing of them is kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from audit.log import MissingActor
from payments.actions.call_provider import drive
from payments.actions.change import Cause, Change, IllegalTransition, StaleVersion
from payments.actions.create_payment import create_payment
from payments.actions.facts import FACTS
from payments.actions.paths import DECISIONS, DECLINE, PATHS
from payments.errors import FlorinError
from payments.idempotency import Claim
from payments.models import Payment
from payments.states import EVENTS
from tests.payments.shop import Shop, create_parameters, new_key

CAUSE = Cause(type="test")


def test_an_edge_that_does_not_exist_is_not_taken(shop: Shop) -> None:
    payment = shop.created()
    with shop.acting(), pytest.raises(IllegalTransition, match="captured has no edge cancel"):
        Change(payment, cause=CAUSE, now=shop.now()).advance("cancel", None)


def test_nobody_moves_a_payment_anonymously(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    with pytest.raises(MissingActor, match="without an actor"):
        Change(payment, cause=CAUSE, now=shop.now()).advance("void", None)


def test_a_payment_that_changed_past_its_lock_is_not_overwritten(shop: Shop) -> None:
    stale = shop.created(capture_method="manual")
    shop.capture(stale.pk)

    def write() -> None:
        with shop.acting(), transaction.atomic():
            Change(stale, cause=CAUSE, now=shop.now()).write()

    with pytest.raises(StaleVersion, match="not at version"):
        write()
    assert shop.payment(stale.pk).state == "captured"


def test_an_operation_of_no_known_kind_is_not_sent(shop: Shop) -> None:
    operation = shop.created().operations.get()
    operation.kind = "teleport"
    with shop.acting(), pytest.raises(AssertionError, match="Bug! unknown kind"):
        drive(operation, cause=CAUSE, clock=shop.now)


def test_a_provider_is_never_called_inside_a_transaction(shop: Shop) -> None:
    operation = shop.created().operations.get()

    def call() -> None:
        with transaction.atomic():
            drive(operation, cause=CAUSE, clock=shop.now)

    with pytest.raises(AssertionError, match="inside a database transaction"):
        call()


def test_every_edge_that_news_may_take_has_its_facts() -> None:
    tables = [*PATHS.values(), DECISIONS]
    taken = {event for table in tables for path in table.values() for event in path}
    assert taken - {DECLINE} <= set(FACTS)
    assert set(FACTS) <= set(EVENTS)


def test_what_postgresql_refuses_for_another_reason_is_not_called_a_taken_reference(
    shop: Shop,
) -> None:
    claim = shop.claim("payments.create", create_parameters())
    assert isinstance(claim, Claim)
    wrong = dataclasses.replace(claim, parameters=create_parameters(capture_method="sideways"))
    with shop.acting(), pytest.raises(IntegrityError, match="payment_capture_method_known"):
        create_payment(claim=wrong, clock=shop.now)
    assert not Payment.objects.filter(merchant=shop.merchant).exists()


def test_a_key_that_its_holder_forgets_at_that_moment_is_in_use(
    shop: Shop, second_connection: psycopg.Connection
) -> None:
    key = new_key()
    holder = shop.claim("payments.create", create_parameters(), key=key)
    assert isinstance(holder, Claim)

    def forget_before_locking(execute: Any, sql: str, *rest: Any) -> Any:
        if "FOR UPDATE" in sql:
            second_connection.execute(
                "DELETE FROM payments_idempotencykey WHERE id = %s", [holder.row_id]
            )
        return execute(sql, *rest)

    with (
        connection.execute_wrapper(forget_before_locking),
        pytest.raises(FlorinError) as refused,
    ):
        shop.claim("payments.create", create_parameters(), key=key)
    assert refused.value.code.name == "idempotency_key_in_use"
    assert refused.value.param == "Idempotency-Key"
    assert refused.value.retry_after_seconds == 1
    assert isinstance(shop.claim("payments.create", create_parameters(), key=key), Claim)
