"""Webhooks are hints: applied in order, once, whatever road the news takes first."""

from __future__ import annotations

from typing import Any

import pytest

from payments.actions import provider_accounts
from payments.models import Payment
from tests.payments.shop import Shop
from webhooks import inbox, retries
from webhooks.models import DomainEvent, InboxEvent


def statuses(shop: Shop) -> list[str]:
    """What became of the account's inbox events, in order of arrival."""
    rows = InboxEvent.objects.filter(account_id=shop.account.pk).order_by("arrival")
    return [row.status for row in rows]


def events_of(shop: Shop, payment: Payment) -> list[dict[str, Any]]:
    """The sandbox's events about a payment, oldest first."""
    found: list[dict[str, Any]] = shop.sandbox(
        "GET", f"/v1/events?payment={shop.provider_reference(payment.pk)}"
    )["data"]
    return found


def pay_as_payer(shop: Shop, payment: Payment, token: str) -> None:
    """Confirm at the sandbox with the payment's own client secret, as a payer's browser does."""
    attempt = payment.attempts.get()
    shop._http.request(
        "POST",
        f"{shop.sandbox_url()}/v1/payments/{attempt.provider_reference}/confirm",
        json={"token": token, "client_secret": attempt.reveal_client_secret()},
        headers={"Authorization": f"Bearer {shop.sandbox_publishable_key()}"},
    )


def test_news_that_we_know_already_is_superseded(shop: Shop) -> None:
    payment = shop.created()
    shop.deliver_events()
    assert shop.edges(payment.pk) == ["create", "confirm", "psp_captured"]
    assert set(statuses(shop)) <= {"superseded", "processed"}


def test_a_settlement_event_makes_the_money_available(shop: Shop) -> None:
    payment = shop.created()
    shop.settle()
    shop.deliver_events()
    settled = shop.payment(payment.pk)
    assert settled.state == "settled"
    assert settled.amount_settled_minor == 4200
    assert shop.balance("merchant:pending") == 0
    assert shop.balance("merchant:available") == 4200 - settled.platform_fee_minor


