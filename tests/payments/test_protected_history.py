"""The history of merchants, keys and provider accounts can be added to, and nothing else."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from payments.representation import client_secret, client_secret_matches
from tests.payments.shop import Shop

REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.RestrictViolation)
TABLES = ("historicalmerchant", "historicalapikey", "historicalprovideraccount")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET name = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_history_is_changed_by_nobody(
    shop: Shop,
    owner_connection: psycopg.Connection,
    second_connection: psycopg.Connection,
    table: str,
    statement: str,
) -> None:
    attack = statement.format(f"payments_{table}").encode()
    for connection in (second_connection, owner_connection):
        with pytest.raises(REFUSALS):
            connection.execute(attack)


def test_a_client_secret_stays_good_when_the_keys_are_rotated(settings: Any) -> None:
    given_out = client_secret("pay_x")
    keys = list(settings.FLORIN_ENCRYPTION_KEYS)
    new_key = "rotated:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    settings.FLORIN_ENCRYPTION_KEYS = [new_key, *keys]
    assert client_secret("pay_x") != given_out
    assert client_secret_matches("pay_x", given_out)
    assert not client_secret_matches("pay_y", given_out)
