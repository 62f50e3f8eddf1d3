"""Announce that something waits for a person.

Mental model: a dead letter is a status of the row that failed, not a copy of it. Whoever sets the
status calls `announce` in the same transaction: the audit trail gets the reason, and the domain
event `dead_letter.added`, on a stream of its own, tells whoever notifies staff. A handler that
dies *of* such an announcement is only audited, so that a broken notifier cannot feed itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from audit import log

Kind = Literal["inbox", "handler", "merchant"]
ANNOUNCEMENT_AGGREGATE = "dead_letter"


def announce(
    *,
    kind: Kind,
    row_id: str,
    what: str,
    reason: str,
    livemode: bool,
    about: str,
    references: Iterable[tuple[str, str]],
    now: datetime,
) -> None:
    """Audit the death of row `row_id` and emit `dead_letter.added` unless it is about one.

    `what` names it for a person ("payment.settled to ledger_poster"), `about` is the aggregate
    type it concerned.
    """
    from webhooks import outbox

    body = {"kind": kind, "id": row_id, "what": what, "reason": reason}
    log.append(
        event_type="dead_letter.added",
        stream_type="dead_letter",
        stream_id=f"{kind}:{row_id}",
        body=body,
        references=[(name, value) for name, value in references if 0 < len(value) <= 200],
        occurred_at=now,
    )
    if about != ANNOUNCEMENT_AGGREGATE:
        outbox.emit(
            type="dead_letter.added",
            aggregate_type=ANNOUNCEMENT_AGGREGATE,
            aggregate_id=f"{kind}:{row_id}",
            owner="",
            livemode=livemode,
            payload=body,
            occurred_at=now,
            now=now,
        )
