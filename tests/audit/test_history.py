"""Configuration history: protected like the log, and told to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connections, transaction
from psycopg import errors
from simple_history.signals import post_create_historical_record

from audit import log
from audit.operations import ProtectHistory
from audit.timeline import timeline
from tests.audit.conftest import ACTOR, fresh_id

TABLE = "test_historicalrule"


@pytest.fixture
def history_table(owner_connection: psycopg.Connection) -> Iterator[str]:
    """A history table with one row, protected by the operation."""
    owner_connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    owner_connection.execute(f"CREATE TABLE {TABLE} (id int, value text)")
    owner_connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO florin_app")
    run(ProtectHistory(TABLE).sql)
    owner_connection.execute(f"INSERT INTO {TABLE} VALUES (1, 'as it was')")
    yield TABLE
    owner_connection.execute(f"DROP TABLE {TABLE}")


def run(statements: Any) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(statements)
    connections["owner"].close()


CHANGES = [
    f"UPDATE {TABLE} SET value = 'x'",
    f"DELETE FROM {TABLE}",
    f"TRUNCATE {TABLE}",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_the_owner_cannot_change_history(
    history_table: str, owner_connection: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(errors.RestrictViolation, match="rows are evidence"):
        owner_connection.execute(statement)


@pytest.mark.parametrize("statement", CHANGES)
def test_the_application_may_add_history_and_not_change_it(
    history_table: str, second_connection: psycopg.Connection, statement: str
) -> None:
    second_connection.execute(f"INSERT INTO {TABLE} VALUES (2, 'new')")
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute(statement)


def test_the_protection_fires_in_replica_mode(
    history_table: str, owner_connection: psycopg.Connection
) -> None:
    states = owner_connection.execute(
        "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = %s::regclass", [TABLE]
    ).fetchall()
    assert states == [("A",), ("A",)]


def test_the_protection_goes_with_a_reversed_migration(
    history_table: str, owner_connection: psycopg.Connection
) -> None:
    run(ProtectHistory(TABLE).reverse_sql)
    owner_connection.execute(f"UPDATE {TABLE} SET value = 'x'")


def test_only_plain_table_names_are_protected() -> None:
    with pytest.raises(ValueError, match="plain lower-case"):
        ProtectHistory("a; DROP TABLE b")


def test_a_squashed_migration_writes_the_operation_down_again() -> None:
    name, arguments, keywords = ProtectHistory(TABLE).deconstruct()
    assert (name, keywords, ProtectHistory(*arguments).table) == ("ProtectHistory", {}, TABLE)
    assert TABLE in ProtectHistory(TABLE).describe()


class Row:
    """A history row as django-simple-history hands it over."""

    history_id = 7
    history_date = datetime(2026, 11, 20, tzinfo=UTC)

    def __init__(self, history_type: str, before: Row | None = None) -> None:
        self.history_type = history_type
        self.prev_record = before
        self.history_change_reason = "new contract" if before else None

    def diff_against(self, before: Row, *, foreign_keys_are_objs: bool) -> SimpleNamespace:
        change = SimpleNamespace(field="fee_basis_points", old=100, new=150)
        return SimpleNamespace(changes=[change])


def told(history_type: str, before: Row | None = None) -> dict[str, Any]:
    """The body of the event that one history row leads to."""
    merchant = fresh_id("mer")
    meta = SimpleNamespace(label_lower="payments.merchant", model_name="merchant")
    instance = SimpleNamespace(pk=merchant, _meta=meta)
    with transaction.atomic(), log.acting_as(ACTOR):
        post_create_historical_record.send(
            sender=Row, instance=instance, history_instance=Row(history_type, before)
        )
    (record,) = timeline(stream_type="merchant", stream_id=merchant)
    assert record.event_type == "config.changed"
    return record.body


def test_a_changed_row_is_told_with_what_changed() -> None:
    assert told("~", Row("+")) == {
        "model": "payments.merchant",
        "history_id": "7",
        "what": "changed",
        "reason": "new contract",
        "changes": {"fee_basis_points": {"before": "100", "after": "150"}},
    }


@pytest.mark.parametrize(("kind", "what"), [("+", "created"), ("-", "deleted"), ("~", "changed")])
def test_a_row_without_one_before_is_told_without_changes(kind: str, what: str) -> None:
    body = told(kind)
    assert (body["what"], body["changes"], body["reason"]) == (what, {}, "")


def test_a_changed_merchant_is_in_the_log_with_both_values() -> None:
    with transaction.atomic(), log.acting_as(ACTOR):
        merchant = apps.get_model("payments", "Merchant").objects.create(
            name="Before", email="before@example.org", created_at=Row.history_date
        )
    with transaction.atomic(), log.acting_as(ACTOR):
        merchant.name = "After"
        merchant.save()
    changed, created = timeline(stream_type="merchant", stream_id=merchant.pk)
    assert (created.body["what"], changed.body["what"]) == ("created", "changed")
    assert changed.body["changes"]["name"] == {"before": "Before", "after": "After"}
    assert changed.actor_id == ACTOR.id


def test_a_change_of_configuration_by_nobody_is_refused() -> None:
    merchant = apps.get_model("payments", "Merchant")
    before = merchant.objects.count()
    with pytest.raises(log.MissingActor), transaction.atomic():
        merchant.objects.create(
            name="Nobody's", email="nobody@example.org", created_at=Row.history_date
        )
    assert merchant.objects.count() == before
