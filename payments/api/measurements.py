"""Figures for `/metrics` that PostgreSQL knows: payments, provider calls, queues, books, audit.

Mental model: one group per subject, each read in its own short transaction with a time limit, so
that a slow or broken group is missing (`florin_metrics_group_up` 0) and the others still come.
"Last hour" groups read the newest rows by index, the others read indexes of open rows; so a
scrape costs the same however many payments there have ever been. docs/metrics.md lists the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog
from django.db import DatabaseError, connection, transaction
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from payments.api import measured_payments, measured_pipeline

GROUP_TIMEOUT = "2s"

logger = structlog.get_logger(__name__)

GROUPS: dict[str, Callable[[datetime], Iterator[Metric]]] = {
    "payments": measured_payments.payments,
    "provider_operations": measured_payments.provider_operations,
    "breakers": measured_payments.breakers,
    "event_sweeps": measured_pipeline.event_sweeps,
    "parts": measured_payments.parts,
    "open_work": measured_payments.open_work,
    "queues": measured_pipeline.queues,
    "notifications": measured_pipeline.notifications,
    "failing": measured_pipeline.failing,
    "processes": measured_pipeline.processes,
    "ledger": measured_payments.ledger,
    "audit": measured_pipeline.audit,
    "inbox": measured_pipeline.inbox,
}


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
