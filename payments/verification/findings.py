"""What a check says, and the ranges that payments are walked in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction
from django.db.models import QuerySet

from payments.models import Payment

# Payments per range: some tens of megabytes at most, and a sign of life every second or two.
RANGE_SIZE = 5_000

Progress = Callable[[str, int], None]  # (check's name, objects examined so far)


@dataclass(frozen=True, kw_only=True)
class Offence:
    """One thing that is not as it should be: which rule, which object, in words."""

    kind: str
    object: str
    detail: str


@dataclass(kw_only=True)
class Finding:
    """What one check found. `examined` counts objects where the check walks them, else 0."""

    check: str
    proves: str
    examined: int = 0
    offence_count: int = 0
    offences: list[Offence] = field(default_factory=list)
    duration_seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return self.offence_count == 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Every finding of one run."""

    findings: list[Finding]

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)


def ranges() -> Iterator[tuple[str, str | None]]:
    """(after, until) over all payment ids; the last range has no end, so that what the other
    tables say about ids beyond the last payment is looked at too.
    """
    after = ""
    while True:
        ids = Payment.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
        until = ids[RANGE_SIZE - 1 : RANGE_SIZE].first()
        yield after, until
        if until is None:
            return
        after = until


def payments_within(after: str, until: str | None) -> QuerySet[Payment]:
    """The payments of one range."""
    within = Payment.objects.filter(pk__gt=after)
    return within if until is None else within.filter(pk__lte=until)


@contextmanager
def snapshot() -> Iterator[None]:
    """One state of the whole database for several statements, however long they take."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield
