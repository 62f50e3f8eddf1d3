"""What staff decide about a merchant: whether its keys work, which payments wait for a person."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from audit import log
from payments.models import Merchant

_EVENTS = {
    Merchant.Status.SUSPENDED: "merchant.suspended",
    Merchant.Status.ACTIVE: "merchant.activated",
}


def set_merchant_status(
    *, merchant: Merchant, status: str, reason: str, actor: log.Actor, now: datetime
) -> Merchant:
    """Give the merchant this status, with words about why; setting it again changes nothing.

    Payments under way go on: a provider's news about them is taken in as before. Raises ValueError
    for a status there is none of and for an empty reason.
    """
    wanted = Merchant.Status(status)
    if not reason.strip():
        raise ValueError("Say why; the words stay with the merchant's history.")
    with transaction.atomic(durable=True), log.acting_as(actor, reason=reason):
        locked = Merchant.objects.select_for_update().get(pk=merchant.pk)
        if locked.status != wanted:
            before, locked.status = locked.status, wanted
            locked._change_reason = reason[:100]  # type: ignore[attr-defined]
            locked.save()
            log.append(
                event_type=_EVENTS[wanted],
                stream_type="merchant",
                stream_id=locked.pk,
                body={"before": before, "after": wanted.value, "reason": reason},
                occurred_at=now,
            )
    return locked


def set_review_limit(
    *,
    merchant: Merchant,
    review_above_minor: int | None,
    reason: str,
    actor: log.Actor,
    now: datetime,
) -> Merchant:
    """Hold the merchant's payments above so many minor units for a person, or none (None), with
    words about why; setting it again changes nothing. Raises ValueError for an empty reason.
    """
    if not reason.strip():
        raise ValueError("Say why; the words stay with the merchant's history.")
    with transaction.atomic(durable=True), log.acting_as(actor, reason=reason):
        locked = Merchant.objects.select_for_update().get(pk=merchant.pk)
        before = locked.review_above_minor
        if before != review_above_minor:
            locked.review_above_minor = review_above_minor
            locked._change_reason = reason[:100]  # type: ignore[attr-defined]
            locked.full_clean()
            locked.save()
            log.append(
                event_type="merchant.review_limit_set",
                stream_type="merchant",
                stream_id=locked.pk,
                body={"before": before, "after": review_above_minor, "reason": reason},
                occurred_at=now,
            )
    return locked
