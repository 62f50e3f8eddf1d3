"""What the audit log costs: one append on top of a business transaction, and a whole verification.

`run()` works on the database of the settings, as the application. The append is measured against
the same transaction without it, in turns, so that whatever else the machine does hits both alike.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, transaction

from audit import log, verify

APPEND_LIMIT_MILLISECONDS = 0.3
VERIFY_LIMIT_ROWS_PER_SECOND = 100_000
_ROUNDS = 30
_TRANSACTIONS_PER_ROUND = 50
_VERIFIED_ROWS = 100_000
_ACTOR = log.Actor(type="job", id="audit_bench")


def run() -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    return [append_on_top(), verification()]


def append_on_top() -> dict[str, Any]:
    """Median milliseconds that an append adds to a transaction with one UPDATE, at one client."""
    session_key = "audit-bench-" + secrets.token_hex(8)
    expires_at = datetime.now(UTC) + timedelta(days=1)
    Session.objects.create(session_key=session_key, session_data="", expire_date=expires_at)
    number = 0

    def change() -> None:
        Session.objects.filter(pk=session_key).update(session_data=str(number))

    def bare() -> None:
        with transaction.atomic():
            change()

    def audited() -> None:
        with transaction.atomic():
            change()
            log.append(
                event_type="bench.payment_captured",
                stream_type="bench",
                stream_id=f"bench_{session_key}_{number}",
                body=_body(number),
                references=[("bench_provider_payment", f"pi_{session_key}_{number}")],
                occurred_at=datetime.now(UTC),
            )

    def median_seconds(work: Callable[[], None]) -> float:
        nonlocal number
        times = []
        for _ in range(_TRANSACTIONS_PER_ROUND):
            number += 1
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    try:
        with log.acting_as(_ACTOR, trace_id=secrets.token_hex(16)):
            # The difference within a round: what else the machine does changes more slowly.
            differences = [-median_seconds(bare) + median_seconds(audited) for _ in range(_ROUNDS)]
    finally:
        Session.objects.filter(pk=session_key).delete()
    on_top = statistics.median(differences) * 1000
    return {
        "name": "audit: append on top of a business transaction, milliseconds",
        "value": round(on_top, 3),
        "limit": APPEND_LIMIT_MILLISECONDS,
        "ratio": round(on_top / APPEND_LIMIT_MILLISECONDS, 3),
        "bar": 1.0,
        "errors": 0,
        "holds": on_top <= APPEND_LIMIT_MILLISECONDS,
    }


def verification() -> dict[str, Any]:
    """Rows per second of recomputing every leaf hash of a log of at least 100,000 events."""
    _fill(_VERIFIED_ROWS)
    started = time.perf_counter()
    result = verify.check_leaves()
    seconds = time.perf_counter() - started
    rate = result.rows / seconds
    return {
        "name": "audit: whole-log verification, rows per second",
        "value": round(rate),
        "limit": VERIFY_LIMIT_ROWS_PER_SECOND,
        "ratio": round(rate / VERIFY_LIMIT_ROWS_PER_SECOND, 3),
        "bar": 1.0,
        "errors": len(result.violations),
        "holds": rate >= VERIFY_LIMIT_ROWS_PER_SECOND and not result.violations,
    }


def _body(number: int) -> dict[str, Any]:
    """A body of the size of a payment's transition with the provider's answer in it."""
    unique = f"{number:x}"
    return {
        "payment": f"pay_01hxyz8k3mfq2v9ct7rb{unique}",
        "amount_minor": 12_345,
        "currency": "EUR",
        "from": "processing",
        "to": "captured",
        "provider": {
            "id": f"pi_3PfzW2LkdIwH{unique}",
            "status": "succeeded",
            "latest_charge": {"id": f"ch_3PfzW2LkdIwH{unique}", "outcome": "approved_by_network"},
            "metadata": {"order": f"order-{number}", "note": "n" * 600},
        },
    }


def _fill(rows: int) -> None:
    """Append until the log has at least `rows` events."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT FROM audit_event LIMIT %s) present", [rows])
        (present,) = cursor.fetchone()
    now = datetime.now(UTC)
    with log.acting_as(_ACTOR):
        for start in range(present, rows, 2_000):
            with transaction.atomic():
                log.append_many(
                    [
                        log.Record(
                            event_type="bench.filled",
                            stream_type="bench",
                            stream_id=f"bench_{number % 20_000}",
                            body=_body(number),
                            references=[("bench_provider_payment", f"pi_bench_{number}")],
                            occurred_at=now,
                        )
                        for number in range(start, min(start + 2_000, rows))
                    ]
                )
