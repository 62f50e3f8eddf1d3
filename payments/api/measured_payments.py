"""Figures about payments for `/metrics`: what they come to, provider calls, what waits for whom.

Mental model: see payments.api.measurements. Money is told per currency and mode, never added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric

from ledger.balances import trial_balance
from payments.actions.through_breaker import breaker
from payments.api.measured_rows import WINDOW, mode_label, rows
from payments.models import ProviderAccount, ToldBreaker
from payments.providers.breaker import BreakerState
from webhooks.keys_in_time import first_id

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
    for livemode, state, number, refused in rows(
        "SELECT livemode, state, count(*), count(*) FILTER (WHERE state = 'failed' "
        "OR state = 'created' AND last_error IS NOT NULL AND last_error <> 'null') "
        "FROM payments_payment WHERE created_at >= %s GROUP BY 1, 2",
        [now - WINDOW],
    ):
        count.add_metric([mode_label(livemode), state], number)
        good_and_bad = decided.setdefault(livemode, [0, 0])
        good_and_bad[0] += number if state in _SUCCEEDED else 0
        good_and_bad[1] += refused
    for livemode, (good, bad) in decided.items():
        if good + bad:
            ratio.add_metric([mode_label(livemode)], good / (good + bad))
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
    for provider, kind, outcome, number in rows(
        "SELECT account.provider, operation.kind, CASE WHEN operation.finished_at IS NULL "
        f"THEN 'open' ELSE operation.outcome END, count(*) {source} GROUP BY 1, 2, 3",
        begun,
    ):
        count.add_metric([provider, kind, outcome], number)
    for provider, kind, values in rows(
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
    for livemode, kind, number in rows(_OPEN_CASES, []):
        cases.add_metric([mode_label(livemode), kind], number)
    due_by_mode: dict[bool, int] = {}
    for livemode, stage, number, urgent in rows(_OPEN_DISPUTES, [now + URGENT]):
        disputes.add_metric([mode_label(livemode), stage], number)
        due_by_mode[livemode] = due_by_mode.get(livemode, 0) + urgent
    for livemode, urgent in due_by_mode.items():
        due.add_metric([mode_label(livemode)], urgent)
    for livemode, number in rows(_OPEN_REFUNDS, []):
        refunds.add_metric([mode_label(livemode)], number)
    for livemode, currency, reason, amount_minor in rows(_AT_RISK, []):
        risk.add_metric([mode_label(livemode), currency, reason], amount_minor)
    yield from (cases, disputes, due, refunds, risk)


def open_work(now: datetime) -> Iterator[Metric]:
    """What waits for an outcome: operations, and requests whose key is not finished."""
    (operations, age), *_ = rows(
        "SELECT count(*), coalesce(extract(epoch FROM %s - min(created_at)), 0)::float8 FROM "
        "payments_provideroperation WHERE finished_at IS NULL",
        [now],
    )
    ((keys, given_up),) = rows(
        "SELECT count(*), count(*) FILTER (WHERE recovery_point = 'started' "
        "AND completion_due_at IS NULL) FROM payments_idempotencykey "
        "WHERE recovery_point <> 'finished'",
        [],
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
    yield GaugeMetricFamily(
        "florin_requests_given_up", "Requests that wait for a person.", value=given_up
    )


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
            balance.add_metric([mode_label(livemode), row.code, row.currency], on_normal_side)
    yield balance
