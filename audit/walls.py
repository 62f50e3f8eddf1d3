"""The walls around the audit tables as they should stand, and what is missing from them.

Expected are: the triggers on each table and on each partition, firing always; their functions with
the very text of the migration; no right for anybody but the owner to change a row; partitions
without a gap and none taken off; the defaults that give time and transaction. Each is looked up in
PostgreSQL's catalogue, so whoever altered the schema is found even if no row was touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection

from audit.partitions import partition_bounds

_TABLES = ("audit_event", "audit_reference")
_MIGRATIONS = Path(__file__).with_name("migrations")
_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION public\.(\w+)\(.*?\bAS \$\$(.*?)\$\$;", re.DOTALL
)
# pg_trigger.tgtype: row 1, before 2, insert 4, delete 8, update 16, truncate 32.
_CHANGE = ("audit_refuse_change", "audit_refuse_change", 1 + 2 + 8 + 16)
_TRUNCATE = ("audit_refuse_truncate", "audit_refuse_change", 2 + 32)
_COMPLETE = ("audit_complete_event", "audit_complete_event", 1 + 2 + 4)
_TRIGGERS = {
    "audit_event": {_CHANGE, _TRUNCATE, _COMPLETE},
    "audit_reference": {_CHANGE, _TRUNCATE},
}
_COLUMNS_WITH_INSERT = frozenset(
    {
        *("occurred_at", "event_type", "actor_type", "actor_id", "actor_display", "stream_type"),
        *("stream_id", "trace_id", "request_id", "reason", "redacted", "reference_list", "body"),
    }
)
# Column -> (identity, generated, default expression), each way in which it may be declared.
_GIVEN_BY_THE_DATABASE: dict[str, set[tuple[str, str, str | None]]] = {
    "id": {("a", "", None)},
    "recorded_at": {("", "", "clock_timestamp()")},
    "xid": {("", "", "pg_current_xact_id()")},
    # Virtual from PostgreSQL 18 on, stored before.
    "body_json": {("", kind, "(body)::jsonb") for kind in "vs"},
    "leaf_hash": {("", "", None)},
}


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that should be impossible. `object` names the row or database object."""

    kind: str
    object: str
    detail: str


def wall_violations() -> list[Violation]:
    """Every difference between the walls that stand and those that should. Empty when intact."""
    with connection.cursor() as cursor:
        return [
            *_triggers(cursor),
            *_functions(cursor),
            *_tables(cursor),
            *_rights(cursor),
            *_columns(cursor),
            *_partitions(cursor),
        ]


def _triggers(cursor: Any) -> Iterator[Violation]:
    cursor.execute(
        """
        SELECT family.parent, family.relid::regclass::text, array_agg(
                   ARRAY[tgname, proname, tgtype::text, tgenabled::text, (tgqual IS NULL)::text]
               ) FILTER (WHERE tgname IS NOT NULL)
        FROM (SELECT parent, relid FROM unnest(%s::text[]) AS parent,
                     pg_partition_tree(to_regclass('public.' || parent))) AS family
        LEFT JOIN pg_trigger ON tgrelid = family.relid AND NOT tgisinternal
        LEFT JOIN pg_proc ON pg_proc.oid = tgfoid
        GROUP BY 1, 2 ORDER BY 2
        """,
        [list(_TABLES)],
    )
    for parent, table, found in cursor.fetchall():
        standing = {}
        for name, function, kind, enabled, unconditional in found or []:
            standing[name] = (function, int(kind), enabled, unconditional)
        for name, function, kind in sorted(_TRIGGERS[parent]):
            actual = standing.pop(name, None)
            if actual is None:
                yield Violation("trigger_missing", f"{name} on {table}", "it was dropped")
            elif actual != (function, kind, "A", "true"):
                yield Violation("trigger_altered", f"{name} on {table}", f"it is now {actual}")
        for name in sorted(standing):
            yield Violation("trigger_added", f"{name} on {table}", "it can change what is written")


def expected_functions() -> dict[str, str]:
    """Function name -> text of its body, as the migrations leave it."""
    functions: dict[str, str] = {}
    for script in sorted(_MIGRATIONS.glob("*.sql")):
        functions.update(_FUNCTION.findall(script.read_text(encoding="utf-8")))
    return functions


def _functions(cursor: Any) -> Iterator[Violation]:
    cursor.execute(
        """
        SELECT proname, prosrc, proconfig = ARRAY['search_path=pg_catalog, pg_temp'],
               proowner = (SELECT relowner FROM pg_class
                           WHERE oid = to_regclass('public.audit_event'))
        FROM pg_proc WHERE pronamespace = to_regnamespace('public') AND proname = ANY(%s)
        """,
        [list(expected_functions())],
    )
    standing = {name: rest for name, *rest in cursor.fetchall()}
    for name, body in expected_functions().items():
        if name not in standing:
            yield Violation("function_missing", name, "it was dropped")
        elif standing[name] != [body, True, True]:
            yield Violation("function_altered", name, "its text, search path or owner is another")


