"""Verification finds every change of a row, of the search index and of the walls around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from audit.models import AuditEvent
from audit.verify import check_leaves, verify, verify_leaves, verify_references
from audit.walls import wall_violations
from tests.audit.conftest import append_event, fresh_id

TYPES = {
    "recorded_at": "timestamptz",
    "occurred_at": "timestamptz",
    "xid": "xid8",
    "redacted": "boolean",
    "leaf_hash": "bytea",
}


@contextmanager
def without_walls(owner: psycopg.Connection) -> Iterator[None]:
    """The owner takes the triggers off, and puts them on again as if nothing had been."""
    for table in ("audit_event", "audit_reference"):
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    try:
        yield
    finally:
        for table in ("audit_event", "audit_reference"):
            owner.execute(
                f"""
                DO $$ DECLARE trigger record; BEGIN
                    FOR trigger IN
                        SELECT relid::regclass AS part, tgname
                        FROM pg_partition_tree('{table}') JOIN pg_trigger ON tgrelid = relid
                        WHERE NOT tgisinternal
                    LOOP
                        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I',
                                       trigger.part, trigger.tgname);
                    END LOOP;
                END $$
                """
            )


def test_an_untouched_log_has_no_violations() -> None:
    append_event(references=[("order", fresh_id("order"))], body={"ü": "4242424242424242"})
    assert verify(now=datetime.now(UTC)) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", "replace(body, '1000', '1')"),
        ("body", "body || ' '"),
        ("body", "E'{\\n}'"),
        ("event_type", "'payment.failed'"),
        ("actor_type", "'user'"),
        ("actor_id", "'somebody'"),
        ("actor_display", "'Somebody'"),
        ("stream_type", "'refund'"),
        ("stream_id", "'elsewhere'"),
        ("trace_id", "repeat('a', 32)"),
        ("request_id", "'req_x'"),
        ("reason", "'because'"),
        ("redacted", "NOT redacted"),
        ("reference_list", "'[]'"),
        ("occurred_at", "occurred_at + interval '1 microsecond'"),
        ("recorded_at", "recorded_at + interval '1 microsecond'"),
        ("xid", "'5'::xid8"),
        ("leaf_hash", "decode(repeat('00', 32), 'hex')"),
    ],
)
def test_a_changed_column_is_found_as_exactly_one_event(
    owner_connection: psycopg.Connection, column: str, value: str
) -> None:
    start = datetime.now(UTC) - timedelta(seconds=5)
    neighbours = [append_event() for _ in range(2)]
    event = append_event(references=[("order", fresh_id("order"))])
    neighbours.append(append_event())
    with without_walls(owner_connection):
        saved = owner_connection.execute(
            f"SELECT {column}::text FROM audit_event WHERE id = %s", [event.pk]
        ).fetchone()
        assert saved is not None
        owner_connection.execute(
            f"UPDATE audit_event SET {column} = {value} WHERE id = %s", [event.pk]
        )
    try:
        assert wall_violations() == []
        assert [violation.object for violation in verify_leaves()] == [f"audit_event {event.pk}"]
        (violation,) = verify_leaves(since=start)
        assert violation.kind == "event_modified"
    finally:
        with without_walls(owner_connection):
            owner_connection.execute(
                f"UPDATE audit_event SET {column} = %s::text::{TYPES.get(column, 'text')} "
                "WHERE id = %s",
                [saved[0], event.pk],
            )
    assert verify_leaves() == []


def test_text_moved_to_the_field_before_is_found_although_the_hash_still_fits(
    owner_connection: psycopg.Connection,
) -> None:
    event = append_event()
    with without_walls(owner_connection):
        owner_connection.execute("ALTER TABLE audit_event ALTER actor_display DROP NOT NULL")
        owner_connection.execute(
            "UPDATE audit_event SET actor_id = actor_id || E'\\n' || actor_display, "
            "actor_display = NULL WHERE id = %s",
            [event.pk],
        )
    try:
        assert [violation.object for violation in verify_leaves()] == [f"audit_event {event.pk}"]
    finally:
        with without_walls(owner_connection):
            owner_connection.execute(
                "UPDATE audit_event SET actor_id = %s, actor_display = %s WHERE id = %s",
                [event.actor_id, event.actor_display, event.pk],
            )
            owner_connection.execute("ALTER TABLE audit_event ALTER actor_display SET NOT NULL")
    assert verify_leaves() == []


def test_only_what_was_recorded_since_is_looked_at() -> None:
    append_event()
    start = datetime.now(UTC)
    append_event()
    append_event()
    assert check_leaves(since=start + timedelta(days=1)).rows == 0
    assert check_leaves(since=start).rows in (2, 3)
    assert check_leaves().rows >= AuditEvent.objects.count() - 1


def test_a_reference_that_was_removed_or_forged_is_found(
    owner_connection: psycopg.Connection,
) -> None:
    order = fresh_id("order")
    event = append_event(references=[("order", order)])
    with without_walls(owner_connection):
        owner_connection.execute(
            "UPDATE audit_reference SET value = 'forged' WHERE value = %s", [order]
        )
    try:
        assert [(one.kind, one.object, one.detail) for one in verify_references()] == [
            ("reference_missing", f"audit_event {event.pk}", f"order {order}"),
            ("reference_forged", f"audit_event {event.pk}", "order forged"),
        ]
        assert verify_references(since=datetime(2100, 1, 1, tzinfo=UTC)) == []
    finally:
        with without_walls(owner_connection):
            owner_connection.execute(
                "UPDATE audit_reference SET value = %s WHERE value = 'forged'", [order]
            )
    assert verify_references() == []


ALTERATIONS = [
    (
        "ALTER TABLE {event} DISABLE TRIGGER audit_refuse_change",
        "ALTER TABLE {event} ENABLE ALWAYS TRIGGER audit_refuse_change",
        "trigger_altered",
    ),
    (
        "ALTER TABLE {event} ENABLE TRIGGER audit_complete_event",
        "ALTER TABLE {event} ENABLE ALWAYS TRIGGER audit_complete_event",
        "trigger_altered",
    ),
    (
        "DROP TRIGGER audit_refuse_truncate ON {reference}",
        "CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON {reference} FOR EACH STATEMENT "
        "EXECUTE FUNCTION audit_refuse_change(); "
        "ALTER TABLE {reference} ENABLE ALWAYS TRIGGER audit_refuse_truncate",
        "trigger_missing",
    ),
    (
        "CREATE TRIGGER swallow BEFORE INSERT ON {event} FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TRIGGER swallow ON {event}",
        "trigger_added",
    ),
    (
        "ALTER FUNCTION audit_refuse_change() SET search_path = public",
        "ALTER FUNCTION audit_refuse_change() SET search_path = pg_catalog, pg_temp",
        "function_altered",
    ),
    (
        "ALTER FUNCTION audit_ensure_partitions(timestamptz, integer) RENAME TO renamed",
        "ALTER FUNCTION renamed(timestamptz, integer) RENAME TO audit_ensure_partitions",
        "function_missing",
    ),
    (
        "GRANT DELETE ON audit_event TO florin_app",
        "REVOKE DELETE ON audit_event FROM florin_app",
        "right_added",
    ),
    (
        "GRANT UPDATE (body) ON {event} TO PUBLIC",
        "REVOKE UPDATE (body) ON {event} FROM PUBLIC",
        "right_added",
    ),
    (
        "GRANT INSERT (leaf_hash) ON audit_event TO florin_app",
        "REVOKE INSERT (leaf_hash) ON audit_event FROM florin_app",
        "right_added",
    ),
    (
        "CREATE RULE swallow AS ON INSERT TO {event} DO INSTEAD NOTHING",
        "DROP RULE swallow ON {event}",
        "rule_added",
    ),
    (
        "ALTER TABLE {event} ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE {event} DISABLE ROW LEVEL SECURITY",
        "row_security_on",
    ),
    ("ALTER TABLE {event} SET UNLOGGED", "ALTER TABLE {event} SET LOGGED", "table_unlogged"),
    (
        "ALTER TABLE audit_event ALTER COLUMN recorded_at SET DEFAULT now()",
        "ALTER TABLE audit_event ALTER COLUMN recorded_at SET DEFAULT clock_timestamp()",
        "column_altered",
    ),
    (
        "ALTER TABLE {parent} DETACH PARTITION {event}",
        "ALTER TABLE {parent} ATTACH PARTITION {event} FOR VALUES FROM ('{start}') TO ('{end}')",
        "partition_detached",
    ),
    (
        "ALTER TABLE audit_reference DETACH PARTITION {next}",
        "ALTER TABLE audit_reference ATTACH PARTITION {next} "
        "FOR VALUES FROM ('{end}') TO ('{next_end}')",
        "partition_missing",
    ),
    (
        "CREATE TABLE audit_event_rest PARTITION OF audit_event DEFAULT",
        "DROP TABLE audit_event_rest",
        "partition_altered",
    ),
    (
        "ALTER TABLE {event} RENAME TO audit_event_other",
        "ALTER TABLE audit_event_other RENAME TO {event}",
        "partition_altered",
    ),
]


@pytest.mark.parametrize(("alter", "repair", "kind"), ALTERATIONS)
def test_an_altered_wall_is_found(
    owner_connection: psycopg.Connection,
    event: AuditEvent,
    partition_of: Callable[[AuditEvent], str],
    alter: str,
    repair: str,
    kind: str,
) -> None:
    partition = partition_of(event)
    start = event.recorded_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    names = {
        "parent": "audit_event",
        "next": f"audit_reference_{end:%Y_%m}",
        "next_end": (end + timedelta(days=32)).replace(day=1),
        "event": partition,
        "reference": partition.replace("audit_event", "audit_reference"),
        "start": start,
        "end": end,
    }
    owner_connection.execute(alter.format(**names))
    try:
        assert kind in {violation.kind for violation in wall_violations()}
    finally:
        owner_connection.execute(repair.format(**names))
    assert wall_violations() == []


def test_a_replaced_function_is_found_even_if_it_only_adds_a_space(
    owner_connection: psycopg.Connection,
) -> None:
    definition = owner_connection.execute(
        "SELECT pg_get_functiondef('audit_complete_event'::regproc)"
    ).fetchone()
    assert definition is not None
    owner_connection.execute(definition[0].replace("RETURN NEW", "RETURN  NEW"))
    try:
        assert [(one.kind, one.object) for one in wall_violations()] == [
            ("function_altered", "audit_complete_event")
        ]
    finally:
        owner_connection.execute(definition[0])
    assert wall_violations() == []


def test_an_application_that_became_the_owner_is_found(
    owner_connection: psycopg.Connection, superuser_connection: psycopg.Connection
) -> None:
    if superuser_connection.info.dbname != owner_connection.info.dbname:
        return  # only a superuser of this server could try it, and there is none
    superuser_connection.execute("ALTER TABLE audit_reference OWNER TO florin_app")
    try:
        assert ("right_added", "audit_reference") in {
            (violation.kind, violation.object) for violation in wall_violations()
        }
    finally:
        superuser_connection.execute(
            f'ALTER TABLE audit_reference OWNER TO "{owner_connection.info.user}"'
        )
        superuser_connection.execute("REVOKE ALL ON audit_reference FROM florin_app")
        superuser_connection.execute("GRANT SELECT ON audit_reference TO florin_app")
    assert wall_violations() == []


def test_the_end_of_the_partitions_is_told_two_weeks_before() -> None:
    later = datetime.now(UTC) + timedelta(days=3_000)
    assert "partitions_end_soon" in {violation.kind for violation in verify(now=later)}
