"""Webhooks that never came: counted by the hour, recorded, and announced when they are many.

Mental model: one lost webhook is weather, many within an hour are a wrong address, a firewall, or
an endpoint that the PSP has disabled. The count of the hour decides in the transaction of the event
whether that is news.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, Sum

from audit import log
from payments.models import EventSweep, LostWebhooks, ProviderAccount
from payments.providers.base import Notification
from payments.representation import timestamp
from webhooks import outbox

# From so many lost webhooks of an account in one hour on, somebody is told.
MANY_IN_AN_HOUR = 20
KEPT = timedelta(days=90)
_EVENTS_NAMED = 50

_COUNT = """
    INSERT INTO payments_lostwebhooks AS lost (provider_account_id, hour, count, told)
    VALUES (%(account)s, date_trunc('hour', %(now)s::timestamptz, 'UTC'), %(number)s, false)
    ON CONFLICT (provider_account_id, hour) DO UPDATE SET count = lost.count + EXCLUDED.count
    RETURNING hour, count, told
"""


def note_found(account: ProviderAccount, events: Sequence[Notification], *, now: datetime) -> None:
    """Count and record events that a sweep took in, in the caller's transaction."""
    if not events:
        return
    log.append(
        event_type="provider_account.webhooks_found",
        stream_type="provider_account",
        stream_id=account.pk,
        body={
            "count": len(events),
            "events": [event.event_id for event in events[:_EVENTS_NAMED]],
        },
        references=[("provider_event", event.event_id) for event in events[:_EVENTS_NAMED]],
        occurred_at=now,
    )
    EventSweep.objects.filter(pk=account.pk).update(found_count=F("found_count") + len(events))
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"account": account.pk, "now": now, "number": len(events)})
        hour, count, told = cursor.fetchone()
    if count >= MANY_IN_AN_HOUR and not told:
        LostWebhooks.objects.filter(provider_account=account, hour=hour).update(told=True)
        _announce(account, count, now=now)
    LostWebhooks.objects.filter(provider_account=account, hour__lt=now - KEPT).delete()


def lost_within_a_day(account_id: str, *, now: datetime) -> int:
    """How many webhooks of the account were found missing in the last 24 hours, by whole hours."""
    since = now - timedelta(days=1)
    hours = LostWebhooks.objects.filter(provider_account=account_id, hour__gt=since)
    return hours.aggregate(total=Sum("count"))["total"] or 0


def _announce(account: ProviderAccount, count: int, *, now: datetime) -> None:
    body = {
        "id": account.pk,
        "object": "provider_account",
        "provider": account.provider,
        "name": account.name,
        "lost_in_hour": count,
        "noticed_at": timestamp(now),
    }
    log.append(
        event_type="provider_account.webhooks_lost",
        stream_type="provider_account",
        stream_id=account.pk,
        body=body,
        references=[("merchant", account.merchant_id)] if account.merchant_id else [],
        occurred_at=now,
    )
    outbox.emit(
        type="provider_account.webhooks_lost",
        aggregate_type="provider_account",
        aggregate_id=account.pk,
        owner=account.merchant_id or "",
        livemode=account.livemode,
        payload=body,
        occurred_at=now,
        now=now,
    )
