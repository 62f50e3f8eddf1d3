"""Endpoints of provider accounts: adding them, rotating their secrets, retiring them.

Mental model: nothing here has a moment in which news is refused. A new address is added before the
old one goes; a new secret holds at once and the former one until its overlap ends; a retiring
address takes news until its overlap ends. Providers send again for days, so a wrong step costs
time, not events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from audit import log
from payments.errors import ErrorCode, FlorinError
from payments.models import ProviderAccount, ProviderEndpoint
from payments.representation import timestamp

# Providers send with the old secret for at most a day after one is replaced; a week is plenty.
LONGEST_OVERLAP = timedelta(days=7)
ENDPOINTS_MAX = 16
# How exactly the time of the last event is known; each process writes it no more often.
LAST_EVENT_IS_TRUE_TO = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class WebhookSecret:
    """What a provider signs its webhooks with; good until `expires_at`, or until replaced."""

    secret: str = field(repr=False)
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """True until it expires."""
        return self.expires_at is None or now < self.expires_at


def add_endpoint(
    *,
    account: ProviderAccount,
    name: str,
    webhook_secrets: Sequence[str],
    actor: log.Actor,
    now: datetime,
) -> ProviderEndpoint:
    """Open one more address for the news of an account.

    Without secrets it refuses everything until `rotate_endpoint_secrets` gives it some: a provider
    that makes the secret itself has to be told the address first. Raises
    FlorinError(parameter_invalid) without a name and for a seventeenth endpoint in use.
    """
    if not name.strip():
        raise FlorinError(ErrorCode.parameter_invalid, "Give it a name.", param="name")
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ProviderAccount.objects.select_for_update().get(pk=account.pk)
        in_use = locked.endpoints.filter(retires_at__isnull=True)
        if in_use.count() >= ENDPOINTS_MAX:
            raise FlorinError(
                ErrorCode.parameter_invalid,
                f"An account has at most {ENDPOINTS_MAX} endpoints in use; retire one first.",
            )
        return insert_endpoint(locked, name=name.strip(), webhook_secrets=webhook_secrets, now=now)


def insert_endpoint(
    account: ProviderAccount, *, name: str, webhook_secrets: Sequence[str], now: datetime
) -> ProviderEndpoint:
    """The row and its audit event, in the open transaction of whoever adds it."""
    endpoint = ProviderEndpoint(account=account, name=name, created_at=now)
    endpoint.set_secrets(_as_json([WebhookSecret(secret=s) for s in webhook_secrets]))
    endpoint.save(force_insert=True)
    _audit(endpoint, "added", {"name": name, "webhook_secrets": len(webhook_secrets)}, now=now)
    return endpoint


def rotate_endpoint_secrets(
    *,
    endpoint: ProviderEndpoint,
    webhook_secrets: Sequence[str],
    overlap: timedelta,
    actor: log.Actor,
    now: datetime,
) -> None:
    """Give an endpoint new secrets; the former ones hold for `overlap` (0 to 7 days) beside them.

    One that is ending already is not given more time. Raises FlorinError(parameter_invalid).
    """
    if not webhook_secrets:
        raise FlorinError(
            ErrorCode.parameter_invalid, "Give the new secrets.", param="webhook_secrets"
        )
    _check_overlap(overlap)
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = _locked_in_use(endpoint, now)
        former = [known for known in secrets_of(locked) if known.secret not in webhook_secrets]
        kept = [
            *(WebhookSecret(secret=secret) for secret in webhook_secrets),
            *(_ending(known, now + overlap) for known in former),
        ]
        kept = [secret for secret in kept if secret.holds(now)]
        locked.set_secrets(_as_json(kept))
        locked.save(update_fields=["secrets_encrypted"])
        expiries = [{"expires_at": timestamp(secret.expires_at)} for secret in kept]
        _audit(locked, "secrets_rotated", {"webhook_secrets": expiries}, now=now)


def retire_endpoint(
    *,
    endpoint: ProviderEndpoint,
    overlap: timedelta,
    reason: str,
    actor: log.Actor,
    now: datetime,
) -> ProviderEndpoint:
    """Close an address after `overlap` (0 to 7 days); for good, because providers remember it.

    One that retires already may be given less time, never more. Raises
    FlorinError(parameter_invalid) without a reason, and for the account's last endpoint in use:
    payments made through the account would never be heard of again.
    """
    if not reason.strip():
        raise FlorinError(ErrorCode.parameter_invalid, "Say why.", param="reason")
    _check_overlap(overlap)
    with transaction.atomic(durable=True), log.acting_as(actor, reason=reason):
        account = ProviderAccount.objects.select_for_update().get(pk=endpoint.account_id)
        locked = _locked_in_use(endpoint, now)
        others = account.endpoints.filter(retires_at__isnull=True).exclude(pk=locked.pk)
        if not others.exists():
            raise FlorinError(
                ErrorCode.parameter_invalid,
                "This is the account's last endpoint; add another and tell the provider first.",
            )
        ends = now + overlap
        if locked.retires_at is None or ends < locked.retires_at:
            locked.retires_at = ends
            locked._change_reason = reason[:100]  # type: ignore[attr-defined]
            locked.save(update_fields=["retires_at"])
            body = {"reason": reason, "retires_at": timestamp(ends)}
            _audit(locked, "retired", body, now=now)
    return locked


def tell_endpoint_address(*, endpoint: ProviderEndpoint, actor: log.Actor, now: datetime) -> str:
    """The whole address, for a person who registers it with the provider; who saw it is audited.

    It opens nothing without a secret, but whoever knows it can make us verify what they send.
    """
    with log.acting_as(actor), transaction.atomic(durable=True):
        _audit(endpoint, "address_shown", {}, now=now)
    return address_of(endpoint)


def address_of(endpoint: ProviderEndpoint) -> str:
    """Where the provider sends to."""
    return f"{settings.FLORIN_BASE_URL}/webhooks/{endpoint.account.provider}/{endpoint.token}"


def endpoint_at(token: str, *, now: datetime) -> ProviderEndpoint | None:
    """The endpoint of an address, with its account; None also for one that has retired."""
    found = ProviderEndpoint.objects.select_related("account").filter(token=token).first()
    return None if found is None or found.is_retired(now) else found


def secrets_of(endpoint: ProviderEndpoint) -> list[WebhookSecret]:
    """What the provider may have signed with, the current ones first; some may have expired."""
    stored = json.loads(endpoint.reveal_secrets())
    return [
        *(WebhookSecret(secret=secret) for secret in stored["current"]),
        *(
            WebhookSecret(
                secret=known["secret"], expires_at=datetime.fromisoformat(known["expires_at"])
            )
            for known in stored["former"]
        ),
    ]


def note_event(endpoint_id: str, *, now: datetime) -> None:
    """Write down that an authentic event came in, unless that was done within the last minute."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO payments_providerendpointuse AS known (endpoint_id, last_event_at)"
            " VALUES (%s, %s) ON CONFLICT (endpoint_id) DO UPDATE SET last_event_at = %s"
            " WHERE known.last_event_at <= %s",
            [endpoint_id, now, now, now - LAST_EVENT_IS_TRUE_TO],
        )


