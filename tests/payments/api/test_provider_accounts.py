"""Several provider accounts: one default, others by name, opened and closed, secrets in overlap."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from audit.log import Actor
from audit.timeline import timeline
from payments.actions.check_provider_account import check_provider_account
from payments.actions.provider_accounts import (
    account_for_payment,
    create_provider_account,
    credentials_for,
    make_default_account,
    replace_provider_key,
    set_provider_account_active,
)
from payments.errors import FlorinError
from payments.models import Payment, ProviderAccount
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.shop import Shop

STAFF = Actor(type="user", id="1", display="alice")


def opened(shop: Shop, **changes: Any) -> ProviderAccount:
    """One more account of the shop at the sandbox."""
    asked: dict[str, Any] = {
        "provider": "sandbox",
        "name": "Second",
        "livemode": False,
        "merchant": shop.merchant,
        "secret_key": f"sbx_sk_{secrets.token_hex(16)}",
        "publishable_key": "",
        "webhook_secrets": ["whsec_first"],
        "api_base": "",
    }
    return create_provider_account(**(asked | changes), actor=STAFF, now=shop.now())


def fresh(account: ProviderAccount) -> ProviderAccount:
    return ProviderAccount.objects.get(pk=account.pk)


def flags(account: ProviderAccount) -> tuple[bool, bool]:
    """(active, default) as the row stands."""
    found = fresh(account)
    return found.active, found.is_default


def told(account: ProviderAccount) -> list[str]:
    records = timeline(stream_type="provider_account", stream_id=account.pk)
    return [record.event_type for record in records]


def close(shop: Shop, account: ProviderAccount, *, active: bool = False) -> ProviderAccount:
    return set_provider_account_active(
        account=account, active=active, reason="moving", actor=STAFF, now=shop.now()
    )


def test_a_new_account_becomes_the_default_and_the_former_one_stays_in_use(shop: Shop) -> None:
    new = opened(shop)
    assert (flags(shop.account), flags(new)) == ((True, False), (True, True))
    assert account_for_payment(shop.merchant, False) == new


def test_a_new_account_may_leave_the_default_where_it_is(shop: Shop) -> None:
    new = opened(shop, is_default=False)
    assert (flags(shop.account), flags(new)) == ((True, True), (True, False))


def test_the_first_account_of_a_mode_is_the_default_whatever_was_asked(shop: Shop) -> None:
    live = opened(shop, livemode=True, api_base="https://psp.example", is_default=False)
    assert live.is_default


def test_the_default_is_moved_and_told_once(shop: Shop) -> None:
    second = opened(shop, is_default=False)
    for _ in range(2):
        make_default_account(account=second, actor=STAFF, now=shop.now())
    assert (flags(shop.account), flags(second)) == ((True, False), (True, True))
    assert told(second).count("provider_account.made_default") == 1


def test_the_default_is_closed_only_as_the_last_one(shop: Shop) -> None:
    second = opened(shop, is_default=False)
    with pytest.raises(FlorinError, match="make another the default first, such as Second"):
        close(shop, shop.account)
    close(shop, second)
    close(shop, shop.account)
    assert (flags(shop.account), flags(second)) == ((False, False), (False, False))
    with pytest.raises(FlorinError, match="not in use cannot be the default"):
        make_default_account(account=second, actor=STAFF, now=shop.now())
    close(shop, second, active=True)
    assert flags(second) == (True, True)
    assert told(second).count("provider_account.activated") == 1


def test_closing_needs_words_and_happens_once(shop: Shop) -> None:
    with pytest.raises(FlorinError, match="Say why"):
        set_provider_account_active(
            account=shop.account, active=False, reason=" ", actor=STAFF, now=shop.now()
        )
    for _ in range(2):
        close(shop, shop.account)
    assert told(shop.account).count("provider_account.deactivated") == 1


def test_payments_of_a_closed_account_go_on(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    close(shop, shop.account)
    assert shop.capture(payment.pk).body["status"] == "captured"


def test_the_database_keeps_one_default_and_none_that_is_closed(shop: Shop) -> None:
    second = opened(shop, is_default=False)
    for account, changes, words in (
        (second, {"is_default": True}, "one_default_per_owner_and_mode"),
        (shop.account, {"active": False}, "default_is_active"),
    ):
        with pytest.raises(IntegrityError, match=words), transaction.atomic():
            ProviderAccount.objects.filter(pk=account.pk).update(**changes)


def test_a_payment_goes_through_the_account_it_names(shop: Shop, api: Api) -> None:
    second = opened(shop, is_default=False, secret_key=shop.sandbox_key)
    payments = {
        account.pk: api.create(provider_account=account.pk)["id"]
        for account in (shop.account, second)
    }
    for account_id, payment_id in payments.items():
        assert Payment.objects.get(pk=payment_id).provider_account_id == account_id
    default = Payment.objects.get(pk=api.create()["id"])
    assert default.provider_account_id == shop.account.pk


def test_an_account_that_is_foreign_absent_closed_or_of_the_other_mode_is_404(
    shop: Shop, another_shop: Shop, api: Api
) -> None:
    closed = opened(shop, is_default=False)
    close(shop, closed)
    live = opened(shop, livemode=True)
    for account_id in (another_shop.account.pk, closed.pk, live.pk, "pacc_none", "x"):
        answer = api.post("/v1/payments", payment_body(provider_account=account_id))
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (
            404,
            "not_found",
            "provider_account",
        )


def test_a_merchant_without_an_account_uses_the_platforms(shop: Shop, api: Api) -> None:
    platform = opened(shop, merchant=None, name="The platform's")
    assert error_of(api.post("/v1/payments", payment_body(provider_account=platform.pk)))["param"]
    assert platform.pk not in listed(api)
    close(shop, shop.account)
    assert account_for_payment(shop.merchant, False) == platform
    assert account_for_payment(shop.merchant, False, platform.pk) == platform
    shown = listed(api)
    assert shown[platform.pk]["owner"] == "platform"
    assert shown[shop.account.pk]["active"] is False
    close(shop, platform)


def test_whom_the_provider_pays_is_told_and_only_a_merchants_account_can_pay_it(
    shop: Shop, api: Api
) -> None:
    own = opened(shop, is_default=False, owned_by_merchant=True)
    shown = listed(api)
    assert (shown[own.pk]["owner"], shown[shop.account.pk]["owner"]) == ("merchant", "platform")
    with pytest.raises(FlorinError, match="name the merchant that is paid"):
        opened(shop, merchant=None, owned_by_merchant=True)


def listed(api: Api) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in api.get("/v1/provider_accounts?limit=100").json()["data"]}


def test_accounts_are_listed_and_retrieved_without_their_secrets(
    shop: Shop, another_shop: Shop, api: Api
) -> None:
    second = opened(shop, is_default=False)
    rows = api.get("/v1/provider_accounts").json()
    assert [row["id"] for row in rows["data"]] == [second.pk, shop.account.pk]
    answer = api.get(f"/v1/provider_accounts/{shop.account.pk}")
    assert answer.json() == rows["data"][1]
    assert answer.json()["is_default"] is True
    for secret in (shop.sandbox_key, shop.endpoint.token, "whsec_"):
        assert secret not in answer.content.decode()
    for missing in (another_shop.account.pk, "pacc_none"):
        assert api.get(f"/v1/provider_accounts/{missing}").status_code == 404


def test_a_replaced_key_is_the_one_that_is_used(shop: Shop) -> None:
    replace_provider_key(
        account=shop.account, secret_key="sbx_sk_other", actor=STAFF, now=shop.now()
    )
    assert credentials_for(fresh(shop.account)).secret_key == "sbx_sk_other"
    assert told(shop.account).count("provider_account.key_replaced") == 1
    with pytest.raises(FlorinError, match="Give the new key"):
        replace_provider_key(account=shop.account, secret_key="", actor=STAFF, now=shop.now())


def check(shop: Shop, account: ProviderAccount) -> Any:
    return check_provider_account(account=account, actor=STAFF, clock=shop.now)


def test_credentials_that_work_are_told_apart_from_those_that_do_not(shop: Shop) -> None:
    good = check(shop, shop.account)
    assert (good.works, good.words) == (True, "The provider answered and took the credentials.")
    refused = check(shop, opened(shop, secret_key="not-a-key"))
    assert not refused.works
    assert refused.words
    silent = check(shop, opened(shop, api_base="http://127.0.0.1:9"))
    assert not silent.works
    assert told(shop.account).count("provider_account.checked") == 1
