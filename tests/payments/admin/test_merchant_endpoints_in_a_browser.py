"""A merchant's endpoint in a real Chromium: how it is doing, and what it missed sent again."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from audit import log
from audit.log import Actor
from tests.payments.admin.test_in_a_browser import _LOW_CONTRAST, Visit, visit
from tests.webhooks.conftest import emit
from webhooks import endpoints
from webhooks.models import EndpointHealth, EndpointHour, MerchantDelivery

__all__ = ["visit"]

HOUR = timedelta(hours=1)


@pytest.fixture
def endpoint(databases: object) -> str:
    """An endpoint that has been failing since this morning, after two good weeks."""
    now = datetime.now(UTC)
    owner = f"mer_{secrets.token_hex(8)}"
    with log.acting_as(Actor(type="system", id="test")):
        made, _ = endpoints.create(
            owner=owner,
            livemode=False,
            url="http://93.184.216.34/hooks/florin",
            event_types=["order.*"],
            now=now - 14 * 24 * HOUR,
        )
    whole = now.replace(minute=0, second=0, microsecond=0)
    EndpointHour.objects.bulk_create(
        EndpointHour(
            endpoint_id=made.id,
            hour=whole - HOUR * hours,
            succeeded=20 + hours % 7 if hours > 8 else 0,
            failed=hours % 3 if hours > 8 else 15,
        )
        for hours in range(14 * 24)
    )
    EndpointHealth.objects.filter(endpoint_id=made.id).update(
        consecutive_failures=120,
        failing_since=now - 9 * HOUR,
        last_success_at=now - 9 * HOUR,
        last_failure_at=now,
        average_ms=840,
    )
    for number in range(5):
        event = emit(f"ord_{secrets.token_hex(8)}", now, owner=owner)
        if number < 3:
            MerchantDelivery.objects.create(
                endpoint_id=made.id,
                event_id=event.id,
                status="dead",
                reason="10 attempts failed, the last with: status 500",
                created_at=now,
                finished_at=now,
            )
    return made.id


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_endpoint_shows_how_it_is_doing_and_is_tested_and_recovered(
    visit: Visit, endpoint: str, theme: str
) -> None:
    page = visit.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.evaluate(f"localStorage.setItem('_x_adminTheme', '\"{theme}\"')")
    address = f"/admin/webhooks/webhookendpoint/{endpoint}/change/"
    visit.go(address)
    health = page.get_by_label("Health", exact=True)
    assert "120" in health.inner_text()
    assert "% of" in health.inner_text()
    picture = page.locator("section[aria-label='Requests by day'] svg.florin-chart[role=img]")
    assert picture.locator(".florin-bar-good").count() >= 13
    assert picture.locator(".florin-bar-bad").count() >= 13
    assert page.evaluate(_LOW_CONTRAST) == []
    visit.picture(f"70-merchant-endpoint-{theme}")
    page.get_by_role("link", name="Recover since").click()
    page.wait_for_load_state("networkidle")
    since = datetime.now(UTC) - HOUR
    page.get_by_label("Since (UTC)").fill(since.strftime("%Y-%m-%dT%H:%M:%S"))
    page.get_by_role("button", name="Count them").click()
    page.wait_for_load_state("networkidle")
    assert page.locator("#preview td.florin-number").all_inner_texts() == ["3", "2"]
    page.get_by_label("Missing").check()
    assert page.evaluate(_LOW_CONTRAST) == []
    visit.picture(f"71-merchant-endpoint-recover-{theme}")
    page.get_by_role("button", name="Send them").click()
    page.wait_for_load_state("networkidle")
    assert "5 queued, 2 of them never promised before" in visit.text()
    page.get_by_role("link", name="Send a test event").click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_load_state("networkidle")
    made = MerchantDelivery.objects.get(endpoint_id=endpoint, event__type="endpoint.test")
    assert made.pk in page.url
    assert page.evaluate(_LOW_CONTRAST) == []
    visit.picture(f"72-merchant-delivery-{theme}")
    visit.go(address)
    page.get_by_role("link", name="Disable").click()
    page.wait_for_load_state("networkidle")
    page.get_by_label("Why").fill("the merchant asked for it")
    page.get_by_role("button", name="Disable").click()
    page.wait_for_load_state("networkidle")
    assert "the merchant asked for it" in visit.text()
    visit.picture(f"73-merchant-endpoint-disabled-{theme}")
