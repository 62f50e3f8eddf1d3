"""Stripe's own ways: its error codes, amounts, signatures, events and pinned version."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe._api_version import _ApiVersion

from payments.providers.base import (
    CreatePayment,
    Credentials,
    ObservedStatus,
    Outcome,
    UnreadableEvent,
)
from payments.providers.objects import RefundPayment, RefundStatus
from payments.providers.refusals import STANDARD
from payments.providers.stripe import errors, events
from payments.providers.stripe.amounts import AmountNotExpressible, from_stripe, to_stripe
from payments.providers.stripe.errors import translate
from payments.providers.stripe.provider import API_VERSION, StripeProvider
from payments.providers.stripe.snapshots import STATUSES, read_snapshot
from tests.payments.providers.drivers import StripeStandInDriver
from tests.payments.providers.receiver import webhook_receiver
from tests.processes import RunningProcess

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1999,
    "amount_capturable": 0,
    "amount_received": 0,
    "client_secret": "pi_1_secret_2",
    "currency": "usd",
    "last_payment_error": None,
    "latest_charge": None,
    "metadata": {"florin_payment": "pay_1"},
    "next_action": None,
    "payment_method": None,
    "status": "requires_payment_method",
}


def _event(event_type: str, subject: dict[str, Any], **more: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "api_version": API_VERSION,
        "created": 1_763_640_000,
        "data": {"object": subject},
        "livemode": False,
        "type": event_type,
    }
    return json.dumps(event | more).encode()


def test_the_pinned_version_is_the_one_the_sdk_was_made_for() -> None:
    assert API_VERSION == _ApiVersion.CURRENT


def test_every_status_the_sdk_knows_has_a_meaning() -> None:
    source = Path(stripe.__file__).with_name("_payment_intent.py").read_text()
    listed = source.partition("    status: Union[\n        Literal[")[2].partition("]")[0]
    assert set(re.findall(r'"(\w+)"', listed)) == set(STATUSES)


def test_every_code_in_the_table_leads_to_a_standard_one_and_exists_at_stripe() -> None:
    source = Path(stripe.__file__).with_name("_payment_intent.py").read_text()
    assert set(errors.CODES.values()) | set(errors.DECLINE_CODES.values()) <= set(STANDARD)
    unknown = {code for code in errors.CODES if f'"{code}"' not in source}
    assert unknown == set()


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"type": "card_error", "code": "card_declined"}, "card_declined", True),
        (
            {"type": "card_error", "code": "card_declined", "decline_code": "stolen_card"},
            "lost_or_stolen_card",
            False,
        ),
        (
            {"type": "card_error", "code": "card_declined", "decline_code": "new_in_2030"},
            "card_declined",
            True,
        ),
        ({"type": "card_error", "code": "new_in_2030"}, "card_declined", True),
        ({"type": "invalid_request_error", "code": "x"}, "provider_request_refused", False),
        ({"type": "invalid_request_error"}, "provider_request_refused", False),
        (
            {"type": "invalid_request_error", "code": "resource_missing", "param": "intent"},
            "provider_not_found",
            False,
        ),
        (
            {
                "type": "invalid_request_error",
                "code": "resource_missing",
                "param": "payment_method",
            },
            "payment_method_invalid",
            True,
        ),
    ],
)
def test_the_finest_known_code_decides(error: dict[str, str], code: str, retryable: bool) -> None:
    translated = translate(error)
    assert (translated.code, translated.retryable) == (code, retryable)


def test_an_unknown_status_is_kept_in_its_own_words() -> None:
    snapshot = read_snapshot(INTENT | {"status": "requires_contemplation"})
    assert snapshot.status == ObservedStatus.UNRECOGNISED
    assert snapshot.raw_status == "requires_contemplation"


def test_fee_and_availability_come_from_the_expanded_balance_transaction() -> None:
    balance = {
        "id": "txn_1",
        "object": "balance_transaction",
        "available_on": 1_763_640_000,
        "currency": "eur",
        "fee": 88,
        "status": "available",
    }
    details = {"type": "card", "card": {"brand": "visa", "last4": "4242"}}
    charge = {"id": "ch_1", "balance_transaction": balance, "payment_method_details": details}
    paid = {"status": "succeeded", "amount_received": 1999, "latest_charge": charge}
    snapshot = read_snapshot(INTENT | paid)
    assert (snapshot.fee_minor, snapshot.fee_currency, snapshot.settled) == (88, "EUR", True)
    assert snapshot.available_at == datetime.fromtimestamp(1_763_640_000, UTC)
    assert snapshot.charge_reference == "ch_1"
    assert snapshot.payment_method_summary == {"kind": "card", "brand": "visa", "last4": "4242"}
    unexpanded = read_snapshot(INTENT | paid | {"latest_charge": "ch_1"})
    assert (unexpanded.fee_minor, unexpanded.settled) == (None, False)
    assert unexpanded.charge_reference == "ch_1"


def test_what_the_payer_has_to_do_is_said_in_our_words() -> None:
    redirect = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/3ds"}}
    said = read_snapshot(INTENT | {"status": "requires_action", "next_action": redirect})
    assert said.next_action == {
        "type": "redirect",
        "url": "https://bank.example/3ds",
        "provider_type": "redirect_to_url",
    }
    sdk = {"type": "use_stripe_sdk", "use_stripe_sdk": {"secret": "x"}}
    said = read_snapshot(INTENT | {"status": "requires_action", "next_action": sdk})
    assert said.next_action == {"type": "use_provider_sdk", "provider_type": "use_stripe_sdk"}


def test_what_only_decorates_never_makes_a_payment_unreadable() -> None:
    charge = {"id": "ch_1", "payment_method_details": {"type": "card", "card": None}}
    odd = INTENT | {"next_action": {"type": "type"}, "latest_charge": charge}
    snapshot = read_snapshot(odd | {"last_payment_error": {"type": "idempotency_error"}})
    assert snapshot.next_action == {"type": "use_provider_sdk", "provider_type": "type"}
    assert snapshot.payment_method_summary == {"kind": "card", "brand": "", "last4": ""}
    assert snapshot.error is not None
    assert snapshot.error.retryable


@pytest.mark.parametrize(
    ("amount_minor", "currency", "amount"),
    [
        (1_999, "USD", 1_999),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (7, "UGX", 700),
        (500, "MGA", 5),
        (12_340, "KWD", 12_340),
    ],
)
def test_amounts_are_translated_both_ways(amount_minor: int, currency: str, amount: int) -> None:
    assert to_stripe(amount_minor, currency) == amount
    assert from_stripe(amount, currency) == amount_minor


@pytest.mark.parametrize(("amount_minor", "currency"), [(12_345, "KWD"), (501, "MGA")])
def test_an_amount_stripe_cannot_express_is_declined_without_asking(
    amount_minor: int, currency: str
) -> None:
    with pytest.raises(AmountNotExpressible):
        to_stripe(amount_minor, currency)
    result = StripeProvider().create_payment(
        CreatePayment(
            reference="pay_1",
            amount_minor=amount_minor,
            currency=currency,
            capture_method="automatic",
        ),
        credentials=Credentials(secret_key="sk_test_x", api_base="http://127.0.0.1:9"),
        idempotency_key="key",
        timeout_seconds=1.0,
    )
    assert result.outcome == Outcome.DECLINED
    assert result.error is not None
    assert result.error.code == "provider_amount_refused"
    assert result.exchange.http_status is None


def test_a_signature_made_by_the_sdk_is_accepted() -> None:
    raw = _event("payment_intent.created", INTENT)
    now = datetime.now(UTC)
    header = stripe.WebhookSignature.generate_signature_header(
        raw.decode(), "whsec_x", timestamp=int(now.timestamp())
    )
    events.verify(raw, {"stripe-signature": header}, secrets=["whsec_y", "whsec_x"], now=now)


@pytest.mark.parametrize(
    ("event_type", "fetch_needed"),
    [("payment_intent.processing", False), ("payment_intent.succeeded", True)],
)
def test_a_payment_intent_event_carries_the_whole_payment(
    event_type: str, fetch_needed: bool
) -> None:
    status = event_type.partition(".")[2]
    observation = events.read_observation(_event(event_type, INTENT | {"status": status}))
    assert observation.snapshot is not None
    assert observation.provider_reference == "pi_1"
    assert observation.our_reference == "pay_1"
    assert observation.fetch_needed is fetch_needed
    assert observation.occurred_at == datetime.fromtimestamp(1_763_640_000, UTC)


@pytest.mark.parametrize("event_type", sorted(events.HINTS))
def test_a_charge_event_hints_that_the_payment_should_be_fetched(event_type: str) -> None:
    charge = {"id": "ch_1", "object": "charge", "payment_intent": "pi_1"}
    observation = events.read_observation(
        _event(event_type, charge | {"metadata": {"florin_payment": "pay_1"}})
    )
    assert observation.snapshot is None
    assert observation.fetch_needed
    assert observation.provider_reference == "pi_1"
    assert observation.our_reference == "pay_1"


def test_a_charge_without_a_payment_intent_is_not_ours() -> None:
    observation = events.read_observation(_event("charge.succeeded", {"object": "charge"}))
    assert not observation.relevant
    assert not observation.fetch_needed


@pytest.mark.parametrize("event_type", ["payout.paid", "customer.created", "plan.created"])
def test_other_events_are_read_and_left_alone(event_type: str) -> None:
    raw = _event(event_type, {"object": "plan", "id": "x"}, livemode=True)
    assert events.read_notification(raw).subject == ""
    observation = events.read_observation(raw)
    assert (observation.relevant, observation.livemode) == (False, True)


@pytest.mark.parametrize(
    "subject",
    [
        {},
        INTENT | {"object": "charge"},
        INTENT | {"amount": "1999"},
        INTENT | {"amount": 19.99},
        INTENT | {"currency": None},
        INTENT | {"status": 7},
        INTENT | {"metadata": "x"},
        INTENT | {"metadata": {"florin_payment": 7}},
        INTENT | {"latest_charge": 7},
    ],
)
def test_a_payment_intent_of_another_shape_is_unreadable(subject: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEvent):
        events.read_observation(_event("payment_intent.succeeded", subject))


def test_the_stand_ins_webhooks_arrive_signed(stripe_stand_in: RunningProcess) -> None:
    driver = StripeStandInDriver(stripe_stand_in.url)
    with webhook_receiver() as receiver:
        driver.call("POST", "/_control/webhook", {"url": receiver.url, "secret": "whsec_1"})
        _pay(driver)
        received = receiver.wait_for(3)
    for one in received:
        events.verify(one.raw, one.headers, secrets=["whsec_1"], now=datetime.now(UTC))
    last = events.read_observation(received[-1].raw)
    assert last.event_type == "payment_intent.succeeded"


def test_localstripes_webhook_is_accepted_and_read(localstripe: RunningProcess) -> None:
    driver = StripeStandInDriver(localstripe.url)
    with webhook_receiver() as receiver:
        form = {"url": receiver.url, "secret": "whsec_2"}
        driver.call("POST", f"/_config/webhooks/{driver.key_suffix}", form)
        form = {"amount": "1999", "currency": "usd", "payment_method": "pm_card_visa"}
        form |= {"confirm": "true", "metadata[florin_payment]": "pay_of_localstripe"}
        driver.call("POST", "/v1/payment_intents", form)
        (received, *_) = receiver.wait_for(1)
    events.verify(received.raw, received.headers, secrets=["whsec_2"], now=datetime.now(UTC))
    observation = events.read_observation(received.raw)
    assert observation.our_reference == "pay_of_localstripe"
    assert observation.snapshot is not None
    assert observation.snapshot.status == ObservedStatus.CAPTURED


def test_localstripe_refunds_in_parts(localstripe: RunningProcess) -> None:
    driver = StripeStandInDriver(localstripe.url)
    form = {"amount": "1999", "currency": "usd", "payment_method": "pm_card_visa"}
    paid = driver.call("POST", "/v1/payment_intents", form | {"confirm": "true"})
    common: dict[str, Any] = {"credentials": driver.credentials(), "timeout_seconds": 5.0}
    for number in range(2):
        request = RefundPayment(
            reference=f"re_{number}",
            provider_reference=paid["id"],
            charge_reference="",
            amount_minor=700,
            currency="USD",
        )
        refunded = driver.provider.refund_payment(request, idempotency_key=f"k{number}", **common)
        assert refunded.outcome == Outcome.OK
    fetched = driver.provider.fetch_payment(provider_reference=paid["id"], **common).snapshot
    assert fetched is not None
    assert fetched.refunds is not None
    assert {one.our_reference for one in fetched.refunds} == {"re_0", "re_1"}
    assert {one.status for one in fetched.refunds} == {RefundStatus.SUCCEEDED}
    assert fetched.disputes is None  # it has none at all


def _pay(driver: StripeStandInDriver) -> None:
    result = driver.provider.create_payment(
        CreatePayment(
            reference="pay_1",
            amount_minor=1_999,
            currency="USD",
            capture_method="automatic",
            confirm=True,
            payment_method="pm_card_visa",
        ),
        credentials=driver.credentials(),
        idempotency_key="key-1",
        timeout_seconds=5.0,
    )
    assert result.outcome == Outcome.OK
    assert result.exchange.provider_request_id.startswith("req_")
