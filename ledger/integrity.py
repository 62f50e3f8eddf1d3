"""Proof that the books are whole: what they say, and what guards them.

Mental model: `prove()` looks for counter-examples. Half of its questions are about rows (an entry
that does not sum to zero, a balance that its lines do not explain); the other half are about the
schema, because whoever owns the tables could take a guard off, write, and put it back: the guards
as they stand are compared with `schema.json`, which describes the schema as the migrations make
it. An empty answer means that nothing was found.

The row checks read the tables once each; every check is one statement, so each judges one moment
and postings may go on. Give `using` to prove what another connection sees.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction

_EXPECTED = Path(__file__).with_name("schema.json")
_TABLES = ["ledger_account", "ledger_balance", "ledger_journal_entry", "ledger_line"]
# Enough to see what is wrong; a broken table could name millions.
_ROWS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be: which rule, on what, and the facts in words."""

    kind: str
    object: str
    detail: str


def prove(*, using: str = DEFAULT_DB_ALIAS) -> list[Violation]:
    """Every violation found in rows and schema, at most 100 per rule; empty when all is well."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            # Proving takes as long as the books are.
            cursor.execute("SET LOCAL statement_timeout = 0")
        return [*row_violations(using=using), *schema_violations(using=using)]


# Each query gives the object and the facts of a violation. Columns: object, detail.
_ROW_CHECKS: dict[str, str] = {
    "entry_unbalanced": """
        SELECT 'journal entry ' || entry_id,
               format('%s, %s layer: debits %s, credits %s', currency,
                 CASE WHEN pending THEN 'pending' ELSE 'posted' END,
                 sum(debit_minor), sum(credit_minor))
          FROM ledger_line GROUP BY entry_id, currency, pending
        HAVING sum(debit_minor) <> sum(credit_minor)""",
    "entry_incomplete": """
        SELECT 'journal entry ' || coalesce(e.id, l.entry_id),
               format('the header says %s lines, there are %s, numbered up to %s',
                 e.line_count, coalesce(l.lines, 0), l.last_line)
          FROM ledger_journal_entry e
          FULL JOIN (SELECT entry_id, count(*) AS lines, max(line_number) AS last_line
                       FROM ledger_line GROUP BY entry_id) l ON l.entry_id = e.id
         WHERE (e.line_count = l.lines AND e.line_count = l.last_line) IS NOT TRUE""",
    "line_misplaced": """
        SELECT format('line %s of journal entry %s', l.line_number, l.entry_id),
               format('%s on account %s in %s; the entry is live: %s, the account: %s',
                 l.currency, l.account_id, a.currency, e.livemode, a.livemode)
          FROM ledger_line l
          LEFT JOIN ledger_account a ON a.id = l.account_id
          LEFT JOIN ledger_journal_entry e ON e.id = l.entry_id
         WHERE (a.currency = l.currency AND a.livemode = e.livemode) IS NOT TRUE""",
    "balance_unexplained": """
        SELECT 'account ' || coalesce(b.account_id, l.account_id),
               format('counters %s, lines %s', b.counters, l.counters)
          FROM (SELECT account_id, ARRAY[sum(posted_debit_minor), sum(posted_credit_minor),
                         sum(pending_debit_minor), sum(pending_credit_minor),
                         sum(released_debit_minor), sum(released_credit_minor),
                         sum(line_count)] AS counters
                  FROM ledger_balance GROUP BY account_id) b
          FULL JOIN (
            SELECT l.account_id, ARRAY[
                     coalesce(sum(l.debit_minor) FILTER (WHERE NOT l.pending), 0),
                     coalesce(sum(l.credit_minor) FILTER (WHERE NOT l.pending), 0),
                     coalesce(sum(l.debit_minor)
                       FILTER (WHERE l.pending AND e.resolves IS NULL), 0),
                     coalesce(sum(l.credit_minor)
                       FILTER (WHERE l.pending AND e.resolves IS NULL), 0),
                     coalesce(sum(l.credit_minor)
                       FILTER (WHERE l.pending AND e.resolves IS NOT NULL), 0),
                     coalesce(sum(l.debit_minor)
                       FILTER (WHERE l.pending AND e.resolves IS NOT NULL), 0),
                     count(*)] AS counters
              FROM ledger_line l LEFT JOIN ledger_journal_entry e ON e.id = l.entry_id
             GROUP BY l.account_id) l ON l.account_id = b.account_id
         WHERE coalesce(b.counters, '{0,0,0,0,0,0,0}')
               <> coalesce(l.counters, '{0,0,0,0,0,0,0}')""",
    "balance_rows_missing": """
        SELECT 'account ' || a.id,
               format('%s balance rows, %s of them closed, for %s stripes; closed at %s',
                 count(b.account_id), count(*) FILTER (WHERE b.closed), a.stripes, a.closed_at)
          FROM ledger_account a LEFT JOIN ledger_balance b ON b.account_id = a.id GROUP BY a.id
        HAVING count(b.account_id) <> a.stripes
            OR count(*) FILTER (WHERE b.closed)
               <> CASE WHEN a.closed_at IS NULL THEN 0 ELSE a.stripes END""",
    "link_not_mirrored": """
        SELECT 'journal entry ' || e.id,
               format('does not mirror entry %s on account %s',
                 coalesce(e.reverses, e.resolves), l.account_id)
          FROM ledger_journal_entry e
          JOIN ledger_line l ON l.entry_id IN (e.id, coalesce(e.reverses, e.resolves))
         WHERE coalesce(e.reverses, e.resolves) IS NOT NULL
           AND (e.reverses IS NOT NULL OR l.pending)
         GROUP BY e.id, l.account_id
        HAVING coalesce(sum(l.debit_minor) FILTER (WHERE l.entry_id = e.id), 0)
                 <> coalesce(sum(l.credit_minor) FILTER (WHERE l.entry_id <> e.id), 0)
            OR coalesce(sum(l.credit_minor) FILTER (WHERE l.entry_id = e.id), 0)
                 <> coalesce(sum(l.debit_minor) FILTER (WHERE l.entry_id <> e.id), 0)""",
    "floor_breached": """
        SELECT 'account ' || a.id,
               format('stands below its floor %s, and no unrefusable fact explains it',
                 a.floor_minor)
          FROM ledger_account a JOIN ledger_balance b ON b.account_id = a.id
         WHERE a.floor_minor > CASE WHEN a.normal_side = 'debit'
                 THEN b.posted_debit_minor::numeric - b.posted_credit_minor
                      - (b.pending_credit_minor - b.released_credit_minor)
                 ELSE b.posted_credit_minor::numeric - b.posted_debit_minor
                      - (b.pending_debit_minor - b.released_debit_minor) END
           AND a.floor_minor <= 0
           AND NOT EXISTS (SELECT FROM ledger_line l
                             JOIN ledger_journal_entry e ON e.id = l.entry_id
                            WHERE l.account_id = a.id AND NOT e.enforces_floors)""",
}


def row_violations(*, using: str = DEFAULT_DB_ALIAS) -> list[Violation]:
    """Where the rows contradict each other, at most 100 per rule."""
    return [
        Violation(kind, name, detail)
        for kind, query in _ROW_CHECKS.items()
        for name, detail in _rows(f"{query} ORDER BY 1 LIMIT {_ROWS_SHOWN}", using=using)
    ]


def schema_violations(*, using: str = DEFAULT_DB_ALIAS) -> list[Violation]:
    """Where the tables, guards and rights differ from what the migrations make."""
    expected = json.loads(_EXPECTED.read_text(encoding="utf-8"))
    found = describe_schema(using=using)
    violations = []
    for part in sorted(expected.keys() | found.keys()):
        wanted, present = expected.get(part, {}), found.get(part, {})
        for name in sorted(wanted.keys() | present.keys()):
            if wanted.get(name) != present.get(name):
                detail = f"expected {wanted.get(name)}, found {present.get(name)}"
                violations.append(Violation(f"schema_{part}", name, detail))
    return violations


def describe_schema(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, dict[str, Any]]:
    """The ledger's tables, guards and rights as they stand in this database, by part and name.

    Functions are given by a hash of their source. What differs between installations (the owner's
    name) and between PostgreSQL versions is left out.
    """
    parameters = {"tables": _TABLES, "role": settings.APPLICATION_ROLE}
    described = {
        part: dict(_rows(query, parameters, using=using))
        for part, query in _SCHEMA_QUESTIONS.items()
    }
    for name, function in described["functions"].items():
        source = hashlib.sha256(function.pop("source").encode()).hexdigest()
        described["functions"][name] = {**function, "sha256": source}
    return described


# Each question gives names and facts (text or JSON) of one part of the schema.
_SCHEMA_QUESTIONS: dict[str, str] = {
    "columns": """
        SELECT c.relname || '.' || a.attname,
               concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                 CASE WHEN a.attnotnull THEN 'not null' END,
                 'default ' || pg_get_expr(d.adbin, d.adrelid),
                 'identity ' || nullif(a.attidentity::text, ''),
                 'generated ' || nullif(a.attgenerated::text, ''))
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.oid = ANY (%(tables)s::regclass[]) AND NOT a.attisdropped""",
    "tables": """
        SELECT c.relname, concat_ws(' ', c.relkind, c.relpersistence,
                 CASE WHEN c.relrowsecurity THEN 'row security' END,
                 CASE WHEN c.relhasrules THEN 'rules' END,
                 CASE WHEN c.relhassubclass OR c.relispartition THEN 'inheritance' END)
          FROM pg_class c WHERE c.oid = ANY (%(tables)s::regclass[])""",
    "constraints": """
        SELECT k.conname, concat_ws(' ', k.conrelid::regclass::text, pg_get_constraintdef(k.oid),
                 CASE WHEN NOT k.convalidated THEN 'not validated' END)
          FROM pg_constraint k
         WHERE k.conrelid = ANY (%(tables)s::regclass[])
           AND k.contype IN ('p', 'u', 'f', 'c', 'x')""",
    "indexes": """
        SELECT i.indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(i.indexrelid),
                 CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'not valid' END)
          FROM pg_index i WHERE i.indrelid = ANY (%(tables)s::regclass[])""",
    "triggers": """
        SELECT t.tgrelid::regclass || '.' || t.tgname,
               CASE t.tgenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'not in replica mode'
                 WHEN 'R' THEN 'only in replica mode' ELSE 'disabled' END
               || ': ' || pg_get_triggerdef(t.oid)
          FROM pg_trigger t
         WHERE t.tgrelid = ANY (%(tables)s::regclass[]) AND NOT t.tgisinternal""",
    # The triggers that carry foreign keys have no stable names: they are counted by state.
    "foreign_key_triggers": """
        SELECT c.relname || ' ' || t.tgenabled::text, count(*)::text
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.oid = ANY (%(tables)s::regclass[]) AND t.tgisinternal
         GROUP BY c.relname, t.tgenabled""",
    "functions": """
        SELECT p.oid::regprocedure::text,
               jsonb_build_object('source', p.prosrc, 'returns', p.prorettype::regtype,
                 'definer', p.prosecdef, 'settings', p.proconfig, 'volatile', p.provolatile,
                 'owned_with_tables', p.proowner = (SELECT relowner FROM pg_class
                                                     WHERE oid = 'ledger_line'::regclass))
          FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'ledger_')""",
    # Rights of anybody but the owner; a superuser needs none and is not found here.
    "grants": """
        SELECT g.name || ' to ' || CASE g.grantee WHEN 0 THEN 'public'
                                     ELSE g.grantee::regrole::text END,
               string_agg(g.privilege, ', ' ORDER BY g.privilege)
          FROM (
            SELECT c.relname AS name, x.grantee, x.privilege_type AS privilege, c.relowner AS owner
              FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
             WHERE c.oid = ANY (%(tables)s::regclass[])
                OR (c.relkind = 'S' AND starts_with(c.relname, 'ledger_'))
            UNION ALL
            SELECT c.relname || '.' || a.attname, x.grantee, x.privilege_type, c.relowner
              FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE c.oid = ANY (%(tables)s::regclass[])
            UNION ALL
            SELECT p.oid::regprocedure::text, x.grantee, x.privilege_type, p.proowner
              FROM pg_proc p CROSS JOIN LATERAL
                   aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
             WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'ledger_')
               AND p.prorettype <> 'trigger'::regtype) g
         WHERE g.grantee <> g.owner GROUP BY g.name, g.grantee""",
    "application_role": """
        SELECT r.rolname, concat_ws(' ', CASE WHEN r.rolsuper THEN 'superuser' END,
                 CASE WHEN r.rolbypassrls THEN 'bypassrls' END,
                 CASE WHEN pg_has_role(r.oid, c.relowner, 'MEMBER') THEN 'can become the owner'
                      ELSE 'is not the owner' END)
          FROM pg_roles r, pg_class c
         WHERE r.rolname = %(role)s AND c.oid = 'ledger_line'::regclass""",
}


def _rows(
    query: str, parameters: dict[str, Any] | None = None, *, using: str
) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(query, parameters)
        return [
            tuple(json.loads(value) if _is_object(value) else value for value in row)
            for row in cursor.fetchall()
        ]


def _is_object(value: object) -> bool:
    # Django leaves JSON of raw queries as text.
    return isinstance(value, str) and value.startswith("{")
