"""PaymentIntents and their charges: POST /v1/payment_intents and what stands below it
(docs.stripe.com/payments/paymentintents/lifecycle, docs.stripe.com/payments/multicapture).
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.stripe_stand_in import disputes, money
from tests.stripe_stand_in.customers import resolve
from tests.stripe_stand_in.payment_methods import Method
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid, whole

_CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(vault: Vault, params: Json) -> Json:
    """POST /v1/payment_intents."""
    amount = whole(params, "amount")
    if amount < 50:
        raise invalid("amount_too_small", "Amount must be at least 50 cents.", "amount")
    if params.get("off_session") == "true" and params.get("confirm") != "true":
        raise invalid("", "You can only set off_session when confirm is true.", "off_session")
    if params.get("customer"):
        vault.find("customer", params["customer"], "customer")
    intent = vault.add(
        "pi",
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        application=None,
        automatic_payment_methods=params.get("automatic_payment_methods"),
        cancellation_reason=None,
        canceled_at=None,
        capture_method=params.get("capture_method", "automatic_async"),
        client_secret="",
        confirmation_method="automatic",
        currency=params.get("currency", ""),
        customer=params.get("customer"),
        description=params.get("description"),
        last_payment_error=None,
        latest_charge=None,
        metadata=params.get("metadata", {}),
        next_action=None,
        payment_method=None,
        payment_method_options=params.get("payment_method_options", {}),
        payment_method_types=["card", "us_bank_account"],
        review=None,
        setup_future_usage=None,
        status="requires_payment_method",
    )
    intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
    try:
        if params.get("payment_method"):
            intent["payment_method"] = _usable(vault, intent, params["payment_method"])["id"]
            intent["status"] = "requires_confirmation"
    except Refused:
        del vault.objects["payment_intent"][intent["id"]]
        raise
    vault.emit("payment_intent.created", intent)
    if params.get("confirm") == "true":
        confirm(vault, intent, {name: params[name] for name in params if name != "payment_method"})
    return intent


def _usable(vault: Vault, intent: Json, name: str) -> Json:
    """The payment method, if this PaymentIntent may use it. Raises Refused."""
    method = resolve(vault, name)
    if method["customer"] not in (None, intent["customer"]):
        words = "The PaymentMethod belongs to a Customer; include the Customer in the request."
        raise invalid("", words, "payment_method")
    return method


def confirm(vault: Vault, intent: Json, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/confirm."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        raise unexpected_state(vault, intent, "confirmed")
    if params.get("payment_method"):
        intent["payment_method"] = _usable(vault, intent, params["payment_method"])["id"]
    if not intent["payment_method"]:
        words = "You cannot confirm this PaymentIntent because it's missing a payment method."
        shown = vault.show(intent)
        raise invalid("payment_intent_unexpected_state", words, "", payment_intent=shown)
    asked = {name for name in _asked_features(intent) if name not in vault.card_features}
    if asked:
        words = "This account is not eligible for the requested card features."
        raise invalid("payment_intent_invalid_parameter", words, "")
    intent["last_payment_error"] = None
    method = vault.behaviours[intent["payment_method"]]
    if method.authentication and params.get("off_session") == "true":
        code = "authentication_required"
        _decline(vault, intent, method, code, code)
    if method.authentication:
        _ask_for_authentication(vault, intent, params.get("return_url", ""))
    else:
        _charge(vault, intent, method)
    return intent


def _asked_features(intent: Json) -> list[str]:
    card = intent["payment_method_options"].get("card", {})
    return [
        name.removeprefix("request_") for name, value in card.items() if value == "if_available"
    ]


def authenticate(vault: Vault, intent: Json, *, passed: bool) -> Json:
    """What the payer does at the bank's page."""
    intent["next_action"] = None
    if passed:
        _charge(vault, intent, vault.behaviours[intent["payment_method"]])
        return intent
    intent["status"] = "requires_payment_method"
    intent["payment_method"] = None
    intent["last_payment_error"] = {
        "type": "invalid_request_error",
        "code": "payment_intent_authentication_failure",
        "message": "The provided PaymentMethod has failed authentication.",
    }
    vault.emit("payment_intent.payment_failed", intent)
    return intent


