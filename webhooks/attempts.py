"""Remember each try that failed, next to the row that only keeps the last one.

Mental model: one INSERT in the drain's transaction, on the failing path alone; what went well costs
nothing. Texts are capped, so a poison event cannot fill the disk by failing, and tries go when the
provider events of their time have gone (`delete_old`, a periodic job); those of dead letters stay.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime
from typing import Literal

import structlog
from django.db import connection, transaction

from audit import log
from webhooks import partitions
from webhooks.models import FailedAttempt

Kind = Literal["inbox", "handler"]
Outcome = FailedAttempt.Outcome

_REASON_CAP_CHARACTERS = 500
_ERROR_CAP_CHARACTERS = 4000
# One transaction, and what a run of the job takes on; the rest waits for the next one.
_BATCH = 1000
_BATCHES_MAX = 10

logger = structlog.get_logger(__name__)


def record(
    *,
    kind: Kind,
    row_id: str,
    source: str,
    number: int,
    outcome: FailedAttempt.Outcome,
    reason: str,
    trace: str = "",
    began: float | None = None,
    now: datetime,
) -> None:
    """Append one failed try of row `row_id`, in the open transaction.

    `source` is the handler or the provider, `began` the time.monotonic() at which it started, None
    where nobody was left to know.
    """
    duration_ms = None if began is None else round((time.monotonic() - began) * 1000)
    FailedAttempt.objects.create(
        kind=kind,
        row_id=row_id,
        source=source,
        number=number,
        outcome=outcome,
        recorded_at=now,
        duration_ms=duration_ms,
        worker=f"{socket.gethostname()}/{os.getpid()}",
        reason=reason[:_REASON_CAP_CHARACTERS],
        error=trace[-_ERROR_CAP_CHARACTERS:],
    )


def delete_old(*, now: datetime) -> int:
    """Periodic job: delete tries older than what is kept of the inbox; returns how many went.

    A batch is one transaction with an audit event that says how many. Tries of what is dead stay.
    """
    before = partitions.kept_since(now)
    deleted = 0
    for _ in range(_BATCHES_MAX):
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SELECT webhooks_delete_failed_attempts(%s, %s)", [before, _BATCH])
            (count,) = cursor.fetchone()
            if count:
                log.append(
                    event_type="failed_attempts.deleted",
                    stream_type="retention",
                    stream_id="failed_attempts",
                    body={"count": count, "recorded_before": before.isoformat()},
                    occurred_at=now,
                )
        deleted += count
        if count < _BATCH:
            break
    if deleted:
        logger.info("failed_attempts.deleted", count=deleted)
    return deleted
