"""Saving payment methods by token: once, whatever is lost on the way; removing them; mandates."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from audit import timeline
from audit.log import Actor, acting_as
from payments import idempotency
from payments.actions.answer_request import complete_requests
from payments.actions.method_calls import resume_due_method_operations
from payments.models import IdempotencyKey, Mandate, MethodOperation, PaymentMethod
from payments.models.customer import METHOD_EDGES, MethodState
from tests.payments.api.conftest import Api, error_of
from tests.payments.customers import (
    AGREED,
    customer,
    events_of,
    methods_at_the_provider,
    resume,
    save,
)
from tests.payments.shop import Shop, new_key


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.secret_key)


@pytest.fixture
def another_api(another_shop: Shop) -> Api:
    return Api(another_shop.secret_key)


def methods_path(customer_id: str) -> str:
    return f"/v1/customers/{customer_id}/payment_methods"


def ask_to_save(api: Api, customer_id: str, token: str, **more: Any) -> Any:
    return api.post(methods_path(customer_id), {"token": token}, **more)


def only_method(shop: Shop) -> PaymentMethod:
    return PaymentMethod.objects.get(customer__merchant=shop.merchant)


def test_a_token_is_saved_and_what_may_be_shown_is_shown(api: Api, shop: Shop) -> None:
    buyer = customer(api, email="dana@example.com", name="Dana Reyes")
    saved = save(api, buyer["id"], "tok_visa", mandate=AGREED)
    assert (saved["object"], saved["status"]) == ("payment_method", "active")
    assert (saved["kind"], saved["brand"], saved["last4"]) == ("card", "visa", "4242")
    assert (saved["expiry_month"], saved["expiry_year"]) == (12, 2034)
    assert saved["fingerprint"]
    assert saved["mandate"]["status"] == "active"
    assert saved["mandate"]["accepted_at"] == "2026-11-20T12:00:00.000Z"
    assert api.get(f"/v1/payment_methods/{saved['id']}").json() == saved
    assert api.get(methods_path(buyer["id"])).json()["data"] == [saved]
    row = PaymentMethod.objects.get(pk=saved["id"])
    (kept,) = methods_at_the_provider(shop, saved["id"])
    assert (row.provider_reference, row.customer_reference) == (kept["id"], kept["customer"])
    at_provider = shop.sandbox("GET", f"/v1/customers/{kept['customer']}")
    assert (at_provider["reference"], at_provider["email"]) == (buyer["id"], "dana@example.com")
    assert row.mandate.reveal_acceptance()["ip_address"] == "203.0.113.7"
    operation = MethodOperation.objects.get(method=row)
    assert (operation.outcome, operation.request_encrypted) == ("ok", None)


def test_saving_is_told_in_events_and_in_the_audit_trail(api: Api) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"])
    (event,) = events_of(api, "payment_method.saved")
    assert event["data"]["object"] == saved
    records = timeline.timeline(stream_type="customer", stream_id=buyer["id"], limit=20)
    assert [record.event_type for record in sorted(records, key=lambda record: record.id)] == [
        "customer.created",
        "payment_method.requested",
        "provider.request",
        "provider.response",
        "payment_method.saved",
    ]
    row = PaymentMethod.objects.get(pk=saved["id"])
    for reference in (saved["id"], row.provider_reference):
        assert ("customer", buyer["id"]) in [
            (stream.stream_type, stream.stream_id) for stream in timeline.find(reference)
        ]


def test_the_second_method_is_saved_for_the_same_customer_of_the_provider(api: Api) -> None:
    buyer = customer(api)
    first, second = (save(api, buyer["id"], token) for token in ("tok_visa", "tok_mastercard"))
    rows = PaymentMethod.objects.filter(pk__in=[first["id"], second["id"]])
    assert len({row.customer_reference for row in rows}) == 1
    assert len({row.provider_reference for row in rows}) == 2
    listed = api.get(f"{methods_path(buyer['id'])}?limit=1").json()
    assert [row["id"] for row in listed["data"]] == [second["id"]]
    assert listed["has_more"] is True


def test_a_refused_method_has_failed_and_a_repeat_gets_the_same_refusal(
    api: Api, shop: Shop
) -> None:
    buyer, key = customer(api), new_key()
    answer = ask_to_save(api, buyer["id"], "tok_lost_card", idempotency_key=key)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (402, "payment_method_refused")
    assert error["decline_code"] == "lost_card"
    assert error["payment_method"]["status"] == "failed"
    again = ask_to_save(api, buyer["id"], "tok_lost_card", idempotency_key=key)
    assert again["Idempotent-Replayed"] == "true"
    assert error_of(again)["payment_method"] == error["payment_method"]
    (event,) = events_of(api, "payment_method.failed")
    assert event["data"]["object"]["last_error"]["code"] == "lost_or_stolen_card"
    assert only_method(shop).state == MethodState.FAILED


def test_a_token_that_the_provider_does_not_know_is_refused(api: Api, shop: Shop) -> None:
    answer = ask_to_save(api, customer(api)["id"], "tok_nobody")
    assert answer.status_code in (400, 402)
    assert only_method(shop).state == MethodState.FAILED


@pytest.mark.parametrize("knob", ["fail_after_commit", "drop_after_commit", "drop_before_commit"])
def test_an_unknown_outcome_is_pending_and_the_same_key_finishes_it_once(
    knob: str, api: Api, shop: Shop
) -> None:
    buyer, key = customer(api), new_key()
    shop.settings(**{knob: 1})
    answer = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    again = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert (again.status_code, again.json()["status"]) == (201, "active")
    assert again.json()["id"] == answer.json()["id"]
    assert len(methods_at_the_provider(shop, answer.json()["id"])) == 1
    third = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert third["Idempotent-Replayed"] == "true"
    assert third.json() == again.json()


def test_nobody_has_to_come_back_the_periodic_job_finishes_it(api: Api, shop: Shop) -> None:
    buyer, key = customer(api), new_key()
    shop.settings(drop_after_commit=1)
    pending = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key).json()
    shop.ahead_by(minutes=2)
    while MethodOperation.objects.filter(method_id=pending["id"], finished_at=None).exists():
        assert resume_due_method_operations(clock=shop.now) > 0
    assert api.get(f"/v1/payment_methods/{pending['id']}").json()["status"] == "active"
    assert len(methods_at_the_provider(shop, pending["id"])) == 1
    again = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")


def test_a_request_that_died_before_it_wrote_anything_is_finished(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    with acting_as(Actor(type="api_key", id="key_test"), request_id="req_test"):
        claim = idempotency.claim(
            merchant=shop.merchant,
            livemode=False,
            key=new_key(),
            operation="payment_methods.save",
            method="POST",
            path=methods_path(buyer["id"]),
            parameters={"customer": buyer["id"], "token": "tok_visa"},
            personal={"mandate": AGREED},
            actor_id="key_test",
            request_id="req_test",
            now=shop.now(),
        )
    assert isinstance(claim, idempotency.Claim)
    assert AGREED["ip_address"] not in json.dumps(claim.parameters)
    shop.ahead_by(minutes=3)
    while IdempotencyKey.objects.get(pk=claim.row_id).recovery_point != "finished":
        assert complete_requests(clock=shop.now) > 0
    method = only_method(shop)
    assert method.state == MethodState.ACTIVE
    assert method.mandate.reveal_acceptance()["ip_address"] == AGREED["ip_address"]


def test_a_provider_that_was_surely_never_reached_has_nothing_once_the_key_expired(
    api: Api, shop: Shop
) -> None:
    buyer, key = customer(api), new_key()
    shop.change_account(api_base="http://127.0.0.1:9")
    pending = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert pending.status_code == 202
    shop.ahead_by(hours=1)
    assert resume(shop, pending.json()["id"]).status == 202
    shop.ahead_by(hours=24)
    shop.change_account(api_base="")
    answer = resume(shop, pending.json()["id"])
    assert answer.status == 400
    assert only_method(shop).state == MethodState.FAILED
    assert methods_at_the_provider(shop, pending.json()["id"]) == []
    again = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert error_of(again)["decline_code"] == "provider_not_executed"


def test_what_nobody_can_say_after_the_key_expired_waits_for_a_person(api: Api, shop: Shop) -> None:
    buyer, key = customer(api), new_key()
    shop.settings(drop_after_commit=1)
    pending = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key).json()
    shop.ahead_by(hours=25)
    assert resume(shop, pending["id"]).status == 202
    method = only_method(shop)
    assert method.state == MethodState.PENDING
    assert (method.error or {}).get("code") == "provider_answer_lost"
    operation = MethodOperation.objects.get(method=method)
    assert (operation.outcome, operation.request_encrypted) == ("exhausted", None)
    (event,) = events_of(api, "payment_method.unresolved")
    assert event["data"]["object"]["id"] == pending["id"]
    assert ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key).status_code == 202
    assert len(methods_at_the_provider(shop, pending["id"])) == 1


def test_what_a_repeat_says_does_not_change_with_the_customer(api: Api, shop: Shop) -> None:
    buyer = customer(api, email="first@example.com")
    shop.settings(drop_before_commit=1)
    pending = ask_to_save(api, buyer["id"], "tok_visa").json()
    api.post(f"/v1/customers/{buyer['id']}", {"email": "second@example.com"})
    shop.ahead_by(minutes=2)
    assert resume(shop, pending["id"]).status == 201
    (kept,) = methods_at_the_provider(shop, pending["id"])
    assert shop.sandbox("GET", f"/v1/customers/{kept['customer']}")["email"] == "first@example.com"


def test_a_customer_deleted_meanwhile_keeps_no_method(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    shop.settings(drop_after_commit=1)
    body = {"token": "tok_visa", "mandate": AGREED}
    pending = api.post(methods_path(buyer["id"]), body).json()
    assert api.delete(f"/v1/customers/{buyer['id']}").status_code == 200
    shop.ahead_by(minutes=2)
    assert resume(shop, pending["id"]).status == 201
    method = only_method(shop)
    assert method.state == MethodState.REMOVED
    assert (method.mandate.status, method.mandate.reveal_acceptance()) == ("revoked", {})
    assert resume(shop, pending["id"]).status == 200
    (kept,) = methods_at_the_provider(shop, pending["id"])
    assert kept["status"] == "removed"


def test_removing_takes_a_method_out_of_use_here_and_at_the_provider(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    saved = save(api, buyer["id"], "tok_bank", mandate=AGREED)
    path, key = f"/v1/payment_methods/{saved['id']}/remove", new_key()
    removed = api.post(path, {}, idempotency_key=key)
    assert (removed.status_code, removed.json()["status"]) == (200, "removed")
    assert removed.json()["mandate"]["status"] == "revoked"
    assert methods_at_the_provider(shop, saved["id"])[0]["status"] == "removed"
    assert api.post(path, {}, idempotency_key=key)["Idempotent-Replayed"] == "true"
    assert api.post(path, {}).json()["status"] == "removed"
    types = [event["type"] for event in events_of(api)]
    assert types[-2:] == ["mandate.revoked", "payment_method.removed"]


def test_a_removal_that_is_lost_on_the_way_is_removed_here_at_once(api: Api, shop: Shop) -> None:
    saved = save(api, customer(api)["id"])
    shop.settings(drop_before_commit=1)
    answer = api.post(f"/v1/payment_methods/{saved['id']}/remove", {})
    assert (answer.status_code, answer.json()["status"]) == (202, "removed")
    assert methods_at_the_provider(shop, saved["id"])[0]["status"] == "active"
    shop.ahead_by(minutes=2)
    assert resume(shop, saved["id"]).status == 200
    assert methods_at_the_provider(shop, saved["id"])[0]["status"] == "removed"
    assert len(events_of(api, "payment_method.removed")) == 1


def test_a_method_the_provider_has_not_confirmed_is_not_removed_yet(api: Api, shop: Shop) -> None:
    buyer = customer(api)
    shop.settings(drop_after_commit=1)
    pending = ask_to_save(api, buyer["id"], "tok_visa").json()
    answer = api.post(f"/v1/payment_methods/{pending['id']}/remove", {})
    assert (answer.status_code, error_of(answer)["code"]) == (409, "operation_in_flight")
    assert answer["Retry-After"]


def test_a_bank_account_has_a_mandate_as_the_payer_gave_it(api: Api) -> None:
    buyer = customer(api)
    agreed = save(api, buyer["id"], "tok_bank", mandate=AGREED)
    assert (agreed["kind"], agreed["mandate"]["status"]) == ("bank_debit", "active")
    silent = save(api, buyer["id"], "tok_bank")
    assert silent["mandate"]["status"] == "pending"
    assert silent["mandate"]["accepted_at"] is None
    assert save(api, buyer["id"], "tok_visa")["mandate"] is None
    assert Mandate.objects.filter(method__customer_id=buyer["id"]).count() == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "token"),
        ({"token": ""}, "token"),
        ({"token": 5}, "token"),
        ({"token": "tok_visa", "number": "1"}, "number"),
        ({"token": "tok_visa", "mandate": "yes"}, "mandate"),
        ({"token": "tok_visa", "mandate": {}}, "mandate.accepted_at"),
        (
            {"token": "tok_visa", "mandate": {**AGREED, "accepted_at": "today"}},
            "mandate.accepted_at",
        ),
        ({"token": "tok_visa", "mandate": {**AGREED, "ip_address": "here"}}, "mandate.ip_address"),
        ({"token": "tok_visa", "mandate": {**AGREED, "more": "x"}}, "more"),
    ],
)
def test_a_bad_request_to_save_is_refused_and_leaves_nothing(
    body: dict[str, Any], param: str, api: Api, shop: Shop
) -> None:
    buyer = customer(api)
    answer = api.post(methods_path(buyer["id"]), body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)
    assert not PaymentMethod.objects.filter(customer__merchant=shop.merchant).exists()


def test_nobody_has_agreed_tomorrow(api: Api, shop: Shop) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"token": "tok_visa", "mandate": {**AGREED, "accepted_at": tomorrow}}
    answer = api.post(methods_path(customer(api)["id"]), body)
    assert error_of(answer)["param"] == "mandate.accepted_at"
    assert not PaymentMethod.objects.filter(customer__merchant=shop.merchant).exists()


def test_a_foreign_method_looks_like_none(api: Api, another_api: Api) -> None:
    foreign = save(another_api, customer(another_api)["id"])["id"]
    for method_id in (foreign, "pm_01kafr9f5se0jv7n3q8d6x2y1b"):
        answers = [
            api.get(f"/v1/payment_methods/{method_id}"),
            api.post(f"/v1/payment_methods/{method_id}/remove", {}),
        ]
        assert [(answer.status_code, error_of(answer)["code"]) for answer in answers] == [
            (404, "not_found")
        ] * 2
    assert another_api.get(f"/v1/payment_methods/{foreign}").json()["status"] == "active"


def test_two_drivers_record_one_outcome(api: Api, shop: Shop) -> None:
    buyer, key = customer(api), new_key()
    shop.settings(drop_after_commit=1)
    pending = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key).json()
    answers: list[int] = []

    def come_back() -> None:
        try:
            again = ask_to_save(Api(shop.secret_key), buyer["id"], "tok_visa", idempotency_key=key)
            answers.append(again.status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=come_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {201, 202, 409}
    final = ask_to_save(api, buyer["id"], "tok_visa", idempotency_key=key)
    assert final.status_code == 201
    assert len(events_of(api, "payment_method.saved")) == 1
    assert len(methods_at_the_provider(shop, pending["id"])) == 1


def test_the_database_knows_the_edges_and_keeps_references(api: Api, shop: Shop) -> None:
    method = PaymentMethod.objects.get(pk=save(api, customer(api)["id"])["id"])
    reached = {target for edges in METHOD_EDGES.values() for target in edges.values()}
    for state in MethodState:
        if state.value in METHOD_EDGES["active"].values() or state == MethodState.ACTIVE:
            continue
        with pytest.raises(IntegrityError, match="no edge"):
            PaymentMethod.objects.filter(pk=method.pk).update(state=state.value)
    assert reached | {"pending"} == {state.value for state in MethodState}
    with pytest.raises(IntegrityError, match="never change"):
        PaymentMethod.objects.filter(pk=method.pk).update(provider_reference="another")
    with pytest.raises(Exception, match="permission denied"):
        PaymentMethod.objects.filter(pk=method.pk)._raw_delete("default")
