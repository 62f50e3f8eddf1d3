"""One Stripe account at the stand-in, with calls as short as tests want them."""

from __future__ import annotations

import secrets
from typing import Any

from payments.providers.base import (
    CapturePayment,
    CreatePayment,
    Observation,
    PaymentSnapshot,
    Provider,
    Result,
)
from payments.providers.objects import (
    DisputeSnapshot,
    EvidenceFile,
    IncrementAuthorization,
    RefundPayment,
    RefundSnapshot,
    SaveMethod,
    SubmitEvidence,
)
from tests.payments.providers.conformance import AMOUNT_MINOR, CURRENCY
from tests.payments.providers.drivers import StripeStandInDriver


class StripeWorld:
    """A fresh account; every call has a key of its own unless one is given."""

    def __init__(self, url: str, provider: Provider | None = None) -> None:
        self.driver = StripeStandInDriver(url)
        self.provider = provider or self.driver.provider
        self.reference = f"pay_{secrets.token_hex(8)}"

    def common(self, key: str = "") -> dict[str, Any]:
        """What every call carries."""
        return {
            "credentials": self.driver.credentials(),
            "idempotency_key": key or secrets.token_hex(8),
            "timeout_seconds": 10.0,
        }

    def pay(
        self, method: str = "pm_card_visa", *, manual: bool = False, key: str = "", **more: Any
    ) -> Result:
        """Create and confirm."""
        request = CreatePayment(
            reference=self.reference,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            capture_method="manual" if manual else "automatic",
            confirm=True,
            payment_method=method,
            **more,
        )
        return self.provider.create_payment(request, **self.common(key))

    def paid(self, method: str = "pm_card_visa", **more: Any) -> PaymentSnapshot:
        """A payment that has a PaymentIntent, as it stands after confirming."""
        snapshot = self.pay(method, **more).snapshot
        assert snapshot is not None
        return snapshot

    def capture(
        self, payment: PaymentSnapshot, amount_minor: int, *, final: bool = True, key: str = ""
    ) -> Result:
        """Capture some of it."""
        request = CapturePayment(
            provider_reference=payment.provider_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
            final=final,
        )
        return self.provider.capture_payment(request, **self.common(key))

    def increment(self, payment: PaymentSnapshot, amount_minor: int) -> Result:
        """Raise what is held."""
        request = IncrementAuthorization(
            provider_reference=payment.provider_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
        )
        return self.provider.increment_authorization(request, **self.common())

    def refund(
        self, payment: PaymentSnapshot, amount_minor: int, *, reference: str = "re_1", key: str = ""
    ) -> Result:
        """Give some of it back."""
        request = RefundPayment(
            reference=reference,
            provider_reference=payment.provider_reference,
            charge_reference=payment.charge_reference,
            amount_minor=amount_minor,
            currency=CURRENCY,
            reason="requested_by_customer",
        )
        return self.provider.refund_payment(request, **self.common(key))

    def submit(
        self, dispute: DisputeSnapshot, *files: EvidenceFile, words: str = "text", key: str = ""
    ) -> Result:
        """Answer a dispute."""
        request = SubmitEvidence(
            provider_reference=dispute.provider_reference,
            texts={"uncategorized_text": words, "customer_name": "Ada"},
            files=files,
        )
        return self.provider.submit_evidence(request, **self.common(key))

    def accept(self, dispute: DisputeSnapshot, *, key: str = "") -> Result:
        """Give a dispute up."""
        return self.provider.accept_dispute(dispute.provider_reference, **self.common(key))

    def save(self, token: str, *, customer: str = "", key: str = "", **more: Any) -> Result:
        """Save a method."""
        request = SaveMethod(
            reference="pm_ours",
            customer="cus_ours",
            customer_reference=customer,
            token=token,
            email="ada@example.com",
            name="Ada",
            **more,
        )
        return self.provider.save_method(request, **self.common(key))

    def fetch(self, payment: PaymentSnapshot) -> PaymentSnapshot:
        """The payment as Stripe has it."""
        result = self.provider.fetch_payment(
            credentials=self.driver.credentials(),
            timeout_seconds=10.0,
            provider_reference=payment.provider_reference,
        )
        assert result.snapshot is not None, result
        return result.snapshot

    def refunds(self, payment: PaymentSnapshot) -> tuple[RefundSnapshot, ...]:
        """Its refunds, by a fetch."""
        found = self.fetch(payment).refunds
        assert found is not None
        return found

    def disputes(self, payment: PaymentSnapshot) -> tuple[DisputeSnapshot, ...]:
        """Its disputes, by a fetch."""
        found = self.fetch(payment).disputes
        assert found is not None
        return found

    def control(self, verb: str, **form: str) -> dict[str, Any]:
        """Make something happen at Stripe."""
        return self.driver.call("POST", f"/_control/{verb}", form)

    def open_dispute(self, payment: PaymentSnapshot, **form: str) -> DisputeSnapshot:
        """The payer's bank opens a dispute."""
        self.control("dispute", payment_intent=payment.provider_reference, **form)
        return self.disputes(payment)[-1]

    def observations(self) -> list[Observation]:
        """Every event so far, read."""
        return [self.provider.observe_webhook(raw) for raw in self.driver.events()]

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Stripe's own record."""
        return list(self.control("objects", kind=kind)["data"])
