"""No page of the back office shows a secret: not a key, a credential, nor a client secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse

from payments.admin.presentation import without_secrets
from payments.models import Attempt
from tests.databases import TestDatabases
from tests.payments.admin.conftest import Life, Staff
from tests.payments.own_database import own_database
from tests.processes import RunningProcess


@pytest.fixture(scope="module", autouse=True)
def database(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[None]:
    """All its rows are of the payment whose secrets are looked for."""
    with own_database(databases):
        yield


def _all_pages(life: Life) -> list[str]:
    """Every list, the latest rows of every list, and the pages that are no lists."""
    pages = [
        reverse("admin:index") + "?mode=test",
        reverse("admin:payments_payment_story", args=[life.payment.pk]),
        reverse("admin:payments_payment_find") + f"?q={life.shop.merchant.pk}",
    ]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages.append(reverse(f"{name}_changelist"))
        for row in model._default_manager.order_by("-pk")[:12]:
            pages.append(reverse(f"{name}_change", args=[row.pk]))
            history: Any = getattr(row, "history", None)
            if history is not None and model._meta.app_label == "payments":
                pages.append(reverse(f"{name}_history", args=[row.pk]))
                version = history.latest().history_id
                pages.append(reverse(f"{name}_simple_history", args=[row.pk, version]))
    return pages


def test_no_page_leaks_a_secret(life: Life, staff: Callable[[str], Staff]) -> None:
    shop = life.shop
    attempt = Attempt.objects.get(payment=life.payment)
    hashes = list(shop.merchant.api_keys.values_list("hashed_key", flat=True))
    secrets = {
        "secret key": shop.secret_key,
        "publishable key": shop.publishable_key,
        "client secret": life.client_secret,
        "provider's client secret": attempt.reveal_client_secret(),
        "webhook signing secret": life.webhook_secret,
        "provider credential": shop.sandbox_key,
        "address of the provider's webhooks": shop.endpoint.token,
        **{f"hash {number}": value for number, value in enumerate(hashes)},
    }
    assert all(secrets.values())
    client = staff("superuser").client
    pages = _all_pages(life)
    assert len(pages) > 60
    for url in pages:
        answer = client.get(url)
        assert answer.status_code == 200, url
        text = answer.content.decode()
        for kind, secret in secrets.items():
            assert secret not in text, f"{kind} on {url}"


def test_technical_details_hide_what_smells_of_a_secret() -> None:
    shown = without_secrets(
        {
            "client_secret": "pi_1_secret_abc",
            "Authorization": "Bearer abc",
            "nested": [{"api_key": "x", "payment_method_token": "tok_visa"}],
            "text": "sk_live_0123456789abcdef",
            "prefix": "sk_test_abcdef",
            "has_secret": True,
            "amount_minor": 4200,
        }
    )
    text = str(shown)
    assert "pi_1_secret_abc" not in text
    assert "Bearer" not in text
    assert "'x'" not in text
    assert "sk_live" not in text
    assert shown["nested"][0]["payment_method_token"] == "tok_visa"
    assert (shown["prefix"], shown["has_secret"], shown["amount_minor"]) == (
        "sk_test_abcdef",
        True,
        4200,
    )
