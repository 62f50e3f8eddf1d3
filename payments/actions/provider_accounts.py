"""Provider accounts: opening and closing them, finding the one for a payment, unlocking it.

Mental model: a merchant with active accounts of its own in a mode uses those, any other the
platform's. A payment may name one of them; one that names none goes through the default. An owner
with active accounts in a mode has exactly one default there. Credentials are encrypted at rest and
unlocked for one call; of the webhook secrets those that were replaced hold until they expire.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from audit import log
from payments import rows
from payments.errors import ErrorCode, FlorinError
from payments.models import Merchant, ProviderAccount
from payments.providers.base import Credentials
from payments.representation import timestamp

# Providers send with the old secret for at most a day after one is replaced; a week is plenty.
LONGEST_WEBHOOK_OVERLAP = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class WebhookSecret:
    """What a provider signs its webhooks with; good until `expires_at`, or until replaced."""

    secret: str = field(repr=False)
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """True until it expires."""
        return self.expires_at is None or now < self.expires_at


def create_provider_account(
    *,
    provider: str,
    name: str,
    livemode: bool,
    merchant: Merchant | None,
    secret_key: str,
    publishable_key: str,
    webhook_secrets: Sequence[str],
    api_base: str,
    actor: log.Actor,
    now: datetime,
    is_default: bool = True,
    owned_by_merchant: bool = False,
) -> ProviderAccount:
    """Open an account at `provider` for a merchant's payments or everybody's (None).

    With `owned_by_merchant` the PSP pays the merchant itself, which the books follow; that never
    changes, because what was booked would no longer be true.

    It becomes the default of its owner and mode, unless told otherwise and there is one; the
    former default stays active. Raises FlorinError(parameter_invalid) for a provider that is not
    in FLORIN_PROVIDERS, for a live account asked without TLS, and for a merchant's account without
    a merchant.
    """
    if owned_by_merchant and merchant is None:
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "The platform's accounts pay the platform; name the merchant that is paid.",
            param="owned_by_merchant",
        )
    _check(provider, livemode=livemode, api_base=api_base)
    with log.acting_as(actor), transaction.atomic(durable=True):
        accounts = _locked_accounts(merchant.pk if merchant else None, livemode)
        account = ProviderAccount(
            provider=provider,
            name=name,
            livemode=livemode,
            merchant=merchant,
            owned_by_merchant=owned_by_merchant,
            publishable_key=publishable_key,
            api_base=api_base,
            is_default=_take_default(accounts) if is_default else not _has_default(accounts),
            created_at=now,
        )
        account.set_secrets(
            _secrets_json(secret_key, [WebhookSecret(secret=s) for s in webhook_secrets])
        )
        account.save(force_insert=True)
        _audit(
            account,
            "created",
            {
                "provider": provider,
                "name": name,
                "livemode": livemode,
                "api_base": api_base,
                "is_default": account.is_default,
                "owned_by_merchant": account.owned_by_merchant,
            },
            now=now,
        )
    return account


def make_default_account(
    *, account: ProviderAccount, actor: log.Actor, now: datetime
) -> ProviderAccount:
    """Let payments that name no account go through this one from now on.

    Raises FlorinError(parameter_invalid) for an account that is not active.
    """
    with log.acting_as(actor), transaction.atomic(durable=True):
        accounts = _locked_accounts(account.merchant_id, account.livemode)
        chosen = _of(accounts, account)
        if not chosen.active:
            raise FlorinError(
                ErrorCode.parameter_invalid, "An account that is not in use cannot be the default."
            )
        if not chosen.is_default:
            chosen.is_default = _take_default(accounts)
            chosen.save(update_fields=["is_default"])
            _audit(chosen, "made_default", {}, now=now)
    return chosen


def set_provider_account_active(
    *, account: ProviderAccount, active: bool, reason: str, actor: log.Actor, now: datetime
) -> ProviderAccount:
    """Let an account take new payments or not; those it has go on, and its webhooks too.

    The default can be closed only as the last of its owner and mode. One that is opened again
    becomes the default where there is none. Raises FlorinError(parameter_invalid).
    """
    if not reason.strip():
        raise FlorinError(ErrorCode.parameter_invalid, "Say why.", param="reason")
    with transaction.atomic(durable=True), log.acting_as(actor, reason=reason):
        accounts = _locked_accounts(account.merchant_id, account.livemode)
        chosen = _of(accounts, account)
        if chosen.active == active:
            return chosen
        others = [other for other in accounts if other.active and other != chosen]
        if chosen.is_default and others:
            raise FlorinError(
                ErrorCode.parameter_invalid,
                f"This is the default; make another the default first, such as {others[0].name}.",
            )
        chosen.active = active
        chosen.is_default = active and not others
        chosen._change_reason = reason[:100]  # type: ignore[attr-defined]
        chosen.save(update_fields=["active", "is_default"])
        _audit(chosen, "activated" if active else "deactivated", {"reason": reason}, now=now)
    return chosen


def replace_provider_secrets(
    *,
    account: ProviderAccount,
    secret_key: str = "",
    webhook_secrets: Sequence[str] = (),
    webhook_overlap: timedelta = timedelta(),
    actor: log.Actor,
    now: datetime,
) -> None:
    """Exchange an account's secret key, its webhook secrets, or both; what is empty stays.

    Former webhook secrets hold for `webhook_overlap` (0 to 7 days) beside the new ones. Raises
    FlorinError(parameter_invalid).
    """
    if not secret_key and not webhook_secrets:
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "Give a secret key, webhook secrets, or both.",
            param="secret_key",
        )
    if not timedelta() <= webhook_overlap <= LONGEST_WEBHOOK_OVERLAP:
        raise FlorinError(
            ErrorCode.parameter_invalid, "The overlap is 0 to 7 days.", param="webhook_overlap"
        )
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ProviderAccount.objects.select_for_update().get(pk=account.pk)
        kept = webhook_secrets_of(locked)
        if webhook_secrets:
            ends = now + webhook_overlap
            former = [secret for secret in kept if secret.secret not in webhook_secrets]
            kept = [
                *(WebhookSecret(secret=secret) for secret in webhook_secrets),
                *(_ending(secret, ends) for secret in former),
            ]
        kept = [secret for secret in kept if secret.holds(now)]
        locked.set_secrets(_secrets_json(secret_key or credentials_for(locked).secret_key, kept))
        locked.save(update_fields=["secrets_encrypted"])
        _audit(
            locked,
            "secrets_replaced",
            {
                "secret_key_replaced": bool(secret_key),
                "webhook_secrets": [
                    {"expires_at": timestamp(secret.expires_at)} for secret in kept
                ],
            },
            now=now,
        )


def account_for_payment(
    merchant: Merchant, livemode: bool, requested_id: str = ""
) -> ProviderAccount:
    """The account a new payment goes through: the requested one of those the merchant may use,
    else the default.

    Raises FlorinError: provider_account_missing, or not_found for a requested account that is
    foreign, absent or not in use.
    """
    accounts = rows.table(ProviderAccount)
    default = accounts.find(merchant_id=merchant.pk, livemode=livemode, is_default=True)
    if default is None:
        default = accounts.find(merchant_id=None, livemode=livemode, is_default=True)
    if default is None and not requested_id:
        raise FlorinError(ErrorCode.provider_account_missing)
    if default is not None and requested_id in ("", default.pk):
        return default
    owner_id = default.merchant_id if default else None
    requested = accounts.find(id=requested_id, merchant_id=owner_id, livemode=livemode, active=True)
    if requested is None:
        raise FlorinError(
            ErrorCode.not_found,
            f"No such provider account in use: {requested_id!r}.",
            param="provider_account",
        )
    return requested


def accounts_of(merchant: Merchant, livemode: bool) -> QuerySet[ProviderAccount]:
    """What the merchant may know: all accounts of its own, and the platform's active ones while
    it has no active one itself, because its payments go through those.
    """
    own = ProviderAccount.objects.filter(merchant=merchant, livemode=livemode)
    if own.filter(active=True).exists():
        return own
    return ProviderAccount.objects.filter(
        Q(merchant=merchant) | Q(merchant__isnull=True, active=True), livemode=livemode
    )


def credentials_for(account: ProviderAccount) -> Credentials:
    """The account's credentials in clear, for one call; of its webhook secrets the current ones."""
    stored = json.loads(account.reveal_secrets())
    return Credentials(
        secret_key=stored["secret_key"],
        publishable_key=account.publishable_key,
        api_base=account.api_base,
        webhook_secrets=tuple(stored["webhook_secrets"]),
    )


