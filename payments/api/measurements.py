"""Figures for `/metrics` that PostgreSQL knows: payments, provider calls, queues, books, audit.

Mental model: one group per subject, each read in its own short transaction with a time limit, so
that a slow or broken group is missing (`florin_metrics_group_up` 0) and the others still come.
"Last hour" groups read the newest rows by index, the others read indexes of open rows; so a
scrape costs the same however many payments there have ever been. docs/metrics.md lists the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from audit import partitions
from ledger.balances import trial_balance
from payments.actions.through_breaker import breaker
from payments.models import EventSweep, ProviderAccount, ToldBreaker
from payments.providers.breaker import BreakerState
from webhooks import backlog, dead_letter_runs, failures
from webhooks import partitions as inbox_months
from webhooks.keys_in_time import first_id

WINDOW = timedelta(hours=1)
GROUP_TIMEOUT = "2s"
# Handlers are few; a handler renamed a hundred times must not make a hundred series.
SOURCES_MAX = 30
_QUANTILES = (0.5, 0.95, 0.99)

# A payment counts as succeeded once money is held or taken, as failed once a try was refused.
_SUCCEEDED = (
    "authorized",
    "capture_pending",
    "partially_captured",
    "captured",
    "settled",
    "disputed",
    "refunded",
    "reversed",
)

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
DEBIT_NORMAL_KINDS = frozenset({"asset", "expense"})

# An answer that is due sooner than this is worth an alert.
URGENT = timedelta(hours=48)
_DISPUTE_IS_OPEN = "dispute.state IN ('needs_response', 'submitted', 'under_review')"
_OPEN_CASES = """
    SELECT payment.livemode, found.kind, count(*) FROM payments_reviewcase AS found
    JOIN payments_payment AS payment ON payment.id = found.payment_id
    WHERE found.resolved_at IS NULL GROUP BY 1, 2
"""
_OPEN_DISPUTES = f"""
    SELECT payment.livemode, dispute.stage, count(*), count(*) FILTER
        (WHERE dispute.state = 'needs_response' AND dispute.evidence_due_at <= %s)
    FROM payments_dispute AS dispute JOIN payments_payment AS payment
    ON payment.id = dispute.payment_id WHERE {_DISPUTE_IS_OPEN} GROUP BY 1, 2
"""  # noqa: S608
_OPEN_REFUNDS = """
    SELECT payment.livemode, count(*) FROM payments_refund AS refund
    JOIN payments_payment AS payment ON payment.id = refund.payment_id
    WHERE refund.state IN ('requested', 'requires_action', 'pending') GROUP BY 1
"""
_AT_RISK = f"""
    SELECT payment.livemode, dispute.currency, 'dispute', sum(dispute.amount_minor)
    FROM payments_dispute AS dispute JOIN payments_payment AS payment
    ON payment.id = dispute.payment_id WHERE {_DISPUTE_IS_OPEN} GROUP BY 1, 2
    UNION ALL
    SELECT payment.livemode, payment.currency, 'review', sum(payment.amount_minor)
    FROM payments_payment AS payment WHERE payment.id IN
        (SELECT found.payment_id FROM payments_reviewcase AS found
         WHERE found.resolved_at IS NULL) GROUP BY 1, 2
