"""Let notifications go that ended long ago: as long as providers' events are kept, so are they.

Mental model: a periodic job that asks a function of the database, which knows what may go; the
application itself may delete no notification. What waits or is dead stays, whatever its age.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from django.db import connection, transaction

from audit import log
from webhooks import partitions

# One transaction, and what a run of the job takes on; the rest waits for the next one.
_BATCH = 1000
_BATCHES_MAX = 10

logger = structlog.get_logger(__name__)


def delete_old(*, now: datetime) -> int:
    """Periodic job: delete what was sent or given up before the months that are kept of the inbox.

    Returns how many went. A batch is one transaction with an audit event that says how many.
    """
    before = partitions.kept_since(now)
    deleted = 0
    for _ in range(_BATCHES_MAX):
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SELECT payments_delete_notifications(%s, %s)", [before, _BATCH])
            (count,) = cursor.fetchone()
            if count:
                log.append(
                    event_type="notifications.deleted",
                    stream_type="retention",
                    stream_id="notifications",
                    body={"count": count, "ended_before": before.isoformat()},
                    occurred_at=now,
                )
        deleted += count
        if count < _BATCH:
            break
    if deleted:
        logger.info("notifications.deleted", count=deleted)
    return deleted
