"""A restricted key from tick boxes to rotation, and a connection tested, in a real Chromium."""

from __future__ import annotations

from payments.models import ApiKey
from tests.payments.admin.visiting import Visit
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop


def test_a_restricted_key_is_issued_and_rotated(visit: Visit, shop: Shop) -> None:
    visit.go(f"/admin/payments/merchant/{shop.merchant.pk}/issue-key/")
    visit.page.get_by_label("Kind").select_option("restricted")
    visit.page.get_by_label("Read the balance").check()
    visit.page.get_by_label("Read and change payments").check()
    visit.picture("34-issue-restricted-key")
    visit.press("Issue the key")
    key = visit.page.locator(".florin-key code").inner_text()
    assert Api(key).get("/v1/balance").status_code == 200
    assert Api(key).get("/v1/events").status_code == 403
    row = ApiKey.objects.get(hashed_key=ApiKey.digest(key))
    visit.go(f"/admin/payments/apikey/{row.pk}/rotate/")
    visit.picture("35-rotate-key", whole=False)
    visit.page.get_by_label("The old key goes on for").select_option("7 days")
    visit.press("Make the new key")
    assert Api(visit.page.locator(".florin-key code").inner_text()).get("/v1/balance")
    visit.go(f"/admin/payments/apikey/{row.pk}/change/")
    assert "Valid until" in visit.text()
    visit.picture("36-rotated-key")


def test_a_connection_is_tested(visit: Visit, shop: Shop) -> None:
    visit.go(f"/admin/payments/provideraccount/{shop.account.pk}/test-connection/")
    visit.press("Ask the provider")
    assert "The provider answered and took the credentials." in visit.text()
    visit.picture("37-connection-tested", whole=False)
    visit.go(f"/admin/payments/provideraccount/{shop.account.pk}/replace-credentials/")
    visit.picture("38-replace-credentials")


def test_the_api_reference_is_one_click_away(visit: Visit) -> None:
    visit.go("/admin/")
    visit.follow(visit.page.get_by_role("link", name="API reference").first)
    assert visit.page.url.endswith("/docs/api")
    assert "Create a payment" in visit.text()
