"""Celery tasks: a message is a tap on the shoulder and carries nothing.

Mental model: what is to be done stands in PostgreSQL. Losing, repeating or reordering these
messages changes when it is done, never whether or how often; the sweeper does the same without
any message. So no task has arguments, results or retries.
"""

from __future__ import annotations

import fcntl
import itertools
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime

from celery import shared_task

from webhooks import delivery, inbox, outbox, signs_of_life, sweeper
from webhooks.doorbell import Doorbell

# Of each queue; a task looks at two and has 45 s.
DRAIN_BUDGET_SECONDS = 15.0
PORTION = 500
# Well below the soft time limit of 45 s, with the 15 s of a last request left over.
DELIVERY_BUDGET_SECONDS = 25.0
# After this a task begins no request that may take long, so that at the end of its budget nothing
# is open and the next task follows at once.
STRAINED_BUDGET_SECONDS = 10.0
_passes = itertools.count(1)


# Inherited by the pool's processes when they are forked. A record lock belongs to one process and
# ends with it, however it ends.
_one_sender = tempfile.TemporaryFile()  # noqa: SIM115  as long as the worker
_doorbell = Doorbell()


def _now() -> datetime:
    return datetime.now(UTC)


def _until_empty(drain: Callable[[int], int]) -> None:
    """Drain in portions until one is not full, or for as long as a task should take."""
    deadline = time.monotonic() + DRAIN_BUDGET_SECONDS
    while drain(PORTION) >= PORTION and time.monotonic() < deadline:
        pass


@shared_task
def drain_inbox() -> None:
    """Apply provider events that are due, then hand on what they caused."""
    _apply_inbox()
    _hand_on_outbox()


@shared_task
def drain_outbox() -> None:
    """Hand domain events that are due to their handlers, then apply provider events.

    Both kinds of message share a queue of a bounded length, so each has to see the other's work.
    """
    _hand_on_outbox()
    _apply_inbox()


def _apply_inbox() -> None:
    apply = inbox.configured_apply()
    _until_empty(lambda limit: inbox.drain(apply=apply, now=_now(), limit=limit).total)


def _hand_on_outbox() -> None:
    _until_empty(lambda limit: outbox.drain(now=_now(), limit=limit).total)


@shared_task
def deliver() -> None:
    """Send merchants' deliveries that are due, in one process of this worker at a time.

    Slow merchants can then never occupy the processes that handle events; who comes second rings
    for the first, which then looks for more.
    """
    try:
        fcntl.lockf(_one_sender, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _doorbell.ring()
        return
    began = time.monotonic()
    try:
        delivery.deliver(
            clock=_now,
            stopping=lambda: time.monotonic() > began + DELIVERY_BUDGET_SECONDS,
            winding_down=lambda: time.monotonic() > began + STRAINED_BUDGET_SECONDS,
            doorbell=_doorbell,
        )
    finally:
        fcntl.lockf(_one_sender, fcntl.LOCK_UN)


@shared_task
def sweep() -> None:
    """One pass of the sweeper, for beat: a second way to completion where the sweeper is down."""
    sweeper.drain_queues(now=_now())
    for name in sweeper.registered_jobs():
        sweeper.run_if_due(name, clock=_now)


# Acknowledged when it is taken: a letter that a killed worker held must not come back to nobody.
@shared_task(acks_late=False)
def give_sign_of_life() -> None:
    """A letter that this worker wrote to itself has arrived (webhooks.signs_of_life)."""
    signs_of_life.give_for_worker(passes=next(_passes), now=_now())
