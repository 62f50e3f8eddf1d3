"""What is held: captured once or in parts, raised, released, run out
(docs.stripe.com/payments/multicapture, docs.stripe.com/payments/incremental-authorization).
"""

from __future__ import annotations

import time

from tests.stripe_stand_in.money import take
from tests.stripe_stand_in.reviews import close_review
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid, unexpected_state, whole

_CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


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
    behaviour = vault.behaviours[charge["payment_method"]]
    if behaviour.capture in ("refused", "expired"):
        raise _refused_capture(vault, intent, behaviour.capture)
    if behaviour.capture == "pending":
        # docs.stripe.com/payments/paymentintents/lifecycle: a capture moves it to processing.
        intent["status"] = "processing"
        vault.pending_captures[intent["id"]] = (amount, final)
        vault.emit("payment_intent.processing", intent)
        return intent
    return _capture_now(vault, intent, amount, final=final)


def finish_capture(vault: Vault, intent: Json) -> None:
    """A capture that was processing succeeds."""
    amount, final = vault.pending_captures.pop(intent["id"])
    intent["status"] = "requires_capture"
    _capture_now(vault, intent, amount, final=final)


def _capture_now(vault: Vault, intent: Json, amount: int, *, final: bool) -> Json:
    charge = vault.get(intent["latest_charge"])
    card = charge["payment_method_details"].get("card", {})
    if vault.quirk("capture_wrong_amount"):
        amount -= 1
    if amount:
        take(vault, intent, charge, amount)
    if card.get("multicapture", {}).get("status") == "available":
        vault.emit("charge.updated", charge)
        vault.emit("payment_intent.amount_capturable_updated", intent)
    if final:
        _close(vault, intent, charge)
    return intent


def _refused_capture(vault: Vault, intent: Json, how: str) -> Refused:
    """The bank does not give the money; `expired`: nor does it hold it any longer."""
    if how == "expired":
        vault.emit("charge.expired", vault.get(intent["latest_charge"]))
        _end(vault, intent, "expired")
        words = "The charge cannot be captured as the authorization has expired."
        shown = vault.show(intent)
        return invalid("charge_expired_for_capture", words, "", payment_intent=shown)
    more = {"decline_code": "do_not_honor", "payment_intent": vault.show(intent)}
    return Refused(402, "card_error", "card_declined", "Your card was declined.", **more)


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
    if intent["amount_received"] and vault.quirk("cancel_refused_after_capture"):
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
    if vault.behaviours[charge["payment_method"]].increment == "declined":
        more = {"decline_code": "insufficient_funds", "charge": charge["id"]}
        raise Refused(402, "card_error", "card_declined", "Your card was declined.", **more)
    intent.update(amount=amount, amount_capturable=amount)
    charge["amount"] = card["amount_authorized"] = amount
    vault.emit("charge.updated", charge)
    vault.emit("payment_intent.amount_capturable_updated", intent)
    return intent