def _locked_in_use(endpoint: ProviderEndpoint, now: datetime) -> ProviderEndpoint:
    locked = ProviderEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    if locked.is_retired(now):
        raise FlorinError(ErrorCode.parameter_invalid, "This endpoint has retired; add another.")
    return locked


def _check_overlap(overlap: timedelta) -> None:
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise FlorinError(
            ErrorCode.parameter_invalid, "The overlap is 0 to 7 days.", param="overlap"
        )


def _ending(known: WebhookSecret, ends: datetime) -> WebhookSecret:
    earlier = known.expires_at if known.expires_at and known.expires_at < ends else ends
    return WebhookSecret(secret=known.secret, expires_at=earlier)


def _as_json(webhook_secrets: Sequence[WebhookSecret]) -> str:
    return json.dumps(
        {
            "current": [s.secret for s in webhook_secrets if s.expires_at is None],
            "former": [
                {"secret": s.secret, "expires_at": s.expires_at.isoformat()}
                for s in webhook_secrets
                if s.expires_at is not None
            ],
        }
    )


def _audit(
    endpoint: ProviderEndpoint, what: str, body: Mapping[str, object], *, now: datetime
) -> None:
    log.append(
        event_type=f"provider_endpoint.{what}",
        stream_type="provider_account",
        stream_id=endpoint.account_id,
        body={"endpoint": endpoint.pk, **body},
        references=[("provider_endpoint", endpoint.pk)],
        occurred_at=now,
    )
