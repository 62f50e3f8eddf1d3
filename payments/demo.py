"""Payments of the demo merchant, one per stage of a payment's life, to look at in the back office.

Mental model: a scene is one payment with a reference of its own, taken through real actions with
the running sandbox: claimed keys, the provider called over HTTP, its answers and books. What a bank
does is played at the sandbox's controls, and then the sandbox is asked, as the poller asks it. A
scene whose reference exists is not played again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import urllib3
from django.conf import settings
from django.utils import timezone

from payments import idempotency
from payments.actions.answer_request import answer_request
from payments.actions.resume_payment import poll_payment
from payments.idempotency import Answer
from payments.models import Dispute, Merchant, Payment

_TIMEOUT_SECONDS = 10.0


class SandboxRefused(Exception):
    """The sandbox does not answer, or not as it should."""


@dataclass(frozen=True, kw_only=True)
class DemoShop:
    """The demo merchant's server, and everybody else at the sandbox."""

    merchant: Merchant
    sandbox_key: str
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(timeout=_TIMEOUT_SECONDS, retries=False)
    )

    def ask(self, operation: str, **parameters: Any) -> Answer:
        """Have a request answered as the API would. Raises FlorinError for a refusal."""
        claimed = idempotency.claim(
            merchant=self.merchant,
            livemode=False,
            key=f"demo-{secrets.token_hex(16)}",
            operation=operation,
            method="POST",
            path=f"/demo/{operation}",
            parameters=parameters,
            actor_id="load_demo",
            request_id="",
            now=timezone.now(),
        )
        assert not isinstance(claimed, Answer), "Bug! a new key has an answer"
        return answer_request(claim=claimed, clock=timezone.now)

    def pay(self, reference: str, amount_minor: int, *, capture_method: str = "automatic") -> str:
        """A payment in EUR with a good card; its id."""
        answer = self.ask(
            "payments.create",
            amount_minor=amount_minor,
            currency="EUR",
            capture_method=capture_method,
            confirm=True,
            payment_method="tok_visa",
            return_url="",
            description=reference.removeprefix("demo-").replace("-", " ").capitalize(),
            merchant_reference=reference,
            metadata={},
        )
        return answer.payment_id

    def refund(self, payment_id: str, amount_minor: int | None) -> None:
        """Give so much back, or all."""
        self.ask(
            "refunds.create",
            payment=payment_id,
            amount_minor=amount_minor,
            reason="requested_by_customer",
            metadata={},
            refund_platform_fee=False,
        )

    def dispute(self, payment_id: str) -> Dispute:
        """Let the payer's bank take the money back, and hear of it."""
        attempt = Payment.objects.get(pk=payment_id).attempts.get()
        self._stage(f"payments/{attempt.provider_reference}/dispute", {})
        poll_payment(payment_id, clock=timezone.now)
        return Dispute.objects.get(payment_id=payment_id)

    def decide(self, dispute: Dispute, result: str) -> None:
        """Let the bank decide ("won" or "lost"), and hear of it."""
        self._stage(f"disputes/{dispute.provider_reference}", {"result": result})
        poll_payment(dispute.payment_id, clock=timezone.now)

    def _stage(self, path: str, body: dict[str, Any]) -> None:
        try:
            response = self.pool.request(
                "POST",
                f"{settings.FLORIN_SANDBOX_URL}/v1/control/{path}",
                json=body,
                headers={"Authorization": f"Bearer {self.sandbox_key}"},
            )
        except urllib3.exceptions.HTTPError as error:
            raise SandboxRefused(f"The sandbox does not answer: {error}") from error
        if response.status >= 300:
            raise SandboxRefused(f"The sandbox refused {path}: {response.data.decode()}")


def _refunded_in_part(shop: DemoShop, reference: str) -> None:
    shop.refund(shop.pay(reference, 8900), 2500)


def _refunded(shop: DemoShop, reference: str) -> None:
    shop.refund(shop.pay(reference, 3450), None)


def _captured_in_part(shop: DemoShop, reference: str) -> None:
    payment = shop.pay(reference, 12_000, capture_method="manual")
    shop.ask("payments.capture", payment=payment, amount_minor=4500, final_capture=False)


def _dispute_open(shop: DemoShop, reference: str) -> None:
    shop.dispute(shop.pay(reference, 5990))


def _dispute_won(shop: DemoShop, reference: str) -> None:
    dispute = shop.dispute(shop.pay(reference, 15_000))
    shop.ask(
        "disputes.submit_evidence",
        dispute=dispute.pk,
        evidence={"product_description": "A bicycle", "shipping_tracking_number": "RB 12-34 DE"},
    )
    shop.decide(dispute, "won")


def _dispute_lost(shop: DemoShop, reference: str) -> None:
    dispute = shop.dispute(shop.pay(reference, 2100))
    shop.ask("disputes.accept", dispute=dispute.pk)
    poll_payment(dispute.payment_id, clock=timezone.now)


SCENES: dict[str, Callable[[DemoShop, str], None]] = {
    "demo-refunded-in-part": _refunded_in_part,
    "demo-refunded": _refunded,
    "demo-captured-in-part": _captured_in_part,
    "demo-dispute-open": _dispute_open,
    "demo-dispute-won": _dispute_won,
    "demo-dispute-lost": _dispute_lost,
}


def play_scenes(*, merchant: Merchant, sandbox_key: str) -> int:
    """Play every scene that was not played before; how many that were.

    Needs an actor and a running sandbox. Raises SandboxRefused, FlorinError.
    """
    shop = DemoShop(merchant=merchant, sandbox_key=sandbox_key)
    played = Payment.objects.filter(
        merchant=merchant, livemode=False, merchant_reference__in=list(SCENES)
    ).values_list("merchant_reference", flat=True)
    missing = {name: scene for name, scene in SCENES.items() if name not in set(played)}
    for reference, scene in missing.items():
        scene(shop, reference)
    return len(missing)
