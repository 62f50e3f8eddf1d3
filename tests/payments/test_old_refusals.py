"""A refusal of an earlier try never passes for news of the try that is under way."""

from __future__ import annotations

from typing import Any

from payments.access import current_attempt
from payments.actions.call_provider import fetch
from payments.actions.resume_payment import _take_in_poll
from payments.models import Payment
from tests.payments.shop import Shop, new_key


def captures(shop: Shop, payment: Payment) -> list[int]:
    moves = shop.movements(payment.pk)
    return [move["amount_minor"] for move in moves if move["kind"] == "capture"]


def events_of(shop: Shop, payment: Payment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.sandbox(
        "GET", f"/v1/events?payment={shop.provider_reference(payment.pk)}"
    )["data"]
    return found


def test_a_look_up_that_shows_the_last_refusal_does_not_end_the_confirmation(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    shop.settings(outage=True)
    key = new_key()
    assert shop.confirm(payment.pk, key=key).status == 202
    assert shop.resume(payment.pk).status == 202
    shop.settings(outage=False)
    assert shop.resume(payment.pk).status == 202
    assert shop.payment(payment.pk).state == "processing"
    assert shop.resume(payment.pk).body["status"] == "captured"
    assert shop.confirm(payment.pk, key=key).body["status"] == "captured"
    assert captures(shop, payment) == [4200]


def test_a_poll_that_began_before_the_confirmation_is_not_taken_in(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    attempt = current_attempt(payment)
    assert attempt is not None
    asked, stale = shop.payment(payment.pk), fetch(attempt).snapshot
    shop.settings(fail_before_commit=1)
    assert shop.confirm(payment.pk).status == 202
    with shop.acting():
        _take_in_poll(asked, stale, now=shop.now())
    assert shop.payment(payment.pk).state == "processing"


def test_a_late_webhook_about_the_first_refusal_does_not_refuse_the_second_try(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    refusal = events_of(shop, payment)[-1]
    shop.settings(fail_before_commit=1)
    assert shop.confirm(payment.pk).status == 202
    # As a provider tells it that counts nothing and had no charge: a failed authentication.
    document = refusal["data"]["payment"]
    document |= {"attempt": 0, "version": 0, "charge": None}
    shop.receive(refusal | {"id": "sbe_again"})
    shop.drain()
    after = shop.payment(payment.pk)
    assert after.state == "processing"
    assert shop.resume(payment.pk).body["status"] == "captured"


def test_a_refusal_told_again_while_the_payer_acts_is_looked_up_first(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    refusal = events_of(shop, payment)[-1]
    assert shop.confirm(payment.pk, "tok_3ds").body["status"] == "requires_action"
    document = refusal["data"]["payment"]
    document |= {"attempt": 0, "version": 0, "charge": None}
    shop.receive(refusal | {"id": "sbe_again"})
    shop.drain()
    after = shop.payment(payment.pk)
    assert after.state == "requires_action"
    assert after.poll_due_at is not None
    assert after.poll_due_at <= shop.now()
    shop.authenticate(payment.pk, "succeed")
    assert shop.poll(payment.pk).state == "captured"


def test_a_call_that_was_refused_is_refused_when_it_is_looked_up(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    shop.settings(drop_after_commit=1)
    key = new_key()
    assert shop.confirm(payment.pk, "tok_expired_card", key=key).status == 202
    shop.settings(outage=True)
    shop.resume(payment.pk)
    shop.settings(outage=False)
    assert shop.resume(payment.pk).status == 402
    answer = shop.confirm(payment.pk, "tok_expired_card", key=key)
    assert (answer.status, answer.body["error"]["decline_code"]) == (402, "expired_card")
