"""What staff do to merchants, their keys and provider accounts: once, and with words about it."""

from __future__ import annotations

import pytest

from audit.log import Actor
from audit.timeline import timeline
from payments.actions.api_keys import issue_api_key, revoke_api_key
from payments.actions.merchant_status import set_merchant_status
from payments.actions.provider_accounts import (
    create_provider_account,
)
from payments.errors import FlorinError
from payments.models import ApiKey, Merchant, ProviderAccount
from tests.payments.shop import Shop

STAFF = Actor(type="user", id="1", display="alice")


def told(stream_type: str, stream_id: str) -> list[str]:
    """The types of the audit events of a stream."""
    return [record.event_type for record in timeline(stream_type=stream_type, stream_id=stream_id)]


def test_a_merchant_is_suspended_once_and_works_again(shop: Shop) -> None:
    for _ in range(2):
        set_merchant_status(
            merchant=shop.merchant,
            status=Merchant.Status.SUSPENDED,
            reason="unpaid fees",
            actor=STAFF,
            now=shop.now(),
        )
    assert Merchant.objects.get(pk=shop.merchant.pk).status == "suspended"
    assert told("merchant", shop.merchant.pk).count("merchant.suspended") == 1
    set_merchant_status(
        merchant=shop.merchant,
        status=Merchant.Status.ACTIVE,
        reason="paid",
        actor=STAFF,
        now=shop.now(),
    )
    assert Merchant.objects.get(pk=shop.merchant.pk).status == "active"


@pytest.mark.parametrize(("status", "reason"), [("suspended", " "), ("asleep", "tired")])
def test_a_status_needs_to_exist_and_to_have_a_reason(shop: Shop, status: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"Say why|not a valid"):
        set_merchant_status(
            merchant=shop.merchant, status=status, reason=reason, actor=STAFF, now=shop.now()
        )


def test_a_key_that_is_revoked_twice_keeps_its_first_time(shop: Shop) -> None:
    key, _ = issue_api_key(
        merchant=shop.merchant,
        kind=ApiKey.Kind.SECRET,
        livemode=False,
        name="second",
        actor=STAFF,
        now=shop.now(),
    )
    first = revoke_api_key(key=key, actor=STAFF, now=shop.now()).revoked_at
    shop.ahead_by(hours=1)
    assert revoke_api_key(key=key, actor=STAFF, now=shop.now()).revoked_at == first
    assert told("merchant", shop.merchant.pk).count("api_key.revoked") == 1


def test_an_account_at_a_provider_that_is_not_there_is_refused(shop: Shop) -> None:
    with pytest.raises(FlorinError, match="Known providers are"):
        account_of(shop, "bank_of_nowhere")


def account_of(shop: Shop, provider: str) -> ProviderAccount:
    return create_provider_account(
        provider=provider,
        name="Second",
        livemode=False,
        merchant=shop.merchant,
        secret_key="sbx_sk_second",
        publishable_key="",
        webhook_secrets=[],
        api_base="",
        actor=STAFF,
        now=shop.now(),
    )
