"""Addresses and webhook secrets of before are good after the migration that made endpoints."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from django.core.management import call_command

from audit import encryption
from payments.actions.provider_accounts import credentials_for
from payments.actions.provider_endpoints import WebhookSecret, endpoint_at, secrets_of
from payments.models import ProviderAccount
from tests.databases import TestDatabases
from tests.payments.own_database import empty_database


def test_an_accounts_address_and_its_secrets_become_its_first_endpoint(
    databases: TestDatabases,
) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(hours=5)
    stored = {
        "secret_key": "sk_of_before",
        "webhook_secrets": ["whsec_current"],
        "former_webhook_secrets": [{"secret": "whsec_former", "expires_at": ends.isoformat()}],
    }
    encrypted = encryption.encrypt(
        json.dumps(stored), context="payments.provideraccount.secrets:pacc_old"
    )
    with empty_database(databases) as owner:
        call_command("migrate", "payments", "0016", database="owner", verbosity=0)
        owner.execute(
            "INSERT INTO payments_provideraccount (id, provider, name, owned_by_merchant, livemode,"
            " active, is_default, publishable_key, api_base, secrets_encrypted, endpoint_token,"
            " created_at) VALUES ('pacc_old', 'sandbox', 'Old', false, false, true, true, '', '',"
            " %s, 'token_of_before', %s)",
            [encrypted, now],
        )
        call_command("migrate", "payments", "0017", database="owner", verbosity=0)
        endpoint = endpoint_at("token_of_before", now=now)
        assert endpoint is not None
        assert secrets_of(endpoint) == [
            WebhookSecret(secret="whsec_current"),
            WebhookSecret(secret="whsec_former", expires_at=ends),
        ]
        account = ProviderAccount.objects.get(pk="pacc_old")
        assert (endpoint.account, endpoint.created_at) == (account, now)
        assert credentials_for(account).secret_key == "sk_of_before"
        assert b"whsec" not in account.reveal_secrets()
