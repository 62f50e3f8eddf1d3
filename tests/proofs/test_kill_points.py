"""A process that dies at any point of a request leaves nothing lost and nothing doubled.

Each case kills a real process between two phases, then finishes the request in each of the ways in
which it can be finished: the client repeats it, or nobody does and the completer and the poller
have to. The provider's record of movements says what really happened.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from payments.actions.answer_request import complete_requests
from payments.actions.resume_rounds import resume_due
from payments.errors import FlorinError
from payments.models import IdempotencyKey, Payment
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.payments.shop import Shop, create_parameters, new_key, open_shop
from tests.processes import RunningProcess
from tests.proofs.kill_at import POINTS, request_and_die

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.proofs.kill_at"])


@pytest.fixture(scope="module")
def database(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[None]:
    """A database of these tests' own, so that what is due there is theirs alone."""
    with own_database(databases):
        yield


@pytest.fixture
def shop(database: None) -> Shop:
    """A shop there."""
    return open_shop()


OPERATIONS = ("payments.create", "payments.confirm", "payments.capture", "payments.cancel")
# operation -> the state it leads to and what the provider has then moved
ENDS = {
    "payments.create": ("captured", ["hold", "capture"]),
    "payments.confirm": ("captured", ["hold", "capture"]),
    "payments.capture": ("captured", ["hold", "capture"]),
    "payments.cancel": ("canceled", ["hold", "release"]),
}


def prepare(shop: Shop, operation: str) -> dict[str, Any]:
    """The parameters of a request that makes sense, on a payment of its own where it needs one."""
    if operation == "payments.create":
        return create_parameters()
    if operation == "payments.confirm":
        payment = shop.created(confirm=False, payment_method="")
        return {"payment": payment.pk, "payment_method": "tok_visa", "return_url": ""}
    payment = shop.created(capture_method="manual")
    more = {"amount_minor": None} if operation == "payments.capture" else {"reason": ""}
    return {"payment": payment.pk, **more}


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
    process = _SERVER.Process(target=request_and_die, args=(point, asked, database))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}"
    return key


def check_end(shop: Shop, operation: str, key: str) -> None:
    """One payment in its final state, money moved once, and the answer is stored."""
    state, moved = ENDS[operation]
    payment = Payment.objects.get(merchant=shop.merchant)
    assert payment.state == state
    assert [movement["kind"] for movement in shop.movements(payment.pk)] == moved
    assert len(shop.sandbox("GET", f"/v1/payments?reference={payment.pk}")["data"]) == 1
    assert not payment.operations.filter(finished_at=None).exists()
    row = IdempotencyKey.objects.get(merchant=shop.merchant, key=key)
    assert row.recovery_point == IdempotencyKey.RecoveryPoint.FINISHED
    booked = 4200 - (payment.provider_fee_minor or 0) if "capture" in moved else 0
    assert shop.balance("psp:clearing") == booked


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_client_repeats_a_request_whose_process_died(
    shop: Shop, operation: str, point: str
) -> None:
    parameters = prepare(shop, operation)
    key = die_in_request(shop, operation, parameters, point)
    if "recorded, before" not in point:
        with pytest.raises(FlorinError, match="still running"):
            shop.ask(operation, parameters, key=key)
    shop.ahead_by(minutes=2)
    answer = shop.ask(operation, parameters, key=key)
    assert answer.status == (201 if operation == "payments.create" else 200)
    assert answer.body["status"] == ENDS[operation][0]
    check_end(shop, operation, key)
    assert shop.ask(operation, parameters, key=key).replayed


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_request_whose_process_died_is_finished_though_nobody_repeats_it(
    shop: Shop, operation: str, point: str
) -> None:
    parameters = prepare(shop, operation)
    key = die_in_request(shop, operation, parameters, point)
    for _ in range(4):  # the first tries may ask for the object only
        shop.ahead_by(minutes=5)
        complete_requests(clock=shop.now)
        resume_due(clock=shop.now)
    check_end(shop, operation, key)
