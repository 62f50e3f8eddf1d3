"""Feeds the pipeline of the servers in the environment: `python -m tests.webhooks.feed 60 10 5`.

Arguments: aggregates, events of each, milliseconds each takes to handle, and optionally seconds to
stay alive afterwards (the wake-up thread needs a moment). The same numbers of provider events go
into the inbox.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import django


def feed(aggregates: int, events: int, sleep_seconds: float, *, inbox_too: bool) -> None:
    from django.db import transaction

    from webhooks import inbox, outbox

    for number in range(1, events + 1):
        for aggregate in range(aggregates):
            now = datetime.now(UTC)
            with transaction.atomic():
                outbox.emit(
                    type="order.placed",
                    aggregate_type="order",
                    aggregate_id=f"order_{aggregate}",
                    owner="",
                    livemode=False,
                    payload={"sleep_seconds": sleep_seconds},
                    occurred_at=now,
                    now=now,
                )
            if inbox_too:
                inbox.receive(
                    provider="testing",
                    account_id="pacc_1",
                    event_id=f"evt_{aggregate}_{number}",
                    event_type="fine",
                    subject=f"subject_{aggregate}",
                    raw=str(number).encode(),
                    headers={},
                    received_at=now,
                )


if __name__ == "__main__":
    django.setup()
    feed(
        int(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]) / 1000,
        inbox_too=True,
    )
    time.sleep(float(sys.argv[4]) if len(sys.argv) > 4 else 0)
