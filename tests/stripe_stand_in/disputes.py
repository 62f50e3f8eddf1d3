"""Disputes: /v1/disputes with evidence, files and closing, and what the payer's bank decides
(docs.stripe.com/disputes/how-disputes-work).
"""

from __future__ import annotations

import time

from tests.stripe_stand_in import money
from tests.stripe_stand_in.vault import Json, Vault, invalid

_FILE_FIELDS = (
    "cancellation_policy", "customer_communication", "customer_signature",
    "duplicate_charge_documentation", "receipt", "refund_policy", "service_documentation",
    "shipping_documentation", "uncategorized_file",
)  # fmt: skip
_TEXT_FIELDS = (
    "access_activity_log", "billing_address", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_email_address", "customer_name", "customer_purchase_ip",
    "duplicate_charge_explanation", "duplicate_charge_id", "product_description",
    "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "shipping_address",
    "shipping_carrier", "shipping_date", "shipping_tracking_number", "uncategorized_text",
)  # fmt: skip
_ANSWERABLE = ("needs_response", "warning_needs_response", "appeal_needs_response")


def open_dispute(
    vault: Vault, charge: Json, *, status: str, amount: int = 0, reason: str = "fraudulent"
) -> Json:
    """The payer's bank asks (`warning_...`) or takes the money back."""
    bank_debit = charge["payment_method_details"]["type"] != "card"
    dispute = vault.add(
        "dp",
        amount=amount or charge["amount_captured"],
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence=dict.fromkeys((*_FILE_FIELDS, *_TEXT_FIELDS)),
        evidence_details={
            "due_by": 0 if bank_debit else int(time.time()) + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=status.startswith("warning_"),
        metadata={},
        payment_intent=charge["payment_intent"],
        reason=reason,
        status=status,
    )
    if vault.quirk("dispute_unknown_status"):
        dispute["status"] = "in_contemplation"
    charge["disputed"] = True
    inquiry = status.startswith("warning_") or status == "prevented"
    if not inquiry:
        _move(vault, dispute, -dispute["amount"], fee=money.DISPUTE_FEE)
    vault.emit("charge.dispute.created", dispute)
    if not inquiry:
        vault.emit("charge.dispute.funds_withdrawn", dispute)
    if status in ("lost", "prevented"):
        vault.emit("charge.dispute.closed", dispute)
    return dispute


def _move(vault: Vault, dispute: Json, amount: int, *, fee: int = 0) -> None:
    category = "dispute" if amount < 0 else "dispute_reversal"
    made = money.book(vault, "adjustment", dispute, amount, fee=fee, category=category)
    dispute["balance_transactions"].append(made)


def update(vault: Vault, dispute: Json, params: Json) -> Json:
    """POST /v1/disputes/{id}: stage evidence, or hand it in."""
    if dispute["status"] not in _ANSWERABLE:
        raise invalid("", "This dispute is already closed or under review.", "")
    if not dispute["evidence_details"]["due_by"]:
        raise invalid("", "This dispute cannot be responded to.", "")
    for name, value in params.get("evidence", {}).items():
        if name not in dispute["evidence"]:
            raise invalid("parameter_unknown", f"Received unknown parameter: {name}", name)
        if name in _FILE_FIELDS:
            file = vault.find("file", value, f"evidence[{name}]")
            if file["purpose"] != "dispute_evidence":
                raise invalid("", "The file has another purpose.", f"evidence[{name}]")
        dispute["evidence"][name] = value
    dispute["evidence_details"]["has_evidence"] = any(dispute["evidence"].values())
    vault.emit("charge.dispute.updated", dispute)
    if params.get("submit", "true") == "true":
        _hand_in(vault, dispute)
    return dispute


def _hand_in(vault: Vault, dispute: Json) -> None:
    """Stripe's test mode decides by the words (docs.stripe.com/testing#evidence)."""
    details = dispute["evidence_details"]
    details.update(submission_count=details["submission_count"] + 1, submission_method="manual")
    dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    vault.emit("charge.dispute.updated", dispute)
    words = dispute["evidence"]["uncategorized_text"]
    if words in ("winning_evidence", "losing_evidence"):
        decide(vault, dispute, won=words == "winning_evidence")


def decide(vault: Vault, dispute: Json, *, won: bool, reinstated: int | None = None) -> None:
    """The bank's decision; `reinstated` of a loss in part."""
    if dispute["status"].startswith("warning_"):
        dispute["status"] = "warning_closed"
        vault.emit("charge.dispute.closed", dispute)
        return
    dispute["status"] = "won" if won else "lost"
    back = dispute["amount"] if won else reinstated or 0
    if back:
        _move(vault, dispute, back)
        vault.emit("charge.dispute.funds_reinstated", dispute)
    vault.emit("charge.dispute.closed", dispute)


def escalate(vault: Vault, dispute: Json) -> None:
    """An inquiry becomes a chargeback."""
    dispute.update(status="needs_response", is_charge_refundable=False)
    dispute["evidence_details"]["submission_count"] = 0
    _move(vault, dispute, -dispute["amount"], fee=money.DISPUTE_FEE)
    vault.emit("charge.dispute.updated", dispute)
    vault.emit("charge.dispute.funds_withdrawn", dispute)


def close(vault: Vault, dispute: Json) -> Json:
    """POST /v1/disputes/{id}/close: it is given up."""
    if dispute["status"] != "needs_response":
        raise invalid("", f"This dispute is {dispute['status']}; it cannot be closed.", "")
    dispute["status"] = "lost"
    vault.emit("charge.dispute.closed", dispute)
    return dispute
