"""News whose payment does not turn up: the provider is asked, and its answer decides."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest

from payments.actions.ask_about_deferred import ask_due, questions_of
from payments.models import Payment, ProviderAccount
from tests.payments.shop import Shop
from webhooks import retries
from webhooks.models import InboxEvent, InboxQuestion


def ask(shop: Shop, account: ProviderAccount | None = None) -> int:
    """Ask about everything that is due for an account."""
    account_id = (account or shop.account).pk
    with shop.acting():
        return len([piece() for piece in questions_of(account_id, clock=shop.now)])


def wait_in_vain(shop: Shop, *, minutes: float = 5) -> None:
    """Let the news be looked at again and again, and its predecessor not come."""
    for _ in range(8):
        shop.ahead_by(minutes=minutes / 8)
        shop.drain()


def rows(shop: Shop, account: ProviderAccount | None = None) -> list[InboxEvent]:
    of_account = InboxEvent.objects.filter(account_id=(account or shop.account).pk)
    return list(of_account.order_by("arrival"))


def questions(shop: Shop) -> list[InboxQuestion]:
    return list(InboxQuestion.objects.filter(account_id=shop.account.pk))


def object_at_the_provider(shop: Shop, reference: str, **order: Any) -> str:
    """Somebody makes an object at the provider under this reference; the provider tells us."""
    basic = {"amount_minor": 4200, "currency": "EUR", "reference": reference, "token": "tok_visa"}
    made = shop.sandbox("POST", "/v1/payments", basic | order)
    event = shop.sandbox("GET", f"/v1/events?payment={made['id']}")["data"][-1]
    shop.receive(event)
    shop.drain()
    return str(made["id"])


def test_news_is_asked_about_only_after_its_predecessor_had_time_to_come(shop: Shop) -> None:
    object_at_the_provider(shop, "elsewhere")
    assert (rows(shop)[0].status, questions(shop)) == ("deferred", [])
    wait_in_vain(shop, minutes=1)
    assert questions(shop) == []
    wait_in_vain(shop)
    assert len(questions(shop)) == 1


def test_an_object_without_our_reference_is_ignored(shop: Shop) -> None:
    object_at_the_provider(shop, "elsewhere")
    wait_in_vain(shop)
    assert ask(shop) == 1
    (row,) = rows(shop)
    assert (row.status, row.reason) == ("ignored", "the provider's object is not one of ours")
    assert questions(shop) == []


def test_an_object_that_the_provider_does_not_have_is_ignored(shop: Shop) -> None:
    object_at_the_provider(shop, f"pay_{secrets.token_hex(13)}")
    event = shop.sandbox("GET", "/v1/events")["data"][-1]
    event["data"]["payment"]["id"] = "sbp_never_made"
    shop.receive(event | {"id": "sbe_forged"})
    wait_in_vain(shop)
    assert ask(shop) == 2
    assert [row.status for row in rows(shop)] == ["deferred", "ignored"]


def test_an_id_of_ours_that_we_do_not_have_is_never_ignored(shop: Shop) -> None:
    reference = f"pay_{secrets.token_hex(13)}"
    object_at_the_provider(shop, reference, confirm=True)
    wait_in_vain(shop)
    ask(shop)
    (row,) = rows(shop)
    assert (row.status, reference in row.reason) == ("deferred", True)
    shop.ahead += retries.DEFERRAL_LIFETIME + timedelta(minutes=1)
    shop.drain()
    (row,) = rows(shop)
    assert (row.status, "its predecessor never came" in row.reason) == ("dead", True)
    assert ask(shop) == 0
    assert questions(shop) == []


def test_a_provider_that_cannot_be_asked_is_asked_again_ever_more_rarely(shop: Shop) -> None:
    object_at_the_provider(shop, "elsewhere")
    wait_in_vain(shop)
    shop.settings(fail_reads=2)
    for pause in (60, 120):
        assert ask(shop) == 1
        (row,) = rows(shop)
        assert (row.status, "could not be asked" in row.reason) == ("deferred", True)
        shop.ahead_by(seconds=pause - 1)
        assert ask(shop) == 0
        shop.ahead_by(seconds=2)
    assert ask(shop) == 1
    assert rows(shop)[0].status == "ignored"


def test_a_payment_that_went_through_another_account_is_fetched_there(shop: Shop) -> None:
    payment = shop.created()
    twin = shop.second_account()
    own, shop.account = shop.account, twin
    shop.stage(payment.pk, "refund")
    shop.deliver_events()
    wait_in_vain(shop)
    assert ask(shop) == len(rows(shop)) > 0
    assert {(row.status, row.payment_id) for row in rows(shop)} == {("processed", payment.pk)}
    due_at = shop.payment(payment.pk).poll_due_at
    assert due_at is not None
    assert due_at <= shop.now()
    shop.account = own
    assert shop.poll(payment.pk).state == "refunded"


def test_an_object_that_names_another_merchants_payment_is_like_one_that_names_nothing(
    shop: Shop, another_shop: Shop
) -> None:
    payment = another_shop.created()
    before = payment.poll_due_at
    object_at_the_provider(shop, payment.pk, confirm=True)
    wait_in_vain(shop)
    assert ask(shop) == 1
    (row,) = rows(shop)
    assert (row.status, row.payment_id) == ("deferred", "")
    assert "which we do not have" in row.reason
    assert another_shop.payment(payment.pk).poll_due_at == before


@pytest.mark.parametrize(
    ("order", "status"), [({}, "superseded"), ({"confirm": True}, "processed")]
)
def test_a_second_object_of_a_payment_is_a_persons_matter_once_it_has_money(
    shop: Shop, order: dict[str, Any], status: str
) -> None:
    payment = shop.created()
    second = object_at_the_provider(shop, payment.pk, **order)
    wait_in_vain(shop)
    assert ask(shop) == 1
    (row,) = rows(shop)
    assert (row.status, row.payment_id, second in row.reason) == (status, payment.pk, True)
    assert shop.payment(payment.pk).state == "captured"
    assert [case.kind for case in payment.cases.all()] == ["contradiction"] * bool(order)


def forged_reference(shop: Shop, payment: Payment) -> dict[str, Any]:
    """The payment's last event, naming a payment that there is not."""
    event: dict[str, Any] = shop.sandbox("GET", "/v1/events")["data"][-1]
    event["data"]["payment"]["reference"] = f"pay_{secrets.token_hex(13)}"
    return event


