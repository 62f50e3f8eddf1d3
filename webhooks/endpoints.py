"""Merchants' endpoints: where, for which events, with which secret.

Mental model: an endpoint belongs to an owner (a merchant) in one mode. Its secret is made here,
shown once and kept encrypted; a rotation keeps the old one valid for as long as was asked for, a
day by default, during which every request carries two signatures. The address is judged before it
is stored (webhooks.destinations). Every change is audited; deleting keeps the row, because its
deliveries are evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from audit import encryption, log
from webhooks import destinations, outbox, signing, tallies
from webhooks.models import EndpointHealth, MerchantDelivery, WebhookEndpoint
from webhooks.models.merchants import new_endpoint_id
from webhooks.tallies import Tally

ROTATION_OVERLAP = timedelta(hours=24)
ROTATION_OVERLAP_MAX = timedelta(days=7)
ENDPOINTS_PER_OWNER = 16
EVENT_TYPES_MAX = 100
DESCRIPTION_LENGTH_MAX = 500

Status = WebhookEndpoint.Status
_PATTERN = re.compile(r"\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?")


class EndpointInvalid(ValueError):
    """A value that an endpoint cannot have; `field` names it, the message says the way out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class EndpointNotFound(LookupError):
    """No such endpoint for this owner and mode."""


@dataclass(frozen=True)
class EndpointView:
    """An endpoint as the API and the back office show it; never with its secret."""

    id: str
    owner: str
    livemode: bool
    url: str
    description: str
    event_types: tuple[str, ...]
    status: str
    disabled_reason: str
    api_version: str
    created_at: datetime
    updated_at: datetime
    consecutive_failures: int
    failing_since: datetime | None
    last_success_at: datetime | None
    success_ratio: float | None


@dataclass(frozen=True)
class EndpointPage:
    """A page, newest first; `has_more` in the direction asked for."""

    data: list[EndpointView]
    has_more: bool


def create(
    *,
    owner: str,
    livemode: bool,
    url: str,
    event_types: Sequence[str],
    description: str = "",
    now: datetime,
    within: Callable[[EndpointView], None] | None = None,
) -> tuple[EndpointView, str]:
    """A new enabled endpoint and its secret, which nobody can read again. `within` is called in
    the transaction that writes it.

    Raises EndpointInvalid, audit.log.MissingActor. Not for use inside a transaction: the host's
    name is looked up first.
    """
    _judge_url(url, owner=owner, livemode=livemode)
    endpoint = WebhookEndpoint(
        id=new_endpoint_id(),
        owner=owner,
        livemode=livemode,
        url=url,
        description=_description(description),
        event_types=_event_types(event_types),
        api_version=settings.FLORIN_API_VERSION,
        created_at=now,
        updated_at=now,
    )
    secret = signing.new_secret()
    endpoint.secret = _encrypt(endpoint, secret)
    with transaction.atomic():
        living = WebhookEndpoint.objects.filter(owner=owner, livemode=livemode)
        if living.exclude(status=Status.DELETED).count() >= ENDPOINTS_PER_OWNER:
            raise EndpointInvalid(
                "url", f"There are {ENDPOINTS_PER_OWNER} endpoints already; delete one first."
            )
        endpoint.save(force_insert=True)
        EndpointHealth.objects.create(endpoint=endpoint)
        _audit(endpoint, "webhook_endpoint.created", now=now)
        if within is not None:
            within(_view(endpoint, Tally()))
    return _view(endpoint, Tally()), secret


def update(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    now: datetime,
) -> EndpointView:
    """Change what is given, leave the rest. Enabling a disabled endpoint forgets its failures.

    Raises EndpointNotFound, EndpointInvalid. Not for use inside a transaction.
    """
    if url is not None:
        _judge_url(url, owner=owner, livemode=livemode)
    with transaction.atomic():
        endpoint = _locked(owner, livemode, endpoint_id)
        if url is not None:
            endpoint.url = url
        if event_types is not None:
            endpoint.event_types = _event_types(event_types)
        if description is not None:
            endpoint.description = _description(description)
        if enabled is True and endpoint.status == Status.DISABLED:
            endpoint.status, endpoint.disabled_reason = Status.ENABLED, ""
            EndpointHealth.objects.filter(endpoint=endpoint).update(
                consecutive_failures=0,
                failing_since=None,
                warned_at=None,
                throttled_until=None,
                average_ms=0,
            )
        if enabled is False and endpoint.status == Status.ENABLED:
            _disable(endpoint, reason="switched off by its owner", now=now)
        endpoint.updated_at = now
        endpoint.save()
        _audit(endpoint, "webhook_endpoint.updated", now=now)
    return _views([endpoint], now=now)[0]


