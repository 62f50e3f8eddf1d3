"""What each way in which a call about a payment method can end makes true, and who may say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError

from audit import log
from payments.actions.method_calls import (
    lease_method_operation,
    resume_due_method_operations,
    resume_method_operation,
)
from payments.actions.method_outcome import record_method_outcome
from payments.actions.provider_accounts import create_provider_account
from payments.actions.save_method import save_payment_method
from payments.idempotency import Answer, Claim
from payments.models import MethodOperation, PaymentMethod
from payments.models.customer import MethodState
from payments.providers.base import Exchange, Outcome, Result
from payments.providers.objects import MethodSnapshot
from payments.providers.refusals import refusal
from payments.providers.sandbox.provider import SandboxProvider
from tests.payments.api.conftest import Api, error_of, payment_body, payment_count
from tests.payments.customers import AGREED, customer, events_of, methods_at_the_provider, save
from tests.payments.shop import Shop, new_key

EXCHANGE = Exchange(
    operation="save_method", method="POST", url="", request={}, http_status=200, response={}
)


class ForgetfulProvider(SandboxProvider):
    """The sandbox, were it a provider that keeps nothing."""

    capabilities = replace(SandboxProvider.capabilities, saved_methods=False, off_session=False)


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.secret_key)


def pending(api: Api, shop: Shop, **body: Any) -> MethodOperation:
    """The open call of a method whose answer was lost, leased by nobody."""
    shop.settings(drop_before_commit=1)
    path = f"/v1/customers/{customer(api)['id']}/payment_methods"
    answer = api.post(path, {"token": "tok_visa", **body})
    assert answer.status_code == 202
    return MethodOperation.objects.get(method_id=answer.json()["id"])


def leased(operation: MethodOperation, shop: Shop) -> MethodOperation:
    found = lease_method_operation(operation.pk, now=shop.now())
    assert found is not None
    return found


def record(operation: MethodOperation, shop: Shop, **result: Any) -> Answer:
    """Record that the call ended so."""
    with shop.acting():
        return record_method_outcome(
            leased(operation, shop), Result(exchange=EXCHANGE, **result), now=shop.now()
        )


def test_a_step_that_the_payer_would_have_to_take_is_a_refusal(api: Api, shop: Shop) -> None:
    operation = pending(api, shop, mandate=AGREED)
    answer = record(operation, shop, outcome=Outcome.ACTION)
    assert (answer.status, answer.body["error"]["code"]) == (402, "payment_method_refused")
    assert answer.body["error"]["decline_code"] == "authentication_required"
    method = PaymentMethod.objects.get(pk=operation.method_id)
    assert (method.state, method.mandate.status) == (MethodState.FAILED, "inactive")


@pytest.mark.parametrize("of_another", [False, True])
def test_what_the_provider_keeps_already_is_not_saved_twice(
    of_another: bool, api: Api, shop: Shop
) -> None:
    operation = pending(api, shop)
    owner = customer(api)["id"] if of_another else operation.method.customer_id
    first = PaymentMethod.objects.get(pk=save(api, owner)["id"])
    same = MethodSnapshot(
        customer_reference=first.customer_reference,
        provider_reference=first.provider_reference,
        kind="card",
    )
    answer = record(operation, shop, outcome=Outcome.OK, method=same)
    error = answer.body["error"]
    assert (answer.status, error["decline_code"]) == (402, "payment_method_already_saved")
    assert (first.pk in error["message"]) is not of_another
    assert PaymentMethod.objects.get(pk=first.pk).state == MethodState.ACTIVE


def test_a_method_the_bank_still_looks_at_is_saved_and_its_mandate_waits(
    api: Api, shop: Shop
) -> None:
    operation = pending(api, shop, mandate=AGREED)
    snapshot = MethodSnapshot(
        customer_reference="cus_x",
        provider_reference="pm_x",
        kind="bank_debit",
        mandate_reference="mandate_x",
        mandate_status="pending",
    )
    answer = record(operation, shop, outcome=Outcome.PENDING, method=snapshot)
    assert (answer.status, answer.body["mandate"]["status"]) == (201, "pending")
    refused = api.post("/v1/payments", payment_body(payment_method=answer.body["id"]))
    assert error_of(refused)["code"] == "mandate_missing"


def test_a_mandate_status_that_nobody_knows_is_no_leave(api: Api, shop: Shop) -> None:
    snapshot = MethodSnapshot(
        customer_reference="cus_y",
        provider_reference="pm_y",
        kind="bank_debit",
        mandate_reference="mandate_y",
        mandate_status="half",
    )
    answer = record(pending(api, shop), shop, outcome=Outcome.OK, method=snapshot)
    assert answer.body["mandate"]["status"] == "inactive"


def removal(api: Api, shop: Shop, *, key: str | None = None) -> MethodOperation:
    """The open call of a removal whose answer was lost."""
    saved = save(api, customer(api)["id"])
    shop.settings(drop_before_commit=1)
    path = f"/v1/payment_methods/{saved['id']}/remove"
    assert api.post(path, {}, idempotency_key=key or new_key()).status_code == 202
    return MethodOperation.objects.get(method_id=saved["id"], kind="remove")


def test_a_removal_that_the_provider_refuses_stands_here_and_is_told(api: Api, shop: Shop) -> None:
    operation = removal(api, shop)
    error = refusal("provider_request_refused", "This cannot be removed.")
    answer = record(operation, shop, outcome=Outcome.DECLINED, error=error)
    assert (answer.status, answer.body["status"]) == (200, "removed")
    operation.refresh_from_db()
    assert operation.outcome == "declined"
    assert (operation.error or {}).get("code") == "provider_request_refused"


def test_a_removal_nobody_confirmed_until_the_key_expired_waits_for_a_person(
    api: Api, shop: Shop
) -> None:
    operation = removal(api, shop)
    shop.ahead_by(hours=25)
    with shop.acting():
        answer = resume_method_operation(leased(operation, shop), clock=shop.now)
    assert (answer.status, answer.body["status"]) == (202, "removed")
    assert len(events_of(api, "payment_method.unresolved")) == 1
    assert PaymentMethod.objects.get(pk=operation.method_id).error is None


def test_a_removal_is_finished_by_the_same_key(api: Api, shop: Shop) -> None:
    key = new_key()
    operation = removal(api, shop, key=key)
    path = f"/v1/payment_methods/{operation.method_id}/remove"
    again = api.post(path, {}, idempotency_key=key)
    assert (again.status_code, again.json()["status"]) == (200, "removed")
    assert methods_at_the_provider(shop, operation.method_id)[0]["status"] == "removed"


def test_who_has_lost_the_lease_records_nothing(api: Api, shop: Shop) -> None:
    operation = leased(pending(api, shop), shop)
    MethodOperation.objects.filter(pk=operation.pk).update(lease_token="somebody else")
    snapshot = MethodSnapshot(customer_reference="c", provider_reference="p", kind="card")
    with shop.acting():
        answer = record_method_outcome(
            operation,
            Result(outcome=Outcome.OK, exchange=EXCHANGE, method=snapshot),
            now=shop.now(),
        )
    assert (answer.status, answer.body["status"]) == (202, "pending")
    assert PaymentMethod.objects.get(pk=operation.method_id).state == MethodState.PENDING
    assert events_of(api, "payment_method.saved") == []


def test_a_call_under_way_is_left_to_who_makes_it(api: Api, shop: Shop) -> None:
    operation = pending(api, shop)
    MethodOperation.objects.filter(pk=operation.pk).update(
        lease_until=shop.now() + timedelta(hours=1), next_try_at=shop.now() - timedelta(days=400)
    )
    assert lease_method_operation(operation.pk, now=shop.now()) is None
    resume_due_method_operations(clock=shop.now)
    operation.refresh_from_db()
    assert (operation.try_count, operation.finished_at) == (1, None)


def test_a_client_who_comes_back_meanwhile_is_told_how_it_stands(api: Api, shop: Shop) -> None:
    key, buyer = new_key(), customer(api)["id"]
    shop.settings(drop_before_commit=1)
    path = f"/v1/customers/{buyer}/payment_methods"
    first = api.post(path, {"token": "tok_visa"}, idempotency_key=key)
    operation = MethodOperation.objects.get(method_id=first.json()["id"])
    held = leased(operation, shop)
    again = api.post(path, {"token": "tok_visa"}, idempotency_key=key)
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    with shop.acting():
        assert resume_method_operation(held, clock=shop.now).status == 201
    claim = Claim(
        row_id=operation.claim_id or 0,
        lock_token="",
        recovery_point="submitting",
        operation="payment_methods.save",
        parameters={},
        merchant=shop.merchant,
        livemode=False,
        request_id="req_test",
    )
    assert save_payment_method(claim=claim, clock=shop.now).status == 201


def test_one_method_that_cannot_be_resumed_keeps_nobody_waiting(api: Api, shop: Shop) -> None:
    broken, fine = pending(api, shop), pending(api, shop)
    MethodOperation.objects.filter(pk=broken.pk).update(request_encrypted=b"broken")
    shop.ahead_by(minutes=2)
    while MethodOperation.objects.filter(pk=fine.pk, finished_at=None).exists():
        resume_due_method_operations(clock=shop.now)
    broken.refresh_from_db()
    assert broken.finished_at is None


def test_a_provider_that_keeps_nothing_is_not_asked_to(api: Api, shop: Shop, settings: Any) -> None:
    settings.FLORIN_PROVIDERS = {
        **settings.FLORIN_PROVIDERS,
        "forgetful": f"{ForgetfulProvider.__module__}.ForgetfulProvider",
    }
    account = create_provider_account(
        provider="forgetful",
        name="Forgetful",
        livemode=False,
        merchant=shop.merchant,
        secret_key=shop.sandbox_key,
        publishable_key="",
        webhook_secrets=["whsec_" + "0" * 32],
        api_base="",
        actor=log.Actor(type="system", id="test"),
        now=shop.now(),
    )
    buyer = customer(api)["id"]
    answer = api.post(f"/v1/customers/{buyer}/payment_methods", {"token": "tok_visa"})
    assert error_of(answer)["code"] == "operation_unsupported"
    # From the time when it kept some.
    kept = PaymentMethod.objects.create(
        customer_id=buyer, provider_account=account, created_at=shop.now()
    )
    PaymentMethod.objects.filter(pk=kept.pk).update(
        state="active", provider_reference="sbpm_x", customer_reference="sbcus_x"
    )
    answer = api.post("/v1/payments", payment_body(payment_method=kept.pk, off_session=True))
    error = error_of(answer)
    assert (error["code"], error["param"]) == ("operation_unsupported", "off_session")
    assert payment_count(shop) == 0


def test_another_refusal_of_the_database_is_not_taken_for_a_taken_reference(
    shop: Shop, owner_connection: psycopg.Connection
) -> None:
    table = "ALTER TABLE payments_customer"
    owner_connection.execute(
        f"{table} ADD CONSTRAINT other_rule CHECK (merchant_reference <> 'forbidden') NOT VALID"
    )
    try:
        with pytest.raises(IntegrityError, match="other_rule"):
            shop.ask("customers.create", {"merchant_reference": "forbidden"})
    finally:
        owner_connection.execute(f"{table} DROP CONSTRAINT other_rule")
    with log.acting_as(log.Actor(type="job", id="test")):
        assert shop.ask("customers.create", {"merchant_reference": "forbidden"}).status == 201
