"""Transitions and payments vouch for each other at commit, whoever writes them."""

from __future__ import annotations

import psycopg
import pytest

from tests.payments.shop import Shop

RECORD = """
    INSERT INTO payments_transition (payment_id, version, event, from_state, to_state, cause_type,
                                     cause_id, actor_type, actor_id, occurred_at)
    VALUES (%s, %s, 'psp_settled', 'captured', 'settled', 'api', '', 'job', 'x', now())
"""


@pytest.mark.parametrize("ahead", [1, 7])
def test_a_record_ahead_of_its_payment_is_refused(
    shop: Shop, second_connection: psycopg.Connection, ahead: int
) -> None:
    payment = shop.created()
    with pytest.raises(psycopg.errors.CheckViolation, match="it is at version"):
        second_connection.execute(RECORD, [payment.pk, payment.version + ahead])


def test_a_state_that_moves_without_a_record_is_refused(
    shop: Shop, second_connection: psycopg.Connection
) -> None:
    payment = shop.created()
    moved = "UPDATE payments_payment SET version = version + 1, state = 'reversed' WHERE id = %s"
    with pytest.raises(psycopg.errors.CheckViolation, match="no matching transition"):
        second_connection.execute(moved, [payment.pk])


def test_a_state_does_not_move_without_its_version(
    shop: Shop, second_connection: psycopg.Connection
) -> None:
    payment = shop.created()
    with pytest.raises(psycopg.errors.CheckViolation, match="only with its version"):
        second_connection.execute(
            "UPDATE payments_payment SET state = 'failed' WHERE id = %s", [payment.pk]
        )


@pytest.mark.parametrize("column", ["amount_minor = 1", "currency = 'USD'", "livemode = true"])
def test_what_a_payment_is_never_changes(
    shop: Shop, owner_connection: psycopg.Connection, column: str
) -> None:
    payment = shop.created()
    with pytest.raises(psycopg.errors.CheckViolation, match="never change"):
        owner_connection.execute(
            f"UPDATE payments_payment SET {column} WHERE id = %s".encode(), [payment.pk]
        )


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM payments_payment",
        "DELETE FROM payments_attempt",
        "DELETE FROM payments_provideroperation",
        "UPDATE payments_transition SET event = 'x'",
        "DELETE FROM payments_transition",
        "TRUNCATE payments_transition",
        "TRUNCATE payments_provideroperation CASCADE",
        "TRUNCATE payments_attempt CASCADE",
    ],
)
def test_the_record_is_not_thinned_out_by_anybody(
    shop: Shop,
    owner_connection: psycopg.Connection,
    second_connection: psycopg.Connection,
    statement: str,
) -> None:
    shop.created()
    for connection in (second_connection, owner_connection):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
