"""API keys: issued and shown once, stored as a hash, rotated with an overlap, revoked for good."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction

from audit import log
from payments.errors import ErrorCode, FlorinError
from payments.models import ApiKey, Merchant
from payments.representation import timestamp
from payments.scopes import SCOPES

# What is kept of a key in clear, so that people can tell their keys apart: kind, mode and six
# characters, which leaves more than 200 bits unknown.
PREFIX_LENGTH = 14
# Long enough for the slowest deployment, short enough that a leaked key does not live on.
LONGEST_OVERLAP = timedelta(days=7)


def issue_api_key(
    *,
    merchant: Merchant,
    kind: str,
    livemode: bool,
    name: str,
    actor: log.Actor,
    now: datetime,
    scopes: Collection[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key: its row, and the key itself, which is shown this once.

    A restricted key has at least one of `payments.scopes.SCOPES`, other kinds have none. It is
    refused from `expires_at` on. Raises FlorinError(parameter_invalid).
    """
    with log.acting_as(actor), transaction.atomic(durable=True):
        return add_api_key(
            merchant=merchant,
            kind=kind,
            livemode=livemode,
            name=name,
            now=now,
            scopes=scopes,
            expires_at=expires_at,
        )


def add_api_key(
    *,
    merchant: Merchant,
    kind: str,
    livemode: bool,
    name: str,
    now: datetime,
    scopes: Collection[str] = (),
    expires_at: datetime | None = None,
    rotated_from: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """As `issue_api_key`, inside the caller's transaction and under its actor."""
    _check_scopes(kind, scopes)
    if expires_at is not None and expires_at <= now:
        raise FlorinError(
            ErrorCode.parameter_invalid, "A new key expires in the future.", param="expires_at"
        )
    clear = ApiKey.generate(kind=kind, livemode=livemode)
    key = ApiKey(
        merchant=merchant,
        kind=kind,
        livemode=livemode,
        name=name,
        prefix=clear[:PREFIX_LENGTH],
        hashed_key=ApiKey.digest(clear),
        scopes=[scope for scope in SCOPES if scope in scopes],
        rotated_from=rotated_from,
        created_at=now,
        expires_at=expires_at,
    )
    key.save(force_insert=True)
    log.append(
        event_type="api_key.issued",
        stream_type="merchant",
        stream_id=merchant.pk,
        body={
            "key": key.pk,
            "kind": key.kind,
            "livemode": livemode,
            "scopes": key.scopes,
            "expires_at": timestamp(expires_at),
            "rotated_from": rotated_from.pk if rotated_from else None,
        },
        references=[("api_key", key.pk)],
        occurred_at=now,
    )
    return key, clear


def rotate_api_key(
    *, key: ApiKey, overlap: timedelta, actor: log.Actor, now: datetime
) -> tuple[ApiKey, str]:
    """A successor that may do what this key may; this key expires after `overlap` (0 to 7 days).

    The successor inherits an expiry that was set before, so that rotating never prolongs a key's
    life. Raises FlorinError(parameter_invalid): a longer overlap, or a key that is revoked,
    expired or rotated already.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise FlorinError(
            ErrorCode.parameter_invalid, "The overlap is 0 to 7 days.", param="overlap"
        )
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ApiKey.objects.select_for_update(of=("self",)).select_related("merchant")
        old = locked.get(pk=key.pk)
        _refuse_what_cannot_be_rotated(old, now)
        successor, clear = add_api_key(
            merchant=old.merchant,
            kind=old.kind,
            livemode=old.livemode,
            name=old.name,
            now=now,
            scopes=old.scopes,
            expires_at=old.expires_at,
            rotated_from=old,
        )
        ends = now + overlap
        old.expires_at = min(ends, old.expires_at) if old.expires_at else ends
        old.save(update_fields=["expires_at"])
        log.append(
            event_type="api_key.rotated",
            stream_type="merchant",
            stream_id=old.merchant_id,
            body={
                "key": old.pk,
                "successor": successor.pk,
                "expires_at": timestamp(old.expires_at),
            },
            references=[("api_key", old.pk), ("api_key", successor.pk)],
            occurred_at=now,
        )
    return successor, clear


def revoke_api_key(*, key: ApiKey, actor: log.Actor, now: datetime) -> ApiKey:
    """Refuse this key from now on. Revoking twice keeps the first time."""
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        if locked.revoked_at is None:
            locked.revoked_at = now
            locked.save(update_fields=["revoked_at"])
            log.append(
                event_type="api_key.revoked",
                stream_type="merchant",
                stream_id=locked.merchant_id,
                body={"key": locked.pk},
                references=[("api_key", locked.pk)],
                occurred_at=now,
            )
    return locked


def _check_scopes(kind: str, scopes: Collection[str]) -> None:
    restricted = kind == ApiKey.Kind.RESTRICTED
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        words = f"There is no scope {unknown[0]!r}; there are: {', '.join(SCOPES)}."
    elif restricted and not scopes:
        words = "A restricted key needs at least one scope."
    elif scopes and not restricted:
        words = "Only restricted keys have scopes: a secret key may do everything."
    else:
        return
    raise FlorinError(ErrorCode.parameter_invalid, words, param="scopes")


def _refuse_what_cannot_be_rotated(key: ApiKey, now: datetime) -> None:
    successor = ApiKey.objects.filter(rotated_from=key).first()
    if successor is not None:
        words = f"This key was rotated; rotate its successor {successor.pk} instead."
    elif key.revoked_at is not None:
        words = "This key is revoked; issue a new one."
    elif key.expires_at is not None and key.expires_at <= now:
        words = "This key has expired; issue a new one."
    else:
        return
    raise FlorinError(ErrorCode.parameter_invalid, words)