def test_a_payer_who_confirms_at_the_provider_pays(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_visa")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "captured"
    assert shop.edges(payment.pk) == ["create", "client_confirmed", "psp_captured"]


def test_a_payer_who_is_declined_and_tries_again_makes_two_attempts(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_insufficient_funds")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "created"
    pay_as_payer(shop, payment, "tok_visa")
    shop.deliver_events()
    attempts = shop.payment(payment.pk).attempts.order_by("number")
    assert shop.payment(payment.pk).state == "captured"
    assert [attempt.state for attempt in attempts] == ["declined", "succeeded"]


def test_the_same_event_twice_has_one_effect(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_visa")
    for event in events_of(shop, payment) * 2:
        shop.receive(event)
    shop.drain()
    assert shop.edges(payment.pk).count("psp_captured") == 1
    assert "duplicate" in statuses(shop)


def test_events_in_reverse_order_end_in_the_same_state(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "succeed")
    shop.settle()
    for event in reversed(events_of(shop, payment)):
        shop.receive(event)
    shop.drain()
    settled = shop.payment(payment.pk)
    assert settled.state == "settled"
    assert shop.balance("merchant:available") == 4200 - settled.platform_fee_minor


def test_an_event_of_a_payment_we_do_not_know_waits_and_fails_nothing(shop: Shop) -> None:
    foreign = shop.sandbox(
        "POST",
        "/v1/payments",
        {"amount_minor": 500, "currency": "EUR", "reference": "elsewhere", "token": "tok_visa"},
    )
    assert foreign["id"]
    shop.deliver_events()
    assert set(statuses(shop)) == {"deferred"}


def test_an_event_that_cannot_be_read_dies_and_the_news_behind_it_is_applied(shop: Shop) -> None:
    payment = shop.created()
    shop.settle()
    first, *later = events_of(shop, payment)
    poison = first | {"id": "sbe_poison", "data": {"payment": dict(first["data"]["payment"])}}
    poison["data"]["payment"]["amount_minor"] = "many"
    for event in (poison, first, *later):
        shop.receive(event)
    shop.drain()
    assert (statuses(shop)[0], shop.payment(payment.pk).state) == ("failed", "captured")
    for _ in range(2):
        shop.ahead_by(hours=1)
        shop.drain()
    assert statuses(shop)[0] == "dead"
    assert "failed" not in statuses(shop)
    assert shop.payment(payment.pk).state == "settled"


def test_a_failed_authentication_leaves_the_payment_open(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    shop.authenticate(payment.pk, "fail")
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "created"
    last_error = shop.payment(payment.pk).last_error or {}
    assert last_error["code"] == "authentication_failed"


def test_a_bank_debit_is_captured_when_the_bank_says_so(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    shop.advance_sandbox(10)
    shop.deliver_events()
    assert shop.payment(payment.pk).state in ("captured", "settled")


def test_a_bank_debit_that_is_refused_leaves_the_payment_unpaid(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank_refused")
    shop.advance_sandbox(10)
    shop.deliver_events()
    assert shop.payment(payment.pk).state in ("created", "failed")
    assert shop.balance("merchant:pending") == 0


def test_an_event_that_overtakes_our_record_of_the_answer_still_finds_its_payment(
    shop: Shop,
) -> None:
    shop.settings(drop_after_commit=1)
    payment_id = shop.create().payment_id
    assert shop.provider_reference(payment_id) == ""
    shop.deliver_events()
    assert shop.payment(payment_id).state == "captured"
    assert shop.resume(payment_id).body["status"] == "captured"
    assert shop.edges(payment_id).count("psp_captured") == 1


def test_money_on_a_canceled_payment_is_held_for_review(shop: Shop) -> None:
    payment = shop.created(confirm=False, payment_method="")
    shop.cancel(payment.pk)
    shop.receive(forged_capture(shop, payment))
    shop.drain()
    assert shop.payment(payment.pk).state == "in_review"
    assert "we hold canceled" in shop.payment(payment.pk).review_reason


def test_success_after_failure_is_taken_and_booked(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_lost_card")
    shop.receive(forged_capture(shop, payment))
    shop.drain()
    assert shop.payment(payment.pk).state == "captured"
    assert shop.edges(payment.pk)[-1] == "late_success"
    assert shop.balance("merchant:pending") > 0


def test_a_cancellation_of_settled_money_ends_with_a_person(shop: Shop) -> None:
    payment = shop.created()
    shop.settle()
    shop.deliver_events()
    event = forged_capture(shop, payment)
    event["data"]["payment"] |= {"status": "canceled", "version": 99}
    shop.receive(event)
    shop.drain()
    assert shop.payment(payment.pk).state == "settled"
    case = payment.cases.get()
    assert (case.kind, case.resolved_at) == ("contradiction", None)
    assert "canceled a payment whose money" in case.words


@pytest.mark.parametrize("wrong", [{"amount_minor": 1}, {"currency": "USD"}])
def test_an_event_with_other_money_is_held_for_review(shop: Shop, wrong: dict[str, Any]) -> None:
    payment = shop.created(capture_method="manual")
    event = forged_capture(shop, payment)
    event["data"]["payment"] |= wrong
    shop.receive(event)
    shop.drain()
    assert shop.payment(payment.pk).state == "in_review"


@pytest.mark.parametrize("livemode", [False, True], ids=["test", "live"])
def test_a_death_is_announced_in_the_mode_of_its_account(shop: Shop, livemode: bool) -> None:
    account = shop.second_account(livemode=livemode)
    received = inbox.receive(
        provider="sandbox",
        account_id=account.pk,
        event_id=f"sbe_unreadable_{account.pk}",
        event_type="payment.captured",
        subject=f"unreadable_{account.pk}",
        raw=b"no event",
        headers={},
        received_at=shop.now(),
    )
    for _ in range(retries.FAILURE_LIMIT):
        shop.drain()
        shop.ahead_by(minutes=2)
    assert InboxEvent.objects.get(pk=received.id).status == "dead"
    announced = DomainEvent.objects.get(aggregate_id=f"inbox:{received.id}")
    assert announced.livemode is livemode


def test_where_an_account_is_unknown_its_money_may_be_real() -> None:
    assert provider_accounts.is_live("pacc_nobody")


def forged_capture(shop: Shop, payment: Payment) -> dict[str, Any]:
    """An event that the sandbox would not send by itself: the payment was captured after all."""
    document = shop.sandbox("GET", f"/v1/payments/{shop.provider_reference(payment.pk)}")
    document |= {
        "status": "captured",
        "amount_captured_minor": document["amount_minor"],
        "version": document["version"] + 5,
        "decline": None,
    }
    return {
        "id": f"sbe_forged_{payment.pk[-12:]}",
        "object": "event",
        "type": "payment.captured",
        "created_at": "2026-01-01T00:00:00Z",
        "livemode": False,
        "data": {"payment": document},
    }
