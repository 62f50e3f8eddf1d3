"""What every provider has to do, as one list of scenarios: the meaning of the contract.

A scenario is a function over a `Driver`; its name is the sentence it proves. Scenarios stand in the
modules `scenarios_...` and register themselves here; the registry is read by
tests/payments/providers/test_conformance.py, which runs each for each provider, and by the
capability matrix in docs/providers.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from payments.providers.base import (
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Credentials,
    ObservedStatus,
    Outcome,
    PaymentSnapshot,
    Result,
)
from tests.payments.providers.driver import (
    Driver,
)

Scenario = Callable[[Driver], None]
SCENARIOS: dict[str, Scenario] = {}

AMOUNT_MINOR = 1_999
CURRENCY = "USD"
PATIENT_SECONDS = 10.0
IMPATIENT_SECONDS = 0.7


def scenario(function: Scenario) -> Scenario:
    """Put a scenario into the registry."""
    SCENARIOS[function.__name__] = function
    return function


class Case:
    """One payment at one driver: our id, our keys, and the calls with them."""

    def __init__(self, driver: Driver, *, timeout_seconds: float = PATIENT_SECONDS) -> None:
        self.driver = driver
        self.reference = f"pay_{secrets.token_hex(10)}"
        self.timeout_seconds = timeout_seconds

    def key(self) -> str:
        """A fresh idempotency key."""
        return f"{self.reference}:{secrets.token_hex(6)}"

    def _common(self, key: str, timeout_seconds: float | None = None) -> dict[str, Any]:
        return {
            "credentials": self.driver.credentials(),
            "idempotency_key": key or self.key(),
            "timeout_seconds": timeout_seconds or self.timeout_seconds,
        }

    def create(
        self,
        method: str = "",
        *,
        confirm: bool = False,
        capture_method: str = "automatic",
        amount_minor: int = AMOUNT_MINOR,
        key: str = "",
        timeout_seconds: float | None = None,
        credentials: Credentials | None = None,
    ) -> Result:
        """Create, with our reference."""
        request = CreatePayment(
            reference=self.reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
            capture_method=capture_method,
            confirm=confirm,
            payment_method=self.driver.method(method) if method else "",
        )
        common = self._common(key, timeout_seconds)
        if credentials is not None:
            common["credentials"] = credentials
        return self.driver.provider.create_payment(request, **common)

    def confirm(self, snapshot: PaymentSnapshot, method: str = "", *, key: str = "") -> Result:
        """Confirm with a method, or with the one given at creation."""
        request = ConfirmPayment(
            provider_reference=snapshot.provider_reference,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            payment_method=self.driver.method(method) if method else "",
        )
        return self.driver.provider.confirm_payment(request, **self._common(key))

    def pay(self, method: str, *, capture_method: str = "automatic") -> Result:
        """Create with a method, then confirm: two calls, as every PSP can do it."""
        created = self.create(method, capture_method=capture_method)
        return self.confirm(snapshot_of(created))

    def capture(self, snapshot: PaymentSnapshot, *, key: str = "") -> Result:
        """Capture all of it."""
        request = CapturePayment(
            provider_reference=snapshot.provider_reference,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
        )
        return self.driver.provider.capture_payment(request, **self._common(key))

    def cancel(self, snapshot: PaymentSnapshot, *, key: str = "") -> Result:
        """Cancel at the customer's wish."""
        request = CancelPayment(
            provider_reference=snapshot.provider_reference, reason="requested_by_customer"
        )
        return self.driver.provider.cancel_payment(request, **self._common(key))

    def fetch(self, snapshot: PaymentSnapshot | None = None) -> Result:
        """Ask by the PSP's reference when there is a snapshot, else by ours."""
        return self.driver.provider.fetch_payment(
            credentials=self.driver.credentials(),
            timeout_seconds=self.timeout_seconds,
            provider_reference=snapshot.provider_reference if snapshot else "",
            our_reference="" if snapshot else self.reference,
        )

    def captured(self) -> list[int]:
        """What the PSP's own record says was taken."""
        return self.driver.captured(self.reference)


def snapshot_of(result: Result) -> PaymentSnapshot:
    """The snapshot that has to be there."""
    assert result.snapshot is not None, result
    return result.snapshot


def expect(result: Result, outcome: Outcome, status: ObservedStatus | None = None) -> None:
    """Check outcome and, where given, the object's status."""
    assert result.outcome == outcome, result
    if status is not None:
        assert snapshot_of(result).status == status, result
