"""A storm through the whole pipeline: thousands of dead letters, a handful of messages."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from audit import log
from payments.notifications import writing
from tests.payments.notifications.conftest import ACTOR, email_rule, fresh_address, rows_of
from webhooks import deaths, lanes, outbox


def storm(now: datetime, *, letters: int) -> None:
    """Announce so many dead letters of different rows within a minute."""
    for first in range(0, letters, 500):
        with transaction.atomic(), log.acting_as(ACTOR):
            for number in range(first, min(first + 500, letters)):
                moment = now + timedelta(seconds=60 * number / letters)
                deaths.announce(
                    kind="handler",
                    row_id=f"{now.timestamp():.0f}-{number}",
                    what="payment.settled to ledger_poster",
                    reason="RuntimeError: it rained",
                    livemode=True,
                    about="payment",
                    references=[],
                    now=moment,
                )


def drain_with(threads: int, now: datetime) -> float:
    """Drain the outbox by several drains at once; seconds until it is empty."""

    def drain() -> None:
        try:
            while outbox.drain(now=now).total:
                pass
        finally:
            lanes.close_side_connection()
            connection.close()

    drains = [threading.Thread(target=drain) for _ in range(threads)]
    began = time.monotonic()
    for thread in drains:
        thread.start()
    for thread in drains:
        thread.join()
    return time.monotonic() - began


@pytest.mark.prove
def test_a_storm_of_dead_letters_is_ten_messages_and_a_digest_for_each_recipient(
    now: datetime,
) -> None:
    letters = 400
    rule = email_rule(*(fresh_address() for _ in range(3)), asked=["dead_letter"])
    outbox.drain(now=now)
    storm(now, letters=letters)
    moment = now + timedelta(minutes=2)
    seconds = drain_with(2, moment)
    while outbox.drain(now=moment + timedelta(minutes=5)).total:  # what two drains met over
        pass
    print(f"{letters} dead letters for 3 recipients: {seconds:.1f} s, {letters / seconds:.0f}/s")  # noqa: T201
    assert len(rows_of(rule)) == 3 * writing.STORM_LIMIT
    assert writing.tell_counted(now=moment + timedelta(hours=1)) == 3
    digests = [row for row in rows_of(rule) if not row.subject]
    assert {row.title.split(":")[0] for row in digests} == {
        f"{letters - writing.STORM_LIMIT:,} more"
    }
