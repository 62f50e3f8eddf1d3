"""Provider accounts: opening one, finding the one a payment goes through, unlocking it.

Mental model: a payment goes through its merchant's own active account in its mode, else through
the platform's. Credentials are encrypted at rest and unlocked for one call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction

from audit import log
from payments import rows
from payments.errors import ErrorCode, FlorinError
from payments.models import Merchant, ProviderAccount
from payments.providers.base import Credentials


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
) -> ProviderAccount:
    """Open an account at `provider`; it becomes the active one of its owner and mode.

    Raises FlorinError(parameter_invalid) for a provider that is not in FLORIN_PROVIDERS, and for
    a live account asked without TLS.
    """
    if provider not in settings.FLORIN_PROVIDERS:
        known = ", ".join(sorted(settings.FLORIN_PROVIDERS))
        raise FlorinError(
            ErrorCode.parameter_invalid, f"Known providers are {known}.", param="provider"
        )
    if livemode and api_base and not api_base.startswith("https://"):
        raise FlorinError(
            ErrorCode.parameter_invalid, "A live provider is asked over https.", param="api_base"
        )
    with log.acting_as(actor), transaction.atomic(durable=True):
        for former in ProviderAccount.objects.select_for_update().filter(
            merchant=merchant, livemode=livemode, active=True
        ):
            former.active = False
            former.save()
        account = ProviderAccount(
            provider=provider,
            name=name,
            livemode=livemode,
            merchant=merchant,
            publishable_key=publishable_key,
            api_base=api_base,
            created_at=now,
        )
        account.set_secrets(_secrets_json(secret_key, webhook_secrets))
        account.save(force_insert=True)
        log.append(
            event_type="provider_account.created",
            stream_type="provider_account",
            stream_id=account.pk,
            body={
                "provider": provider,
                "name": name,
                "livemode": livemode,
                "api_base": api_base,
            },
            references=[("merchant", merchant.pk)] if merchant else [],
            occurred_at=now,
        )
    return account


def replace_provider_secrets(
    *,
    account: ProviderAccount,
    secret_key: str,
    webhook_secrets: Sequence[str],
    actor: log.Actor,
    now: datetime,
) -> None:
    """Exchange an account's credentials. Several webhook secrets at once make rotation smooth."""
    with log.acting_as(actor), transaction.atomic(durable=True):
        locked = ProviderAccount.objects.select_for_update().get(pk=account.pk)
        locked.set_secrets(_secrets_json(secret_key, webhook_secrets))
        locked.save()
        log.append(
            event_type="provider_account.secrets_replaced",
            stream_type="provider_account",
            stream_id=account.pk,
            body={"webhook_secret_count": len(webhook_secrets)},
            occurred_at=now,
        )


def account_for_payment(merchant: Merchant, livemode: bool) -> ProviderAccount:
    """The account a new payment goes through. Raises FlorinError(provider_account_missing)."""
    accounts = rows.table(ProviderAccount)
    account = accounts.find(merchant_id=merchant.pk, livemode=livemode, active=True)
    if account is None:
        account = accounts.find(merchant_id=None, livemode=livemode, active=True)
    if account is None:
        raise FlorinError(ErrorCode.provider_account_missing)
    return account


def credentials_for(account: ProviderAccount) -> Credentials:
    """The account's credentials in clear, for one call."""
    stored = json.loads(account.reveal_secrets())
    return Credentials(
        secret_key=stored["secret_key"],
        publishable_key=account.publishable_key,
        api_base=account.api_base,
        webhook_secrets=tuple(stored["webhook_secrets"]),
    )


def _secrets_json(secret_key: str, webhook_secrets: Sequence[str]) -> str:
    return json.dumps({"secret_key": secret_key, "webhook_secrets": list(webhook_secrets)})
