"""Tell that a circuit breaker opened or closed: one event and one audit record per change.

Mental model: whoever records the call that changes a breaker tells it at once. A process may die in
between, Redis may be emptied, and without Redis several processes may see the same change; so the
row of the breaker decides in the transaction of the event whether it is still news, and a periodic
job compares the rows with Redis and tells what nobody told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import connection, transaction

from audit import log
from payments.models import ProviderAccount, ToldBreaker
from payments.providers.breaker import BreakerState
from payments.representation import timestamp
from webhooks import outbox

OPENED, CLOSED = "opened", "closed"

# Older news than what was told last is no news: two processes may bring it in any order.
_TAKE_DOWN = """
    INSERT INTO payments_toldbreaker AS told (
        id, provider_account_id, operation_class, state, since, calls, failures, slow
    )
    SELECT %(id)s, %(account)s, %(class)s, %(state)s, %(since)s,
        %(calls)s, %(failures)s, %(slow)s
    WHERE %(state)s = 'open' OR EXISTS (SELECT FROM payments_toldbreaker WHERE id = %(id)s)
    ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, since = EXCLUDED.since,
        calls = EXCLUDED.calls, failures = EXCLUDED.failures, slow = EXCLUDED.slow
    WHERE told.state <> EXCLUDED.state AND told.since < EXCLUDED.since
"""


def tell_change(name: str, change: str, *, state: BreakerState | None, now: datetime) -> bool:
    """Announce that breaker `name` ("account:class") has opened or closed, unless that was told
    already. `state` gives the figures behind it where they are known. True when this call told it.
    """
    account_id, _, operation_class = name.partition(":")
    account = ProviderAccount.objects.filter(pk=account_id).first()
    if account is None:
        return False
    opened = change == OPENED
    seen = state if state is not None and opened and state.state != "closed" else None
    row = {
        "id": name,
        "account": account_id,
        "class": operation_class,
        "state": "open" if opened else "closed",
        "since": datetime.fromtimestamp(seen.since, UTC) if seen is not None else now,
        "calls": seen.calls if seen is not None else 0,
        "failures": seen.failures if seen is not None else 0,
        "slow": seen.slow if seen is not None else 0,
    }
    with transaction.atomic(durable=True), log.acting_as(log.Actor(type="system", id="breaker")):
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_DOWN, row)
            if cursor.rowcount != 1:
                return False
        _announce(account, row, change, now=now)
    return True


def tell_what_nobody_told(states: list[BreakerState] | None, *, now: datetime) -> int:
    """Compare what Redis has (None: it is away) with what was told; returns how much was news."""
    if states is None:
        return 0
    told = 0
    not_closed = {state.name: state for state in states if state.state != "closed"}
    open_rows = ToldBreaker.objects.filter(state=ToldBreaker.State.OPEN)
    told_open = set(open_rows.values_list("pk", flat=True))
    for name in not_closed.keys() - told_open:
        told += tell_change(name, OPENED, state=not_closed[name], now=now)
    for name in told_open - not_closed.keys():
        told += tell_change(name, CLOSED, state=None, now=now)
    return told


def _announce(
    account: ProviderAccount, row: Mapping[str, object], change: str, *, now: datetime
) -> None:
    body = {
        "id": row["id"],
        "object": "breaker",
        "provider": account.provider,
        "provider_account": account.pk,
        "operation_class": row["class"],
        "state": row["state"],
        "calls": row["calls"],
        "failures": row["failures"],
        "slow_calls": row["slow"],
        "changed_at": timestamp(now),
    }
    log.append(
        event_type=f"breaker.{change}",
        stream_type="breaker",
        stream_id=str(row["id"]),
        body=body,
        references=[("provider_account", account.pk)],
        occurred_at=now,
    )
    outbox.emit(
        type=f"breaker.{change}",
        aggregate_type="breaker",
        aggregate_id=str(row["id"]),
        owner=account.merchant_id or "",
        livemode=account.livemode,
        payload=body,
        occurred_at=now,
        now=now,
    )