"""  # noqa: S608

logger = structlog.get_logger(__name__)


class DatabaseCollector(Collector):
    """Asks every group when scraped."""

    def collect(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        up = GaugeMetricFamily(
            "florin_metrics_group_up", "1 when this group could be read.", labels=["group"]
        )
        for name, group in GROUPS.items():
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute(f"SET LOCAL statement_timeout = '{GROUP_TIMEOUT}'")
                    found = list(group(now))
            except DatabaseError as error:
                logger.warning("metrics.group_unreadable", group=name, error=str(error))
                up.add_metric([name], 0)
                continue
            up.add_metric([name], 1)
            yield from found
        yield up


def payments(now: datetime) -> Iterator[Metric]:
    """Payments created in the last hour by state, and how many of the decided ones succeeded."""
    count = GaugeMetricFamily(
        "florin_payments_last_hour",
        "Payments created in the last hour, by the state they are in.",
        labels=["livemode", "state"],
    )
    ratio = GaugeMetricFamily(
        "florin_payments_success_ratio_last_hour",
        "Succeeded payments of the last hour's, among those that succeeded or were refused.",
        labels=["livemode"],
    )
    decided: dict[bool, list[int]] = {}
    for livemode, state, number, refused in _rows(
        "SELECT livemode, state, count(*), count(*) FILTER (WHERE state = 'failed' "
        "OR state = 'created' AND last_error IS NOT NULL AND last_error <> 'null') "
        "FROM payments_payment WHERE created_at >= %s GROUP BY 1, 2",
        [now - WINDOW],
    ):
        count.add_metric([_mode(livemode), state], number)
        good_and_bad = decided.setdefault(livemode, [0, 0])
        good_and_bad[0] += number if state in _SUCCEEDED else 0
        good_and_bad[1] += refused
    for livemode, (good, bad) in decided.items():
        if good + bad:
            ratio.add_metric([_mode(livemode)], good / (good + bad))
    yield count
    yield ratio


def provider_operations(now: datetime) -> Iterator[Metric]:
    """Calls to providers begun in the last hour: outcomes, and seconds until they were recorded."""
    count = GaugeMetricFamily(
        "florin_provider_operations_last_hour",
        "Provider operations of the last hour by outcome; `open` has none yet.",
        labels=["provider", "kind", "outcome"],
    )
    seconds = GaugeMetricFamily(
        "florin_provider_operation_seconds_last_hour",
        "From committing the call to recording its outcome, by quantile.",
        labels=["provider", "kind", "quantile"],
    )
    source = (
        "FROM payments_provideroperation AS operation "
        "JOIN payments_attempt AS attempt ON attempt.id = operation.attempt_id "
        "JOIN payments_provideraccount AS account ON account.id = attempt.provider_account_id "
        "WHERE operation.id >= %s"
    )
    begun = [first_id("op", now - WINDOW)]
    for provider, kind, outcome, number in _rows(
        "SELECT account.provider, operation.kind, CASE WHEN operation.finished_at IS NULL "
        f"THEN 'open' ELSE operation.outcome END, count(*) {source} GROUP BY 1, 2, 3",
        begun,
    ):
        count.add_metric([provider, kind, outcome], number)
    for provider, kind, values in _rows(
        "SELECT account.provider, operation.kind, percentile_cont(%s::float8[]) WITHIN GROUP "  # noqa: S608
        "(ORDER BY extract(epoch FROM operation.finished_at - operation.created_at)::float8) "
        f"{source} AND operation.finished_at IS NOT NULL GROUP BY 1, 2",
        [list(_QUANTILES), *begun],
    ):
        for quantile, value in zip(_QUANTILES, values, strict=True):
            seconds.add_metric([provider, kind, str(quantile)], value)
    yield count
    yield seconds


def breakers(now: datetime) -> Iterator[Metric]:
    """Circuit breakers with calls within the last hour, or not closed. While Redis is away those
    that were told open last.
    """
    labels = ["provider", "account", "operation_class"]
    state = GaugeMetricFamily(
        "florin_breaker_state", "0 closed, 1 half-open, 2 open.", labels=labels
    )
    ratio = GaugeMetricFamily(
        "florin_breaker_failure_ratio", "Failed calls of the window, among all.", labels=labels
    )
    known = breaker().states()
    if known is None:
        open_rows = ToldBreaker.objects.filter(state=ToldBreaker.State.OPEN)
        names = open_rows.values_list("pk", flat=True)
        known = [BreakerState(name=name, state="open", calls=1, failures=1) for name in names]
    split = [(*found.name.partition(":")[::2], found) for found in known]
    accounts = ProviderAccount.objects.in_bulk({account_id for account_id, _, _ in split})
    for account_id, operation_class, found in split:
        account = accounts.get(account_id)
        if account is not None:
            values = [account.provider, account_id, operation_class]
            state.add_metric(values, BREAKER_STATES[found.state])
            ratio.add_metric(values, found.failure_ratio)
    yield state
    yield ratio


def event_sweeps(now: datetime) -> Iterator[Metric]:
    """How far providers' own lists of events are compared with the inbox, and what was missing."""
    labels = ["provider", "account"]
    found = CounterMetricFamily(
        "florin_lost_webhooks_found",
        "Provider events that came by no webhook and were found in the provider's list.",
        labels=labels,
    )
    age = GaugeMetricFamily(
        "florin_event_sweep_age_seconds",
        "Since the moment up to which an account's list of events is compared with the inbox.",
        labels=labels,
    )
    sweeps = EventSweep.objects.select_related("provider_account")
    for sweep in sweeps:
        account = sweep.provider_account
        values = [account.provider, account.pk]
        found.add_metric(values, sweep.found_count)
        if account.active:
            age.add_metric(values, max(0.0, (now - sweep.swept_until).total_seconds()))
    yield from (found, age)


