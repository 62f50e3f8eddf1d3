"""Who asks: from an API key to a merchant and a mode. The only place that reads a key.

Mental model: a key is looked up by its SHA-256 (it has 256 bits of entropy, so one index read on a
plain hash is enough). What was found is kept in this process for a few seconds; so a revoked key
or a suspended merchant is refused everywhere after `CACHE_SECONDS` at the latest, and a key that
expires at a known moment from that moment on. A key's kind says which routes it opens: secret keys
the merchant's, restricted keys those of their scopes, publishable keys the payer's.

That a key was used is written down while it is looked up, at most once a minute, by a statement of
its own: no request waits for a row that another request of the same key holds.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit.log import Actor, set_actor
from payments.errors import ErrorCode, FlorinError
from payments.models import ApiKey, ApiKeyUse, Merchant
from payments.scopes import opens, scope_of

CACHE_SECONDS = 4.0
LAST_USE_IS_TRUE_TO = timedelta(minutes=1)
_CACHE_SIZE_MAX = 10_000
_cache: dict[str, tuple[float, Caller]] = {}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The owner of a valid key: whose data it opens, in which mode, and what the audit writes."""

    key_id: str
    kind: str
    livemode: bool
    merchant: Merchant
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """True when the key opens what needs this scope."""
        if self.kind == ApiKey.Kind.RESTRICTED:
            return opens(self.scopes, scope)
        return self.kind == ApiKey.Kind.SECRET

    @property
    def actor(self) -> Actor:
        """The name under which the audit log remembers what this key did."""
        return Actor(type="api_key", id=self.key_id, display=self.merchant.name)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk_...`, or Basic with the key as user name and no password."""

    def authenticate(self, request: Request) -> tuple[None, Caller]:
        """The caller, as `request.auth`. Raises FlorinError (401, or 403 when suspended)."""
        key = presented_key(request.META.get("HTTP_AUTHORIZATION", ""))
        caller = find_caller(key, now=datetime.now(UTC))
        set_actor(caller.actor)
        return None, caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Florin"'


class SecretKeyRequired(BasePermission):
    """The merchant's own routes: secret keys, and restricted ones with the scope that the view's
    `resource` and the method make; so that no browser ever calls them.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = caller_of(request)
        if caller.kind == ApiKey.Kind.PUBLISHABLE:
            raise FlorinError(ErrorCode.secret_key_required)
        scope = scope_of(view.resource, str(request.method))
        if not caller.may(scope):
            raise FlorinError(
                ErrorCode.scope_missing,
                f"This key lacks the scope {scope}.",
                required_scope=scope,
            )
        return True


class PublishableKeyRequired(BasePermission):
    """The payer's routes: a secret key in a browser is a mistake, so it is refused there."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if caller_of(request).kind != ApiKey.Kind.PUBLISHABLE:
            raise FlorinError(ErrorCode.publishable_key_required)
        return True


def caller_of(request: Request) -> Caller:
    """Who sent this authenticated request."""
    caller = request.auth
    assert isinstance(caller, Caller), "Bug! a view without ApiKeyAuthentication asks for a caller"
    return caller


def presented_key(header: str) -> str:
    """The key inside an Authorization header. Raises FlorinError(authentication_required)."""
    scheme, _, credentials = header.strip().partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer" and credentials:
        return credentials
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(credentials, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            decoded = ""
        user, _, password = decoded.partition(":")
        if user and not password:
            return user
    raise FlorinError(ErrorCode.authentication_required)


def find_caller(key: str, *, now: datetime) -> Caller:
    """The owner of a key. Raises FlorinError(api_key_invalid or merchant_suspended)."""
    digest = ApiKey.digest(key)
    kept_until, caller = _cache.get(digest, (0.0, None))
    if caller is None or kept_until < time.monotonic():
        caller = _look_up(digest, now)
    if caller.expires_at is not None and caller.expires_at <= now:
        raise FlorinError(ErrorCode.api_key_invalid, "This API key has expired.")
    if caller.merchant.status != Merchant.Status.ACTIVE:
        raise FlorinError(ErrorCode.merchant_suspended)
    return caller


def digests_in_force(digests: Collection[str], *, now: datetime) -> set[str]:
    """Which of these keys, by their SHA-256, would be let in now: neither revoked nor expired, and
    of an active merchant. One statement, past the cache.
    """
    keys = ApiKey.objects.filter(
        hashed_key__in=digests,
        revoked_at__isnull=True,
        merchant__status=Merchant.Status.ACTIVE,
    )
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    return set(keys.filter(unexpired).values_list("hashed_key", flat=True))


def forget_callers() -> None:
    """Look every key up anew, as a process that starts does."""
    _cache.clear()


def _look_up(digest: str, now: datetime) -> Caller:
    row = (
        ApiKey.objects.select_related("merchant", "use")
        .filter(hashed_key=digest, revoked_at__isnull=True)
        .first()
    )
    if row is None:
        _cache.pop(digest, None)
        raise FlorinError(ErrorCode.api_key_invalid)
    if row.expires_at is None or row.expires_at > now:
        _note_use(row, now)
    caller = Caller(
        key_id=row.pk,
        kind=row.kind,
        livemode=row.livemode,
        merchant=row.merchant,
        scopes=frozenset(row.scopes),
        expires_at=row.expires_at,
    )
    if len(_cache) >= _CACHE_SIZE_MAX:
        _cache.clear()
    _cache[digest] = (time.monotonic() + CACHE_SECONDS, caller)
    return caller


def _note_use(key: ApiKey, now: datetime) -> None:
    """Write down that the key is in use, unless that was done within the last minute."""
    if key.last_used_at is None or key.last_used_at <= now - LAST_USE_IS_TRUE_TO:
        ApiKeyUse.objects.bulk_create(
            [ApiKeyUse(key=key, last_used_at=now)],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["last_used_at"],
        )
