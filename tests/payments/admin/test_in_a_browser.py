"""The back office in a real Chromium: it shows what it should, without a single console error."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from ledger import balances
from payments.models import Merchant
from tests.payments.admin.conftest import Life
from tests.payments.admin.visiting import Visit
from tests.payments.ill_provider import MINIMUM_CALLS, quick_breakers, recover
from tests.payments.shop import Shop
from webhooks import inbox


def test_a_person_signs_in_through_the_login_page(stranger: Visit) -> None:
    stranger.go("/admin/")
    stranger.picture("01-login", whole=False)
    assert "Last 24 hours" not in stranger.text()
    stranger.page.fill("input[name=username]", stranger.user_name)
    stranger.page.fill("input[name=password]", stranger.person.password)
    stranger.follow(stranger.page.locator("button[type=submit]"))
    assert stranger.page.url == f"{stranger.base_url}/admin/"
    assert "Last 24 hours" in stranger.text()


def test_the_overview_shows_how_payments_are_doing(visit: Visit, life: Life, shop: Shop) -> None:
    shop.create(payment_method="tok_insufficient_funds")
    shop.create(currency="JPY", amount_minor=8000)
    visit.go("/admin/?mode=test&currency=EUR")
    text = visit.text()
    for words in (
        "Last 24 hours",
        "Success rate",
        "Captured, EUR",
        "Where these payments stand",
        "What waits",
        "Outcomes not known",
        "Balances",
        "Signs of life",
    ):
        assert words in text, words
    of_breakers = visit.page.locator("section[aria-label='Circuit breakers'] svg.florin-chart")
    assert visit.page.locator("svg.florin-chart").count() - of_breakers.count() == 2
    visit.picture("02-overview")
    visit.assert_that_texts_stand_out()
    visit.follow(visit.page.get_by_role("link", name="Last 14 days"))
    assert "per day" in visit.text()
    visit.picture("03-overview-14-days", whole=False)


def test_the_overview_shows_a_provider_that_is_left_alone(visit: Visit, shop: Shop) -> None:
    with quick_breakers():
        shop.created()
        shop.settings(outage=True)
        for _ in range(MINIMUM_CALLS):
            shop.create()
        visit.go("/admin/")
        card = visit.page.get_by_label("Circuit breakers", exact=True)
        assert "Open: not asked" in card.inner_text()
        assert "calls failed" in card.inner_text()
        assert card.locator("svg.florin-chart .florin-bar-bad").count() >= 1
        recover(shop)


def test_payments_are_listed_opened_and_filtered(visit: Visit, life: Life) -> None:
    visit.go("/admin/payments/payment/")
    text = visit.text()
    assert life.payment.pk in text
    assert "1,234.56" in text
    assert "Settled" in text
    visit.picture("04-payments", whole=False)
    visit.go("/admin/payments/payment/?state=failed")
    visit.picture("05-payments-filtered", whole=False)
    assert life.payment.pk not in visit.text()
    visit.go(f"/admin/payments/payment/?q={life.reference}")
    assert life.payment.pk in visit.text()
    visit.follow(visit.page.get_by_role("link", name=life.payment.pk, exact=True).first)
    # The admin writes the underscore of an id in its own way.
    assert f"{life.payment.pk.removeprefix('pay_')}/change/" in visit.page.url
    assert "1,234.56" in visit.text()
    visit.assert_that_texts_stand_out()
    visit.picture("06-payment")
    visit.page.get_by_role("link", name="Transitions").first.click()
    visit.picture("07-payment-transitions")
    visit.page.get_by_role("link", name="Provider calls").first.click()
    visit.picture("08-payment-provider-calls")


def test_anything_is_found_and_the_whole_story_told(visit: Visit, life: Life) -> None:
    visit.go("/admin/payments/payment/find/")
    visit.picture("09-find", whole=False)
    visit.page.locator("main, #main").locator("input[name=q]").first.fill("nothing-like-this")
    with visit.page.expect_navigation():
        visit.page.keyboard.press("Enter")
    assert "/find/?q=" in visit.page.url
    assert "Nothing is known by “nothing-like-this”" in visit.text()
    visit.assert_that_texts_stand_out()
    visit.picture("10-find-nothing", whole=False)
    visit.page.locator("input[name=q]").first.fill(life.provider_reference)
    with visit.page.expect_navigation():
        visit.page.keyboard.press("Enter")
    assert f"/{life.payment.pk}/story/" in visit.page.url
    text = visit.text()
    for words in (
        "1,234.56 EUR",
        "The whole story",
        "The payment was made",
        "Sandbox was asked to make the payment",
        "Sandbox sent news",
        "Webhook to the merchant",
        "In balance",
    ):
        assert words in text.replace("\u00a0", " "), words
    visit.assert_that_texts_stand_out()
    visit.picture("11-story")
    for summary in visit.page.locator(".florin-told summary").all():
        summary.click()
    assert "provider_idempotency_key" in visit.text()
    assert life.client_secret not in visit.page.content()
    visit.picture("12-story-unfolded")


def test_a_story_is_readable_on_a_phone(visit: Visit, life: Life) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 1400})
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    assert visit.overflow() <= 0
    visit.picture("13-story-on-a-phone", whole=False)
    visit.go("/admin/?mode=test")
    visit.picture("34-overview-on-a-phone", whole=False)


def test_a_journal_entry_is_read(visit: Visit, life: Life) -> None:
    entry = balances.entries_for_source("payment", life.payment.pk)[0]
    visit.go("/admin/ledger/journalentry/")
    visit.picture("14-journal-entries", whole=False)
    visit.go(f"/admin/ledger/journalentry/{entry.id}/change/")
    text = visit.text()
    assert "merchant:pending" in text
    assert "1,234.56" in text.replace("1234.56", "1,234.56")
    visit.picture("15-journal-entry")
    visit.go("/admin/ledger/account/")
    visit.picture("16-ledger-accounts", whole=False)


def test_a_dead_letter_is_replayed(visit: Visit, shop: Shop) -> None:
    received = inbox.receive(
        provider="sandbox",
        account_id=shop.account.pk,
        event_id=f"evt_dead_{secrets.token_hex(6)}",
        event_type="payment.captured",
        subject=f"sbx_pay_{secrets.token_hex(6)}",
        raw=b'{"unreadable": true}',
        headers={},
        received_at=datetime.now(UTC),
    )
    for _ in range(3):
        shop.ahead_by(hours=1)
        shop.drain()
    visit.go("/admin/webhooks/deadletter/")
    assert "payment.captured" in visit.text()
    visit.picture("17-dead-letters", whole=False)
    row = visit.page.locator("tr", has=visit.page.locator(f"input[value='inbox:{received.id}']"))
    row.locator("input.action-select").check()
    visit.page.locator("select[name=action]").select_option("replay_selected")
    visit.follow(visit.page.locator("button[type=submit]", has_text="Run").first)
    assert "1 queued again" in visit.text()
    visit.picture("18-dead-letter-replayed", whole=False)


def test_a_merchant_is_onboarded_and_its_keys_shown_once(visit: Visit) -> None:
    name = f"Bob's Bikes {secrets.token_hex(3)}"
    visit.go("/admin/payments/merchant/add/")
    visit.picture("19-onboarding", whole=False)
    visit.page.get_by_label("Name").fill(name)
    visit.page.get_by_label("E-mail address").fill("bob@bikes.example")
    visit.page.get_by_label("Our fee, in basis points").fill("150")
    visit.press("Onboard")
    keys = visit.page.locator(".florin-key code").all_inner_texts()
    assert [key[:8] for key in keys] == ["sk_test_", "pk_test_"]
    visit.picture("20-keys-shown-once", whole=False)
    visit.page.reload()
    assert Merchant.objects.filter(name=name).count() == 1
    assert not any(key in visit.page.content() for key in keys)
    assert name in visit.text()
    visit.picture("21-merchant")
    visit.page.get_by_role("link", name="API keys").last.click()
    visit.picture("22-merchant-keys", whole=False)


def test_the_rest_of_the_house_opens_too(visit: Visit, life: Life) -> None:
    merchant = life.shop.merchant.pk
    for number, (name, path) in enumerate(
        (
            ("suspend", f"payments/merchant/{merchant}/change-status/"),
            ("issue-key", f"payments/merchant/{merchant}/issue-key/"),
            ("merchant-history", f"payments/merchant/{merchant}/history/"),
            ("provider-account", f"payments/provideraccount/{life.shop.account.pk}/change/"),
            ("open-provider-account", "payments/provideraccount/add/"),
            ("domain-events", "webhooks/domainevent/"),
            ("audit-trail", "audit/auditevent/"),
            ("staff", "auth/user/"),
            ("groups", "auth/group/"),
        ),
        start=23,
    ):
        visit.go(f"/admin/{path}")
        assert "Server Error" not in visit.text(), path
        visit.picture(f"{number}-{name}", whole=False)
    is_dark = "document.documentElement.classList.contains('dark')"
    assert not visit.page.evaluate(is_dark)
    visit.page.emulate_media(color_scheme="dark")
    visit.go("/admin/?mode=test")
    assert visit.page.evaluate(is_dark), "it follows the person's system"
    visit.picture("32-overview-dark")
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    visit.picture("33-story-dark")


def test_the_story_is_walked_through_with_the_keyboard_alone(visit: Visit, life: Life) -> None:
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    summary = visit.page.locator(".florin-told summary").first
    summary.focus()
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(".florin-told details[open]").count() == 1
    outline = summary.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