def parts(now: datetime) -> Iterator[Metric]:
    """What waits for a person or a bank: cases, disputes, refunds, and the money at stake."""
    cases = GaugeMetricFamily(
        "florin_review_cases_open",
        "Cases that a person has to decide.",
        labels=["livemode", "kind"],
    )
    disputes = GaugeMetricFamily(
        "florin_disputes_open", "Disputes that are not over.", labels=["livemode", "stage"]
    )
    due = GaugeMetricFamily(
        "florin_disputes_due",
        "Disputes without an answer whose evidence is due within 48 hours, or was.",
        labels=["livemode"],
    )
    refunds = GaugeMetricFamily(
        "florin_refunds_pending", "Refunds that are under way.", labels=["livemode"]
    )
    risk = GaugeMetricFamily(
        "florin_amount_at_risk_minor",
        "Amounts of open disputes, and of payments with an open case, in minor units.",
        labels=["livemode", "currency", "reason"],
    )
    for livemode, kind, number in _rows(_OPEN_CASES, []):
        cases.add_metric([_mode(livemode), kind], number)
    due_by_mode: dict[bool, int] = {}
    for livemode, stage, number, urgent in _rows(_OPEN_DISPUTES, [now + URGENT]):
        disputes.add_metric([_mode(livemode), stage], number)
        due_by_mode[livemode] = due_by_mode.get(livemode, 0) + urgent
    for livemode, urgent in due_by_mode.items():
        due.add_metric([_mode(livemode)], urgent)
    for livemode, number in _rows(_OPEN_REFUNDS, []):
        refunds.add_metric([_mode(livemode)], number)
    for livemode, currency, reason, amount_minor in _rows(_AT_RISK, []):
        risk.add_metric([_mode(livemode), currency, reason], amount_minor)
    yield from (cases, disputes, due, refunds, risk)


def open_work(now: datetime) -> Iterator[Metric]:
    """What waits for an outcome: operations, and requests whose key is not finished."""
    (operations, age), *_ = _rows(
        "SELECT count(*), coalesce(extract(epoch FROM %s - min(created_at)), 0)::float8 FROM "
        "payments_provideroperation WHERE finished_at IS NULL",
        [now],
    )
    ((keys,),) = _rows(
        "SELECT count(*) FROM payments_idempotencykey WHERE recovery_point <> 'finished'", []
    )
    yield GaugeMetricFamily(
        "florin_provider_operations_open", "Calls without a known outcome.", value=operations
    )
    yield GaugeMetricFamily(
        "florin_provider_operation_oldest_open_seconds", "Age of the oldest of them.", value=age
    )
    yield GaugeMetricFamily(
        "florin_idempotency_keys_unfinished", "Requests not answered for good.", value=keys
    )


def queues(now: datetime) -> Iterator[Metric]:
    """The event pipeline: inbox, outbox and merchants' webhooks."""
    waiting = GaugeMetricFamily(
        "florin_queue_waiting", "Rows that wait, counted up to 100,000.", labels=["queue"]
    )
    late = GaugeMetricFamily(
        "florin_queue_late_seconds", "How late the longest due row is.", labels=["queue"]
    )
    dead = GaugeMetricFamily(
        "florin_dead_letters", "Rows that gave up and wait for a person.", labels=["queue"]
    )
    for queue in backlog.queues(now=now):
        waiting.add_metric([queue.name], queue.waiting)
        late.add_metric([queue.name], queue.late_seconds)
        dead.add_metric([queue.name], queue.dead)
    yield from (waiting, late, dead)


def notifications(now: datetime) -> Iterator[Metric]:
    """What staff are to be told: what waits, how late, and what could not be delivered."""
    waiting = GaugeMetricFamily(
        "florin_notifications_waiting", "Notifications to be sent.", labels=["channel"]
    )
    late = GaugeMetricFamily(
        "florin_notification_late_seconds",
        "How late the longest due notification is.",
        labels=["channel"],
    )
    for channel, number, seconds in _rows(
        "SELECT channel, count(*), extract(epoch FROM greatest(%s - min(due_at), interval '0'))"
        "::float8 FROM payments_notification WHERE status IN ('pending', 'retrying') GROUP BY 1",
        [now],
    ):
        waiting.add_metric([channel], number)
        late.add_metric([channel], seconds)
    ((dead,),) = _rows("SELECT count(*) FROM payments_notification WHERE status = 'dead'", [])
    yield from (waiting, late)
    yield GaugeMetricFamily(
        "florin_notifications_dead", "Notifications that wait for a person.", value=dead
    )


