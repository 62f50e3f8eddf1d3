"""Radar reviews: a person looks at a payment, held or taken (docs.stripe.com/radar/reviews)."""

from __future__ import annotations

from tests.stripe_stand_in.vault import Json, Vault


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
