"""Saved payment methods in the back office: to look at, and nothing personal in it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from audit import timeline
from payments.admin import search
from payments.models import PaymentMethod
from tests.payments.admin.conftest import Staff
from tests.payments.api.conftest import Api
from tests.payments.customers import AGREED, customer, resume, save
from tests.payments.shop import Shop

LIST = "/admin/payments/paymentmethod/"


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.secret_key)


def test_staff_see_what_is_kept_but_not_for_whom(api: Api, staff: Callable[[str], Staff]) -> None:
    buyer = customer(api, email="dana@example.com", name="Dana Reyes")
    saved = save(api, buyer["id"], "tok_bank", mandate=AGREED)
    operations = staff("Operations")
    listed = operations.client.get(f"{LIST}?q={buyer['id']}").content.decode()
    assert saved["id"] in listed
    page = operations.client.get(f"{LIST}{saved['id']}/change/").content.decode()
    assert "Active" in page
    assert saved["last4"] in page
    assert "active, agreed" in page
    for personal in ("dana@example.com", "Dana Reyes", AGREED["ip_address"]):
        assert personal not in page + listed
    records = timeline.timeline(stream_type="customer", stream_id=buyer["id"], limit=20)
    assert "record.viewed" in [record.event_type for record in records]


def test_what_nobody_could_settle_is_a_list_of_its_own(
    api: Api, shop: Shop, staff: Callable[[str], Staff]
) -> None:
    buyer = customer(api)
    fine = save(api, buyer["id"])
    shop.settings(drop_after_commit=1)
    path = f"/v1/customers/{buyer['id']}/payment_methods"
    lost = api.post(path, {"token": "tok_visa"}).json()
    shop.ahead_by(hours=25)
    resume(shop, lost["id"])
    client = staff("Compliance").client
    waiting = client.get(f"{LIST}?state=unsettled&q={buyer['id']}").content.decode()
    assert lost["id"] in waiting
    assert fine["id"] not in waiting
    active = client.get(f"{LIST}?state=active&q={buyer['id']}").content.decode()
    assert fine["id"] in active
    assert lost["id"] not in active
    page = client.get(f"{LIST}{lost['id']}/change/").content.decode()
    assert "a person looks" in page


def test_who_may_not_look_is_not_shown_anything(api: Api, staff: Callable[[str], Staff]) -> None:
    saved = save(api, customer(api)["id"])
    assert staff("").client.get(LIST).status_code == 403
    assert staff("").client.get(f"{LIST}{saved['id']}/change/").status_code == 403
    finance = staff("superuser").client
    assert finance.post(f"{LIST}{saved['id']}/change/", {"state": "failed"}).status_code == 403
    assert finance.get(f"{LIST}add/").status_code == 403


def test_a_payment_is_found_by_its_customer_and_what_they_have_saved(
    api: Api, shop: Shop, staff: Callable[[str], Staff]
) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    buyer = customer(api, email=email)
    saved = save(api, buyer["id"])
    paid = api.create(customer=buyer["id"], payment_method=saved["id"], off_session=True)
    for term in (buyer["id"], saved["id"], email, email.upper()):
        findings = search.find(term)
        assert findings.payment_ids == [paid["id"]], term
        assert ("customer", buyer["id"]) in findings.other
    kept = PaymentMethod.objects.get(pk=saved["id"])
    assert ("customer", buyer["id"]) in search.find(kept.provider_reference).other