def failing(now: datetime) -> Iterator[Metric]:
    """What fails by whom, deliveries to merchants, and runs over dead letters."""
    tries = GaugeMetricFamily(
        "florin_handler_failures_last_hour",
        "Failed tries of the last hour by handler (kind handler) or provider (kind inbox).",
        labels=["kind", "source"],
    )
    endpoints = GaugeMetricFamily(
        "florin_webhook_endpoints", "Merchants' endpoints by how they do.", labels=["state"]
    )
    deliveries = GaugeMetricFamily(
        "florin_merchant_deliveries_last_hour",
        "Deliveries to merchants promised in the last hour, by status.",
        labels=["status"],
    )
    for source in failures.by_source(since=now - WINDOW, limit=SOURCES_MAX):
        tries.add_metric([source.kind, source.name], source.total)
    for state, number in failures.endpoint_counts().items():
        endpoints.add_metric([state], number)
    for status, number in _rows(
        "SELECT status, count(*) FROM webhooks_merchant_delivery WHERE id >= %s GROUP BY 1",
        [first_id("whd", now - WINDOW)],
    ):
        deliveries.add_metric([status], number)
    running, left = dead_letter_runs.unfinished()
    yield from (tries, endpoints, deliveries)
    yield GaugeMetricFamily(
        "florin_dead_letter_runs_running", "Runs over dead letters under way.", value=running
    )
    yield GaugeMetricFamily(
        "florin_dead_letter_run_rows_left", "Rows that those runs have still to reach.", value=left
    )


def processes(now: datetime) -> Iterator[Metric]:
    """Seconds since any process of a role gave a sign of life."""
    age = GaugeMetricFamily(
        "florin_heartbeat_age_seconds", "Since the last sign of life of a role.", labels=["role"]
    )
    for role, beat_at in backlog.last_heartbeats().items():
        age.add_metric([role], max(0.0, (now - beat_at).total_seconds()))
    yield age


def ledger(now: datetime) -> Iterator[Metric]:
    """The books: what stands on all accounts of a code together, on their normal side."""
    balance = GaugeMetricFamily(
        "florin_ledger_balance_minor",
        "Balance of all accounts of a code, in minor units, on the code's normal side.",
        labels=["livemode", "code", "currency"],
    )
    for livemode in (False, True):
        for row in trial_balance(livemode=livemode):
            difference = row.debit_minor - row.credit_minor
            on_normal_side = difference if row.kind in DEBIT_NORMAL_KINDS else -difference
            balance.add_metric([_mode(livemode), row.code, row.currency], on_normal_side)
    yield balance


def audit(now: datetime) -> Iterator[Metric]:
    """How long the audit log, without which nothing can be done, is sure to have a place."""
    yield GaugeMetricFamily(
        "florin_audit_partition_days_ahead",
        "Days until an audit event could not be written any more.",
        value=partitions.covered_days(now=now),
    )


def inbox(now: datetime) -> Iterator[Metric]:
    """How long provider events are sure to find a month of their own, and what found none."""
    yield GaugeMetricFamily(
        "florin_inbox_partition_days_ahead",
        "Days until provider events would be kept in the default partition.",
        value=inbox_months.covered_days(now=now),
    )
    yield GaugeMetricFamily(
        "florin_inbox_events_without_partition",
        "Provider events that found no month of their own and wait to be moved to it.",
        value=inbox_months.unpartitioned_count(),
    )
    yield GaugeMetricFamily(
        "florin_inbox_expired_months",
        "Months of provider events past their retention that are still there.",
        value=len(inbox_months.expired_months(now=now)),
    )


GROUPS: dict[str, Callable[[datetime], Iterator[Metric]]] = {
    "payments": payments,
    "provider_operations": provider_operations,
    "breakers": breakers,
    "event_sweeps": event_sweeps,
    "parts": parts,
    "open_work": open_work,
    "queues": queues,
    "notifications": notifications,
    "failing": failing,
    "processes": processes,
    "ledger": ledger,
    "audit": audit,
    "inbox": inbox,
}


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
