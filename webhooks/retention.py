"""Let deliveries go that ended long ago, to merchants and to our own handlers; events stay.

Mental model: a periodic job that asks a function of the database, which knows what may go; the
application itself may delete none. What waits or is dead stays, whatever its age, until it ends.
A delivery is also the proof that an event was promised. What has gone is remembered by handler up
to which event (`promises_deleted_until`), so that a back-fill does not promise it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.checks import Error
from django.db import connection, transaction

from audit import log
from webhooks.keys_in_time import first_id
from webhooks.models import DeletedPromises

# The database's function deletes nothing younger than three months (sql/deliveries_end.sql).
RETENTION_DAYS_MIN = 92
# One transaction, and what a run of the job takes on, a second's work; the rest waits for the next.
_BATCH = 1000
_BATCHES_MAX = 10

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """How many rows went."""

    to_merchants: int = 0
    attempts: int = 0
    to_handlers: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(
            to_merchants=self.to_merchants + other.to_merchants,
            attempts=self.attempts + other.attempts,
            to_handlers=self.to_handlers + other.to_handlers,
        )


def check_retention(**_: Any) -> Sequence[Error]:
    """Django system check: no retention is asked for that the database would refuse each time."""
    days = settings.FLORIN_DELIVERY_RETENTION_DAYS
    if days >= RETENTION_DAYS_MIN:
        return []
    return [
        Error(
            f"FLORIN_DELIVERY_RETENTION_DAYS is {days}: deliveries of the last "
            f"{RETENTION_DAYS_MIN} days are always kept.",
            hint=f"Set it to {RETENTION_DAYS_MIN} or more; 400 is what Florin comes with.",
            id="webhooks.E006",
        )
    ]


def delete_old(*, now: datetime) -> Deleted:
    """Periodic job: delete deliveries that ended settings.FLORIN_DELIVERY_RETENTION_DAYS ago.

    A batch is one transaction with an audit event that says how many. Returns how many went.
    """
    before = now - timedelta(days=settings.FLORIN_DELIVERY_RETENTION_DAYS)
    whole = Deleted()
    for _ in range(_BATCHES_MAX):
        with transaction.atomic(durable=True):
            batch = _delete_batch(before)
            if batch != Deleted():
                log.append(
                    event_type="deliveries.deleted",
                    stream_type="retention",
                    stream_id="deliveries",
                    body={**asdict(batch), "ended_before": before.isoformat()},
                    occurred_at=now,
                )
        whole += batch
        if max(batch.to_merchants, batch.to_handlers) < _BATCH:
            break
    if whole != Deleted():
        logger.info("deliveries.deleted", **asdict(whole))
    return whole


def promises_deleted_until(handler_name: str) -> str:
    """The last event whose promise to a handler has gone; "" when none has."""
    known = DeletedPromises.objects.filter(pk=handler_name).values_list("last_event_id", flat=True)
    return known.first() or ""


def _delete_batch(before: datetime) -> Deleted:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM webhooks_delete_old_deliveries(%s, %s, %s, %s)",
            [before, first_id("whd", before), first_id("evt", before), _BATCH],
        )
        to_merchants, attempts, to_handlers = cursor.fetchone()
    return Deleted(to_merchants=to_merchants, attempts=attempts, to_handlers=to_handlers)
