"""A process that dies at any point of a request leaves nothing lost and nothing doubled.

Each case kills a real process between two phases, then finishes the request in each of the ways in
which it can be finished: the client repeats it, or nobody does and the completer and the poller
have to. The provider's record of movements says what really happened.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from payments.actions.answer_request import complete_requests
from payments.actions.method_calls import resume_due_method_operations
from payments.actions.resume_rounds import resume_due
from payments.errors import FlorinError
from payments.models import IdempotencyKey, MethodOperation, Payment, PaymentMethod
from tests.databases import TestDatabases
from tests.payments.api.conftest import Api
from tests.payments.customers import customer, methods_at_the_provider, save
from tests.payments.own_database import own_database
from tests.payments.shop import Shop, new_key, open_shop
from tests.processes import RunningProcess
from tests.proofs.fork_server import FORK_SERVER
from tests.proofs.kill_at import POINTS, request_and_die
from tests.proofs.kill_cases import CASES, Case

# The road without the client is the same for all; the suite takes three, `make prove` every one.
LEFT_ALONE = [
    name if name in ("create", "capture", "refund") else pytest.param(name, marks=pytest.mark.prove)
    for name in CASES
]


@pytest.fixture(scope="module")
def database(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[None]:
    """A database of these tests' own, so that what is due there is theirs alone."""
    with own_database(databases):
        yield


@pytest.fixture
def shop(database: None) -> Shop:
    """A shop there, whose provider settles when a case asks for it and not by the wall clock."""
    shop = open_shop()
    shop.settings(settle_after_seconds=50)
    return shop


def die_in_request(shop: Shop, operation: str, parameters: dict[str, Any], point: str) -> str:
    """Run the request in a process that dies at the point; gives its idempotency key."""
    key = new_key()
    asked = {
        "merchant": shop.merchant.pk,
        "key": key,
        "operation": operation,
        "parameters": parameters,
    }
    database = connections["default"].settings_dict["NAME"]
    process = FORK_SERVER.Process(target=request_and_die, args=(point, asked, database))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}"
    return key


def check_end(shop: Shop, case: Case, key: str) -> None:
    """One payment in its final state, money moved once, and the answer is stored."""
    payment = Payment.objects.get(merchant=shop.merchant)
    assert payment.state == case.state
    moved = [(one["kind"], one["amount_minor"]) for one in shop.movements(payment.pk)]
    assert tuple(moved) == case.moved
    assert len(shop.sandbox("GET", f"/v1/payments?reference={payment.pk}")["data"]) == 1
    assert not payment.operations.filter(finished_at=None).exists()
    row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
    assert row.recovery_point == IdempotencyKey.RecoveryPoint.FINISHED
    assert row.response_status == case.status
    assert (row.response_body or {})["status"] == case.shown
    sums = dict.fromkeys(("capture", "void", "refund", "dispute"), 0)
    for kind, amount in case.moved:
        sums[kind] = sums.get(kind, 0) + amount
    held = sums["capture"] - sums["void"] - sums["refund"] - sums["dispute"]
    assert shop.balance("psp:clearing") == held - (payment.provider_fee_minor or 0)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", CASES)
def test_the_client_repeats_a_request_whose_process_died(shop: Shop, name: str, point: str) -> None:
    case = CASES[name]
    parameters = case.prepare(shop)
    key = die_in_request(shop, case.operation, parameters, point)
    if "recorded, before" not in point:
        with pytest.raises(FlorinError, match="still running"):
            shop.ask(case.operation, parameters, key=key)
    shop.ahead_by(minutes=2)
    answer = shop.ask(case.operation, parameters, key=key)
    while answer.status == 202:  # a try that only asks may find nothing yet
        shop.ahead_by(minutes=2)
        answer = shop.ask(case.operation, parameters, key=key)
    assert answer.status == case.status
    assert answer.body["status"] == case.shown
    check_end(shop, case, key)
    assert shop.ask(case.operation, parameters, key=key).replayed


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", LEFT_ALONE)
def test_a_request_whose_process_died_is_finished_though_nobody_repeats_it(
    shop: Shop, name: str, point: str
) -> None:
    case = CASES[name]
    parameters = case.prepare(shop)
    key = die_in_request(shop, case.operation, parameters, point)
    for _ in range(4):  # the first tries may ask for the object only
        shop.ahead_by(minutes=5)
        complete_requests(clock=shop.now)
        resume_due(clock=shop.now)
    check_end(shop, case, key)
    # The client that comes back at last is told the same.
    answer = shop.ask(case.operation, parameters, key=key)
    assert answer.replayed
    assert (answer.status, answer.body["status"]) == (case.status, case.shown)


def check_method(shop: Shop, key: str, status: int) -> None:
    """One method here and one at the provider, and the answer is stored."""
    method = PaymentMethod.objects.get(customer__merchant=shop.merchant)
    (kept,) = methods_at_the_provider(shop, method.pk)
    assert method.provider_reference == kept["id"]
    assert not MethodOperation.objects.filter(method=method, finished_at=None).exists()
    row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
    assert (row.recovery_point, row.response_status) == ("finished", status)


def to_save(shop: Shop) -> tuple[str, dict[str, Any], int]:
    """Saving a payment method, and the status of its answer."""
    buyer = customer(Api(shop.secret_key))
    return "payment_methods.save", {"customer": buyer["id"], "token": "tok_visa"}, 201


def to_remove(shop: Shop) -> tuple[str, dict[str, Any], int]:
    """Removing a saved one."""
    api = Api(shop.secret_key)
    saved = save(api, customer(api)["id"])
    return "payment_methods.remove", {"payment_method": saved["id"]}, 200


@pytest.mark.parametrize("repeated", [True, False], ids=["repeated", "left alone"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("ask", [to_save, to_remove])
def test_a_payment_method_outlives_the_process_that_saved_or_removed_it(
    shop: Shop, ask: Callable[[Shop], tuple[str, dict[str, Any], int]], point: str, repeated: bool
) -> None:
    operation, parameters, status = ask(shop)
    key = die_in_request(shop, operation, parameters, point)
    shop.ahead_by(minutes=5)
    if not repeated:
        for _ in range(2):
            complete_requests(clock=shop.now)
            resume_due_method_operations(clock=shop.now)
            shop.ahead_by(minutes=5)
        check_method(shop, key, status)
    assert shop.ask(operation, parameters, key=key).status == status
    check_method(shop, key, status)
    assert shop.ask(operation, parameters, key=key).replayed
