"""What staff may do: onboard, issue and revoke keys, suspend, hand credentials in. Once each."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpResponse
from django.urls import reverse

from audit import timeline as audit_timeline
from payments.actions.merchant_status import set_merchant_status
from payments.models import ApiKey, Merchant, ProviderAccount
from tests.payments.admin.conftest import Staff, make_staff
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop

ADD = "admin:payments_merchant_add"


def ticket_of(page: Any) -> str:
    found = re.search(r'name="ticket" value="([\w-]+)"', page.content.decode())
    assert found is not None
    return found[1]


def send(person: Staff, url: str, **fields: Any) -> HttpResponse:
    """Open the form and send it, as a browser does."""
    ticket = ticket_of(person.client.get(url))
    answer: Any = person.client.post(url, {"ticket": ticket, **fields})
    return answer


def onboard(person: Staff, **changes: Any) -> HttpResponse:
    fields = {
        "name": f"Shop {secrets.token_hex(4)}",
        "email": "owner@shop.example",
        "fee_basis_points": "150",
        "fee_fixed_minor": "20",
    }
    return send(person, reverse(ADD), **(fields | changes))


def keys_in(answer: Any) -> list[str]:
    return re.findall(r"[spr]k_(?:test|live)_[\w-]{30,}", answer.content.decode())


def audited(stream_type: str, stream_id: str) -> dict[str, str]:
    """Event type -> who did it."""
    records = audit_timeline.timeline(stream_type=stream_type, stream_id=stream_id)
    return {record.event_type: record.actor_id for record in reversed(records)}


def test_onboarding_makes_a_merchant_whose_keys_work(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    name = f"Shop {secrets.token_hex(4)}"
    answer = onboard(person, name=name)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    secret_key, publishable_key = keys_in(answer)
    merchant = Merchant.objects.get(name=name)
    assert (merchant.fee_basis_points, merchant.fee_fixed_minor) == (150, 20)
    assert Api(secret_key).get("/v1/payments").status_code == 200
    assert publishable_key.startswith("pk_test_")
    assert audited("merchant", merchant.pk)["merchant.created"] == str(person.user.pk)
    history = merchant.history.latest()
    assert (history.history_type, history.history_user_id) == ("+", person.user.pk)


def test_keys_are_kept_nowhere_in_clear() -> None:
    person = make_staff("Operations")
    keys = keys_in(onboard(person))
    session = Session.objects.get(pk=person.client.session.session_key).get_decoded()
    following = person.client.get(reverse("admin:payments_merchant_changelist"))
    for key in keys:
        assert key not in str(session)
        assert key not in following.content.decode()
        for table, column in (
            ("audit_event", "body"),
            ("payments_historicalapikey", "name"),
            ("django_admin_log", "change_message"),
        ):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table} WHERE {column} LIKE %s", [f"%{key}%"])
                assert cursor.fetchone() == (0,)


def test_a_form_that_is_sent_twice_counts_once(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    ticket = ticket_of(person.client.get(reverse(ADD)))
    name = f"Twice {secrets.token_hex(4)}"
    fields = {
        "ticket": ticket,
        "name": name,
        "email": "a@b.example",
        "fee_basis_points": "0",
        "fee_fixed_minor": "0",
    }
    first = person.client.post(reverse(ADD), fields)
    second = person.client.post(reverse(ADD), fields, follow=True)
    assert len(keys_in(first)) == 2
    assert keys_in(second) == []
    assert "This form was sent before" in second.content.decode()
    assert Merchant.objects.filter(name=name).count() == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "This field is required"),
        ("email", "not-an-address", "Enter a valid email address"),
        ("fee_basis_points", "10001", "less than or equal to 10000"),
        ("fee_basis_points", "-1", "greater than or equal to 0"),
        ("fee_fixed_minor", "1.5", "Enter a whole number"),
        ("fee_fixed_minor", "9223372036854775808", "less than or equal to"),
    ],
)
def test_onboarding_says_which_field_is_wrong(
    staff: Callable[[str], Staff], field: str, value: str, words: str
) -> None:
    before = Merchant.objects.count()
    answer = onboard(staff("Operations"), **{field: value})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Merchant.objects.count() == before


def test_a_key_is_issued_and_revoked(shop: Shop, staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    url = reverse("admin:payments_merchant_issue_key", args=[shop.merchant.pk])
    (key,) = keys_in(send(person, url, kind="secret", mode="test", name="Second"))
    row = ApiKey.objects.get(hashed_key=ApiKey.digest(key))
    assert (row.merchant_id, row.name, row.livemode) == (shop.merchant.pk, "Second", False)
    answer = send(person, reverse("admin:payments_apikey_revoke", args=[row.pk]))
    assert answer.status_code == 302
    assert Api(key).get("/v1/payments").status_code == 401
    who = audited("merchant", shop.merchant.pk)
    assert who["api_key.issued"] == who["api_key.revoked"] == str(person.user.pk)


def test_a_live_key_needs_a_permission_of_its_own(shop: Shop) -> None:
    url = reverse("admin:payments_merchant_issue_key", args=[shop.merchant.pk])
    fields = {"kind": "secret", "mode": "live", "name": ""}
    without = send(make_staff("Operations"), url, **fields)
    assert keys_in(without) == []
    assert not ApiKey.objects.filter(merchant=shop.merchant, livemode=True).exists()
    (key,) = keys_in(send(make_staff("Operations", "Live keys"), url, **fields))
    assert key.startswith("sk_live_")


def test_a_suspended_merchant_is_refused_and_works_again(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    person = staff("Operations")
    url = reverse("admin:payments_merchant_change_status", args=[shop.merchant.pk])
    assert send(person, url, reason="Chargebacks above the limit").status_code == 302
    assert Merchant.objects.get(pk=shop.merchant.pk).status == "suspended"
    assert Api(shop.secret_key).get("/v1/payments").status_code == 403
    assert "Chargebacks" in str(shop.merchant.history.latest().history_change_reason)
    assert send(person, url, reason="Cleared").status_code == 302
    assert Merchant.objects.get(pk=shop.merchant.pk).status == "active"
    assert {"merchant.suspended", "merchant.activated"} <= set(
        audited("merchant", shop.merchant.pk)
    )


def test_suspending_needs_words(shop: Shop, staff: Callable[[str], Staff]) -> None:
    url = reverse("admin:payments_merchant_change_status", args=[shop.merchant.pk])
    answer = send(staff("Operations"), url, reason="  ")
    assert "This field is required" in answer.content.decode()
    with shop.acting(), pytest.raises(ValueError, match="Say why"):
        set_merchant_status(
            merchant=shop.merchant,
            status="suspended",
            reason=" ",
            actor=_somebody(),
            now=shop.now(),
        )
    assert Merchant.objects.get(pk=shop.merchant.pk).status == "active"


def test_setting_the_same_status_again_leaves_no_trace(shop: Shop) -> None:
    before = shop.merchant.history.count()
    set_merchant_status(
        merchant=shop.merchant,
        status="active",
        reason="nothing changes",
        actor=_somebody(),
        now=shop.now(),
    )
    assert shop.merchant.history.count() == before
    assert "merchant.activated" not in audited("merchant", shop.merchant.pk)


def test_credentials_go_in_and_never_come_out(shop: Shop, staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    credential, webhook_secret = secrets.token_urlsafe(24), f"whsec_{secrets.token_hex(16)}"
    answer = send(
        person,
        reverse("admin:payments_provideraccount_add_for", args=[shop.merchant.pk]),
        provider="sandbox",
        name="Second account",
        mode="test",
        publishable_key="",
        api_base="",
        secret_key=credential,
        webhook_secrets=webhook_secret,
        is_default="on",
    )
    assert answer.status_code == 302
    account = ProviderAccount.objects.get(merchant=shop.merchant, is_default=True)
    assert (account.name, credential.encode() in account.reveal_secrets()) == (
        "Second account",
        True,
    )
    replaced = secrets.token_urlsafe(24)
    replace = reverse("admin:payments_provideraccount_replace_key", args=[account.pk])
    assert send(person, replace, secret_key=replaced).status_code == 302
    account.refresh_from_db()
    assert replaced.encode() in account.reveal_secrets()
    for url in (
        replace,
        reverse("admin:payments_provideraccount_change", args=[account.pk]),
        reverse("admin:payments_provideraccount_history", args=[account.pk]),
    ):
        text = person.client.get(url).content.decode()
        assert credential not in text
        assert replaced not in text
        assert webhook_secret not in text
    assert "provider_account.key_replaced" in audited("provider_account", account.pk)


def test_a_live_provider_account_needs_a_permission_of_its_own_and_tls(shop: Shop) -> None:
    url = reverse("admin:payments_provideraccount_add_for", args=[shop.merchant.pk])
    fields = {
        "provider": "stripe",
        "name": "Live",
        "mode": "live",
        "publishable_key": "",
        "api_base": "",
        "secret_key": secrets.token_urlsafe(24),
        "webhook_secrets": f"whsec_{secrets.token_hex(16)}",
    }
    live = ProviderAccount.objects.filter(merchant=shop.merchant, livemode=True)
    send(make_staff("Operations"), url, **fields)
    assert not live.exists()
    trusted = make_staff("Operations", "Live keys")
    send(trusted, url, **fields | {"api_base": "http://10.0.0.1/"})
    assert not live.exists()
    assert send(trusted, url, **fields).status_code == 302
    account = live.get()
    replace = reverse("admin:payments_provideraccount_replace_key", args=[account.pk])
    assert make_staff("Operations").client.get(replace).status_code == 403
    assert trusted.client.get(replace).status_code == 200


def test_a_refused_form_never_gives_a_credential_back(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    credential = secrets.token_urlsafe(24)
    answer = send(
        staff("Operations"),
        reverse("admin:payments_provideraccount_add_for", args=[shop.merchant.pk]),
        provider="sandbox",
        name="",
        mode="test",
        secret_key=credential,
    )
    assert answer.status_code == 200
    assert credential not in answer.content.decode()


def test_pages_of_what_does_not_exist_are_404(staff: Callable[[str], Staff]) -> None:
    person = staff("Operations")
    for name in (
        "merchant_issue_key",
        "merchant_change_status",
        "apikey_revoke",
        "apikey_rotate",
        "provideraccount_replace_key",
        "provideraccount_test_connection",
        "provideraccount_make_default",
        "provideraccount_open_or_close",
        "provideraccount_add_for",
    ):
        url = reverse(f"admin:payments_{name}", args=["none"])
        assert person.client.get(url).status_code == 404, url


def _somebody() -> Any:
    from audit.log import Actor

    return Actor(type="user", id="7", display="somebody")


def test_a_review_limit_is_set_with_words_and_holds_the_next_payment(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    person = staff("Operations")
    url = reverse("admin:payments_merchant_change_limit", args=[shop.merchant.pk])
    assert "No payment waits" in person.client.get(url).content.decode()
    assert send(person, url, review_above_minor="4199", reason=" ").status_code == 200
    assert shop.created().state == "captured"
    assert send(person, url, review_above_minor="4199", reason="New here.").status_code == 302
    shop.merchant = Merchant.objects.get(pk=shop.merchant.pk)
    assert shop.merchant.review_above_minor == 4199
    assert shop.created().state == "in_review"
    assert shop.created(amount_minor=4199).state == "captured"
    who = audited("merchant", shop.merchant.pk)
    assert who["merchant.review_limit_set"] == str(person.user.pk)
    assert "New here." in str(shop.merchant.history.latest().history_change_reason)
    assert send(person, url, review_above_minor="", reason="Known now.").status_code == 302
    assert Merchant.objects.get(pk=shop.merchant.pk).review_above_minor is None
    assert staff("Finance").client.get(url).status_code == 403


def test_a_merchant_is_onboarded_with_a_review_limit(staff: Callable[[str], Staff]) -> None:
    name = f"Careful {secrets.token_hex(4)}"
    onboard(staff("Operations"), name=name, review_above_minor="100000")
    assert Merchant.objects.get(name=name).review_above_minor == 100_000