def webhook_secrets_of(account: ProviderAccount) -> list[WebhookSecret]:
    """What the provider may have signed with, the current ones first; some may have expired."""
    stored = json.loads(account.reveal_secrets())
    current = [WebhookSecret(secret=secret) for secret in stored["webhook_secrets"]]
    former = [
        WebhookSecret(
            secret=known["secret"], expires_at=datetime.fromisoformat(known["expires_at"])
        )
        for known in stored.get("former_webhook_secrets", [])
    ]
    return current + former


def _check(provider: str, *, livemode: bool, api_base: str) -> None:
    if provider not in settings.FLORIN_PROVIDERS:
        known = ", ".join(sorted(settings.FLORIN_PROVIDERS))
        raise FlorinError(
            ErrorCode.parameter_invalid, f"Known providers are {known}.", param="provider"
        )
    if livemode and api_base and not api_base.startswith("https://"):
        raise FlorinError(
            ErrorCode.parameter_invalid, "A live provider is asked over https.", param="api_base"
        )


def _locked_accounts(owner_id: str | None, livemode: bool) -> list[ProviderAccount]:
    """All accounts of an owner and mode; nobody else opens or changes one until the end of this
    transaction, also where there is none yet.
    """
    with connection.cursor() as cursor:
        name = f"provider accounts of {owner_id or 'the platform'} {livemode}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
    found = ProviderAccount.objects.select_for_update().filter(
        merchant_id=owner_id, livemode=livemode
    )
    return list(found.order_by("pk"))