def capture(vault: Vault, intent: Json, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/capture."""
    if intent["status"] != "requires_capture":
        raise unexpected_state(vault, intent, "captured")
    charge = vault.get(intent["latest_charge"])
    final = params.get("final_capture", "true") == "true"
    card = charge["payment_method_details"].get("card", {})
    several = card.get("multicapture", {}).get("status") == "available"
    if not final and not several:
        words = "This PaymentIntent does not support multiple captures."
        raise invalid("payment_intent_invalid_parameter", words, "final_capture")
    amount = intent["amount_capturable"]
    if "amount_to_capture" in params:
        amount = whole(params, "amount_to_capture")
    if amount > intent["amount_capturable"]:
        words = "The amount to capture is larger than what can be captured."
        raise invalid("amount_too_large", words, "amount_to_capture")
    if amount:
        take(vault, intent, charge, amount)
    if several:
        vault.emit("charge.updated", charge)
        vault.emit("payment_intent.amount_capturable_updated", intent)
    if final:
        _close(vault, intent, charge)
    return intent


def _close(vault: Vault, intent: Json, charge: Json) -> None:
    """The final capture, or the end of the authorization: what is left is released."""
    charge["captured"] = True
    intent.update(status="succeeded", amount_capturable=0)
    vault.emit("charge.captured", charge)
    vault.emit("payment_intent.succeeded", intent)


def cancel(vault: Vault, intent: Json, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/cancel."""
    if intent["status"] not in (*_CANCELABLE, "requires_capture"):
        raise unexpected_state(vault, intent, "canceled")
    if intent["amount_received"]:
        _close(vault, intent, vault.get(intent["latest_charge"]))
        return intent
    _end(vault, intent, params.get("cancellation_reason"))
    return intent


def expire(vault: Vault, intent: Json) -> None:
    """The authorization's time is over."""
    charge = vault.get(intent["latest_charge"])
    if intent["amount_received"]:
        _close(vault, intent, charge)
        return
    vault.emit("charge.expired", charge)
    _end(vault, intent, "expired")


def _end(vault: Vault, intent: Json, reason: str | None) -> None:
    intent.update(
        status="canceled",
        amount_capturable=0,
        next_action=None,
        canceled_at=int(time.time()),
        cancellation_reason=reason,
    )
    vault.emit("payment_intent.canceled", intent)
    if intent["review"] and vault.get(intent["review"])["open"]:
        close_review(vault, intent, "canceled")


def increment_authorization(vault: Vault, intent: Json, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/increment_authorization."""
    amount = whole(params, "amount")
    if intent["status"] != "requires_capture" or intent["amount_received"]:
        raise unexpected_state(vault, intent, "incremented")
    if amount <= intent["amount"]:
        raise invalid("", "The amount has to be greater than what is authorized.", "amount")
    charge = vault.get(intent["latest_charge"])
    card = charge["payment_method_details"].get("card", {})
    if card.get("incremental_authorization", {}).get("status") != "available":
        words = "This PaymentIntent's authorization cannot be incremented."
        raise invalid("", words, "")
    if amount > 100_000:
        more = {"decline_code": "insufficient_funds", "charge": charge["id"]}
        raise Refused(402, "card_error", "card_declined", "Your card was declined.", **more)
    intent.update(amount=amount, amount_capturable=amount)
    charge["amount"] = card["amount_authorized"] = amount
    vault.emit("charge.updated", charge)
    vault.emit("payment_intent.amount_capturable_updated", intent)
    return intent


def open_review(vault: Vault, intent: Json, *, reason: str = "rule") -> Json:
    """Radar wants a person to look (docs.stripe.com/radar/reviews)."""
    charge = vault.get(intent["latest_charge"])
    review = vault.add(
        "prv",
        billing_zip=None,
        charge=charge["id"],
        closed_reason=None,
        open=True,
        opened_reason=reason,
        payment_intent=intent["id"],
        reason=reason,
    )
    intent["review"] = charge["review"] = review["id"]
    charge["outcome"] |= {"type": "manual_review", "risk_level": "elevated"}
    vault.emit("review.opened", review)
    return review


def close_review(vault: Vault, intent: Json, reason: str) -> None:
    """Somebody decided, or the payment did."""
    review = vault.get(intent["review"])
    review.update(open=False, closed_reason=reason, reason=reason)
    vault.emit("review.closed", review)


def take(vault: Vault, intent: Json, charge: Json, amount: int) -> None:
    """Money moves: one capture of a charge."""
    kind = "charge" if charge["payment_method_details"]["type"] == "card" else "payment"
    made = money.book(vault, kind, charge, amount, fee=money.fee_of(amount))
    charge["balance_transaction"] = charge["balance_transaction"] or made
    charge["amount_captured"] += amount
    intent["amount_received"] += amount
    intent["amount_capturable"] = max(0, intent["amount_capturable"] - amount)


def _ask_for_authentication(vault: Vault, intent: Json, return_url: str) -> None:
    page = "https://hooks.stripe.example/3d_secure"
    action: Json = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": page}}
    if return_url:
        detail = {"url": page, "return_url": return_url}
        action = {"type": "redirect_to_url", "redirect_to_url": detail}
    intent.update(status="requires_action", next_action=action)
    vault.emit("payment_intent.requires_action", intent)


def _charge(vault: Vault, intent: Json, method: Method) -> None:
    if method.code:
        _decline(vault, intent, method, method.code, method.decline_code)
    charge = _new_charge(vault, intent, method)
    if method.kind == "us_bank_account":
        charge["status"] = "pending"
        intent["status"] = "processing"
        vault.emit("charge.pending", charge)
        vault.emit("payment_intent.processing", intent)
        return
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        vault.emit("charge.succeeded", charge)
        vault.emit("payment_intent.amount_capturable_updated", intent)
    else:
        complete(vault, intent, charge)
    if method.elevated_risk:
        open_review(vault, intent)


def complete(vault: Vault, intent: Json, charge: Json) -> None:
    """All of it is taken at once, by card or by bank."""
    charge.update(captured=True, status="succeeded", paid=True)
    take(vault, intent, charge, intent["amount"])
    intent["status"] = "succeeded"
    vault.emit("charge.succeeded", charge)
    vault.emit("payment_intent.succeeded", intent)
    dispute = vault.behaviours[charge["payment_method"]].dispute
    if dispute:
        disputes.open_dispute(vault, charge, status=dispute)


def _new_charge(vault: Vault, intent: Json, method: Method) -> Json:
    saved = vault.get(intent["payment_method"])
    detail = dict(saved[method.kind])
    if method.kind == "card":
        asked = set(_asked_features(intent)) if method.multicapture else set()
        detail |= {
            "amount_authorized": intent["amount"],
            "mandate": None,
            **{
                name: {"status": "available" if name in asked else "unavailable"}
                for name in ("multicapture", "incremental_authorization")
            },
        }
    members: dict[str, Any] = {
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": False,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "metadata": dict(intent["metadata"]),
        "outcome": {
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": {"type": method.kind, method.kind: detail},
        "refunded": False,
        "review": None,
        "status": "succeeded",
    }
    charge = vault.add("ch", **members)
    intent["latest_charge"] = charge["id"]
    return charge


def _decline(vault: Vault, intent: Json, method: Method, code: str, decline_code: str) -> None:
    """The bank says no. Raises Refused."""
    charge = _new_charge(vault, intent, method)
    error = {
        "code": code,
        "decline_code": decline_code,
        "message": "Your card was declined.",
        "charge": charge["id"],
    }
    if method.advice_code:
        error["advice_code"] = method.advice_code
    charge.update(status="failed", paid=False, failure_code=code)
    charge["failure_message"] = error["message"]
    intent["last_payment_error"] = {"type": "card_error", **error}
    intent.update(status="requires_payment_method", payment_method=None)
    vault.emit("charge.failed", charge)
    vault.emit("payment_intent.payment_failed", intent)
    raise Refused(402, "card_error", **error, payment_intent=vault.show(intent))


def unexpected_state(vault: Vault, intent: Json, verb: str) -> Refused:
    """The PaymentIntent is not where the verb begins."""
    words = f"This PaymentIntent could not be {verb} because it has a status of {intent['status']}."
    shown = vault.show(intent)
    return invalid("payment_intent_unexpected_state", words, "", payment_intent=shown)
