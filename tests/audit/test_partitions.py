"""Partitions are made ahead by the application itself, and a missing one closes the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import Error, connection

from audit import log
from audit.partitions import covered_days, ensure_partitions, partition_bounds
from tests.audit.conftest import append_event
from tests.audit.test_append_only import insert


def now() -> datetime:
    return datetime.now(UTC)


def first_month_without() -> datetime:
    """The month after the last one that is covered: making it leaves no gap for other tests."""
    return partition_bounds("audit_event")[-1][2]


def month_name(moment: datetime) -> str:
    return f"audit_event_{moment:%Y_%m}"


def test_the_migration_has_made_this_month_and_three_more() -> None:
    names = [name for name, _start, _end in partition_bounds("audit_event")]
    moment = now().replace(day=1)
    for _ in range(4):
        assert month_name(moment) in names
        moment = (moment + timedelta(days=32)).replace(day=1)


def test_every_month_begins_and_ends_at_midnight_utc() -> None:
    for table in ("audit_event", "audit_reference"):
        for name, start, end in partition_bounds(table):
            assert name == f"{table}_{start:%Y_%m}"
            assert start == start.astimezone(UTC).replace(day=1, hour=0, minute=0)
            assert end == (start + timedelta(days=32)).replace(day=1)


def test_partitions_are_made_once_and_can_be_asked_for_again() -> None:
    later = first_month_without()
    assert ensure_partitions(now=later, months_ahead=0) == 2
    assert ensure_partitions(now=later, months_ahead=0) == 0
    assert month_name(later) in [name for name, *_ in partition_bounds("audit_event")]


@pytest.mark.parametrize(
    ("distance", "months_ahead"),
    [(timedelta(), 13), (timedelta(), -1), (timedelta(days=500), 0), (timedelta(days=-500), 0)],
)
def test_partitions_far_from_now_are_refused(distance: timedelta, months_ahead: int) -> None:
    with pytest.raises(Error, match="0 to 12 months"):
        ensure_partitions(now=now() + distance, months_ahead=months_ahead)


def test_coverage_ends_at_the_first_gap() -> None:
    days = covered_days(now=now())
    assert days >= 88
    assert covered_days(now=now() + timedelta(days=10)) == pytest.approx(days - 10, abs=0.01)
    assert covered_days(now=now() + timedelta(days=3_000)) == 0


def test_partitions_can_be_made_while_others_write(second_connection: psycopg.Connection) -> None:
    later = first_month_without()
    with second_connection.transaction():
        second_connection.execute(insert())
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        try:
            assert ensure_partitions(now=later, months_ahead=0) == 2
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")


def test_a_month_without_a_partition_closes_the_log_with_clear_words(
    owner_connection: psycopg.Connection,
) -> None:
    partition = month_name(now())
    (bounds,) = [
        (start, end) for name, start, end in partition_bounds("audit_event") if name == partition
    ]
    owner_connection.execute(f"ALTER TABLE audit_event DETACH PARTITION {partition}")
    try:
        with pytest.raises(log.MissingPartition, match="ensure_partitions"):
            append_event()
        assert covered_days(now=now()) == 0
        with pytest.raises(Error, match="was it detached"):
            ensure_partitions(now=now())
    finally:
        owner_connection.execute(
            f"ALTER TABLE audit_event ATTACH PARTITION {partition} "
            f"FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
        )
    append_event()