def _of(accounts: list[ProviderAccount], wanted: ProviderAccount) -> ProviderAccount:
    return next(account for account in accounts if account == wanted)


def _has_default(accounts: list[ProviderAccount]) -> bool:
    return any(account.is_default for account in accounts)


def _take_default(accounts: list[ProviderAccount]) -> bool:
    """Take the default from whoever has it; what another account is given, then: True."""
    for former in accounts:
        if former.is_default:
            former.is_default = False
            former.save(update_fields=["is_default"])
    return True


def _ending(known: WebhookSecret, ends: datetime) -> WebhookSecret:
    earlier = known.expires_at if known.expires_at and known.expires_at < ends else ends
    return WebhookSecret(secret=known.secret, expires_at=earlier)


def _secrets_json(secret_key: str, webhook_secrets: Sequence[WebhookSecret]) -> str:
    return json.dumps(
        {
            "secret_key": secret_key,
            "webhook_secrets": [s.secret for s in webhook_secrets if s.expires_at is None],
            "former_webhook_secrets": [
                {"secret": s.secret, "expires_at": s.expires_at.isoformat()}
                for s in webhook_secrets
                if s.expires_at is not None
            ],
        }
    )


def _audit(account: ProviderAccount, what: str, body: dict[str, object], *, now: datetime) -> None:
    log.append(
        event_type=f"provider_account.{what}",
        stream_type="provider_account",
        stream_id=account.pk,
        body=body,
        references=[("merchant", account.merchant_id)] if account.merchant_id else [],
        occurred_at=now,
    )
