"""A merchant's endpoint in a real Chromium: how it is doing, and all that is done with it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from audit import log
from audit.log import Actor
from payments.actions.create_merchant import create_merchant
from payments.models import Merchant
from tests.payments.admin.visiting import Visit
from tests.webhooks.conftest import emit
from webhooks import endpoints
from webhooks.models import EndpointHealth, EndpointHour, MerchantDelivery

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


def test_an_endpoint_shows_how_it_is_doing_and_is_tested_and_recovered(
    visit: Visit, endpoint: str
) -> None:
    page = visit.page
    address = f"/admin/webhooks/webhookendpoint/{endpoint}/change/"
    visit.go(address)
    health = page.get_by_label("Health", exact=True)
    assert "120" in health.inner_text()
    assert "% of" in health.inner_text()
    picture = page.locator("section[aria-label='Requests by day'] svg.florin-chart[role=img]")
    assert picture.locator(".florin-bar-good").count() >= 13
    assert picture.locator(".florin-bar-bad").count() >= 13
    visit.assert_that_texts_stand_out()
    visit.picture("70-merchant-endpoint")
    visit.follow(page.get_by_role("link", name="Recover since"))
    since = datetime.now(UTC) - HOUR
    page.get_by_label("Since (UTC)").fill(since.strftime("%Y-%m-%dT%H:%M:%S"))
    visit.press("Count them")
    assert page.locator("#preview td.florin-number").all_inner_texts() == ["3", "2"]
    page.get_by_label("Missing").check()
    visit.assert_that_texts_stand_out()
    visit.picture("71-merchant-endpoint-recover")
    visit.press("Send them")
    assert "5 queued, 2 of them never promised before" in visit.text()
    visit.follow(page.get_by_role("link", name="Send a test event"))
    visit.follow(page.get_by_role("button", name="Send", exact=True))
    made = MerchantDelivery.objects.get(endpoint_id=endpoint, event__type="endpoint.test")
    assert made.pk in page.url
    visit.assert_that_texts_stand_out()
    visit.picture("72-merchant-delivery")
    visit.go(address)
    visit.follow(page.get_by_role("link", name="Disable"))
    page.get_by_label("Why").fill("the merchant asked for it")
    visit.press("Disable")
    assert "the merchant asked for it" in visit.text()
    visit.picture("73-merchant-endpoint-disabled")


def test_an_endpoint_is_added_changed_rotated_and_deleted_by_staff(visit: Visit) -> None:
    page, merchant = visit.page, onboarded()
    visit.go(f"/admin/payments/merchant/{merchant.pk}/change/")
    click(visit, "Add a webhook endpoint")
    page.get_by_label("Address").fill("http://10.0.0.8/hooks")
    press(visit, "Add")
    refused = page.locator(".florin-form").inner_text()
    assert "This address is not on the public internet." in refused
    assert page.get_by_label("Address").input_value() == "http://10.0.0.8/hooks"
    visit.assert_that_texts_stand_out()
    visit.picture("74-merchant-endpoint-refused")
    page.get_by_label("Address").fill("http://93.184.216.34/hooks")
    press(visit, "Add")
    first = shown_secret(visit)
    visit.picture("75-merchant-endpoint-secret")
    visit.follow(page.get_by_role("link", name="I have copied it"))
    assert first not in page.content()
    visit.picture("76-merchant-endpoint-verbs")
    click(visit, "Change")
    page.get_by_label("Events").fill("payment.*\nrefund.*")
    page.get_by_label("Description").fill("The till")
    visit.assert_that_texts_stand_out()
    visit.picture("77-merchant-endpoint-change")
    press(visit, "Change")
    assert "It is changed" in visit.text()
    click(visit, "Rotate secret")
    page.get_by_label("The old secret signs too for").select_option("0")
    visit.assert_that_texts_stand_out()
    visit.picture("78-merchant-endpoint-rotate")
    press(visit, "Rotate")
    assert shown_secret(visit) != first
    visit.follow(page.get_by_role("link", name="I have copied it"))
    click(visit, "Delete")
    page.get_by_label("Why").fill("moved to another shop")
    visit.assert_that_texts_stand_out()
    visit.picture("79-merchant-endpoint-delete")
    press(visit, "Delete for good")
    assert "It is deleted" in visit.text()
    assert page.get_by_role("link", name="Rotate secret").count() == 0
    visit.picture("80-merchant-endpoint-deleted")


def onboarded() -> Merchant:
    """A merchant that takes no payments here."""
    return create_merchant(
        name="Alice's shop",
        email="alice@shop.example",
        fee_basis_points=0,
        fee_fixed_minor=0,
        actor=Actor(type="system", id="test"),
        now=datetime.now(UTC),
    ).merchant


def click(visit: Visit, link: str) -> None:
    """Follow the link of a verb."""
    behind_its_icon = re.compile(rf"(^|\s){link}$")
    visit.follow(visit.page.get_by_role("link", name=behind_its_icon))


def press(visit: Visit, button: str) -> None:
    """Send the form."""
    visit.follow(visit.page.get_by_role("button", name=button, exact=True))


def shown_secret(visit: Visit) -> str:
    """The secret on a page that shows one."""
    secret = visit.page.locator(".florin-key code").inner_text()
    assert secret.startswith("whsec_")
    visit.assert_that_texts_stand_out()
    return secret
