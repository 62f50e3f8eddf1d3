"""Charging what was saved: without the payer, with them after all, and never anybody else's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from audit.log import Actor
from payments.actions import saved_methods
from payments.actions.create_payment import create_payment
from payments.actions.provider_accounts import create_provider_account
from payments.errors import FlorinError
from payments.idempotency import Claim
from payments.models import Attempt, IdempotencyKey, Mandate, Payment, PaymentMethod
from tests.payments.api.conftest import Api, error_of, payment_body, payment_count
from tests.payments.customers import AGREED, customer, save
from tests.payments.shop import Shop, create_parameters


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.secret_key)


@pytest.fixture
def another_api(another_shop: Shop) -> Api:
    return Api(another_shop.secret_key)


def charge(api: Api, customer_id: str | None, method_id: str, **more: Any) -> Any:
    body = payment_body(
        customer=customer_id, payment_method=method_id, off_session=more.pop("off_session", True)
    )
    return api.post("/v1/payments", {**body, **more})


def captured(shop: Shop, payment_id: str) -> list[int]:
    """What the sandbox says it took for a payment."""
    movements = shop.movements(payment_id)
    return [one["amount_minor"] for one in movements if one["kind"] == "capture"]


def test_a_saved_card_is_charged_without_its_payer(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"])
    answer = charge(api, buyer["id"], saved["id"])
    paid = answer.json()
    assert (answer.status_code, paid["status"]) == (201, "captured")
    assert paid["customer"] == buyer["id"]
    assert paid["payment_method"]["last4"] == "4242"
    method = PaymentMethod.objects.get(pk=saved["id"])
    (operation,) = shop.payment(paid["id"]).operations.all()
    assert operation.request["payment_method"] == method.provider_reference
    assert operation.request["customer_reference"] == method.customer_reference
    assert operation.request["saved_method"] == saved["id"]
    assert operation.request["off_session"] is True
    attempt = Attempt.objects.get(payment_id=paid["id"])
    assert (attempt.payment_method_token, attempt.off_session) == (saved["id"], True)
    assert captured(shop, paid["id"]) == [4200]


def test_the_customer_is_known_by_the_method(api: Api) -> None:
    buyer = customer(api)
    paid = charge(api, None, save(api, buyer["id"])["id"]).json()
    assert (paid["status"], paid["customer"]) == ("captured", buyer["id"])


def test_a_payment_can_name_a_customer_and_pay_by_token(api: Api) -> None:
    buyer = customer(api)
    answer = api.post("/v1/payments", payment_body(customer=buyer["id"]))
    assert (answer.status_code, answer.json()["customer"]) == (201, buyer["id"])


def test_a_saved_bank_account_is_debited_under_its_mandate(api: Api) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"], "tok_bank", mandate=AGREED)
    assert charge(api, buyer["id"], saved["id"]).json()["status"] == "processing"


def test_without_an_active_mandate_no_bank_account_is_debited(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    silent = save(api, buyer["id"], "tok_bank")
    agreed = save(api, buyer["id"], "tok_bank", mandate=AGREED)
    Mandate.objects.filter(method_id=agreed["id"]).update(status=Mandate.Status.INACTIVE)
    for method in (silent, agreed):
        for off_session in (True, False):
            answer = charge(api, buyer["id"], method["id"], off_session=off_session)
            error = error_of(answer)
            assert (answer.status_code, error["code"]) == (409, "mandate_missing")
            assert error["param"] == "payment_method"
    assert payment_count(shop) == 0


def test_a_bank_that_wants_its_payer_leaves_the_payment_open_for_them(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"], "tok_3ds")
    declined = charge(api, buyer["id"], saved["id"])
    error = error_of(declined)
    assert (declined.status_code, error["code"]) == (402, "payment_declined")
    assert error["decline_code"] == "authentication_required"
    payment_id = error["payment"]["id"]
    assert error["payment"]["status"] == "created"
    confirmed = api.post(f"/v1/payments/{payment_id}/confirm", {"payment_method": saved["id"]})
    assert confirmed.json()["status"] == "requires_action", confirmed.content
    shop.authenticate(payment_id, "succeed")
    assert shop.poll(payment_id).state == "captured"
    assert captured(shop, payment_id) == [4200]


def test_a_payment_made_for_a_customer_is_confirmed_with_what_they_have_saved(api: Api) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"])
    body = payment_body(customer=buyer["id"], confirm=None, payment_method=None)
    created = api.post("/v1/payments", body).json()
    confirmed = api.post(
        f"/v1/payments/{created['id']}/confirm", {"payment_method": saved["id"]}
    ).json()
    assert confirmed["status"] == "captured"


def test_a_payment_made_for_nobody_is_not_confirmed_with_somebodys_method(api: Api) -> None:
    buyer = customer(api)
    early = api.post(
        "/v1/payments", payment_body(customer=buyer["id"], confirm=None, payment_method=None)
    ).json()
    saved = save(api, buyer["id"])
    nobody = api.create(confirm=None, payment_method=None)
    for payment in (early, nobody):
        answer = api.post(f"/v1/payments/{payment['id']}/confirm", {"payment_method": saved["id"]})
        assert error_of(answer)["code"] == "payment_method_unusable"
        assert api.get(f"/v1/payments/{payment['id']}").json()["status"] == "created"


def test_a_foreign_an_absent_and_somebody_elses_method_are_all_not_found(
    api: Api, another_api: Api, shop: Shop
) -> None:
    buyer, other = customer(api), customer(api)
    foreign = save(another_api, customer(another_api)["id"])["id"]
    for method_id, customer_id in [
        (foreign, buyer["id"]),
        (foreign, None),
        ("pm_01kafr9f5se0jv7n3q8d6x2y1b", buyer["id"]),
        (save(api, other["id"])["id"], buyer["id"]),
        ("tok_visa", buyer["id"]),
    ]:
        answer = charge(api, customer_id, method_id)
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (
            404,
            "not_found",
            "payment_method",
        ), method_id
    assert payment_count(shop) == 0


def test_a_foreign_an_absent_and_a_deleted_customer_are_all_not_found(
    api: Api, another_api: Api, shop: Shop
) -> None:
    deleted = customer(api)["id"]
    api.delete(f"/v1/customers/{deleted}")
    for customer_id in (customer(another_api)["id"], "cus_01kafr9c2be2prw8h6s1t0k4mz", deleted):
        answer = api.post("/v1/payments", payment_body(customer=customer_id))
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (404, "not_found", "customer")
    assert payment_count(shop) == 0


def test_a_removed_and_a_failed_method_are_not_charged(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    removed = save(api, buyer["id"])["id"]
    api.post(f"/v1/payment_methods/{removed}/remove", {})
    refused = api.post(f"/v1/customers/{buyer['id']}/payment_methods", {"token": "tok_lost_card"})
    failed = error_of(refused)["payment_method"]["id"]
    for method_id, state in ((removed, "removed"), (failed, "failed")):
        answer = charge(api, buyer["id"], method_id)
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (409, "payment_method_unusable")
        assert state in error["message"]
    assert payment_count(shop) == 0


def test_a_method_kept_at_another_provider_account_is_not_charged(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"])
    create_provider_account(
        provider="sandbox",
        name="Second",
        livemode=False,
        merchant=shop.merchant,
        secret_key=shop.sandbox_key + "_second",
        publishable_key="",
        webhook_secrets=["whsec_" + "0" * 32],
        api_base="",
        actor=Actor(type="system", id="test"),
        now=shop.now(),
    )
    answer = charge(api, buyer["id"], saved["id"])
    assert error_of(answer)["code"] == "payment_method_unusable"
    assert payment_count(shop) == 0


def test_without_the_payer_a_payment_is_confirmed_at_once(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"])
    answer = charge(api, buyer["id"], saved["id"], confirm=False)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "parameter_invalid")
    assert error["param"] == "off_session"
    assert not IdempotencyKey.objects.filter(
        merchant=shop.merchant, operation="payments.create"
    ).exists()


def test_a_method_removed_while_a_charge_is_prepared_is_not_charged(api: Api, shop: Shop) -> None:
    """The second look, under the lock, is what counts."""
    buyer = customer(api)
    saved = save(api, buyer["id"])
    method = PaymentMethod.objects.get(pk=saved["id"])
    parameters = {**create_parameters(payment_method=saved["id"]), "customer": buyer["id"]}
    claim = shop.claim("payments.create", parameters)
    assert isinstance(claim, Claim)
    api.post(f"/v1/payment_methods/{saved['id']}/remove", {})
    stale = saved_methods.Payer(token=method.provider_reference, method=method)
    with pytest.raises(FlorinError, match="removed"), transaction.atomic():
        saved_methods.hold(stale)
    with shop.acting(), pytest.raises(FlorinError, match="removed"):
        create_payment(claim=claim, clock=shop.now)
    assert payment_count(shop) == 0


def test_the_database_ties_a_payment_to_a_customer_of_its_own_merchant(
    api: Api, another_api: Api, shop: Shop
) -> None:
    foreign = customer(another_api)["id"]
    payment = shop.payment(api.create()["id"])
    with pytest.raises(IntegrityError, match="its customer never changes"):
        Payment.objects.filter(pk=payment.pk).update(customer_id=foreign)
    copy = Payment.objects.get(pk=payment.pk)
    copy.pk, copy.customer_id = "pay_01kafr9c2be2prw8h6s1t0k4mz", foreign
    copy._state.adding = True
    with pytest.raises(IntegrityError, match="not one of its merchant"):
        copy.save(force_insert=True)
