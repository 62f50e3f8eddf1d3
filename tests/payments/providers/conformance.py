"""What every provider has to do, as one list of scenarios: the meaning of the contract.

A scenario is a function over a `Driver`; its name is the sentence it proves. Scenarios stand in the
modules `scenarios_...` and register themselves here; the registry is read by
tests/payments/providers/test_conformance.py, which runs each for each provider, and by the
capability matrix in docs/providers.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
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
from payments.providers.objects import (
    DisputeSnapshot,
    EvidenceFile,
    IncrementAuthorization,
    MethodSnapshot,
    RefundPayment,
    RefundSnapshot,
    SaveMethod,
    SubmitEvidence,
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
        self.credentials: Credentials | None = None

    def lose_the_way(self) -> None:
        """From now on nobody listens where the calls go."""
        secret_key = self.driver.credentials().secret_key
        self.credentials = Credentials(secret_key=secret_key, api_base="http://127.0.0.1:9")

    def key(self) -> str:
        """A fresh idempotency key."""
        return f"{self.reference}:{secrets.token_hex(6)}"

    def _common(self, key: str, timeout_seconds: float | None = None) -> dict[str, Any]:
        return {
            "credentials": self.credentials or self.driver.credentials(),
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

    def part(self, prefix: str, key: str = "") -> str:
        """An id of ours for something that belongs to the payment; one key, one id."""
        return f"{prefix}_{key.rpartition(':')[2] or secrets.token_hex(10)}"

    def capture(
        self,
        snapshot: PaymentSnapshot,
        amount_minor: int = AMOUNT_MINOR,
        *,
        final: bool = True,
        reference: str = "",
        key: str = "",
        timeout_seconds: float | None = None,
    ) -> Result:
        """Capture all of it, or an amount."""
        request = CapturePayment(
            provider_reference=snapshot.provider_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
            final=final,
            reference=reference or self.part("cap", key),
        )
        common = self._common(key, timeout_seconds)
        return self.driver.provider.capture_payment(request, **common)

    def increment(
        self,
        snapshot: PaymentSnapshot,
        amount_minor: int,
        *,
        key: str = "",
        timeout_seconds: float | None = None,
    ) -> Result:
        """Hold this much in total."""
        request = IncrementAuthorization(
            provider_reference=snapshot.provider_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
        )
        common = self._common(key, timeout_seconds)
        return self.driver.provider.increment_authorization(request, **common)

    def refund(
        self,
        snapshot: PaymentSnapshot,
        amount_minor: int = AMOUNT_MINOR,
        *,
        reference: str = "",
        key: str = "",
        timeout_seconds: float | None = None,
    ) -> Result:
        """Give all of it back, or an amount."""
        request = RefundPayment(
            reference=reference or self.part("re", key),
            provider_reference=snapshot.provider_reference,
            charge_reference=snapshot.charge_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
            reason="requested_by_customer",
        )
        common = self._common(key, timeout_seconds)
        return self.driver.provider.refund_payment(request, **common)

    def answer(
        self,
        dispute: DisputeSnapshot,
        *,
        files: tuple[EvidenceFile, ...] = (),
        key: str = "",
        timeout_seconds: float | None = None,
    ) -> Result:
        """Hand evidence in."""
        request = SubmitEvidence(
            provider_reference=dispute.provider_reference,
            texts={"product_description": "A hat.", "customer_name": "Jo Payer"},
            files=files,
        )
        common = self._common(key, timeout_seconds)
        return self.driver.provider.submit_evidence(request, **common)

    def accept(self, dispute: DisputeSnapshot, *, key: str = "") -> Result:
        """Give a dispute up."""
        reference = dispute.provider_reference
        return self.driver.provider.accept_dispute(reference, **self._common(key))

    def save(
        self,
        method: str,
        *,
        customer_reference: str = "",
        mandate: bool = False,
        key: str = "",
        timeout_seconds: float | None = None,
    ) -> Result:
        """Save a method for a new customer, or for one; the same key says the same twice."""
        request = SaveMethod(
            reference=f"pm_{self.reference}",
            customer=f"cus_{self.reference}",
            customer_reference=customer_reference,
            token=self.driver.method(method),
            email="jo@example.com",
            name="Jo Payer",
            mandate_accepted_at=datetime(2026, 11, 20, 12, tzinfo=UTC) if mandate else None,
            mandate_ip_address="192.0.2.1" if mandate else "",
            mandate_user_agent="a browser" if mandate else "",
        )
        return self.driver.provider.save_method(request, **self._common(key, timeout_seconds))

    def remove(self, saved: MethodSnapshot, *, key: str = "") -> Result:
        """Forget a saved method."""
        reference = saved.provider_reference
        return self.driver.provider.remove_method(reference, **self._common(key))

    def charge_saved(self, saved: MethodSnapshot, *, off_session: bool = True) -> Result:
        """Pay with a saved method at once."""
        request = CreatePayment(
            reference=self.reference,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            capture_method="automatic",
            confirm=True,
            payment_method=saved.provider_reference,
            customer_reference=saved.customer_reference,
            off_session=off_session,
        )
        return self.driver.provider.create_payment(request, **self._common(""))

    def cancel(
        self, snapshot: PaymentSnapshot, *, key: str = "", timeout_seconds: float | None = None
    ) -> Result:
        """Cancel at the customer's wish."""
        request = CancelPayment(
            provider_reference=snapshot.provider_reference, reason="requested_by_customer"
        )
        return self.driver.provider.cancel_payment(request, **self._common(key, timeout_seconds))

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


def refund_of(result: Result) -> RefundSnapshot:
    """The refund that has to be there."""
    assert result.refund is not None, result
    return result.refund


def dispute_of(result: Result) -> DisputeSnapshot:
    """The newest dispute of a payment, or the one a call was about."""
    if result.dispute is not None:
        return result.dispute
    disputes = snapshot_of(result).disputes
    assert disputes, result
    return disputes[-1]


def method_of(result: Result) -> MethodSnapshot:
    """The saved method that has to be there."""
    assert result.method is not None, result
    return result.method


def error_code(result: Result) -> str:
    """The standard code of the error that has to be there."""
    assert result.error is not None, result
    return result.error.code


def expect(result: Result, outcome: Outcome, status: ObservedStatus | None = None) -> None:
    """Check outcome and, where given, the object's status."""
    assert result.outcome == outcome, result
    if status is not None:
        assert snapshot_of(result).status == status, result
