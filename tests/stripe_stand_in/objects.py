"""PaymentIntents, charges and balance transactions in memory, in Stripe's shapes.

`Vault` is one account's state. Its verbs change it and return the event types that follow, and
raise `Refused` with Stripe's error object.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.stripe_stand_in.payment_methods import METHODS, Method

Json = dict[str, Any]

_CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


class Refused(Exception):
    """A no: HTTP status and Stripe's error object."""

    def __init__(self, status: int, kind: str, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: Json = {"type": kind, "code": code, "message": message, **more}


class Vault:
    """One account's objects."""

    def __init__(self) -> None:
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.balances: dict[str, Json] = {}
        self.events: list[Json] = []

    def create(self, params: Json) -> Json:
        """POST /v1/payment_intents, without the confirmation."""
        try:
            amount = int(params["amount"])
        except (KeyError, ValueError):
            raise _invalid(
                "parameter_missing", "Missing required param: amount.", "amount"
            ) from None
        if amount < 50:
            raise _invalid("amount_too_small", "Amount must be at least 50 cents.", "amount")
        intent_id = _new("pi")
        intent = {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "cancellation_reason": None,
            "canceled_at": None,
            "capture_method": params.get("capture_method", "automatic_async"),
            "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
            "created": int(time.time()),
            "currency": params.get("currency", ""),
            "description": params.get("description"),
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": params.get("metadata", {}),
            "next_action": None,
            "payment_method": params.get("payment_method"),
            "status": "requires_payment_method",
        }
        if intent["payment_method"]:
            _method(intent["payment_method"])
            intent["status"] = "requires_confirmation"
        self.intents[intent_id] = intent
        self._emit("payment_intent.created", intent)
        return intent

    def confirm(self, intent: Json, params: Json) -> Json:
        """POST /v1/payment_intents/{id}/confirm."""
        if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
            raise _unexpected_state(intent, "confirmed")
        name = params.get("payment_method") or intent["payment_method"]
        if not name:
            words = "You cannot confirm this PaymentIntent because it's missing a payment method."
            raise _invalid("payment_intent_unexpected_state", words, "", payment_intent=intent)
        method = _method(name)
        intent["payment_method"] = name
        intent["last_payment_error"] = None
        if method.authentication:
            self._ask_for_authentication(intent, params.get("return_url", ""))
        else:
            self._charge(intent, method)
        return intent

    def authenticate(self, intent: Json, *, passed: bool) -> Json:
        """What the payer does at the bank's page."""
        intent["next_action"] = None
        if passed:
            self._charge(intent, METHODS[intent["payment_method"]])
            return intent
        intent["status"] = "requires_payment_method"
        intent["payment_method"] = None
        intent["last_payment_error"] = {
            "type": "invalid_request_error",
            "code": "payment_intent_authentication_failure",
            "message": "The provided PaymentMethod has failed authentication.",
        }
        self._emit("payment_intent.payment_failed", intent)
        return intent

    def capture(self, intent: Json, params: Json) -> Json:
        """POST /v1/payment_intents/{id}/capture."""
        if intent["status"] != "requires_capture":
            raise _unexpected_state(intent, "captured")
        amount = int(params.get("amount_to_capture") or intent["amount_capturable"])
        if amount > intent["amount_capturable"]:
            words = "The amount to capture is larger than what can be captured."
            raise _invalid("amount_too_large", words, "amount_to_capture")
        self._take(intent, self.charges[intent["latest_charge"]], amount)
        self._emit("charge.captured", self.charges[intent["latest_charge"]])
        self._emit("payment_intent.succeeded", intent)
        return intent

    def cancel(self, intent: Json, params: Json) -> Json:
        """POST /v1/payment_intents/{id}/cancel."""
        if intent["status"] not in (*_CANCELABLE, "requires_capture"):
            raise _unexpected_state(intent, "canceled")
        intent.update(
            status="canceled",
            amount_capturable=0,
            next_action=None,
            canceled_at=int(time.time()),
            cancellation_reason=params.get("cancellation_reason"),
        )
        self._emit("payment_intent.canceled", intent)
        return intent

    def bank_answers(self, intent: Json) -> None:
        """A bank debit that was processing succeeds."""
        charge = self.charges[intent["latest_charge"]]
        self._take(intent, charge, intent["amount"])
        self._emit("charge.succeeded", charge)
        self._emit("payment_intent.succeeded", intent)

    def settle(self) -> None:
        """Time passes: every balance transaction becomes available."""
        for balance in self.balances.values():
            if balance["status"] == "pending":
                balance["status"] = "available"
                self._emit("charge.updated", self.charges[balance["source"]])

    def _ask_for_authentication(self, intent: Json, return_url: str) -> None:
        page = "https://hooks.stripe.example/3d_secure"
        action: Json = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": page}}
        if return_url:
            detail = {"url": page, "return_url": return_url}
            action = {"type": "redirect_to_url", "redirect_to_url": detail}
        intent.update(status="requires_action", next_action=action)
        self._emit("payment_intent.requires_action", intent)

    def _charge(self, intent: Json, method: Method) -> None:
        charge = self._new_charge(intent, method)
        if method.code:
            self._decline(intent, charge, method)
        elif method.kind == "us_bank_account":
            charge["status"] = "pending"
            intent["status"] = "processing"
            self._emit("payment_intent.processing", intent)
        elif intent["capture_method"] == "manual":
            intent.update(status="requires_capture", amount_capturable=intent["amount"])
            self._emit("charge.succeeded", charge)
            self._emit("payment_intent.amount_capturable_updated", intent)
        else:
            self._take(intent, charge, intent["amount"])
            self._emit("charge.succeeded", charge)
            self._emit("payment_intent.succeeded", intent)

    def _new_charge(self, intent: Json, method: Method) -> Json:
        detail: Json = {"last4": method.last4}
        if method.kind == "card":
            detail["brand"] = "visa"
        else:
            detail["bank_name"] = "STRIPE TEST BANK"
        charge: Json = {
            "id": _new("ch"),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0,
            "balance_transaction": None,
            "captured": False,
            "created": int(time.time()),
            "currency": intent["currency"],
            "failure_code": None,
            "failure_message": None,
            "livemode": False,
            "metadata": dict(intent["metadata"]),
            "paid": True,
            "payment_intent": intent["id"],
            "payment_method": intent["payment_method"],
            "payment_method_details": {"type": method.kind, method.kind: detail},
            "status": "succeeded",
        }
        self.charges[charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        return charge

    def _decline(self, intent: Json, charge: Json, method: Method) -> None:
        error = {
            "type": "card_error",
            "code": method.code,
            "decline_code": method.decline_code,
            "message": "Your card was declined.",
            "charge": charge["id"],
        }
        if method.advice_code:
            error["advice_code"] = method.advice_code
        charge.update(status="failed", paid=False, failure_code=method.code)
        charge["failure_message"] = error["message"]
        intent.update(status="requires_payment_method", last_payment_error=error)
        intent["payment_method"] = None
        self._emit("charge.failed", charge)
        self._emit("payment_intent.payment_failed", intent)
        raise Refused(402, **_renamed(error), payment_intent=intent)

    def _take(self, intent: Json, charge: Json, amount: int) -> None:
        fee = (amount * 290 + 5_000) // 10_000 + 30
        balance = {
            "id": _new("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": int(time.time()) + 2 * 86_400,
            "created": int(time.time()),
            "currency": intent["currency"],
            "fee": fee,
            "net": amount - fee,
            "source": charge["id"],
            "status": "pending",
            "type": "charge",
        }
        self.balances[balance["id"]] = balance
        charge.update(
            captured=True,
            amount_captured=amount,
            status="succeeded",
            balance_transaction=balance["id"],
        )
        intent.update(status="succeeded", amount_received=amount, amount_capturable=0)

    def _emit(self, event_type: str, subject: Json) -> None:
        self.events.append(
            {
                "id": _new("evt"),
                "object": "event",
                "api_version": "2026-10-28.endive",
                "created": int(time.time()),
                "data": {"object": dict(subject)},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
                "type": event_type,
            }
        )


def _renamed(error: Json) -> Json:
    return {("kind" if name == "type" else name): value for name, value in error.items()}


def _new(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _method(name: str) -> Method:
    if name not in METHODS:
        words = f"No such PaymentMethod: '{name}'"
        raise _invalid("resource_missing", words, "payment_method")
    return METHODS[name]


def _invalid(code: str, message: str, param: str, **more: Any) -> Refused:
    return Refused(400, "invalid_request_error", code, message, param=param, **more)


def _unexpected_state(intent: Json, verb: str) -> Refused:
    words = f"This PaymentIntent could not be {verb} because it has a status of {intent['status']}."
    return _invalid("payment_intent_unexpected_state", words, "", payment_intent=intent)
