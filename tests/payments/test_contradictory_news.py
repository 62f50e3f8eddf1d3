"""What a provider says is taken in where our books can; else a person decides, never a guess."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from payments.actions.answer_request import answer_request
from payments.actions.apply_provider_event import _attempt_for
from payments.actions.change import Cause
from payments.actions.record_outcome import record_outcome, retry_delay
from payments.actions.resume_payment import lease_operation
from payments.actions.resume_rounds import resume_due
from payments.idempotency import Answer, Claim
from payments.models import Payment, ProviderOperation
from payments.providers.base import (
    Exchange,
    Observation,
    ObservedStatus,
    Outcome,
    PaymentSnapshot,
    ProviderError,
    Result,
)
from tests.payments.shop import Shop, create_parameters, new_key
from webhooks import inbox
from webhooks.story import events_of_aggregate


def tell(shop: Shop, payment: Payment, **changes: Any) -> inbox.Received:
    """Bring news about the payment as the sandbox has it, but for these changes."""
    document = shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")
    document |= changes
    received = shop.receive(
        {
            "id": f"sbe_{secrets.token_hex(10)}",
            "object": "event",
            "type": "payment.changed",
            "created_at": "2026-11-20T12:00:00.000+00:00",
            "livemode": False,
            "data": {"payment": document},
        }
    )
    shop.drain()
    return received


def tell_as_stripe(shop: Shop, event_type: str, about: dict[str, Any]) -> inbox.InboxEventView:
    """Bring an event in Stripe's words to the shop's account; gives it as it was stored."""
    event = {
        "id": f"evt_{secrets.token_hex(10)}",
        "object": "event",
        "type": event_type,
        "created": 1_780_000_000,
        "livemode": False,
        "data": {"object": about},
    }
    raw = json.dumps(event).encode()
    received = inbox.receive(
        provider="stripe",
        account_id=shop.account.pk,
        event_id=str(event["id"]),
        event_type=event_type,
        subject=str(about.get("payment_intent", "")),
        raw=raw,
        headers={},
        received_at=shop.now(),
    )
    shop.drain()
    return inbox.InboxEventView(
        id=received.id,
        provider="stripe",
        account_id=shop.account.pk,
        event_id=str(event["id"]),
        event_type=event_type,
        subject="",
        raw=raw,
        headers={},
        received_at=shop.now(),
        deferrals=0,
        failures=0,
    )


def unknown(shop: Shop, **parameters: Any) -> Payment:
    """A payment whose creation was done, and nobody knows."""
    shop.settings(drop_after_commit=1)
    return shop.payment(shop.create(**parameters).payment_id)


def test_another_fee_than_the_one_that_is_booked_changes_nothing(shop: Shop) -> None:
    payment = shop.created()
    tell(shop, payment, fee_minor=1)
    assert shop.payment(payment.pk).provider_fee_minor == payment.provider_fee_minor
    assert shop.balance("psp:clearing") == 4200 - (payment.provider_fee_minor or 0)


def announced(payment: Payment) -> list[str]:
    """The types of the payment's events, in order."""
    return [line.type for line in events_of_aggregate("payment", payment.pk, limit=50)]


def test_a_fee_in_another_currency_is_a_persons_matter_and_the_money_is_booked(
    shop: Shop,
) -> None:
    payment = shop.created(capture_method="manual")
    tell(
        shop,
        payment,
        status="captured",
        amount_captured_minor=4200,
        fee_minor=5,
        fee_currency="USD",
    )
    after = shop.payment(payment.pk)
    assert (after.state, after.provider_fee_minor) == ("captured", None)
    assert "fee is in USD" in after.review_reason
    assert shop.balance("psp:clearing") == 4200
    assert announced(payment)[-2:] == ["payment.contradicted", "review.opened"]


