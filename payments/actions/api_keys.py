"""API keys: issued and shown once, stored as a hash, revoked for good."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from audit import log
from payments.models import ApiKey, Merchant

# What is kept of a key in clear, so that people can tell their keys apart: kind, mode and six
# characters, which leaves more than 200 bits unknown.
PREFIX_LENGTH = 14


def issue_api_key(
    *,
    merchant: Merchant,
    kind: str,
    livemode: bool,
    name: str,
    actor: log.Actor,
    now: datetime,
) -> tuple[ApiKey, str]:
    """A new key: its row, and the key itself, which is shown this once."""
    with log.acting_as(actor), transaction.atomic(durable=True):
        return add_api_key(
            merchant=merchant, kind=kind, livemode=livemode, name=name, actor=actor, now=now
        )


def add_api_key(
    *,
    merchant: Merchant,
    kind: str,
    livemode: bool,
    name: str,
    actor: log.Actor,
    now: datetime,
) -> tuple[ApiKey, str]:
    """As `issue_api_key`, inside the caller's transaction."""
    clear = ApiKey.generate(kind=kind, livemode=livemode)
    key = ApiKey(
        merchant=merchant,
        kind=kind,
        livemode=livemode,
        name=name,
        prefix=clear[:PREFIX_LENGTH],
        hashed_key=ApiKey.digest(clear),
        created_at=now,
    )
    key.save(force_insert=True)
    log.append(
        event_type="api_key.issued",
        stream_type="merchant",
        stream_id=merchant.pk,
        body={"key": key.pk, "kind": kind, "livemode": livemode},
        references=[("api_key", key.pk)],
        occurred_at=now,
    )
    return key, clear


def revoke_api_key(*, key: ApiKey, actor: log.Actor, now: datetime) -> ApiKey:
    """Refuse this key from now on. Revoking twice keeps the first time."""
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        if locked.revoked_at is None:
            locked.revoked_at = now
            locked.save()
            log.append(
                event_type="api_key.revoked",
                stream_type="merchant",
                stream_id=locked.merchant_id,
                body={"key": locked.pk},
                references=[("api_key", locked.pk)],
                occurred_at=now,
            )
    return locked
