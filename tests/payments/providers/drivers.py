"""The world behind each provider, as the conformance suite needs it.

A `Driver` is one PSP account together with its payer, its clock and its books. The suite says
what it wants ("a card that is declined for good"); the driver knows the PSP's words for it.
`lacks` names what this PSP or its stand-in cannot show, with the reason: those scenarios are not
run for it, and the capability matrix in docs/providers.md says so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

import urllib3

from payments.providers import provider_for
from payments.providers.base import Credentials, PaymentSnapshot, Provider
from payments.providers.sandbox.service.delivery import sign
from tests.payments.sandbox_account import SandboxAccount

_http = urllib3.PoolManager(maxsize=16, retries=False)

GOOD_CARD = "good card"
SHORT_OF_MONEY = "card without enough money"
LOST_CARD = "lost card"
ASKS_PAYER = "card with 3-D Secure"
BANK_DEBIT = "bank debit"


class Driver(ABC):
    """One fresh PSP account; see the module docstring."""

    name: ClassVar[str]
    provider_code: ClassVar[str]
    methods: ClassVar[Mapping[str, str]]
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def provider(self) -> Provider:
        """The provider under test."""
        return provider_for(self.provider_code)

    def method(self, kind: str) -> str:
        """The PSP's token of a kind of payment method."""
        return self.methods[kind]

    @abstractmethod
    def credentials(self) -> Credentials:
        """The account's way in."""

    @abstractmethod
    def captured(self, reference: str) -> list[int]:
        """The PSP's own record: the amount of each capture under our payment id."""

    @abstractmethod
    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """The payer's browser confirms with the client secret."""

    @abstractmethod
    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """The payer passes or fails the 3-D Secure step."""

    @abstractmethod
    def break_next(self, fault: str) -> None:
        """Arm a fault for the next request: hang_before_commit, hang_after_commit,
        drop_after_commit, fail_before_commit, amount_mismatch, unknown_status.
        """

    @abstractmethod
    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """A bank debit that was processing succeeds."""

    @abstractmethod
    def settle(self) -> None:
        """Time passes until captured money is available."""

    @abstractmethod
    def events(self) -> list[bytes]:
        """The webhook bodies the PSP has made so far, in order."""

    @abstractmethod
    def sign(self, raw: bytes, secret: str, at: datetime) -> dict[str, str]:
        """The headers with which the PSP would send `raw`, lower-case names."""

    @abstractmethod
    def new_webhook_secret(self) -> str:
        """A secret of the form this PSP gives out."""


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
    }
    lacks: ClassVar = {
        "a_rate_limit_is_not_sent": "the sandbox has no rate limit",
        "a_stored_500_is_learnt_by_fetching": "the sandbox forgets a 500; its key works again",
    }

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.account = SandboxAccount(url)
        self.account.set(hang_seconds=3, settle_after_seconds=86_400)
        self.account.set(bank_result_after_seconds=86_400)
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
            self.account.set(**{fault: 1})

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
    }
    lacks: ClassVar = {
        "a_500_before_the_work_leaves_the_key_usable": "Stripe replays a stored 500 for ever",
    }

    def captured(self, reference: str) -> list[int]:
        """From the balance: each capture of a charge has a transaction of its own."""
        charges = self.call("GET", "/v1/charges?limit=100")["data"]
        mine = {one["id"] for one in charges if one["metadata"].get("florin_payment") == reference}
        moves = self.call("GET", "/v1/balance_transactions?limit=100")["data"]
        captures = [one for one in moves if one["type"] in ("charge", "payment")]
        return [one["amount"] for one in captures[::-1] if one["source"] in mine]

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
        form = {"payment_intent": snapshot.provider_reference, "passed": str(passed).lower()}
        self.call("POST", "/_control/authenticate", form)

    def break_next(self, fault: str) -> None:
        """By control."""
        self.call("POST", "/_control/faults", {fault: "1"})

    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """By control."""
        form = {"payment_intent": snapshot.provider_reference}
        self.call("POST", "/_control/bank_answers", form)

    def settle(self) -> None:
        """By control."""
        self.call("POST", "/_control/settle")

    def events(self) -> list[bytes]:
        """By control."""
        events = self.call("POST", "/_control/events")["data"]
        return [json.dumps(event).encode() for event in events]


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
