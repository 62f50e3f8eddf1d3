"""The periodic work of payments, as the sweeper and beat run it: thin, each one call.

Named in settings.FLORIN_PERIODIC_JOBS. The calls to providers in between take time, so these
interfaces hand a clock down instead of one moment.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from celery import shared_task

from payments import idempotency
from payments.actions.answer_request import complete_requests
from payments.actions.ask_about_deferred import ask_due
from payments.actions.expire_payment import expire_payments
from payments.actions.method_calls import resume_due_method_operations
from payments.actions.resume_rounds import resume_due
from payments.actions.sweep_events import sweep_due
from payments.actions.tell_breakers import tell_what_nobody_told
from payments.actions.through_breaker import breaker
from payments.notifications import sending
from webhooks import backlog

# Well below the soft time limit of 45 s; what is then being sent has its own deadline.
SENDING_BUDGET_SECONDS = 10.0
SWEEPER_LIVES = timedelta(seconds=30)


def clock() -> datetime:
    """The wall clock, read here and handed down."""
    return datetime.now(UTC)


def resume_payments(*, now: datetime) -> None:
    """Ask about open operations and about payments that owe us news."""
    resume_due(clock=clock)


def complete_dead_requests(*, now: datetime) -> None:
    """Finish requests whose process died before it wrote anything."""
    complete_requests(clock=clock)


def expire_unpaid_payments(*, now: datetime) -> None:
    """Give up payments that nobody paid in time."""
    expire_payments(clock=clock)


def reap_idempotency_keys(*, now: datetime) -> None:
    """Delete finished keys past their lifetime."""
    idempotency.reap(now=now)


def sweep_provider_events(*, now: datetime) -> None:
    """Compare the providers' own lists of events with the inbox."""
    sweep_due(clock=clock)


def ask_about_deferred_events(*, now: datetime) -> None:
    """Ask providers about news whose payment did not turn up."""
    ask_due(clock=clock)


def tell_breakers(*, now: datetime) -> None:
    """Tell which circuit breakers opened or closed without anybody telling it."""
    tell_what_nobody_told(breaker().states(), now=now)


def resume_payment_methods(*, now: datetime) -> None:
    """Drive on what was asked of providers about saved payment methods."""
    resume_due_method_operations(clock=clock)


@shared_task
def send_notifications() -> None:
    """Send what staff are to be told, for an installation whose sweeper is down: while one lives,
    a mail server that hangs must not occupy a process that handles events.
    """
    last = backlog.last_heartbeats().get("sweeper")
    if last is not None and clock() - last < SWEEPER_LIVES:
        return
    deadline = time.monotonic() + SENDING_BUDGET_SECONDS
    sending.deliver(clock=clock, stopping=lambda: time.monotonic() > deadline)
