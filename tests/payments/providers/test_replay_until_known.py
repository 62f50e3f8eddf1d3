"""A client that repeats everything with the same key, while everything breaks, moves money once.

The witness is the sandbox's own record. The seed is in the test's id: the same seed, the same run
of faults.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from payments.providers import provider_for
from payments.providers.base import CapturePayment, CreatePayment, Outcome, PaymentSnapshot
from tests.payments.sandbox_account import SandboxAccount
from tests.processes import RunningProcess

PAYMENTS = 15
THREADS = 3  # of one payment, with one key, at the same time
DEADLINE_SECONDS = 20.0
AMOUNT_MINOR = 1_500
FAULTS = (
    "fail_before_commit",
    "fail_after_commit",
    "drop_before_commit",
    "drop_after_commit",
    "hang_before_commit",
    "hang_after_commit",
)


class Repeater:
    """One payment, created, confirmed and captured by several threads that never give up."""

    def __init__(self, account: SandboxAccount, number: int) -> None:
        self.account = account
        self.reference = f"pay_{number}"
        self.provider = provider_for("sandbox")
        self.unknown = 0

    def run(self) -> None:
        """All threads through both operations."""
        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(self._pay) for _ in range(THREADS)]:
                future.result()

    def _pay(self) -> None:
        held = self._until_known(0, None)
        self._until_known(1, held)

    def _until_known(self, step: int, held: PaymentSnapshot | None) -> PaymentSnapshot:
        common: dict[str, Any] = {
            "credentials": self.account.credentials(),
            "idempotency_key": f"{self.reference}:{step}",
            "timeout_seconds": 0.3,
        }
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if held is None:
                create = CreatePayment(
                    reference=self.reference,
                    amount_minor=AMOUNT_MINOR,
                    currency="EUR",
                    capture_method="manual",
                    confirm=True,
                    payment_method="tok_visa",
                )
                result = self.provider.create_payment(create, **common)
            else:
                capture = CapturePayment(
                    provider_reference=held.provider_reference,
                    amount_minor=AMOUNT_MINOR,
                    currency="EUR",
                )
                result = self.provider.capture_payment(capture, **common)
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
    account.set(hang_seconds=0.5)
    repeaters = [Repeater(account, number) for number in range(PAYMENTS)]
    for repeater in repeaters:
        account.set(**{fault: dice.randint(0, 1) for fault in dice.sample(FAULTS, 3)})
        repeater.run()
    movements = account.movements()
    assert len(movements) == PAYMENTS
    assert {movement["reference"] for movement in movements} == {r.reference for r in repeaters}
    assert {movement["amount_minor"] for movement in movements} == {AMOUNT_MINOR}
    assert sum(repeater.unknown for repeater in repeaters) >= PAYMENTS
