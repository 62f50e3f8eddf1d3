"""Two at once: each race has one winner, the loser is told so, and money moves once.

Every contender is a thread with a connection of its own, and all start together. Which one wins is
left to chance; what must hold afterwards does not depend on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connections

from payments.errors import FlorinError
from payments.idempotency import Answer
from payments.models import IdempotencyKey, Payment
from tests.payments.shop import Shop, new_key
from webhooks import lanes

ROUNDS = 3


def at_once(*contenders: Callable[[], Any]) -> list[Any]:
    """Run all together; gives each one's result, or the FlorinError it was refused with."""
    start = threading.Barrier(len(contenders))
    results: list[Any] = [None] * len(contenders)

    def run(place: int, contender: Callable[[], Any]) -> None:
        try:
            start.wait(10)
            results[place] = contender()
        except Exception as error:  # noqa: BLE001 - told below, in the main thread
            results[place] = error
        finally:
            lanes.close_side_connection()
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(place, contender))
        for place, contender in enumerate(contenders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, FlorinError):
            raise result
    return results


def answers(results: Sequence[Any]) -> list[Answer]:
    return [result for result in results if isinstance(result, Answer)]


def refusals(results: Sequence[Any]) -> set[str]:
    return {result.code.name for result in results if isinstance(result, FlorinError)}


def kinds_of_movement(shop: Shop, payment_id: str) -> list[str]:
    return [movement["kind"] for movement in shop.movements(payment_id)]


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_of_two_confirmations_one_takes_the_money(shop: Shop, _round: int) -> None:
    payment = shop.created(confirm=False, payment_method="")
    results = at_once(lambda: shop.confirm(payment.pk), lambda: shop.confirm(payment.pk))
    assert len(answers(results)) == 1
    assert refusals(results) <= {"operation_in_flight", "payment_state_conflict"}
    assert shop.payment(payment.pk).state == "captured"
    assert kinds_of_movement(shop, payment.pk) == ["hold", "capture"]
    assert shop.balance("psp:clearing") == 4200 - (shop.payment(payment.pk).provider_fee_minor or 0)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_capture_and_a_cancellation_never_both_happen(shop: Shop, _round: int) -> None:
    payment = shop.created(capture_method="manual")
    results = at_once(lambda: shop.capture(payment.pk), lambda: shop.cancel(payment.pk))
    assert refusals(results) <= {"operation_in_flight", "payment_state_conflict"}
    state = shop.payment(payment.pk).state
    moved = kinds_of_movement(shop, payment.pk)
    # Where both were answered, the cancellation came after the capture and took it back.
    both = [("canceled", ["hold", "capture", "void"])]
    one = [("captured", ["hold", "capture"]), ("canceled", ["hold", "release"])]
    assert (state, moved) in (both if len(answers(results)) == 2 else one)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_webhook_that_races_the_answer_books_once(shop: Shop, _round: int) -> None:
    payment = shop.created(confirm=False, payment_method="")
    shop.deliver_events()
    # The answer comes late, the provider's news about the same capture early.
    shop.settings(latency_seconds=0.1)

    def bring_news() -> None:
        while "capture" not in kinds_of_movement(shop, payment.pk):
            pass
        shop.deliver_events(payment=shop.provider_reference(payment.pk))

    results = at_once(lambda: shop.confirm(payment.pk), bring_news)
    assert answers(results)[0].status == 200
    shop.deliver_events()
    booked_once(shop, payment)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_poll_that_races_a_webhook_books_once(shop: Shop, _round: int) -> None:
    payment = shop.created(payment_method="tok_bank")
    shop.advance_sandbox(5)
    at_once(lambda: shop.poll(payment.pk), shop.deliver_events, lambda: shop.poll(payment.pk))
    shop.settle()
    at_once(shop.deliver_events, lambda: shop.poll(payment.pk), lambda: shop.poll(payment.pk))
    shop.poll(payment.pk)
    assert shop.payment(payment.pk).state == "settled"
    assert shop.edges(payment.pk) == ["create", "confirm", "psp_captured", "psp_settled"]
    assert shop.balance("merchant:pending") == 0


def test_one_key_eight_times_in_parallel_makes_one_payment(shop: Shop) -> None:
    key = new_key()
    shop.settings(latency_seconds=0.05)
    results = at_once(*[lambda: shop.create(key=key)] * 8)
    assert {answer.status for answer in answers(results)} == {201}
    assert refusals(results) <= {"idempotency_key_in_use"}
    payment = Payment.objects.get(merchant=shop.merchant)
    assert {answer.payment_id for answer in answers(results)} == {payment.pk}
    assert len(shop.sandbox("GET", f"/v1/payments?reference={payment.pk}")["data"]) == 1
    assert kinds_of_movement(shop, payment.pk) == ["hold", "capture"]
    assert IdempotencyKey.objects.filter(merchant=shop.merchant).count() == 1
    repeat = shop.create(key=key)
    assert repeat.replayed
    assert repeat.body == next(a for a in answers(results) if not a.replayed).body


def test_a_key_of_unknown_outcome_is_taken_up_by_one_of_eight(shop: Shop) -> None:
    key = new_key()
    shop.create(key=key, payment_method="tok_drop_after_commit")
    shop.ahead_by(minutes=2)
    results = at_once(*[lambda: shop.create(key=key, payment_method="tok_drop_after_commit")] * 8)
    assert {answer.status for answer in answers(results)} <= {201, 202}
    payment = Payment.objects.get(merchant=shop.merchant)
    assert kinds_of_movement(shop, payment.pk) == ["hold", "capture"]
    assert shop.create(key=key, payment_method="tok_drop_after_commit").status == 201
    assert shop.edges(payment.pk) == ["create", "confirm", "psp_captured"]


def booked_once(shop: Shop, payment: Payment) -> None:
    """Captured along one way, and the books hold the money once."""
    payment = shop.payment(payment.pk)
    assert payment.state == "captured"
    assert shop.edges(payment.pk)[-1] == "psp_captured"
    assert shop.edges(payment.pk).count("psp_captured") == 1
    assert shop.balance("psp:clearing") == 4200 - (payment.provider_fee_minor or 0)
    assert kinds_of_movement(shop, payment.pk) == ["hold", "capture"]
