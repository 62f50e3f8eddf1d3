"""An event that kills its process is counted although the process could not count it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta

from config import processes
from tests.webhooks import effects
from tests.webhooks.conftest import drain_outbox, emit
from webhooks import inbox, lanes
from webhooks.models import EventDelivery, InboxEvent

DRAIN = """
import sys
from datetime import datetime
import django
django.setup()
from tests.webhooks import effects
from webhooks import inbox, outbox
now = datetime.fromisoformat(sys.argv[1])
inbox.drain(apply=effects.apply, now=now)
outbox.drain(now=now)
"""


def drain_in_another_process(now: datetime) -> int:
    """The exit status of a process that drains everything due."""
    return subprocess.run(
        [sys.executable, "-c", DRAIN, now.isoformat()],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.webhooks.settings_for_processes"},
        cwd=processes.BASE_DIR,
        timeout=60,
        check=False,
    ).returncode


def test_a_handler_that_kills_its_process_is_counted_and_paused_for(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now, kill=True)
    emit(f"{aggregate}_innocent", now)
    assert drain_in_another_process(now) == -signal.SIGKILL
    assert drain_in_another_process(now) == -signal.SIGKILL
    assert drain_in_another_process(now) == 0
    row = EventDelivery.objects.get(lane=f"outbox:order:{aggregate}", handler="blocking")
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 2)
    assert effects.of("blocking", aggregate) == []
    assert effects.of("blocking", f"{aggregate}_innocent") == [1]
    EventDelivery.objects.filter(pk=row.pk).update(
        status="discarded", due_at=None, reason="end of the test"
    )


def test_a_provider_event_that_kills_its_process_is_counted_and_paused_for(
    aggregate: str, now: datetime
) -> None:
    received = inbox.receive(
        provider="testing",
        account_id="pacc_1",
        event_id=f"evt_{aggregate}",
        event_type="kill",
        subject=aggregate,
        raw=b"1",
        headers={},
        received_at=now,
    )
    for _ in range(2):
        assert drain_in_another_process(now) == -signal.SIGKILL
    assert drain_in_another_process(now) == 0
    row = InboxEvent.objects.get(pk=received.id)
    assert (row.status, row.failures, row.interruptions) == ("failed", 0, 2)
    assert effects.of("inbox", aggregate) == []
    InboxEvent.objects.filter(pk=row.pk).update(
        status="discarded", due_at=None, reason="end of the test"
    )


def test_an_event_that_outlives_an_interruption_keeps_the_count(
    aggregate: str, now: datetime
) -> None:
    emit(aggregate, now)
    lanes.leave_footprints([f"outbox:order:{aggregate}"], now=now)
    drain_outbox(now + timedelta(seconds=1))
    row = EventDelivery.objects.get(lane=f"outbox:order:{aggregate}", handler="blocking")
    assert (row.status, row.interruptions) == ("done", 1)
