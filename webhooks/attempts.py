"""Remember each try that failed, next to the row that only keeps the last one.

Mental model: one INSERT in the drain's transaction, on the failing path alone; what went well costs
nothing. Texts are capped, so a poison event cannot fill the disk by failing.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime
from typing import Literal

from webhooks.models import FailedAttempt

Kind = Literal["inbox", "handler"]
Outcome = FailedAttempt.Outcome

_REASON_CAP_CHARACTERS = 500
_ERROR_CAP_CHARACTERS = 4000


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
