"""Figures about the event pipeline for `/metrics`: queues, failures, processes, notifications.

Mental model: see payments.api.measurements. Everything is read along indexes of what is open, dead
or of the last hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from audit import partitions
from payments.api.measured_rows import WINDOW, rows
from payments.models import EventSweep
from webhooks import backlog, dead_letter_runs, failures
from webhooks import partitions as inbox_months
from webhooks.keys_in_time import first_id

# Handlers are few; a handler renamed a hundred times must not make a hundred series.
SOURCES_MAX = 30


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
    for channel, number, seconds in rows(
        "SELECT channel, count(*), extract(epoch FROM greatest(%s - min(due_at), interval '0'))"
        "::float8 FROM payments_notification WHERE status IN ('pending', 'retrying') GROUP BY 1",
        [now],
    ):
        waiting.add_metric([channel], number)
        late.add_metric([channel], seconds)
    ((dead,),) = rows("SELECT count(*) FROM payments_notification WHERE status = 'dead'", [])
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
    for status, number in rows(
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
