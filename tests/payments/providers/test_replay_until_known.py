"""A client that repeats everything with the same key, while everything breaks, moves money once.

Each payment goes the whole way: held, raised, captured in two parts, refunded in two parts. The
witness is the sandbox's own record. The seed is in the test's id: the same seed, the same run of
faults.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from payments.providers import provider_for
from payments.providers.base import (
    CapturePayment,
    CreatePayment,
    Outcome,
    PaymentSnapshot,
    Result,
)
from payments.providers.objects import IncrementAuthorization, RefundPayment
from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess

PAYMENTS = 6
THREADS = 3  # of one payment, with one key, at the same time
DEADLINE_SECONDS = 30.0
AMOUNT_MINOR, RAISED_MINOR, PART_MINOR = 1_500, 2_000, 700
FAULTS = (
    "rate_limited",
    "fail_before_commit",
    "fail_after_commit",
    "drop_before_commit",
    "drop_after_commit",
    "hang_before_commit",
    "hang_after_commit",
)


class Repeater:
    """One payment, taken the whole way by several threads that never give up."""

    def __init__(self, account: SandboxAccount, number: int) -> None:
        self.account = account
        self.reference = f"pay_{number}"
        self.provider = provider_for("sandbox")
        self.unknown = 0

    def run(self, break_something: Callable[[], None]) -> None:
        """All threads through every step, one step after the other."""
        held: PaymentSnapshot | None = None
        steps: list[Callable[..., Result]] = [self._create, self._raise]
        steps += [self._capture(1, final=False), self._capture(2, final=True)]
        steps += [self._refund(1), self._refund(2)]
        for number, step in enumerate(steps):
            break_something()
            with ThreadPoolExecutor(THREADS) as pool:
                ends = [pool.submit(self._until_known, number, step, held) for _ in range(THREADS)]
                held = [end.result() for end in ends][-1]

    def _create(self, held: PaymentSnapshot | None, common: dict[str, Any]) -> Result:
        create = CreatePayment(
            reference=self.reference,
            amount_minor=AMOUNT_MINOR,
            currency="EUR",
            capture_method="manual",
            confirm=True,
            payment_method="tok_visa",
        )
        return self.provider.create_payment(create, **common)

    def _raise(self, held: PaymentSnapshot | None, common: dict[str, Any]) -> Result:
        assert held is not None
        request = IncrementAuthorization(
            provider_reference=held.provider_reference, amount_minor=RAISED_MINOR, currency="EUR"
        )
        return self.provider.increment_authorization(request, **common)

    def _capture(self, number: int, *, final: bool) -> Callable[..., Result]:
        def step(held: PaymentSnapshot, common: dict[str, Any]) -> Result:
            capture = CapturePayment(
                provider_reference=held.provider_reference,
                amount_minor=PART_MINOR,
                currency="EUR",
                final=final,
                reference=f"cap_{self.reference}_{number}",
            )
            return self.provider.capture_payment(capture, **common)

        return step

    def _refund(self, number: int) -> Callable[..., Result]:
        def step(held: PaymentSnapshot, common: dict[str, Any]) -> Result:
            refund = RefundPayment(
                reference=f"re_{self.reference}_{number}",
                provider_reference=held.provider_reference,
                charge_reference=held.charge_reference,
                amount_minor=PART_MINOR,
                currency="EUR",
            )
            return self.provider.refund_payment(refund, **common)

        return step

    def _until_known(
        self, number: int, step: Callable[..., Result], held: PaymentSnapshot | None
    ) -> PaymentSnapshot:
        common: dict[str, Any] = {
            "credentials": self.account.credentials(),
            "idempotency_key": f"{self.reference}:{number}",
            "timeout_seconds": 0.3,
        }
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            result = step(held, common)
            if result.outcome == Outcome.OK:
                assert result.snapshot is not None
                return result.snapshot
            assert result.outcome in {Outcome.UNKNOWN, Outcome.NOT_SENT}, result
            self.unknown += result.outcome == Outcome.UNKNOWN
            if result.idempotency_conflict:
                time.sleep(0.05)  # the contract's "ask again soon"
        raise AssertionError(f"{self.reference} was never answered")


@pytest.mark.parametrize("seed", [1, 2])
def test_money_moves_once_for_a_client_that_repeats_everything(
    seed: int, sandbox_psp: RunningProcess
) -> None:
    account, dice = SandboxAccount(sandbox_psp.url), random.Random(seed)
    account.set(hang_seconds=0.4)

    def break_something() -> None:
        account.set(**{fault: dice.randint(0, 1) for fault in dice.sample(FAULTS, 3)})

    repeaters = [Repeater(account, number) for number in range(PAYMENTS)]
    for repeater in repeaters:
        repeater.run(break_something)
    moved = Counter(
        (movement["reference"], movement["kind"], movement["part_reference"] != "")
        for movement in account.movements(kind="")
    )
    expected: dict[tuple[str, str, bool], int] = {}
    for repeater in repeaters:
        expected[repeater.reference, "hold", False] = 2
        expected[repeater.reference, "capture", True] = 2
        expected[repeater.reference, "release", False] = 1
        expected[repeater.reference, "refund", True] = 2
    assert moved == expected
    parts = [m["part_reference"] for m in account.movements(kind="") if m["part_reference"]]
    assert len(parts) == len(set(parts)) == 4 * PAYMENTS
    assert sum(repeater.unknown for repeater in repeaters) >= PAYMENTS