def _tables(cursor: Any) -> Iterator[Violation]:
    """Rules and row security can hide or redirect rows; an unlogged table loses them."""
    cursor.execute(
        """
        SELECT relid::regclass::text, EXISTS (SELECT FROM pg_rewrite WHERE ev_class = relid),
               relrowsecurity, relpersistence <> 'p'
        FROM unnest(%s::text[]) AS parent, pg_partition_tree(to_regclass('public.' || parent))
        JOIN pg_class ON pg_class.oid = relid ORDER BY 1
        """,
        [list(_TABLES)],
    )
    for table, rules, row_security, unlogged in cursor.fetchall():
        if rules:
            yield Violation("rule_added", table, "a rewrite rule can swallow what is written")
        if row_security:
            yield Violation("row_security_on", table, "row security can hide rows")
        if unlogged:
            yield Violation("table_unlogged", table, "a crash would empty it")


def _rights(cursor: Any) -> Iterator[Violation]:
    """Nobody but the owner may do more than read, the application also fill its columns."""
    cursor.execute(
        """
        WITH family AS (
            SELECT parent, relid, relid::regclass::text AS name, relowner, relacl
            FROM unnest(%s::text[]) AS parent, pg_partition_tree(to_regclass('public.' || parent))
            JOIN pg_class ON pg_class.oid = relid
        ), granted AS (
            SELECT name, NULL::text AS column, relowner, acl.*
            FROM family, aclexplode(relacl) AS acl
            UNION ALL
            SELECT name, attname, relowner, acl.*
            FROM family JOIN pg_attribute ON attrelid = relid, aclexplode(attacl) AS acl
        )
        SELECT name, granted.column, privilege_type,
               CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END
        FROM granted WHERE grantee <> relowner AND privilege_type <> 'SELECT' ORDER BY 1, 2, 3
        """,
        [list(_TABLES)],
    )
    for table, column, right, grantee in cursor.fetchall():
        expected = (
            table == "audit_event"
            and column in _COLUMNS_WITH_INSERT
            and (right, grantee) == ("INSERT", "florin_app")
        )
        if not expected:
            what = f"{right} on {table}" + (f".{column}" if column else "")
            yield Violation("right_added", what, f"granted to {grantee}")
    cursor.execute(
        """
        SELECT relname FROM pg_class
        WHERE oid IN (to_regclass('public.audit_event'), to_regclass('public.audit_reference'))
          AND pg_has_role('florin_app', relowner, 'MEMBER')
        """
    )
    for (table,) in cursor.fetchall():
        yield Violation("right_added", table, "the application has the owner's rights")


def _columns(cursor: Any) -> Iterator[Violation]:
    cursor.execute(
        """
        SELECT attname, attidentity::text, attgenerated::text, pg_get_expr(adbin, adrelid)
        FROM pg_attribute
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = to_regclass('public.audit_event') AND attname = ANY(%s)
        """,
        [list(_GIVEN_BY_THE_DATABASE)],
    )
    standing = {name: tuple(rest) for name, *rest in cursor.fetchall()}
    for name, expected in _GIVEN_BY_THE_DATABASE.items():
        if standing.get(name) not in expected:
            yield Violation(
                "column_altered", f"audit_event.{name}", "the database no longer fills it as before"
            )


def _partitions(cursor: Any) -> Iterator[Violation]:
    months: dict[str, set[str]] = {}
    for parent in _TABLES:
        previous_end = None
        months[parent] = set()
        for name, start, end in partition_bounds(parent):
            months[parent].add(name.removeprefix(parent))
            if name != f"{parent}_{start:%Y_%m}":
                yield Violation("partition_altered", name, f"it holds {start} to {end}")
            if previous_end is not None and start != previous_end:
                yield Violation(
                    "partition_missing", parent, f"nothing holds {previous_end} to {start}"
                )
            previous_end = end
        cursor.execute(
            """
            SELECT relid::regclass::text FROM pg_partition_tree(to_regclass('public.' || %s))
            JOIN pg_class ON oid = relid
            WHERE pg_get_expr(relpartbound, oid) = 'DEFAULT'
            """,
            [parent],
        )
        for (table,) in cursor.fetchall():
            yield Violation("partition_altered", table, "it takes whatever month has no partition")
        cursor.execute(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p')
              AND NOT relispartition AND relname ~ %s
            """,
            [rf"^{parent}_\d{{4}}_\d{{2}}$"],
        )
        for (table,) in cursor.fetchall():
            yield Violation("partition_detached", table, f"it is no longer a part of {parent}")
    for suffix in sorted(months["audit_event"] ^ months["audit_reference"]):
        yield Violation("partition_missing", f"*{suffix}", "one of the two tables lacks this month")
