"""Refunds: POST /v1/refunds, and what the payer's bank makes of them (docs.stripe.com/refunds)."""

from __future__ import annotations

from tests.stripe_stand_in import money
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid


def create(vault: Vault, params: Json) -> Json:
    """POST /v1/refunds."""
    charge = _charge_of(vault, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = int(params.get("amount", left))
    if left == 0 and charge["amount_captured"]:
        raise invalid("charge_already_refunded", "Charge has already been refunded.", "")
    if charge["status"] != "succeeded" or not charge["amount_captured"]:
        raise invalid("", "This charge took no money; cancel the PaymentIntent.", "")
    _refuse_while_disputed(vault, charge)
    if not 0 < amount <= left:
        raise invalid("", "Refund amount is greater than unrefunded amount on charge.", "amount")
    if vault.quirk("refund_wrong_amount"):
        amount -= 1
    behaviour = vault.behaviours[charge["payment_method"]]
    if behaviour.refund == "refused":
        raise invalid("charge_not_refundable", "This charge cannot be refunded.", "")
    pending = behaviour.refund == "pending" or behaviour.kind == "us_bank_account"
    status = {"action": "requires_action"}.get(
        behaviour.refund, "pending" if pending else "succeeded"
    )
    if vault.quirk("refund_unknown_status"):
        status = "in_contemplation"
    refund = vault.add(
        "re",
        amount=amount,
        balance_transaction=None,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={"card": {"type": "refund"}, "type": "card"},
        metadata=params.get("metadata", {}),
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        pending_reason="processing" if status == "pending" else None,
        reason=params.get("reason"),
        receipt_number=None,
        source_transfer_reversal=None,
        status=status,
        transfer_reversal=None,
    )
    kind = "refund" if behaviour.kind == "card" else "payment_refund"
    refund["balance_transaction"] = money.book(vault, kind, refund, -amount)
    charge["amount_refunded"] += amount
    charge["refunded"] = (
        charge["captured"] and charge["amount_refunded"] == charge["amount_captured"]
    )
    vault.emit("refund.created", refund)
    vault.emit("charge.refunded", charge)
    return refund


def _charge_of(vault: Vault, params: Json) -> Json:
    if params.get("charge"):
        return vault.find("charge", params["charge"], "charge")
    intent = vault.find("payment_intent", params.get("payment_intent", ""), "payment_intent")
    if not intent["latest_charge"]:
        words = "This PaymentIntent does not have a successful charge to refund."
        raise invalid("", words, "payment_intent")
    return vault.get(intent["latest_charge"])


def _refuse_while_disputed(vault: Vault, charge: Json) -> None:
    for dispute in vault.all("dispute"):
        if dispute["charge"] == charge["id"] and not dispute["is_charge_refundable"]:
            words = f"Charge {charge['id']} has been charged back; cannot issue a refund."
            raise Refused(400, "invalid_request_error", "charge_disputed", words)


def succeed(vault: Vault, refund: Json) -> None:
    """The money reached the payer."""
    refund.update(status="succeeded", pending_reason=None)
    _tell(vault, refund)


def fail(vault: Vault, refund: Json, reason: str, *, status: str = "failed") -> None:
    """The payer's bank sends the money back, maybe weeks later; or the refund is canceled."""
    charge = vault.get(refund["charge"])
    refund.update(status=status, pending_reason=None)
    if status == "failed":
        refund["failure_reason"] = reason
    refund["failure_balance_transaction"] = money.book(
        vault, "refund_failure", refund, refund["amount"]
    )
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    _tell(vault, refund)
    if status == "failed":
        vault.emit("refund.failed", refund)


def _tell(vault: Vault, refund: Json) -> None:
    vault.emit("refund.updated", refund)
    vault.emit("charge.refund.updated", refund)
