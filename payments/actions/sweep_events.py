"""Compare each PSP's own list of events with our inbox, and take in what never came.

Mental model: a webhook that is lost leaves no trace here, so the only witness is the PSP's list. A
round reads, for each provider account that is due, the list since the last complete round, less an
overlap, because such lists are eventually consistent; what the inbox does not know is stored there
as a webhook would be, under headers that say where it came from, and applied like any other. A
webhook that comes after all is a duplicate. The call is made outside any transaction; a round that
dies goes on at its last committed page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from payments.actions.account_rounds import Piece, work_by_account
from payments.actions.call_provider import lease_until
from payments.actions.change import Clock
from payments.actions.lost_webhooks import note_found
from payments.actions.provider_accounts import credentials_for
from payments.actions.provider_news import as_stored
from payments.actions.through_breaker import through_breaker
from payments.models import EventSweep, ProviderAccount
from payments.providers import provider_for
from payments.providers.base import ListedEvent, Notification, Outcome, Result, UnreadableEvent
from webhooks import backlog, inbox
from webhooks.story import SOURCE_HEADER

# A list may show an event this much later than it was made, and our clocks may differ.
OVERLAP = timedelta(minutes=5)
# Younger events are on their way: PSPs send a webhook within seconds. Counted both ways in time, so
# that one whose PSP's clock is ahead of ours for good (a test account's) is not left for ever.
GRACE = timedelta(seconds=60)
# Where the first sweep of an account begins: PSPs repeat a webhook for three days by themselves.
FIRST_LOOK_BACK = timedelta(days=3)
# An account that is closed still has payments that may be disputed; it is swept this rarely.
INTERVAL_OF_CLOSED = timedelta(hours=1)
LONGEST_PAUSE = timedelta(minutes=15)
# Where a webhook has its headers: nobody signed this, it was read over a call of our own.
SOURCE = {SOURCE_HEADER: "the provider's list of events"}
JOB = "sweep_provider_events"

logger = structlog.get_logger(__name__)


def sweep_due(*, clock: Clock) -> int:
    """One round over every account that is due; none while the inbox is so late that webhooks are
    refused. Returns how many pages were asked for.
    """
    if _inbox_is_too_late(clock()):
        return 0
    return work_by_account(
        due=dict.fromkeys(_due_accounts(clock()), 1),
        pieces=partial(pages_of, clock=clock),
        job=JOB,
    )


def pages_of(account_id: str, *, clock: Clock) -> Iterator[Piece]:
    """The pages that an account's sweep has due now, each taken just before it is handed out."""
    while (sweep := _take(account_id, now=clock())) is not None:
        yield partial(sweep_page, sweep, clock=clock)


def sweep_page(sweep: EventSweep, *, clock: Clock) -> None:
    """Read one page of the list, store what is missing, and commit how far the sweep is. The
    caller has taken the sweep; `sweep` comes with its provider account.
    """
    in_transaction = transaction.get_connection().in_atomic_block
    assert not in_transaction, "Bug! a provider call inside a database transaction"
    account = sweep.provider_account
    result = through_breaker(account, "list_events", lambda: _ask(sweep))
    now = clock()
    if result.events is None:
        _record_failure(sweep, result, now=now)
        return
    found = list(_missing(account, result.events.events, now=now))
    for event, raw in found:
        inbox.receive(
            provider=account.provider,
            account_id=account.pk,
            event_id=event.event_id,
            event_type=event.event_type,
            subject=event.subject,
            raw=raw,
            headers=SOURCE,
            received_at=now,
        )
    with transaction.atomic(durable=True):
        note_found(account, [event for event, _ in found], now=now)
        _move_on(sweep, result.events.next_cursor, now=now)


def _inbox_is_too_late(now: datetime) -> bool:
    waits_since = backlog.oldest_due("inbox")
    longest = timedelta(seconds=settings.FLORIN_WEBHOOK_BUSY_INBOX_SECONDS)
    return waits_since is not None and now - waits_since > longest


def _due_accounts(now: datetime) -> list[str]:
    listing = [code for code in settings.FLORIN_PROVIDERS if _lists_events(code)]
    due = ProviderAccount.objects.filter(
        Q(event_sweep__isnull=True) | Q(event_sweep__due_at__lte=now), provider__in=listing
    )
    waiting = due.order_by(F("event_sweep__due_at").asc(nulls_first=True))
    return list(waiting.values_list("pk", flat=True))


