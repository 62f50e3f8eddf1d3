"""A customer's stream: audit and events of the customer, its payment methods and mandates.

Mental model: one stream per customer, so whoever listens hears of a method after its customer, and
whoever looks a customer up finds everything. Nothing personal is written into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from audit import log
from payments.models import Customer
from webhooks import outbox


def tell(
    customer: Customer,
    event_type: str,
    *,
    payload: Mapping[str, Any],
    body: Mapping[str, Any],
    causation_id: str,
    now: datetime,
    references: Iterable[tuple[str, str]] = (),
) -> None:
    """Audit and announce one thing about a customer, in the caller's transaction."""
    audit(customer, event_type, body=body, references=references, now=now)
    outbox.emit(
        type=event_type,
        aggregate_type="customer",
        aggregate_id=customer.pk,
        owner=customer.merchant_id,
        livemode=customer.livemode,
        payload=payload,
        occurred_at=now,
        now=now,
        causation_id=causation_id,
    )


def audit(
    customer: Customer,
    event_type: str,
    *,
    body: Mapping[str, Any],
    now: datetime,
    references: Iterable[tuple[str, str]] = (),
) -> None:
    """Add an audit event to the customer's stream, in the caller's transaction."""
    log.append(
        event_type=event_type,
        stream_type="customer",
        stream_id=customer.pk,
        body=body,
        references=[(kind, value) for kind, value in references if value],
        occurred_at=now,
    )
