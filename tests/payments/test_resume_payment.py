"""Unknown outcomes are polled, never guessed; lost webhooks are found; dead requests finished."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payments.actions.answer_request import complete_requests
from payments.actions.call_provider import drive
from payments.actions.change import Cause
from payments.actions.resume_payment import lease_operation
from payments.actions.resume_rounds import resume_due
from payments.errors import FlorinError
from payments.idempotency import Claim
from payments.models import IdempotencyKey, Payment, ProviderOperation
from tests.payments.shop import Shop, create_parameters, new_key


def open_operation(payment_id: str) -> ProviderOperation:
    return ProviderOperation.objects.get(payment_id=payment_id, finished_at=None)


def captures(shop: Shop, payment_id: str) -> list[int]:
    moves = shop.movements(payment_id)
    return [move["amount_minor"] for move in moves if move["kind"] == "capture"]


def test_the_poller_replays_the_key_and_finishes_the_clients_request(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    key = new_key()
    payment_id = shop.create(key=key).payment_id
    shop.resume(payment_id)
    assert shop.payment(payment_id).state == "captured"
    assert captures(shop, payment_id) == [4200]
    again = shop.create(key=key)
    assert (again.status, again.replayed, again.body["status"]) == (201, True, "captured")


def test_every_second_try_asks_for_the_object_instead(shop: Shop) -> None:
    shop.settings(drop_after_commit=1)
    payment_id = shop.create().payment_id
    shop.settings(outage=True)
    assert shop.resume(payment_id).status == 202
    shop.settings(outage=False)
    assert shop.resume(payment_id).body["status"] == "captured"
    assert captures(shop, payment_id) == [4200]


def test_a_call_that_surely_did_not_happen_is_undone_once_the_key_has_expired(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(fail_before_commit=1)
    assert shop.capture(payment.pk).status == 202
    shop.ahead_by(days=8)
    answer = shop.resume(payment.pk)
    assert answer.status == 400
    assert shop.payment(payment.pk).state == "authorized"
    assert captures(shop, payment.pk) == []


def test_nothing_is_sent_again_after_the_key_has_expired(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    payment_id = shop.create().payment_id
    shop.ahead_by(days=8)
    shop.resume(payment_id)
    assert shop.movements(payment_id) == []


def test_what_nobody_can_say_ends_with_a_person(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    payment_id = shop.create().payment_id
    shop.ahead_by(days=10)
    answer = shop.resume(payment_id)
    payment = shop.payment(payment_id)
    assert answer.body["status"] == payment.state == "in_review"
    assert "never learnt" in payment.review_reason
    assert open_operations(payment_id) == 0


def test_a_cancel_that_did_not_happen_leaves_the_hold(shop: Shop) -> None:
    payment = shop.created(capture_method="manual")
    shop.settings(fail_before_commit=1)
    assert shop.cancel(payment.pk).status == 202
    shop.ahead_by(days=8)
    shop.resume(payment.pk)
    assert shop.payment(payment.pk).state == "authorized"
    assert shop.payment(payment.pk).cancellation_reason == ""


def test_a_lost_webhook_is_found_by_the_poller(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    shop.advance_sandbox(10)
    assert shop.poll(payment.pk).state in ("captured", "settled")


def test_fruitless_polls_become_rarer(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_3ds", return_url="https://shop.example/back")
    waits = []
    for _ in range(3):
        asked_at = shop.now()
        due_at = shop.poll(payment.pk).poll_due_at
        assert due_at is not None
        waits.append(round((due_at - asked_at).total_seconds(), -1))
    assert waits == [120, 240, 480]


def test_an_operation_somebody_drives_is_left_alone(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    operation = open_operation(shop.create().payment_id)
    assert lease_operation(operation.pk, now=shop.now()) is not None
    assert lease_operation(operation.pk, now=shop.now()) is None
    later = shop.now() + timedelta(minutes=5)
    assert lease_operation(operation.pk, now=later) is not None


def test_a_driver_that_lost_its_lease_records_nothing(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    payment_id = shop.create().payment_id
    slow = lease_operation(open_operation(payment_id).pk, now=shop.now())
    assert slow is not None
    fast = lease_operation(slow.pk, now=shop.now() + timedelta(minutes=5))
    assert fast is not None
    with shop.acting():
        assert drive(slow, cause=Cause(type="poll"), clock=shop.now).status == 202
        assert shop.payment(payment_id).state == "processing"
        assert drive(fast, cause=Cause(type="poll"), clock=shop.now).status == 201
    assert shop.edges(payment_id).count("psp_captured") == 1
    assert captures(shop, payment_id) == [4200]


def test_one_round_resumes_operations_and_polls_that_are_due(shop: Shop) -> None:
    shop.settings(fail_before_commit=1)
    unknown = shop.create().payment_id
    waiting = shop.created(payment_method="tok_bank").pk
    shop.advance_sandbox(10)
    shop.ahead_by(minutes=10)
    while resume_due(clock=shop.now):
        pass
    assert shop.payment(unknown).state in ("captured", "settled")
    assert shop.payment(waiting).state in ("captured", "settled")


@pytest.mark.parametrize("died", ["before anything", "twice"])
def test_a_request_whose_process_died_at_once_is_completed(shop: Shop, died: str) -> None:
    key = new_key()
    claimed = shop.claim("payments.create", create_parameters(), key=key)
    assert isinstance(claimed, Claim)
    shop.ahead_by(minutes=5)
    if died == "twice":
        shop.claim("payments.create", create_parameters(), key=key)
        shop.ahead_by(minutes=5)
    complete_until(shop, key)
    row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
    answer = shop.create(key=key)
    assert row.recovery_point == "finished"
    assert (answer.status, answer.replayed) == (201, True)
    assert captures(shop, answer.payment_id) == [4200]


def test_a_refused_request_that_died_is_completed_with_its_refusal(shop: Shop) -> None:
    payment = shop.created()
    key = new_key()
    asked = {"payment": payment.pk, "payment_method": "tok_visa", "return_url": ""}
    shop.claim("payments.confirm", asked, key=key)
    shop.ahead_by(minutes=5)
    complete_until(shop, key)
    answer = shop.confirm(payment.pk, key=key)
    assert (answer.status, answer.body["error"]["code"]) == (409, "payment_state_conflict")


def test_a_running_request_is_neither_repeated_nor_completed(shop: Shop) -> None:
    key = new_key()
    shop.claim("payments.create", create_parameters(), key=key)
    with pytest.raises(FlorinError, match="still running"):
        shop.create(key=key)
    complete_requests(clock=shop.now, limit=1000)
    assert not Payment.objects.filter(merchant=shop.merchant).exists()


def complete_until(shop: Shop, key: str) -> None:
    """Let the completer work until this key is finished; other tests' keys come along."""
    for _ in range(20):
        complete_requests(clock=shop.now, limit=1000)
        row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
        if row.recovery_point == "finished":
            return
        shop.ahead_by(minutes=2)
    pytest.fail(f"{key} is not finished: {row.completion_error}")


def open_operations(payment_id: str) -> int:
    return ProviderOperation.objects.filter(payment_id=payment_id, finished_at=None).count()
