"""What a provider's event does in the soak: one row that counts it, one domain event."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache

from payments.models import ProviderAccount
from tests.webhooks import effects
from webhooks import outbox
from webhooks.inbox import Applied, InboxEventView


def apply(event: InboxEventView, *, now: datetime) -> Applied:
    """Count the news about its object and announce it to the merchant."""
    number = int(json.loads(event.raw)["data"]["payment"]["version"])
    effects.write("inbox", event.subject, number)
    outbox.emit(
        type="order.placed",
        aggregate_type="order",
        aggregate_id=event.subject,
        owner=_merchant_of(event.account_id),
        livemode=False,
        payload={"id": event.subject, "number": number},
        occurred_at=event.received_at,
        now=now,
        causation_id=event.id,
    )
    return Applied("processed", "counted")


@cache
def _merchant_of(account_id: str) -> str:
    return str(ProviderAccount.objects.get(pk=account_id).merchant_id)