def _lists_events(provider_code: str) -> bool:
    return provider_for(provider_code).capabilities.event_list


def _take(account_id: str, *, now: datetime) -> EventSweep | None:
    """The account's sweep, leased and with an open window, if it is due and nobody has it."""
    with transaction.atomic(durable=True):
        _begin(account_id, now=now)
        due = EventSweep.objects.filter(pk=account_id, due_at__lte=now)
        sweep = due.select_for_update(skip_locked=True).first()
        if sweep is None:
            return None
        if sweep.window_since is None:
            sweep.window_since, sweep.window_opened_at = sweep.swept_until - OVERLAP, now
        sweep.due_at = lease_until(now)
        sweep.save(update_fields=["window_since", "window_opened_at", "due_at"])
    sweep.provider_account = ProviderAccount.objects.get(pk=account_id)
    return sweep


def _begin(account_id: str, *, now: datetime) -> None:
    """Give an account that was never swept its row."""
    if EventSweep.objects.filter(pk=account_id).exists():
        return
    opened_at = ProviderAccount.objects.get(pk=account_id).created_at
    until = max(opened_at, now - FIRST_LOOK_BACK)
    first = EventSweep(provider_account_id=account_id, due_at=now, swept_until=until)
    EventSweep.objects.bulk_create([first], ignore_conflicts=True)


def _ask(sweep: EventSweep) -> Result:
    account, since = sweep.provider_account, sweep.window_since
    assert since is not None, f"Bug! {account.pk} is swept without a window"
    return provider_for(account.provider).list_events(
        credentials=credentials_for(account),
        timeout_seconds=settings.FLORIN_PROVIDER_TIMEOUT_SECONDS,
        since=since,
        cursor=sweep.cursor,
    )


def _missing(
    account: ProviderAccount, listed: Iterable[ListedEvent], *, now: datetime
) -> Iterator[tuple[Notification, bytes]]:
    """What the inbox should have and does not, as it is to be stored, oldest first."""
    read: dict[str, tuple[Notification, bytes]] = {}
    for event in listed:
        if abs(now - event.created_at) < GRACE:
            continue
        try:
            notification, raw = as_stored(provider_for(account.provider), event.raw)
        except UnreadableEvent as error:
            logger.warning("event_sweep.unreadable", account=account.pk, error=str(error))
            continue
        if notification.subject:  # a list may have all that happens in an account, not only ours
            read[notification.event_id] = notification, raw
    known = inbox.known(provider=account.provider, account_id=account.pk, event_ids=list(read))
    yield from (found for event_id, found in read.items() if event_id not in known)


def _move_on(sweep: EventSweep, next_cursor: str, *, now: datetime) -> None:
    """Go to the next page, or close the window; nothing if somebody else took the sweep over."""
    interval = timedelta(seconds=settings.FLORIN_EVENT_SWEEP_SECONDS)
    if not sweep.provider_account.active:
        interval = max(interval, INTERVAL_OF_CLOSED)
    changes: dict[str, object] = {"failures": 0, "last_error": ""}
    if next_cursor:
        changes |= {"cursor": next_cursor, "due_at": now}
    else:
        changes |= {
            "cursor": "",
            "swept_until": sweep.window_opened_at,
            "window_since": None,
            "window_opened_at": None,
            "last_swept_at": now,
            "due_at": now + interval,
        }
    EventSweep.objects.filter(pk=sweep.pk, due_at=sweep.due_at).update(**changes)


def _record_failure(sweep: EventSweep, result: Result, *, now: datetime) -> None:
    """Ask again later, ever more rarely; a cursor that the PSP refuses is forgotten."""
    words = result.error.message or result.error.code if result.error else result.outcome
    doubled = settings.FLORIN_EVENT_SWEEP_SECONDS * 2 ** min(sweep.failures, 10)
    pause = max(min(doubled, LONGEST_PAUSE.total_seconds()), result.retry_after_seconds or 0.0)
    logger.warning("event_sweep.failed", account=sweep.pk, outcome=result.outcome, error=words)
    changes: dict[str, object] = {
        "failures": sweep.failures + 1,
        "last_error": words[:500],
        "due_at": now + timedelta(seconds=pause),
    }
    if result.outcome == Outcome.DECLINED:
        changes["cursor"] = ""
    EventSweep.objects.filter(pk=sweep.pk, due_at=sweep.due_at).update(**changes)
