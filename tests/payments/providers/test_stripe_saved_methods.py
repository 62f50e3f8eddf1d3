"""Customers and saved payment methods at Stripe, and charges without the payer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from payments.providers.base import ObservedStatus, Outcome
from payments.providers.objects import MethodSnapshot
from payments.providers.stripe.methods import read_method
from tests.payments.providers.conformance import expect
from tests.payments.providers.stripe_world import StripeWorld
from tests.processes import RunningProcess

MANDATE: dict[str, Any] = {
    "mandate_accepted_at": datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
    "mandate_ip_address": "192.0.2.7",
    "mandate_user_agent": "Browser/1",
}


@pytest.fixture
def world(stripe_stand_in: RunningProcess) -> StripeWorld:
    return StripeWorld(stripe_stand_in.url)


def _saved(world: StripeWorld, token: str, **more: Any) -> MethodSnapshot:
    result = world.save(token, **more)
    assert result.outcome == Outcome.OK, result
    assert result.method is not None
    return result.method


def test_a_card_is_saved_for_a_customer_that_is_made_for_it(world: StripeWorld) -> None:
    method = _saved(world, "pm_card_visa")
    assert (method.kind, method.brand, method.last4) == ("card", "visa", "4242")
    assert (method.expiry_month, method.expiry_year) == (8, 2030)
    assert method.fingerprint
    assert (method.mandate_reference, method.mandate_status) == ("", "")
    (customer,) = world.objects("customer")
    assert customer["id"] == method.customer_reference
    assert customer["metadata"] == {"florin_customer": "cus_ours"}
    assert (customer["email"], customer["name"]) == ("ada@example.com", "Ada")


def test_a_second_card_is_saved_for_the_same_customer(world: StripeWorld) -> None:
    first = _saved(world, "pm_card_visa")
    second = _saved(world, "pm_card_visa", customer=first.customer_reference)
    assert second.customer_reference == first.customer_reference
    assert second.provider_reference != first.provider_reference
    assert second.fingerprint == first.fingerprint
    assert len(world.objects("customer")) == 1


def test_saving_again_with_the_same_key_makes_one_customer_and_one_method(
    world: StripeWorld,
) -> None:
    world.driver.break_next("drop_after_commit")  # the customer is made, its answer is lost
    assert world.save("pm_card_visa", key="k").outcome == Outcome.UNKNOWN
    first, second = (world.save("pm_card_visa", key="k") for _ in range(2))
    assert first.method == second.method
    assert first.method is not None
    assert len(world.objects("customer")) == 1


def test_the_audit_record_of_saving_names_nobody(world: StripeWorld) -> None:
    saved = world.save("pm_card_visa")
    assert "Ada" not in repr(saved.exchange)
    assert "example.com" not in repr(saved.exchange)
    assert saved.exchange.request["customer"].startswith("cus_")
    assert saved.exchange.url.endswith("/attach")


def test_a_card_that_the_bank_refuses_is_not_saved(world: StripeWorld) -> None:
    refused = world.save("pm_card_visa_chargeDeclinedLostCard")
    assert refused.outcome == Outcome.DECLINED
    assert refused.method is None
    assert refused.error is not None
    assert refused.error.code == "lost_or_stolen_card"


def test_a_token_that_nobody_knows_is_not_saved(world: StripeWorld) -> None:
    refused = world.save("pm_of_somebody_else")
    assert refused.outcome == Outcome.DECLINED
    assert refused.error is not None
    assert refused.error.code == "payment_method_invalid"


def test_a_bank_account_is_saved_with_the_payers_mandate(world: StripeWorld) -> None:
    method = _saved(world, "pm_usBankAccount", **MANDATE)
    assert (method.kind, method.brand) == ("bank_debit", "STRIPE TEST BANK")
    assert (method.expiry_month, method.expiry_year) == (None, None)
    assert method.mandate_reference.startswith("mandate_")
    assert method.mandate_status == "active"
    (mandate,) = world.objects("mandate")
    assert mandate["customer_acceptance"]["online"] == {
        "ip_address": "192.0.2.7",
        "user_agent": "Browser/1",
    }


def test_a_bank_account_without_a_mandate_is_not_saved(world: StripeWorld) -> None:
    assert world.save("pm_usBankAccount").outcome == Outcome.DECLINED


def test_a_bank_account_that_is_not_verified_waits_for_the_payer(world: StripeWorld) -> None:
    asked = world.save("pm_usBankAccount_unverified", **MANDATE)
    assert asked.outcome == Outcome.ACTION
    assert asked.method is not None
    assert (asked.method.mandate_reference, asked.method.mandate_status) == ("", "pending")


def test_a_saved_card_is_charged_without_the_payer(world: StripeWorld) -> None:
    method = _saved(world, "pm_card_visa")
    paid = world.pay(
        method.provider_reference,
        customer_reference=method.customer_reference,
        off_session=True,
    )
    expect(paid, Outcome.OK, ObservedStatus.CAPTURED)


def test_a_saved_bank_account_is_debited_without_the_payer(world: StripeWorld) -> None:
    method = _saved(world, "pm_usBankAccount", **MANDATE)
    debit = world.pay(
        method.provider_reference,
        customer_reference=method.customer_reference,
        off_session=True,
    )
    expect(debit, Outcome.PENDING, ObservedStatus.PROCESSING)


def test_a_bank_that_wants_its_payer_declines_the_charge_without_them(world: StripeWorld) -> None:
    method = _saved(world, "pm_card_authenticationRequired")
    charge: dict[str, Any] = {
        "method": method.provider_reference,
        "customer_reference": method.customer_reference,
    }
    declined = world.pay(**charge, off_session=True)
    expect(declined, Outcome.DECLINED, ObservedStatus.DECLINED)
    assert declined.error is not None
    assert declined.error.code == "authentication_required"
    assert declined.error.retryable
    expect(world.pay(**charge), Outcome.ACTION)


def test_a_saved_card_is_nobody_elses(world: StripeWorld) -> None:
    method = _saved(world, "pm_card_visa")
    expect(world.pay(method.provider_reference, off_session=True), Outcome.DECLINED)


def test_a_removed_method_stays_removed_however_often_it_is_asked(world: StripeWorld) -> None:
    method = _saved(world, "pm_card_visa")
    for key in ("a", "a", "b"):
        removed = world.provider.remove_method(method.provider_reference, **world.common(key))
        assert removed.outcome == Outcome.OK
    unknown = world.provider.remove_method("pm_unknown", **world.common())
    assert unknown.outcome == Outcome.OK
    refused = world.pay(method.provider_reference, customer_reference=method.customer_reference)
    expect(refused, Outcome.DECLINED)


def test_a_method_of_a_kind_we_do_not_know_keeps_stripes_word() -> None:
    told = {"object": "payment_method", "id": "pm_1", "type": "carrier_pigeon", "customer": "cus_1"}
    assert read_method(told).kind == "carrier_pigeon"
    odd = read_method(told, mandate={"id": "mandate_1", "status": "in_2030"})
    assert (odd.mandate_reference, odd.mandate_status) == ("mandate_1", "")
