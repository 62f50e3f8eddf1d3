"""Migration operation that gives a history table the protection of the audit log.

Configuration history (django-simple-history) is evidence too: rows are added and stay. The
operation uses the trigger function of the audit log, so a migration that contains it depends on
("audit", "0001_initial").
"""

from __future__ import annotations

import re

from django.db.migrations.operations import RunSQL

_TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_PROTECT = """
    CREATE TRIGGER history_refuse_change BEFORE UPDATE OR DELETE ON public.{table}
        FOR EACH ROW EXECUTE FUNCTION public.audit_refuse_change();
    CREATE TRIGGER history_refuse_truncate BEFORE TRUNCATE ON public.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change();
    ALTER TABLE public.{table} ENABLE ALWAYS TRIGGER history_refuse_change;
    ALTER TABLE public.{table} ENABLE ALWAYS TRIGGER history_refuse_truncate;
    REVOKE UPDATE, DELETE, TRUNCATE ON public.{table} FROM PUBLIC, florin_app;
"""
_EXPOSE = """
    DROP TRIGGER history_refuse_change ON public.{table};
    DROP TRIGGER history_refuse_truncate ON public.{table};
    GRANT UPDATE, DELETE ON public.{table} TO florin_app;
"""


class ProtectHistory(RunSQL):
    """Refuse UPDATE, DELETE and TRUNCATE on a history table, to the owner and in replica mode too.

    `ProtectHistory("payments_historicalmerchant")`. Reversible, because the table itself goes when
    its migration is reversed. Raises ValueError for what is not a plain lower-case table name.
    """

    def __init__(self, table: str) -> None:
        if not _TABLE_NAME.fullmatch(table):
            raise ValueError(f"{table!r} is not a plain lower-case table name")
        self.table = table
        super().__init__(
            sql=_PROTECT.format(table=table),
            reverse_sql=_EXPOSE.format(table=table),
            elidable=False,
        )

    def deconstruct(self) -> tuple[str, list[str], dict[str, object]]:
        """How a squashed migration writes this operation down."""
        return (self.__class__.__name__, [self.table], {})

    def describe(self) -> str:
        """Shown while migrating."""
        return f"Protect the history in {self.table} against changes"
