"""The sandbox PSP as the conformance suite drives it: by knobs, by clock, by its controls."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime
from typing import ClassVar

from payments.providers.base import Credentials, PaymentSnapshot
from payments.providers.objects import DisputeSnapshot, MethodSnapshot, RefundSnapshot
from payments.providers.sandbox.service.delivery import sign
from tests.payments.providers.driver import (
    ASKS_PAYER,
    BANK_DEBIT,
    BANK_DEBIT_REFUSED,
    GOOD_CARD,
    LOSES_HOLD,
    LOST_CARD,
    REFUND_ASKS_PAYER,
    REFUSES_CAPTURE,
    REFUSES_INCREMENT,
    REFUSES_REFUND,
    RISKY_CARD,
    SAVED_BUT_DECLINED,
    SHORT_OF_MONEY,
    SLOW_CAPTURE,
    SLOW_REFUND,
    Driver,
)
from tests.payments.sandbox_account import SandboxAccount

# How each movement changes our balance; what is only held is not ours yet.
_SIGNS = {
    "capture": 1,
    "void": -1,
    "capture_failure": -1,
    "refund": -1,
    "refund_failure": 1,
    "dispute": -1,
    "dispute_reversal": 1,
    "return": -1,
    "return_reversal": 1,
}
_KNOBS = {"rate_limit": "rate_limited"}
_REFUND_RESULTS = {"succeeded": "succeed", "canceled": "cancel"}


class SandboxDriver(Driver):
    """The sandbox PSP, as a process."""

    name = "sandbox"
    provider_code = "sandbox"
    methods: ClassVar = {
        GOOD_CARD: "tok_visa",
        SHORT_OF_MONEY: "tok_insufficient_funds",
        LOST_CARD: "tok_lost_card",
        ASKS_PAYER: "tok_3ds",
        BANK_DEBIT: "tok_bank",
        BANK_DEBIT_REFUSED: "tok_bank_refused",
        SLOW_CAPTURE: "tok_async_capture",
        REFUSES_CAPTURE: "tok_capture_refused",
        LOSES_HOLD: "tok_capture_hold_lost",
        REFUSES_INCREMENT: "tok_increment_refused",
        SLOW_REFUND: "tok_async_refund",
        REFUSES_REFUND: "tok_refund_refused",
        REFUND_ASKS_PAYER: "tok_refund_action",
        RISKY_CARD: "tok_review",
        SAVED_BUT_DECLINED: "tok_saved_declined",
    }
    lacks: ClassVar = {
        "a_stored_500_is_learnt_by_fetching": "the sandbox forgets a 500; its key works again",
    }

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.account = SandboxAccount(url)
        self.account.set(hang_seconds=3, settle_after_seconds=86_400)
        self.account.set(bank_result_after_seconds=86_400)
        self.account.set(capture_result_after_seconds=86_400, refund_result_after_seconds=86_400)
        self._good_card = "tok_visa"

    def method(self, kind: str) -> str:
        """The token; for a wrong answer the good card is one that answers wrong."""
        return self._good_card if kind == GOOD_CARD else self.methods[kind]

    def credentials(self) -> Credentials:
        """The account's way in."""
        return self.account.credentials()

    def captured(self, reference: str) -> list[int]:
        """From the sandbox's books."""
        movements = self.account.movements(reference=reference)
        return [movement["amount_minor"] for movement in movements]

    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """With the publishable key and a token made from a number."""
        number = {"tok_visa": "4242 4242 4242 4242"}[self.methods[method]]
        status, token = self.account.call("POST", "/v1/tokens", {"number": number}, as_payer=True)
        assert status == 200, token
        status, answer = self.account.confirm_as_payer(
            snapshot.provider_reference, snapshot.client_secret, token["id"]
        )
        assert status == 200, answer

    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """At the sandbox's own step."""
        self.account.authenticate(
            snapshot.provider_reference, snapshot.client_secret, passed=passed
        )

    def break_next(self, fault: str) -> None:
        """By knob; wrong answers by token, see `method`."""
        tokens = {"amount_mismatch": "tok_amount_mismatch", "unknown_status": "tok_unknown_status"}
        if fault in tokens:
            self._good_card = tokens[fault]
        else:
            self.account.set(**{_KNOBS.get(fault, fault): 1})

    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """By the account's clock."""
        self.account.advance(86_400)

    def settle(self) -> None:
        """By the account's clock."""
        self.account.advance(86_400)

    def events(self) -> list[bytes]:
        """From the sandbox's own list."""
        events = self.account.events()
        return [
            json.dumps({k: v for k, v in event.items() if k != "seq"}).encode() for event in events
        ]

    def sign(self, raw: bytes, secret: str, at: datetime) -> dict[str, str]:
        """Standard Webhooks."""
        stamp = int(at.timestamp())
        return {
            "webhook-id": "sbe_1",
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, "sbe_1", stamp, raw),
        }

    def new_webhook_secret(self) -> str:
        """whsec_ and base64."""
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()

    def refunded(self, reference: str) -> list[int]:
        """From the sandbox's books."""
        movements = self.account.movements(reference=reference, kind="refund")
        return [movement["amount_minor"] for movement in movements]

    def balance(self, reference: str) -> int:
        """From the sandbox's books."""
        return sum(
            _SIGNS.get(movement["kind"], 0) * movement["amount_minor"]
            for movement in self.account.movements(reference=reference, kind="")
        )

    def expire(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "expire")

    def change_hold(self, snapshot: PaymentSnapshot, amount_minor: int) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "adjust", amount_minor=amount_minor)

    def finish_capture(self, snapshot: PaymentSnapshot, *, succeeded: bool) -> None:
        """By control."""
        result = "succeed" if succeeded else "refuse"
        self.account.stage(snapshot.provider_reference, "finish_capture", result=result)

    def fail_capture_late(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "fail_capture")

    def finish_refund(self, refund: RefundSnapshot, result: str) -> None:
        """By control."""
        _, stands = self.account.call("GET", f"/v1/refunds/{refund.provider_reference}")
        failure = "fail_late" if stands["status"] == "succeeded" else "fail"
        self.account.stage_refund(refund.provider_reference, _REFUND_RESULTS.get(result, failure))

    def refund_in_dashboard(self, snapshot: PaymentSnapshot, amount_minor: int) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "refund", amount_minor=amount_minor)

    def open_dispute(
        self, snapshot: PaymentSnapshot, *, stage: str = "chargeback", amount_minor: int = 0
    ) -> None:
        """By control."""
        amount = amount_minor or None
        self.account.stage(snapshot.provider_reference, "dispute", stage=stage, amount_minor=amount)

    def decide_dispute(self, dispute: DisputeSnapshot, result: str, *, lost_minor: int = 0) -> None:
        """By control; the time for evidence passes by the clock."""
        if result == "expired":
            self.account.advance(8 * 86_400)
        else:
            lost = lost_minor or None
            self.account.stage_dispute(dispute.provider_reference, result, lost_minor=lost)

    def return_debit(self, snapshot: PaymentSnapshot, code: str) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "return", code=code)

    def undo_return(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "undo_return")

    def decide_review(self, snapshot: PaymentSnapshot, *, approved: bool) -> None:
        """By control."""
        self.account.stage(snapshot.provider_reference, "approve" if approved else "decline")

    def revoke_mandate(self, method: MethodSnapshot) -> None:
        """By control."""
        self.account.stage_mandate(method.provider_reference, "inactive")