def delete(*, owner: str, livemode: bool, endpoint_id: str, now: datetime) -> None:
    """Send nothing more there. Its deliveries stay readable. Raises EndpointNotFound."""
    with transaction.atomic():
        endpoint = _locked(owner, livemode, endpoint_id)
        _discard_open_deliveries(endpoint, reason="the endpoint was deleted", now=now)
        endpoint.status, endpoint.updated_at = Status.DELETED, now
        endpoint.previous_secret = endpoint.previous_secret_expires_at = None
        endpoint.save()
        _audit(endpoint, "webhook_endpoint.deleted", now=now)


def rotate_secret(
    *,
    owner: str,
    livemode: bool,
    endpoint_id: str,
    overlap: timedelta = ROTATION_OVERLAP,
    unchanged_since: datetime | None = None,
    now: datetime,
) -> str:
    """A new secret, shown once; the old one signs too for `overlap` (0 to 7 days), and one that
    was older still no more.

    With `unchanged_since`, the `updated_at` that was seen, only one of two who saw the same makes
    a new one. Raises EndpointNotFound, EndpointInvalid.
    """
    if not timedelta() <= overlap <= ROTATION_OVERLAP_MAX:
        raise EndpointInvalid("overlap", "The overlap is 0 to 7 days.")
    with transaction.atomic():
        endpoint = _locked(owner, livemode, endpoint_id)
        if unchanged_since is not None and endpoint.updated_at != unchanged_since:
            raise EndpointInvalid("", "The endpoint was changed meanwhile; look at it again.")
        old, secret = secrets_of(endpoint, now=now)[0], signing.new_secret()
        endpoint.previous_secret = endpoint.previous_secret_expires_at = None
        if overlap:
            endpoint.previous_secret = _encrypt(endpoint, old, previous=True)
            endpoint.previous_secret_expires_at = now + overlap
        endpoint.secret, endpoint.updated_at = _encrypt(endpoint, secret), now
        endpoint.save()
        said = {"overlap_seconds": overlap // timedelta(seconds=1)}
        _audit(endpoint, "webhook_endpoint.secret_rotated", said, now=now)
    return secret


def get(*, owner: str, livemode: bool, endpoint_id: str, now: datetime) -> EndpointView:
    """One endpoint, as it is doing at `now`. Raises EndpointNotFound."""
    endpoint = _living(owner, livemode).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise EndpointNotFound(f"There is no webhook endpoint {endpoint_id}.")
    return _views([endpoint], now=now)[0]


def list_for(
    *,
    owner: str,
    livemode: bool,
    limit: int = 10,
    starting_after: str = "",
    ending_before: str = "",
    now: datetime,
) -> EndpointPage:
    """Endpoints, newest first. Cursors are endpoint ids; give one of them at most."""
    rows = _living(owner, livemode)
    if ending_before:
        found = list(rows.filter(pk__gt=ending_before).order_by("pk")[: limit + 1])
        data = found[:limit][::-1]
    else:
        if starting_after:
            rows = rows.filter(pk__lt=starting_after)
        found = list(rows.order_by("-pk")[: limit + 1])
        data = found[:limit]
    return EndpointPage(data=_views(data, now=now), has_more=len(found) > limit)


def disable(*, endpoint_id: str, reason: str, now: datetime) -> None:
    """Stop sending to an endpoint, with words, and tell its owner by `endpoint.disabled`."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint_id)
        if endpoint.status == Status.ENABLED:
            _disable(endpoint, reason=reason, now=now)
            endpoint.updated_at = now
            endpoint.save()
            _audit(endpoint, "webhook_endpoint.disabled", now=now)


def secrets_of(endpoint: WebhookEndpoint, *, now: datetime) -> list[str]:
    """The secrets that sign at `now`, the current one first."""
    context = _secret_context(endpoint)
    secrets = [encryption.decrypt(bytes(endpoint.secret), context=context).decode()]
    expires_at = endpoint.previous_secret_expires_at
    if endpoint.previous_secret is not None and expires_at is not None and now < expires_at:
        previous = encryption.decrypt(
            bytes(endpoint.previous_secret), context=_secret_context(endpoint, previous=True)
        )
        secrets.append(previous.decode())
    return secrets


def _disable(endpoint: WebhookEndpoint, *, reason: str, now: datetime) -> None:
    endpoint.status, endpoint.disabled_reason = Status.DISABLED, reason
    _discard_open_deliveries(endpoint, reason=f"the endpoint was disabled: {reason}", now=now)
    outbox.emit(
        type="endpoint.disabled",
        aggregate_type="webhook_endpoint",
        aggregate_id=endpoint.pk,
        owner=endpoint.owner,
        livemode=endpoint.livemode,
        payload={
            "id": endpoint.pk,
            "object": "webhook_endpoint",
            "url": endpoint.url,
            "reason": reason,
        },
        occurred_at=now,
        now=now,
    )


def _discard_open_deliveries(endpoint: WebhookEndpoint, *, reason: str, now: datetime) -> None:
    MerchantDelivery.objects.filter(
        endpoint=endpoint,
        status__in=(MerchantDelivery.Status.PENDING, MerchantDelivery.Status.RETRYING),
    ).update(
        status=MerchantDelivery.Status.DISCARDED,
        reason=reason,
        due_at=None,
        lease_until=None,
        finished_at=now,
    )


def _judge_url(url: str, *, owner: str, livemode: bool) -> None:
    try:
        destination = destinations.parse(url, livemode=livemode)
        destinations.pin(destination, resolver=destinations.resolver_for(owner))
    except destinations.DestinationRefused as refusal:
        # A name that does not resolve just now is no danger; each request judges it again.
        if refusal.code != "host_unresolved":
            raise EndpointInvalid("url", str(refusal)) from refusal


def _event_types(patterns: Sequence[str]) -> list[str]:
    if not patterns or len(patterns) > EVENT_TYPES_MAX:
        raise EndpointInvalid("event_types", 'Name the events to receive, or ["*"] for all.')
    for pattern in patterns:
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            raise EndpointInvalid(
                "event_types",
                f"{pattern!r} is no event type; write payment.settled, payment.* or *.",
            )
    return sorted(set(patterns))


def _description(text: str) -> str:
    if len(text) > DESCRIPTION_LENGTH_MAX or "\x00" in text:
        raise EndpointInvalid(
            "description", f"Use at most {DESCRIPTION_LENGTH_MAX} characters, none of them NUL."
        )
    return text


def _living(owner: str, livemode: bool) -> QuerySet[WebhookEndpoint]:
    return (
        WebhookEndpoint.objects.filter(owner=owner, livemode=livemode)
        .exclude(status=Status.DELETED)
        .select_related("health")
    )


def _locked(owner: str, livemode: bool, endpoint_id: str) -> WebhookEndpoint:
    endpoint = (
        _living(owner, livemode).select_for_update(of=("self",)).filter(pk=endpoint_id).first()
    )
    if endpoint is None:
        raise EndpointNotFound(f"There is no webhook endpoint {endpoint_id}.")
    return endpoint


def _encrypt(endpoint: WebhookEndpoint, secret: str, *, previous: bool = False) -> bytes:
    return encryption.encrypt(secret, context=_secret_context(endpoint, previous=previous))


def _secret_context(endpoint: WebhookEndpoint, *, previous: bool = False) -> str:
    column = "previous_secret" if previous else "secret"
    return f"webhooks.webhookendpoint.{column}:{endpoint.pk}"


def _audit(
    endpoint: WebhookEndpoint,
    event_type: str,
    said: Mapping[str, object] | None = None,
    *,
    now: datetime,
) -> None:
    log.append(
        event_type=event_type,
        stream_type="webhook_endpoint",
        stream_id=endpoint.pk,
        body={
            "url": endpoint.url,
            "event_types": list(endpoint.event_types),
            "status": endpoint.status,
            "disabled_reason": endpoint.disabled_reason,
            **(said or {}),
        },
        references=[("merchant", endpoint.owner)],
        occurred_at=now,
    )


def _views(rows: Sequence[WebhookEndpoint], *, now: datetime) -> list[EndpointView]:
    last_day = tallies.of_last_day([row.pk for row in rows], now=now)
    return [_view(row, last_day[row.pk]) for row in rows]


def _view(endpoint: WebhookEndpoint, last_day: Tally) -> EndpointView:
    health = endpoint.health
    return EndpointView(
        id=endpoint.pk,
        owner=endpoint.owner,
        livemode=endpoint.livemode,
        url=endpoint.url,
        description=endpoint.description,
        event_types=tuple(endpoint.event_types),
        status=endpoint.status,
        disabled_reason=endpoint.disabled_reason,
        api_version=endpoint.api_version,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
        consecutive_failures=health.consecutive_failures,
        failing_since=health.failing_since,
        last_success_at=health.last_success_at,
        success_ratio=last_day.success_ratio,
    )
