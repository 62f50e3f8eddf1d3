"""Stripe as the conformance suite drives it, twice, and the list of all drivers."""

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
from tests.payments.providers.sandbox_driver import SandboxDriver

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


_CONFIRM_WHOLE = "localstripe takes no automatic_payment_methods, return_url or description"
_NO_KEYS = "localstripe has no idempotency keys"
_NO_FAULTS = "localstripe has no faults to arm"
_NO_SEARCH = "localstripe has no search"
_NO_REASON = "localstripe takes no cancellation_reason"
_NO_SETTLEMENT = "localstripe has no time in which money becomes available"
_NO_EVENTS = "localstripe has no list of past webhooks"
_CONFIRM_ALONE = "localstripe confirms by secret key and without a payment method only"


class LocalstripeDriver(StripeDriver):
    """The Stripe provider against localstripe, another implementation of Stripe's API."""

    name = "stripe (localstripe)"
    methods: ClassVar = {
        GOOD_CARD: "pm_card_visa",
        SHORT_OF_MONEY: "4000000000000341",
        ASKS_PAYER: "4000000000003220",
    }
    lacks: ClassVar = {
        "creating_and_confirming_at_once_takes_the_money": _CONFIRM_WHOLE,
        "a_lost_card_is_declined_for_good": "localstripe declines without a decline_code",
        "after_a_decline_the_same_payment_can_succeed": _CONFIRM_ALONE,
        "a_failed_authentication_is_a_decline": _CONFIRM_WHOLE,
        "the_payer_confirms_with_the_client_secret": _CONFIRM_ALONE,
        "confirming_what_the_payer_confirmed_already_is_done_not_declined": _CONFIRM_ALONE,
        "a_bank_debit_is_pending_and_then_captured": _CONFIRM_WHOLE,
        "canceling_an_open_payment_ends_it": _NO_REASON,
        "canceling_a_held_payment_releases_the_money": _NO_REASON,
        "canceling_what_is_canceled_already_is_done": _NO_REASON,
        "an_operation_in_the_wrong_state_is_refused": "localstripe says only `Bad request`",
        "the_same_key_gives_the_same_object": _NO_KEYS,
        "a_key_with_another_request_is_unknown_never_declined": _NO_KEYS,
        "a_key_that_is_under_way_is_a_conflict": _NO_KEYS,
        "a_time_out_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_connection_lost_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_time_out_before_the_work_moves_nothing": _NO_FAULTS,
        "a_stored_500_is_learnt_by_fetching": _NO_FAULTS,
        "a_500_before_the_work_leaves_the_key_usable": _NO_FAULTS,
        "a_rate_limit_is_not_sent": _NO_FAULTS,
        "another_amount_in_the_answer_is_visible": _NO_FAULTS,
        "an_unknown_status_is_unrecognised_never_guessed": _NO_FAULTS,
        "a_payment_is_found_by_our_reference": _NO_SEARCH,
        "a_reference_nobody_knows_is_not_found": _NO_SEARCH,
        "fee_and_settlement_become_visible": _NO_SETTLEMENT,
        "every_event_of_a_payment_can_be_read": _NO_EVENTS,
        "events_lead_to_the_state_that_a_fetch_shows": _NO_EVENTS,
        "an_unreadable_event_is_named": _NO_EVENTS,
    }

    def method(self, kind: str) -> str:
        """A test name, or a payment method made from a number."""
        name = self.methods[kind]
        if name.startswith("pm_"):
            return name
        form = {"type": "card", "card[number]": name, "card[cvc]": "123"}
        form.update({"card[exp_month]": "12", "card[exp_year]": "2030"})
        return str(self.call("POST", "/v1/payment_methods", form)["id"])

    def captured(self, reference: str) -> list[int]:
        """From the charges, through the PaymentIntent they belong to."""
        intents = self.call("GET", "/v1/payment_intents")["data"]
        mine = {i["id"] for i in intents if i["metadata"].get("florin_payment") == reference}
        charges = self.call("GET", "/v1/charges")["data"]
        return [
            charge["amount"]
            for charge in charges
            if charge["payment_intent"] in mine and charge["captured"] and charge["paid"]
        ]

    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """Localstripe's own address for it."""
        form = {"client_secret": snapshot.client_secret, "success": str(passed).lower()}
        self.call("POST", f"/v1/payment_intents/{snapshot.provider_reference}/_authenticate", form)

    def break_next(self, fault: str) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def settle(self) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def events(self) -> list[bytes]:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")


DRIVERS: tuple[type[Driver], ...] = (SandboxDriver, StripeStandInDriver, LocalstripeDriver)
