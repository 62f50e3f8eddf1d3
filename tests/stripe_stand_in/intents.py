"""PaymentIntents and their charges, created and confirmed: POST /v1/payment_intents and
/v1/payment_intents/{id}/confirm (docs.stripe.com/payments/paymentintents/lifecycle).
"""

from __future__ import annotations

import secrets
from typing import Any

from tests.stripe_stand_in import disputes
from tests.stripe_stand_in.customers import resolve
from tests.stripe_stand_in.money import take
from tests.stripe_stand_in.payment_methods import Method
from tests.stripe_stand_in.reviews import open_review
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid, unexpected_state, whole


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
    if method.charge == "declined":
        _decline(vault, intent, method, "card_declined", "generic_decline")
    if vault.get(intent["payment_method"])["customer"] and method.kind == "us_bank_account":
        _refuse_without_mandate(vault, intent)
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


def _refuse_without_mandate(vault: Vault, intent: Json) -> None:
    mandates = [
        one for one in vault.all("mandate") if one["payment_method"] == intent["payment_method"]
    ]
    if not any(one["status"] == "active" for one in mandates):
        words = "The mandate of this PaymentMethod is not active."
        raise invalid("payment_intent_mandate_invalid", words, "payment_method")


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
        "payment_method": vault.show(vault.get(intent["payment_method"])),
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
