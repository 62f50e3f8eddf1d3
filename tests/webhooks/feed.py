"""Feeds the pipeline of the servers in the environment.

`python -m tests.webhooks.feed 60 10 5 name`

Arguments: aggregates, events of each, milliseconds each takes to handle, and a name for the
aggregates of this feed. The same numbers of provider events go into the inbox. Says "fed" and stays
alive, because its wake-up thread needs a moment, until its standard input ends.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import django


def feed(aggregates: int, events: int, sleep_seconds: float, name: str) -> None:
    """Commit the events one by one, round-robin over the aggregates."""
    from django.db import transaction

    from webhooks import inbox, outbox

    for number in range(1, events + 1):
        for aggregate in range(aggregates):
            now = datetime.now(UTC)
            with transaction.atomic():
                outbox.emit(
                    type="order.placed",
                    aggregate_type="order",
                    aggregate_id=f"order_{name}_{aggregate}",
                    owner="",
                    livemode=False,
                    payload={"sleep_seconds": sleep_seconds},
                    occurred_at=now,
                    now=now,
                )
            inbox.receive(
                provider="testing",
                account_id="pacc_1",
                event_id=f"evt_{name}_{aggregate}_{number}",
                event_type="fine",
                subject=f"subject_{name}_{aggregate}",
                raw=str(number).encode(),
                headers={},
                received_at=now,
            )


if __name__ == "__main__":
    django.setup()
    feed(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000, sys.argv[4])
    print("fed", flush=True)  # noqa: T201  its parent waits for it
    sys.stdin.read()
