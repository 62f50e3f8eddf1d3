"""A round works each account through by itself, whatever goes wrong with a piece or an account."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.test import override_settings

from payments.actions.account_rounds import Piece, work_by_account
from payments.actions.method_calls import lease_method_operation, resume_due_method_operations
from payments.models import MethodOperation
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop


def account() -> str:
    return f"pacc_{secrets.token_hex(8)}"


def fail() -> None:
    raise ValueError("this piece fails")


def test_a_piece_that_fails_keeps_no_other_waiting() -> None:
    done: list[int] = []

    def pieces(account_id: str) -> Iterator[Piece]:
        yield fail
        yield lambda: done.append(1)

    assert work_by_account(due={account(): 1}, pieces=pieces, job="test") == 2
    assert done == [1]


def test_an_account_whose_list_cannot_be_read_keeps_no_other_waiting() -> None:
    broken, well = account(), account()
    done: list[int] = []

    def pieces(account_id: str) -> Iterator[Piece]:
        if account_id == broken:
            fail()
        yield lambda: done.append(1)

    assert work_by_account(due={broken: 5, well: 1}, pieces=pieces, job="test") == 1
    assert done == [1]


def test_no_account_and_no_process_has_more_threads_than_it_may() -> None:
    accounts = [account() for _ in range(4)]
    lock, started, gate = threading.Lock(), Counter[str](), threading.Event()

    def pieces(account_id: str) -> Iterator[Piece]:
        with lock:
            started[account_id] += 1
        yield partial(gate.wait, 10)

    opening = threading.Timer(0.5, gate.set)
    opening.start()
    with override_settings(FLORIN_RESUME_THREADS=5, FLORIN_RESUME_THREADS_PER_ACCOUNT=2):
        assert work_by_account(due=dict.fromkeys(accounts, 100), pieces=pieces, job="test") == 5
    assert started == {accounts[0]: 2, **dict.fromkeys(accounts[1:], 1)}


def test_a_method_call_that_another_process_took_meanwhile_is_left_to_it(shop: Shop) -> None:
    api = Api(shop.secret_key)
    buyer = api.post("/v1/customers", {"email": "buyer@shop.example"}).json()["id"]
    shop.settings(drop_before_commit=1)
    api.post(f"/v1/customers/{buyer}/payment_methods", {"token": "tok_visa"})
    operation = MethodOperation.objects.get(method__customer_id=buyer)
    shop.ahead_by(minutes=2)
    asked: list[int] = []

    def clock() -> datetime:
        asked.append(1)
        if len(asked) == 3:  # between the list of what is due and the first lease
            lease_method_operation(operation.pk, now=shop.now())
        return shop.now()

    resume_due_method_operations(clock=clock)
    operation.refresh_from_db()
    assert (operation.try_count, operation.finished_at) == (2, None)
    shop.ahead_by(minutes=5)
    while resume_due_method_operations(clock=shop.now):
        shop.ahead_by(minutes=1)
