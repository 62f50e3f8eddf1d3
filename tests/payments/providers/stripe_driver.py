"""Stripe as the conformance suite drives it: our stand-in, by its controls."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

import urllib3

from payments.providers.base import Credentials, PaymentSnapshot, Provider
from payments.providers.objects import DisputeSnapshot, MethodSnapshot, RefundSnapshot
from payments.providers.stripe.intents import CARD_FEATURES
from payments.providers.stripe.provider import StripeProvider
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

_http = urllib3.PoolManager(maxsize=16, retries=False)


class StripeDriver(Driver):
    """What the two Stripe worlds share: the signature and the form of keys."""

    provider_code = "stripe"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.key_suffix = secrets.token_hex(10)

    def credentials(self) -> Credentials:
        """The account's way in."""
        return Credentials(
            secret_key=f"sk_test_{self.key_suffix}",
            publishable_key=f"pk_test_{self.key_suffix}",
            api_base=self.url,
        )

    def call(
        self, method: str, path: str, form: Mapping[str, str] | None = None, *, payer: bool = False
    ) -> dict[str, Any]:
        """One request beside the provider."""
        prefix = "pk" if payer else "sk"
        answer = _http.request(
            method,
            self.url + path,
            body=urlencode(form or {}) if method == "POST" else None,
            headers={
                "Authorization": f"Bearer {prefix}_test_{self.key_suffix}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        return dict(json.loads(answer.data or b"{}"))

    def sign(self, raw: bytes, secret: str, at: datetime) -> dict[str, str]:
        """t=,v1=."""
        stamp = int(at.timestamp())
        mac = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={stamp},v1={mac}"}

    def new_webhook_secret(self) -> str:
        """whsec_ and letters."""
        return f"whsec_{secrets.token_hex(16)}"


_NO_LATE_REFUSAL = "Stripe documents no capture that fails after it was accepted"
_NO_VOID = "Stripe takes a capture back by refund only"


class StripeStandInDriver(StripeDriver):
    """The Stripe provider against our own stand-in, as a process."""

    name = "stripe (stand-in)"
    methods: ClassVar = {
        GOOD_CARD: "pm_card_visa",
        SHORT_OF_MONEY: "pm_card_visa_chargeDeclinedInsufficientFunds",
        LOST_CARD: "pm_card_visa_chargeDeclinedLostCard",
        ASKS_PAYER: "pm_card_authenticationRequired",
        BANK_DEBIT: "pm_usBankAccount",
        BANK_DEBIT_REFUSED: "pm_usBankAccount_insufficientFunds",
        SLOW_CAPTURE: "pm_card_pendingCapture",
        REFUSES_CAPTURE: "pm_card_captureRefused",
        LOSES_HOLD: "pm_card_captureExpired",
        REFUSES_INCREMENT: "pm_card_incrementDeclined",
        SLOW_REFUND: "pm_card_pendingRefund",
        REFUSES_REFUND: "pm_card_refundRefused",
        REFUND_ASKS_PAYER: "pm_card_refundAction",
        RISKY_CARD: "pm_card_riskLevelElevated",
        SAVED_BUT_DECLINED: "pm_card_chargeCustomerFail",
    }
    lacks: ClassVar = {
        "a_500_before_the_work_leaves_the_key_usable": "Stripe replays a stored 500 for ever",
        "an_asynchronous_capture_that_is_refused_leaves_the_hold": _NO_LATE_REFUSAL,
        "a_refused_capture_says_that_the_hold_is_gone": "Stripe shows a lost hold as canceled",
        "a_capture_that_fails_late_is_visible": _NO_LATE_REFUSAL,
        "an_unsettled_capture_can_be_voided": _NO_VOID,
        "a_pending_capture_can_be_voided": _NO_VOID,
        "what_the_psp_itself_holds_is_visible": "Stripe never changes a hold by itself",
        "a_payment_under_review_waits_for_its_decision": (
            "Stripe reviews what is taken at once without taking it back; it waits only where"
            " capture is manual"
        ),
        "a_dishonoured_return_brings_the_money_back": "Stripe's returns are final",
        "a_debit_that_was_refunded_and_then_returned_is_a_double_loss": (
            "Stripe's refunds of bank debits are pending for days"
        ),
        "a_dispute_goes_forward_through_its_stages": "Stripe ends with one appeal",
        "an_alert_that_is_refunded_in_full_is_prevented": (
            "Stripe prevents disputes before there is an inquiry"
        ),
    }
    # The stand-in's accounts have by default what Stripe grants by contract.
    _provider: ClassVar = StripeProvider(card_features=CARD_FEATURES)

    @property
    def provider(self) -> Provider:
        """The provider as it is where the card features are switched on."""
        return self._provider

    def captured(self, reference: str) -> list[int]:
        """From the balance: each capture of a charge has a transaction of its own."""
        mine, moves = self._charges(reference), self._objects("balance_transaction")
        captures = [one for one in moves if one["type"] in ("charge", "payment")]
        return [one["amount"] for one in captures if one["source"] in mine]

    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """As Stripe.js does: number to payment method, then confirm with the client secret."""
        number = {"pm_card_visa": "4242424242424242"}[self.methods[method]]
        made = self.call("POST", "/v1/payment_methods", {"card[number]": number}, payer=True)
        path = f"/v1/payment_intents/{snapshot.provider_reference}/confirm"
        form = {"client_secret": snapshot.client_secret, "payment_method": made["id"]}
        answer = self.call("POST", path, form, payer=True)
        assert answer["object"] == "payment_intent", answer

    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """By control."""
        self._stage("authenticate", snapshot, passed=str(passed).lower())

    def break_next(self, fault: str) -> None:
        """By control."""
        self._control("faults", **{fault: "1"})

    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        self._stage("bank_answers", snapshot)

    def settle(self) -> None:
        """By control."""
        self._control("settle")

    def events(self) -> list[bytes]:
        """By control."""
        return [json.dumps(event).encode() for event in self._control("events")["data"]]

    def refunded(self, reference: str) -> list[int]:
        """Every refund that ever was told as succeeded."""
        mine = self._charges(reference)
        told = [event["data"]["object"] for event in self._control("events")["data"]]
        paid = {
            one["id"]: one["amount"]
            for one in told
            if one["object"] == "refund" and one["status"] == "succeeded" and one["charge"] in mine
        }
        return list(paid.values())

    def balance(self, reference: str) -> int:
        """Every balance transaction of the charge, its refunds and its disputes."""
        mine = self._charges(reference)
        beside = [*self._objects("refund"), *self._objects("dispute")]
        sources = mine | {one["id"] for one in beside if one["charge"] in mine}
        moves = self._objects("balance_transaction")
        return sum(one["amount"] for one in moves if one["source"] in sources)

    def expire(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        self._stage("expire", snapshot)

    def finish_capture(self, snapshot: PaymentSnapshot, *, succeeded: bool) -> None:
        """By control; Stripe documents no capture that is refused after it was processing."""
        assert succeeded, "Bug! Stripe has no pending capture that fails."
        self._stage("finish_capture", snapshot)

    def finish_refund(self, refund: RefundSnapshot, result: str) -> None:
        """By control."""
        self._control("refund", refund=refund.provider_reference, status=result)

    def refund_in_dashboard(self, snapshot: PaymentSnapshot, amount_minor: int) -> None:
        """By control."""
        self._stage("dashboard_refund", snapshot, amount=str(amount_minor))

    def open_dispute(
        self, snapshot: PaymentSnapshot, *, stage: str = "chargeback", amount_minor: int = 0
    ) -> None:
        """By control."""
        status = "warning_needs_response" if stage == "inquiry" else "needs_response"
        self._stage("dispute", snapshot, status=status, amount=str(amount_minor))

    def decide_dispute(self, dispute: DisputeSnapshot, result: str, *, lost_minor: int = 0) -> None:
        """By control, in Stripe's words: what is withdrawn is won, what ran out of time lost."""
        about = dispute.provider_reference
        if result == "escalated":
            self._control("escalate", dispute=about)
        elif result == "prevented":
            self._control("decide", dispute=about, status="prevented")
        elif result == "lost_in_part":
            back = str(dispute.amount_minor - lost_minor)
            self._control("decide", dispute=about, reinstated=back)
        else:
            won = result in ("won", "withdrawn")
            self._control("decide", dispute=about, won=str(won).lower())

    def return_debit(self, snapshot: PaymentSnapshot, code: str) -> None:
        """By control."""
        self._stage("return_debit", snapshot, return_code=code)

    def decide_review(self, snapshot: PaymentSnapshot, *, approved: bool) -> None:
        """By control."""
        self._stage("close_review", snapshot, reason="approved" if approved else "canceled")

    def revoke_mandate(self, method: MethodSnapshot) -> None:
        """By control."""
        self._control("revoke_mandate", mandate=method.mandate_reference)

    def _control(self, verb: str, **form: str) -> dict[str, Any]:
        return self.call("POST", f"/_control/{verb}", form)

    def _stage(self, verb: str, snapshot: PaymentSnapshot, **form: str) -> None:
        self._control(verb, payment_intent=snapshot.provider_reference, **form)

    def _objects(self, kind: str) -> list[dict[str, Any]]:
        return list(self._control("objects", kind=kind)["data"])

    def _charges(self, reference: str) -> set[str]:
        found = self._objects("charge")
        return {one["id"] for one in found if one["metadata"].get("florin_payment") == reference}