def test_a_polled_contradiction_is_told_once_and_the_asking_goes_on(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    tell(
        shop,
        payment,
        status="captured",
        amount_captured_minor=4200,
        fee_minor=7,
        fee_currency="EUR",
    )
    assert shop.payment(payment.pk).provider_fee_minor == 7
    attempt = shop.provider_reference(payment.pk)
    shop.sandbox("POST", f"/v1/payments/{attempt}/capture", {})
    polled = shop.poll(payment.pk)
    shop.poll(payment.pk)
    assert polled.state == "captured"
    assert polled.poll_due_at is not None
    assert "fee was 7" in polled.review_reason
    assert announced(payment).count("payment.contradicted") == 1


def test_a_contradicting_fee_in_the_answer_to_our_own_call_takes_nothing_back(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    key = new_key()
    shop.settings(drop_after_commit=1)
    assert shop.capture(payment.pk, key=key).status == 202
    tell(shop, payment, fee_minor=7, fee_currency="EUR")
    answer = shop.resume(payment.pk)
    assert (answer.status, answer.body["status"]) == (200, "captured")
    assert "fee was 7" in shop.payment(payment.pk).review_reason
    assert shop.capture(payment.pk, key=key).replayed


def test_what_contradicts_a_payment_without_money_is_held_for_review(shop: Shop) -> None:
    payment = unknown(shop, payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.resume(payment.pk)
    bound = shop.payment(payment.pk)
    assert bound.state == "requires_action"
    operation = bound.operations.get()
    assert operation.finished_at is not None


def test_news_about_another_object_than_the_attempts_own_is_refused(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    charge = shop.payment(payment.pk).attempts.get().charge_reference
    tell(shop, payment, id="sbp_another", charge=charge, status="captured")
    assert shop.payment(payment.pk).state == "processing"


def test_other_money_on_a_payment_in_review_changes_nothing_more(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_amount_mismatch")
    assert payment.state == "in_review"
    tell(shop, payment, amount_minor=9)
    assert shop.payment(payment.pk).version == payment.version


@pytest.mark.parametrize("token", ["tok_visa", "tok_lost_card"])
def test_other_money_on_a_payment_that_is_over_waits_for_a_person(shop: Shop, token: str) -> None:
    payment = shop.created(payment_method=token)
    received = tell(shop, payment, amount_minor=9)
    after = shop.payment(payment.pk)
    assert (after.state, after.version) == (payment.state, payment.version)
    assert received.duplicate is False


def test_money_for_an_earlier_try_of_a_paid_payment_waits_for_a_person(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    first = payment.attempts.get()
    assert shop.confirm(payment.pk).status == 200
    tell(shop, payment, charge=first.charge_reference, status="captured")
    assert shop.payment(payment.pk).state == "captured"
    assert shop.balance("merchant:pending") == 4200 - 83


def test_the_payer_acted_and_the_provider_works_on(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    tell(shop, payment, status="processing", next_action=None)
    after = shop.payment(payment.pk)
    assert (after.state, after.outcome, after.next_action) == ("processing", "pending", None)


def test_a_status_that_is_in_no_documentation_is_asked_about(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    tell(shop, payment, status="under_inspection")
    after = shop.payment(payment.pk)
    assert after.state == "processing"
    assert after.poll_due_at is not None
    assert after.poll_due_at <= shop.now()


def test_an_event_that_is_not_about_a_payment_is_ignored(shop: Shop) -> None:
    payment = shop.created()
    tell_as_stripe(shop, "customer.created", {"id": "cus_1", "object": "customer"})
    assert shop.payment(payment.pk).version == payment.version


def test_an_event_that_only_hints_makes_the_payment_due_for_a_question(shop: Shop) -> None:
    payment = shop.created()
    reference = shop.provider_reference(payment.pk)
    about = {"id": "ch_1", "object": "charge", "payment_intent": reference, "metadata": {}}
    tell_as_stripe(shop, "charge.updated", about)
    due_at = shop.payment(payment.pk).poll_due_at
    assert due_at is not None
    assert due_at <= shop.now()


def test_an_event_without_any_reference_of_ours_waits(shop: Shop) -> None:
    payment = shop.created()
    tell(shop, payment, id="sbp_unknown", charge=None, reference="")
    tell(shop, payment, id="sbp_unknown", charge="sbc_unknown", reference="pay_unknown")
    assert shop.payment(payment.pk).version == payment.version


def test_a_token_the_provider_does_not_know_leaves_the_payment_open(shop: Shop) -> None:
    answer = shop.create(payment_method="tok_nonsense")
    assert answer.status in (400, 402)
    payment = shop.payment(answer.payment_id)
    assert payment.state in ("created", "failed")
    assert payment.attempts.get().state == "declined"
    assert shop.movements(payment.pk) == []


def test_a_payment_the_provider_never_had_is_canceled_at_once(shop: Shop) -> None:
    answer = shop.create(confirm=False, payment_method="t" * 65)
    assert answer.status == 400
    payment = shop.payment(answer.payment_id)
    assert (payment.state, payment.attempts.get().state) == ("created", "declined")
    assert payment.attempts.get().provider_reference == ""
    key = new_key()
    canceled = shop.cancel(payment.pk, key=key)
    assert (canceled.status, canceled.body["status"]) == (200, "canceled")
    assert shop.cancel(payment.pk, key=key).replayed
    assert shop.payment(payment.pk).operations.count() == 1


def test_a_created_object_that_is_found_is_enough_where_nothing_was_confirmed(shop: Shop) -> None:
    payment = unknown(shop, confirm=False, payment_method="")
    shop.settings(outage=True)
    assert shop.resume(payment.pk).status == 202
    shop.settings(outage=False)
    assert shop.resume(payment.pk).status == 201
    assert shop.provider_reference(payment.pk)


def test_a_request_that_comes_back_while_somebody_drives_it_is_told_to_wait(shop: Shop) -> None:
    key = new_key()
    payment = unknown_under(shop, key)
    operation = ProviderOperation.objects.get(payment=payment, finished_at=None)
    assert lease_operation(operation.pk, now=shop.now()) is not None
    answer = shop.create(key=key)
    assert (answer.status, answer.body["id"]) == (202, payment.pk)


def test_a_request_that_comes_back_as_it_ends_gets_the_end(shop: Shop) -> None:
    key = new_key()
    payment = unknown_under(shop, key)
    shop.ahead_by(minutes=2)
    claim = shop.claim("payments.create", create_parameters(), key=key)
    assert isinstance(claim, Claim)
    shop.resume(payment.pk)
    with shop.acting():
        answer = answer_request(claim=claim, clock=shop.now)
    assert (answer.status, answer.replayed) == (201, True)


def unknown_under(shop: Shop, key: str) -> Payment:
    shop.settings(drop_after_commit=1)
    return shop.payment(shop.create(key=key).payment_id)


def test_an_operation_that_another_poller_took_meanwhile_is_left_to_it(shop: Shop) -> None:
    payment = unknown(shop)
    shop.ahead_by(minutes=5)
    operation = payment.operations.get()
    asked: list[int] = []

    def clock() -> Any:
        asked.append(1)
        if len(asked) == 3:  # between the list of what is due and the first lease
            lease_operation(operation.pk, now=shop.now())
        return shop.now()

    resume_due(clock=clock)
    assert shop.payment(payment.pk).operations.get().try_count == 2


def test_a_payment_without_an_object_at_the_provider_is_asked_about_later(shop: Shop) -> None:
    answer = shop.create(confirm=False, payment_method="t" * 65)
    before = shop.payment(answer.payment_id)
    after = shop.poll(before.pk)
    assert after.poll_count == before.poll_count + 1
    assert after.state == "created"


def test_a_key_that_the_provider_is_still_working_on_is_tried_again_soon() -> None:
    exchange = Exchange(
        operation="create", method="POST", url="", request={}, http_status=409, response={}
    )
    busy = Result(outcome=Outcome.UNKNOWN, exchange=exchange, idempotency_conflict=True)
    assert retry_delay(9, result=busy).total_seconds() == 1
    assert 0 < retry_delay(1).total_seconds() <= 4
    assert retry_delay(99).total_seconds() <= 3600
    assert Cause(type="poll").id == ""


def declined(**more: Any) -> Result:
    """A provider's no to one of our calls."""
    exchange = Exchange(
        operation="call", method="POST", url="", request={}, http_status=402, response={}
    )
    error = ProviderError(code="provider_rejected", message="No.")
    return Result(outcome=Outcome.DECLINED, exchange=exchange, error=error, **more)


def leased(shop: Shop, payment: Payment) -> ProviderOperation:
    """The payment's open operation, held by this test."""
    shop.ahead_by(minutes=5)
    operation = payment.operations.get(finished_at=None)
    held = lease_operation(operation.pk, now=shop.now())
    assert held is not None
    return held


def record(shop: Shop, operation: ProviderOperation, result: Result) -> Answer:
    with shop.acting():
        return record_outcome(operation, result, cause=Cause(type="poll"), now=shop.now())


def test_a_no_because_it_was_done_already_is_a_yes(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(drop_after_commit=1)
    shop.capture(payment.pk)
    done = PaymentSnapshot(
        provider_reference=shop.provider_reference(payment.pk),
        status=ObservedStatus.CAPTURED,
        amount_minor=4200,
        amount_captured_minor=4200,
        currency="EUR",
        version=99,
    )
    answer = record(shop, leased(shop, payment), declined(snapshot=done))
    assert (answer.status, answer.body["status"]) == (200, "captured")
    assert payment.operations.get(kind="capture").error is None


def test_a_no_that_the_provider_has_overtaken_leaves_the_hold(shop: Shop) -> None:
    payment = unknown(shop, capture_method="manual")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "authorized"
    record(shop, leased(shop, payment), declined())
    assert shop.payment(payment.pk).state == "authorized"


def test_an_answer_about_another_object_than_the_attempts_own_ends_with_a_person(
    shop: Shop,
) -> None:
    payment = unknown(shop)
    payment.attempts.update(provider_reference="sbp_another")
    shop.resume(payment.pk)
    after = shop.payment(payment.pk)
    assert (after.state, after.poll_due_at) == ("in_review", None)
    assert "belongs to sbp_another" in after.review_reason


def test_a_capture_that_is_known_done_needs_no_person_when_its_answer_never_comes(
    shop: Shop,
) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(drop_after_commit=1)
    shop.capture(payment.pk)
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "captured"
    shop.settings(outage=True)
    shop.ahead_by(days=10)
    shop.resume(payment.pk)
    assert shop.payment(payment.pk).state == "captured"
    assert payment.operations.get(kind="capture").outcome == "exhausted"


def test_news_that_names_only_our_payment_finds_the_try_that_has_no_object_yet(shop: Shop) -> None:
    payment = unknown(shop)
    received = tell_as_stripe(shop, "customer.updated", {"id": "cus_1", "object": "customer"})
    observation = Observation(
        event_id="evt_1",
        event_type="charge.updated",
        provider_reference="",
        our_reference=payment.pk,
        occurred_at=shop.now(),
        snapshot=None,
    )
    found = _attempt_for(received, observation)
    assert found == payment.attempts.get()


def test_a_second_decline_of_another_charge_is_another_try(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    tell_as_stripe(
        shop,
        "payment_intent.payment_failed",
        {
            "id": shop.provider_reference(payment.pk),
            "object": "payment_intent",
            "amount": 4200,
            "amount_received": 0,
            "amount_capturable": 0,
            "currency": "eur",
            "status": "requires_payment_method",
            "latest_charge": "ch_another",
            "metadata": {},
            "last_payment_error": {
                "type": "card_error",
                "code": "card_declined",
                "decline_code": "insufficient_funds",
                "charge": "ch_another",
                "message": "No.",
            },
        },
    )
    assert payment.attempts.count() == 2
    assert shop.payment(payment.pk).state == "created"


@pytest.mark.parametrize("created_before", [True, False])
def test_asking_that_shows_nothing_yet_changes_nothing_while_the_key_lives(
    shop: Shop, created_before: bool
) -> None:
    if created_before:
        payment = shop.created(confirm=False, payment_method="")
        shop.settings(fail_before_commit=2)
        assert shop.confirm(payment.pk).status == 202
    else:
        shop.settings(fail_before_commit=2)
        payment = shop.payment(shop.create().payment_id)
    for _ in range(2):  # the first sends the same key again, the second asks
        assert shop.resume(payment.pk).status == 202
    after = shop.payment(payment.pk)
    assert (after.state, after.outcome) == ("processing", "unknown")
    assert shop.movements(payment.pk) == []
    shop.resume(payment.pk)
    assert shop.payment(payment.pk).state == "captured"
