"""The back office in a real Chromium: it shows what it should, without a single console error.

Every page visited leaves a picture in `.florin/screenshots`, for people to look at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ledger import balances
from payments.models import Merchant
from tests.payments.admin.conftest import SCREENSHOTS, Life, make_staff
from tests.payments.ill_provider import MINIMUM_CALLS, quick_breakers, recover
from tests.payments.shop import Shop
from tests.processes import RunningProcess
from webhooks import inbox

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@dataclass
class Visit:
    """A person at the back office: the page, and everything the console complained about."""

    page: Page
    base_url: str
    user_name: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.base_url + path, wait_until="networkidle")

    def picture(self, name: str, *, whole: bool = True) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)

    def text(self) -> str:
        return self.page.inner_text("body")


@pytest.fixture
def visit(browser: Browser, web: RunningProcess) -> Iterator[Visit]:
    """A superuser who has signed in through the login page."""
    person = make_staff(superuser=True)
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    visit = Visit(page=page, base_url=web.url, user_name=person.user.username)
    page.on(
        "console",
        lambda message: (
            visit.complaints.append(f"{page.url}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on("pageerror", lambda error: visit.complaints.append(f"{page.url}: {error}"))
    page.on(
        "requestfailed",
        lambda request: (
            visit.complaints.append(f"failed: {request.url}")
            if request.failure and "ERR_ABORTED" not in request.failure
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((web.url, "data:", "blob:"))
            else visit.complaints.append(f"foreign address: {request.url}")
        ),
    )
    visit.go("/admin/")
    visit.picture("01-login", whole=False)
    page.fill("input[name=username]", person.user.username)
    page.fill("input[name=password]", person.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    page.wait_for_load_state("networkidle")
    yield visit
    context.close()
    assert visit.complaints == []


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
    visit.page.get_by_role("link", name="Last 14 days").click()
    visit.page.wait_for_load_state("networkidle")
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
        card.screenshot(path=SCREENSHOTS / "02-circuit-breakers.png")
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
    visit.page.get_by_role("link", name=life.payment.pk, exact=True).first.click()
    visit.page.wait_for_url(f"**/{life.payment.pk}/change/**")
    visit.page.wait_for_load_state("networkidle")
    assert "1,234.56" in visit.text()
    visit.picture("06-payment")
    visit.page.get_by_role("link", name="Transitions").first.click()
    visit.picture("07-payment-transitions")
    visit.page.get_by_role("link", name="Provider calls").first.click()
    visit.picture("08-payment-provider-calls")


def test_anything_is_found_and_the_whole_story_told(visit: Visit, life: Life) -> None:
    visit.go("/admin/payments/payment/find/")
    visit.picture("09-find", whole=False)
    visit.page.locator("main, #main").locator("input[name=q]").first.fill("nothing-like-this")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/find/?q=**")
    visit.page.wait_for_load_state("networkidle")
    assert "Nothing is known by “nothing-like-this”" in visit.text()
    visit.picture("10-find-nothing", whole=False)
    visit.page.locator("input[name=q]").first.fill(life.provider_reference)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url(f"**/{life.payment.pk}/story/**")
    visit.page.wait_for_load_state("networkidle")
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
    visit.picture("11-story")
    for summary in visit.page.locator(".florin-told summary").all():
        summary.click()
    assert "provider_idempotency_key" in visit.text()
    assert life.client_secret not in visit.page.content()
    visit.picture("12-story-unfolded")


def test_a_story_is_readable_on_a_phone(visit: Visit, life: Life) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 1400})
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    overflow = visit.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
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
    visit.page.locator("button[type=submit]", has_text="Run").first.click()
    visit.page.wait_for_load_state("networkidle")
    assert "1 queued again" in visit.text()
    visit.picture("18-dead-letter-replayed", whole=False)


def test_a_merchant_is_onboarded_and_its_keys_shown_once(visit: Visit) -> None:
    name = f"Bob's Bikes {secrets.token_hex(3)}"
    visit.go("/admin/payments/merchant/add/")
    visit.picture("19-onboarding", whole=False)
    visit.page.get_by_label("Name").fill(name)
    visit.page.get_by_label("E-mail address").fill("bob@bikes.example")
    visit.page.get_by_label("Our fee, in basis points").fill("150")
    visit.page.get_by_role("button", name="Onboard").click()
    visit.page.wait_for_load_state("networkidle")
    keys = visit.page.locator(".florin-key code").all_inner_texts()
    assert [key[:8] for key in keys] == ["sk_test_", "pk_test_"]
    visit.picture("20-keys-shown-once", whole=False)
    visit.page.reload()
    visit.page.wait_for_load_state("networkidle")
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
    visit.page.emulate_media(color_scheme="dark")
    visit.page.evaluate("localStorage.setItem('_x_adminTheme', '\"dark\"')")
    visit.go("/admin/?mode=test")
    visit.picture("32-overview-dark")
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    visit.picture("33-story-dark")


# Every text of our own pages against what is painted behind it, as WCAG 2.2 computes contrast.
_LOW_CONTRAST = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map(
      (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll("#content *, #main h1 *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || element.closest("svg, [aria-hidden]") || !element.checkVisibility()) continue;
    if (style.backgroundImage !== "none") continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const ground = paint(["#ffffff", ...behind]);
    const text = paint([`rgb(${ground.join(",")})`, style.color]);
    const [a, b] = [luminance(ground), luminance(text)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(low)];
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(visit: Visit, life: Life, theme: str) -> None:
    visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    for path in (
        "/admin/?mode=test",
        f"/admin/payments/payment/{life.payment.pk}/story/",
        "/admin/payments/payment/find/?q=nothing",
        f"/admin/payments/payment/{life.payment.pk}/change/",
    ):
        visit.go(path)
        is_dark = "document.documentElement.classList.contains('dark')"
        assert visit.page.evaluate(is_dark) == (theme == "dark")
        assert visit.page.evaluate(_LOW_CONTRAST) == [], path


def test_the_story_is_walked_through_with_the_keyboard_alone(visit: Visit, life: Life) -> None:
    visit.go(f"/admin/payments/payment/{life.payment.pk}/story/")
    summary = visit.page.locator(".florin-told summary").first
    summary.focus()
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(".florin-told details[open]").count() == 1
    outline = summary.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