def test_a_payment_that_turned_up_meanwhile_takes_the_news_as_always(shop: Shop) -> None:
    shop.settings(drop_after_commit=1)
    payment = shop.payment(shop.create().payment_id)
    shop.receive(forged_reference(shop, payment))
    wait_in_vain(shop)
    assert [row.status for row in rows(shop)] == ["deferred"]
    assert shop.resume(payment.pk).body["status"] == "captured"
    assert ask(shop) == 1
    (row,) = rows(shop)
    assert (row.status, row.payment_id) == ("superseded", payment.pk)


def test_a_question_whose_news_waits_no_more_is_gone(shop: Shop) -> None:
    shop.settings(drop_after_commit=1)
    payment = shop.payment(shop.create().payment_id)
    shop.receive(forged_reference(shop, payment))
    wait_in_vain(shop)
    taken = next(questions_of(shop.account.pk, clock=shop.now))
    shop.resume(payment.pk)
    shop.ahead_by(minutes=30)
    shop.drain()
    assert [row.status for row in rows(shop)] == ["superseded"]
    with shop.acting():
        assert taken() == "superseded"
    assert questions(shop) == []


def test_a_round_asks_about_every_account_that_has_questions(
    shop: Shop, another_shop: Shop
) -> None:
    InboxQuestion.objects.all().delete()
    for one in (shop, another_shop):
        object_at_the_provider(one, "elsewhere")
        wait_in_vain(one)
    assert ask_due(clock=shop.now) == 2
    assert {row.status for one in (shop, another_shop) for row in rows(one)} == {"ignored"}
