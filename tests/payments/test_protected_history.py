"""The history of what people configure can be added to, and nothing else."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from payments.representation import client_secret, client_secret_matches
from tests.payments.shop import Shop

REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.RestrictViolation)
TABLES = (
    "payments_historicalmerchant",
    "payments_historicalapikey",
    "payments_historicalprovideraccount",
    "payments_historicalproviderendpoint",
)
STATEMENTS = ("UPDATE {} SET history_date = history_date", "DELETE FROM {}", "TRUNCATE {}")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_history_is_changed_by_nobody(
    shop: Shop,
    owner_connection: psycopg.Connection,
    second_connection: psycopg.Connection,
    table: str,
    statement: str,
) -> None:
    attack = statement.format(table).encode()
    for connection in (second_connection, owner_connection):
        with pytest.raises(REFUSALS):
            connection.execute(attack)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_application_cannot_change_what_merchants_endpoints_were(
    second_connection: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        second_connection.execute(statement.format("webhooks_historicalwebhookendpoint").encode())


def test_a_client_secret_stays_good_when_the_keys_are_rotated(settings: Any) -> None:
    given_out = client_secret("pay_x")
    keys = list(settings.FLORIN_ENCRYPTION_KEYS)
    new_key = "rotated:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    settings.FLORIN_ENCRYPTION_KEYS = [new_key, *keys]
    assert client_secret("pay_x") != given_out
    assert client_secret_matches("pay_x", given_out)
    assert not client_secret_matches("pay_y", given_out)
