"""Attacks on the audit tables with SQL: as the application, as the owner, in replica mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors

from audit.models import AuditEvent
from audit.partitions import partition_bounds
from tests.audit.conftest import append_event, fresh_id

COLUMNS = (
    "occurred_at, event_type, actor_type, actor_id, actor_display, stream_type, stream_id, "
    "trace_id, request_id, reason, redacted, reference_list, body"
)
VALUES = (
    "now(), 'attack.made', 'system', 'attacker', '', 'attack', '{id}', '', '', '', false, '[]', "
    "'{{}}'"
)
PARTITIONED = [("audit_event", "id"), ("audit_reference", "event_id")]


def insert(columns: str = COLUMNS, values: str = VALUES, table: str = "audit_event") -> str:
    return f"INSERT INTO {table} ({columns}) VALUES ({values.format(id=fresh_id('atk'))})"


def still_there(event: AuditEvent) -> bool:
    found = AuditEvent.objects.filter(pk=event.pk).first()
    return found is not None and bytes(found.leaf_hash) == bytes(event.leaf_hash)


@contextmanager
def replica_mode(connection: psycopg.Connection) -> Iterator[None]:
    connection.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        connection.execute("SET session_replication_role = origin")


def attacks(event: AuditEvent, partition: str) -> list[str]:
    """UPDATE, DELETE and TRUNCATE of both tables and of the partitions that hold the event."""
    tables = [
        *PARTITIONED,
        (partition, "id"),
        (partition.replace("audit_event", "audit_reference"), "event_id"),
    ]
    statements = []
    for table, key in tables:
        column = "body" if key == "id" else "value"
        statements += [
            f"UPDATE {table} SET {column} = '{{}}' WHERE {key} = {event.pk}",
            f"DELETE FROM {table} WHERE {key} = {event.pk}",
            f"TRUNCATE {table}",
        ]
    return statements


def test_the_application_may_append_with_the_columns_it_may_fill(
    second_connection: psycopg.Connection,
) -> None:
    assert second_connection.execute(insert()).rowcount == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("leaf_hash", "'\\x00'"),
        ("recorded_at", "DEFAULT"),
        ("recorded_at", "now() - interval '1 day'"),
        ("xid", "'1'::xid8"),
    ],
)
def test_the_application_may_not_fill_what_the_database_gives(
    second_connection: psycopg.Connection, column: str, value: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute(insert(f"{COLUMNS}, {column}", f"{VALUES}, {value}"))


def test_the_application_may_not_choose_the_number(second_connection: psycopg.Connection) -> None:
    with pytest.raises(errors.GeneratedAlways):
        second_connection.execute(insert(f"id, {COLUMNS}", f"1, {VALUES}"))
    statement = insert(f"id, {COLUMNS}", f"1, {VALUES}").replace(
        "VALUES", "OVERRIDING SYSTEM VALUE VALUES", 1
    )
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute(statement)


def test_the_application_may_not_write_the_search_index(
    second_connection: psycopg.Connection, event: AuditEvent
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        second_connection.execute(
            "INSERT INTO audit_reference (value, type, recorded_at, event_id) "
            "VALUES ('x', 'x', now(), %s)",
            [event.pk],
        )


def test_the_application_may_not_change_delete_or_empty_anything(
    second_connection: psycopg.Connection,
    event: AuditEvent,
    partition_of: Callable[[AuditEvent], str],
) -> None:
    for statement in attacks(event, partition_of(event)):
        with pytest.raises(errors.InsufficientPrivilege):
            second_connection.execute(statement)
    assert still_there(event)


def test_the_application_may_not_touch_a_partition_directly(
    second_connection: psycopg.Connection,
    event: AuditEvent,
    partition_of: Callable[[AuditEvent], str],
) -> None:
    partition = partition_of(event)
    for statement in (insert(table=partition), f"SELECT * FROM {partition}"):
        with pytest.raises(errors.InsufficientPrivilege):
            second_connection.execute(statement)


def test_the_application_may_not_alter_the_tables(
    second_connection: psycopg.Connection,
    event: AuditEvent,
    partition_of: Callable[[AuditEvent], str],
) -> None:
    partition = partition_of(event)
    for statement in (
        "DROP TABLE audit_event",
        f"DROP TABLE {partition}",
        "ALTER TABLE audit_event DISABLE TRIGGER audit_refuse_change",
        f"ALTER TABLE audit_event DETACH PARTITION {partition}",
        "DROP TRIGGER audit_complete_event ON audit_event",
        "CREATE TRIGGER t BEFORE INSERT ON audit_event FOR EACH ROW "
        "EXECUTE FUNCTION audit_refuse_change()",
        "ALTER FUNCTION audit_refuse_change() RENAME TO gone",
        "DROP FUNCTION audit_complete_event() CASCADE",
        "DO $$ BEGIN LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE; END $$",
        "SELECT nextval('audit_event_id_seq')",
        "SELECT setval('audit_event_id_seq', 1)",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            second_connection.execute(statement)


def test_the_owner_cannot_change_delete_or_empty_anything(
    owner_connection: psycopg.Connection,
    event: AuditEvent,
    partition_of: Callable[[AuditEvent], str],
) -> None:
    for statement in attacks(event, partition_of(event)):
        with pytest.raises(errors.RestrictViolation, match="rows are evidence"):
            owner_connection.execute(statement)
    assert still_there(event)


def test_the_owner_cannot_change_a_row_by_merge_or_on_conflict(
    owner_connection: psycopg.Connection, event: AuditEvent
) -> None:
    for statement in (
        f"MERGE INTO audit_event USING (SELECT {event.pk} AS key) s ON id = key "
        "WHEN MATCHED THEN UPDATE SET body = '{}'",
        f"MERGE INTO audit_event USING (SELECT {event.pk} AS key) s ON id = key "
        "WHEN MATCHED THEN DELETE",
    ):
        with pytest.raises(errors.RestrictViolation):
            owner_connection.execute(statement)
    assert still_there(event)


def test_replica_mode_puts_no_trigger_to_sleep(superuser_connection: psycopg.Connection) -> None:
    row = superuser_connection.execute(
        insert(values=VALUES.replace("'[]'", '\'[["order", "{id}"]]\'')) + " RETURNING id"
    ).fetchone()
    assert row is not None
    partition = superuser_connection.execute(
        "SELECT tableoid::regclass::text FROM audit_event WHERE id = %s", row
    ).fetchone()
    assert partition is not None
    with replica_mode(superuser_connection):
        for statement in attacks(AuditEvent(id=row[0]), partition[0]):
            with pytest.raises(errors.RestrictViolation):
                superuser_connection.execute(statement)
        forged = insert(f"{COLUMNS}, leaf_hash", f"{VALUES}, '\\x00'")
        superuser_connection.execute(forged)
    wrong = superuser_connection.execute(
        "SELECT count(*) FROM audit_event WHERE length(leaf_hash) <> 32"
    ).fetchone()
    assert wrong == (0,)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("recorded_at", "now() - interval '1 hour'"),
        ("recorded_at", "now() + interval '1 hour'"),
        ("xid", "'3'::xid8"),
    ],
)
def test_even_the_owner_cannot_choose_time_or_transaction(
    owner_connection: psycopg.Connection, column: str, value: str
) -> None:
    with pytest.raises(errors.CheckViolation, match=r"cannot be chosen|no partition"):
        owner_connection.execute(insert(f"{COLUMNS}, {column}", f"{VALUES}, {value}"))


def test_a_hash_given_by_the_owner_is_replaced_by_the_true_one(
    owner_connection: psycopg.Connection,
) -> None:
    row = owner_connection.execute(
        insert(f"{COLUMNS}, leaf_hash", f"{VALUES}, '\\x00'") + " RETURNING id"
    ).fetchone()
    assert row is not None
    stored = AuditEvent.objects.get(pk=row[0])
    assert bytes(stored.leaf_hash) == stored.fields().leaf_hash()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'attacker'", "''"),
        ("'attacker'", "NULL"),
        ("'attacker'", "E'a\\nb'"),
        ("'system'", "'nobody'"),
        ("'attack.made'", "'attack'"),
        ("'attack.made'", "'Attack.Made'"),
        ("'attack'", "'At-tack'"),
        ("'{{}}'", "E'{{\\n}}'"),
        ("'{{}}'", "'not json'"),
        ("'{{}}'", "'[1]'"),
        ("'{{}}'", '\'{{"a":1,"a":2}}\''),
        ("'{{}}'", "NULL"),
        ("'[]'", "'{{}}'"),
        ("'[]'", "'[[\"order\"]]'"),
        ("'[]'", "NULL"),
        ("'', '', '', false", "'not-a-trace', '', '', false"),
        ("'', '', '', false", "'', '', E'\\n', false"),
    ],
)
def test_an_event_of_no_valid_form_is_refused_by_the_database(
    second_connection: psycopg.Connection, old: str, new: str
) -> None:
    assert old in VALUES
    with pytest.raises((errors.IntegrityError, errors.DataError)):
        second_connection.execute(insert(values=VALUES.replace(old, new, 1)))


def test_the_trigger_does_its_work_under_a_hostile_search_path(
    second_connection: psycopg.Connection,
) -> None:
    second_connection.execute("SET search_path = pg_temp, public")
    second_connection.execute(
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS "
        "$$ SELECT '\\x00'::bytea $$"
    )
    row = second_connection.execute(insert(table="public.audit_event") + " RETURNING id").fetchone()
    assert row is not None
    stored = AuditEvent.objects.get(pk=row[0])
    assert bytes(stored.leaf_hash) == stored.fields().leaf_hash()


def test_a_new_partition_has_the_same_walls(
    owner_connection: psycopg.Connection, second_connection: psycopg.Connection
) -> None:
    month = partition_bounds("audit_event")[-1][2]
    second_connection.execute("SELECT audit_ensure_partitions(%s, 0)", [month])
    for parent in ("audit_event", "audit_reference"):
        table = f"{parent}_{month:%Y_%m}"
        with pytest.raises(errors.RestrictViolation):
            owner_connection.execute(f"TRUNCATE {table}")
        for statement in (f"TRUNCATE {table}", f"SELECT FROM {table}", f"DELETE FROM {table}"):
            with pytest.raises(errors.InsufficientPrivilege):
                second_connection.execute(statement)
        always = owner_connection.execute(
            "SELECT bool_and(tgenabled = 'A'), count(*) FROM pg_trigger "
            "WHERE tgrelid = %s::regclass",
            [table],
        ).fetchone()
        assert always == (True, 3 if parent == "audit_event" else 2)


def test_two_events_never_have_the_same_hash() -> None:
    first, second = append_event(stream_id="same"), append_event(stream_id="same")
    assert bytes(first.leaf_hash) != bytes(second.leaf_hash)
