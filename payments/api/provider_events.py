"""`POST /webhooks/{provider}/{endpoint token}`: take in what a payment provider tells us.

Mental model: the token in the address finds the endpoint and its account, the signature over the
raw bytes proves the sender, one INSERT commits the event, and only then is 200 said. Nothing is
applied here; storing it wakes the worker. A sender we cannot believe leaves no row, and a card
number, which no provider ever sends, would be masked in it. A plain Django view without the REST
framework, because this is the busiest and the simplest address there is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from payments.actions.provider_endpoints import (
    LAST_EVENT_IS_TRUE_TO,
    WebhookSecret,
    endpoint_at,
    note_event,
    secrets_of,
)
from payments.actions.provider_news import as_stored
from payments.api import metrics
from payments.api.backpressure import pressure
from payments.api.card_data import is_tracing, masked_headers
from payments.api.errors import error_response, refusal_of
from payments.api.parsers import read_body
from payments.errors import ErrorCode, FlorinError
from payments.providers import provider_for
from payments.providers.base import InvalidSignature, Provider, UnreadableEvent
from webhooks import inbox
from webhooks.story import ENDPOINT_HEADER

CACHE_SECONDS = 4.0
_CACHE_SIZE_MAX = 10_000
_RECEIVED = b'{"received":true}'
# Kept out of the evidence: they say nothing about the event and may open something.
_HEADERS_NOT_KEPT = ("authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True, kw_only=True)
class _Destination:
    """Where an endpoint token leads; the webhook secrets in clear, for a few seconds only."""

    provider: Provider
    provider_code: str
    account_id: str
    livemode: bool
    endpoint_id: str
    retires_at: datetime | None
    webhook_secrets: tuple[WebhookSecret, ...] = field(repr=False)


_cache: dict[str, tuple[float, _Destination]] = {}
_noted: dict[str, datetime] = {}  # endpoint -> when this process last wrote that it is in use


@csrf_exempt
def receive_provider_event(
    request: HttpRequest, provider_code: str, endpoint_token: str
) -> HttpResponse:
    """Verify, commit, answer `{"received": true}`; a duplicate is received like the first."""
    try:
        if request.method != "POST":
            raise FlorinError(ErrorCode.method_not_allowed)
        _receive(request, provider_code, endpoint_token, now=datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - every exception has an answer
        refusal = refusal_of(error)
        metrics.WEBHOOKS_REFUSED.labels(_metric_label(provider_code), refusal.code.name).inc()
        response = error_response(refusal)
        if refusal.code is ErrorCode.method_not_allowed:
            response["Allow"] = "POST"
        return response
    return HttpResponse(_RECEIVED, content_type="application/json")


def _receive(request: HttpRequest, provider_code: str, endpoint_token: str, now: datetime) -> None:
    pressure.refuse_webhook()
    raw = read_body(request)
    destination = _destination(provider_code, endpoint_token, now=now)
    headers = _headers(request)
    secrets = [known.secret for known in destination.webhook_secrets if known.holds(now)]
    try:
        destination.provider.verify_webhook(raw, headers, secrets=secrets, now=now)
    except InvalidSignature as error:
        raise FlorinError(ErrorCode.signature_invalid, str(error)) from None
    try:
        event, kept = as_stored(destination.provider, raw)
    except UnreadableEvent as error:
        raise FlorinError(ErrorCode.event_unreadable, str(error)) from None
    inbox.receive(
        provider=destination.provider_code,
        account_id=destination.account_id,
        event_id=event.event_id,
        event_type=event.event_type,
        subject=event.subject,
        raw=kept,
        headers=headers | {ENDPOINT_HEADER: destination.endpoint_id},
        received_at=now,
    )
    _note_use(destination.endpoint_id, now)


def _note_use(endpoint_id: str, now: datetime) -> None:
    last = _noted.get(endpoint_id)
    if last is None or last <= now - LAST_EVENT_IS_TRUE_TO:
        _noted[endpoint_id] = now
        note_event(endpoint_id, now=now)


def forget_destinations() -> None:
    """Look every address up anew, as a process that starts does."""
    _cache.clear()


def _headers(request: HttpRequest) -> dict[str, str]:
    """Header names in lower case, without those that are not kept or that only we may write."""
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in request.META.items()
        if name.startswith("HTTP_") and not name.startswith("HTTP_FLORIN_") and not is_tracing(name)
    }
    for name in _HEADERS_NOT_KEPT:
        headers.pop(name, None)
    return masked_headers(headers)


def _destination(provider_code: str, endpoint_token: str, *, now: datetime) -> _Destination:
    """The account behind an address. Raises FlorinError(not_found), also for a wrong provider and
    for an endpoint that has retired.
    """
    expires_at, destination = _cache.get(endpoint_token, (0.0, None))
    if destination is None or expires_at < time.monotonic():
        destination = _look_up(endpoint_token, now=now)
    retired = destination.retires_at is not None and destination.retires_at <= now
    if retired or destination.provider_code != provider_code:
        raise FlorinError(ErrorCode.not_found)
    return destination


def _look_up(endpoint_token: str, *, now: datetime) -> _Destination:
    # An account that was replaced still gets the news of the payments made through it.
    endpoint = endpoint_at(endpoint_token, now=now)
    if endpoint is None:
        _cache.pop(endpoint_token, None)
        raise FlorinError(ErrorCode.not_found)
    destination = _Destination(
        provider=provider_for(endpoint.account.provider),
        provider_code=endpoint.account.provider,
        account_id=endpoint.account_id,
        livemode=endpoint.account.livemode,
        endpoint_id=endpoint.pk,
        retires_at=endpoint.retires_at,
        webhook_secrets=tuple(secrets_of(endpoint)),
    )
    if len(_cache) >= _CACHE_SIZE_MAX:
        _cache.clear()
    _cache[endpoint_token] = (time.monotonic() + CACHE_SECONDS, destination)
    return destination


def _metric_label(provider_code: str) -> str:
    """A caller chooses the path, so only known names may become labels."""
    return provider_code if provider_code in settings.FLORIN_PROVIDERS else "unknown"
