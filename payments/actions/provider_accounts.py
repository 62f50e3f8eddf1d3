"""Provider accounts: opening and closing them, finding the one for a payment, unlocking it.

Mental model: a merchant with active accounts of its own in a mode uses those, any other the
platform's. A payment may name one of them; one that names none goes through the default. An owner
with active accounts in a mode has exactly one default there. Credentials are encrypted at rest and
unlocked for one call; what the provider signs with belongs to the account's endpoints
(payments.actions.provider_endpoints).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from audit import log
from payments import rows
from payments.actions.provider_endpoints import insert_endpoint
from payments.errors import ErrorCode, FlorinError
from payments.models import Merchant, ProviderAccount
from payments.providers.base import Credentials

# How the endpoint is called that an account is opened with.
FIRST_ENDPOINT = "First"


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
    """Open an account at `provider` for a merchant's payments or everybody's (None), with a first
    endpoint where the provider sends what it signed with one of `webhook_secrets`.

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
        account.set_secrets(_secrets_json(secret_key))
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
        insert_endpoint(account, name=FIRST_ENDPOINT, webhook_secrets=webhook_secrets, now=now)
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


def replace_provider_key(
    *, account: ProviderAccount, secret_key: str, actor: log.Actor, now: datetime
) -> None:
    """Exchange the key with which the provider is asked. Raises FlorinError(parameter_invalid)."""
    if not secret_key:
        raise FlorinError(ErrorCode.parameter_invalid, "Give the new key.", param="secret_key")
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ProviderAccount.objects.select_for_update().get(pk=account.pk)
        locked.set_secrets(_secrets_json(secret_key))
        locked.save(update_fields=["secrets_encrypted"])
        _audit(locked, "key_replaced", {}, now=now)


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


def is_live(account_id: str) -> bool:
    """Whether an account is one of live mode; what we do not know may be real money, so: True."""
    modes = ProviderAccount.objects.filter(pk=account_id).values_list("livemode", flat=True)
    return modes.first() is not False


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
    """The account's credentials in clear, for one call."""
    return Credentials(
        secret_key=json.loads(account.reveal_secrets())["secret_key"],
        publishable_key=account.publishable_key,
        api_base=account.api_base,
    )


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


def _secrets_json(secret_key: str) -> str:
    return json.dumps({"secret_key": secret_key})


def _audit(account: ProviderAccount, what: str, body: dict[str, object], *, now: datetime) -> None:
    log.append(
        event_type=f"provider_account.{what}",
        stream_type="provider_account",
        stream_id=account.pk,
        body=body,
        references=[("merchant", account.merchant_id)] if account.merchant_id else [],
        occurred_at=now,
    )
