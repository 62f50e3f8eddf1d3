"""The Stripe balance: what each movement brings and costs, when it is available, and payouts."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tests.stripe_stand_in.vault import Json, Vault

_CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "payment_failure_refund": "payment_failure_refund",
    "adjustment": "dispute",
}
DISPUTE_FEE = 1_500


def fee_of(amount: int) -> int:
    """2.9 % and 30, rounded half up."""
    return (amount * 290 + 5_000) // 10_000 + 30


def book(
    vault: Vault, kind: str, source: Json, amount: int, *, fee: int = 0, category: str = ""
) -> str:
    """A balance transaction; its id. Negative amounts leave the balance."""
    now = int(time.time())
    details: list[Json] = []
    if fee:
        described = {"amount": fee, "application": None, "currency": source["currency"]}
        details = [{**described, "description": "Stripe fee", "type": "stripe_fee"}]
    made = vault.add(
        "txn",
        amount=amount,
        available_on=now + 2 * 86_400,
        balance_type="payments",
        currency=source["currency"],
        description=None,
        exchange_rate=None,
        fee=fee,
        fee_details=details,
        net=amount - fee,
        reporting_category=category or _CATEGORIES.get(kind, kind),
        source=source["id"],
        status="pending",
        type=kind,
    )
    return str(made["id"])


def take(vault: Vault, intent: Json, charge: Json, amount: int) -> None:
    """Money moves: one capture of a charge."""
    kind = "charge" if charge["payment_method_details"]["type"] == "card" else "payment"
    made = book(vault, kind, charge, amount, fee=fee_of(amount))
    charge["balance_transaction"] = charge["balance_transaction"] or made
    charge["amount_captured"] += amount
    intent["amount_received"] += amount
    intent["amount_capturable"] = max(0, intent["amount_capturable"] - amount)


def settle(vault: Vault) -> None:
    """Time passes: every balance transaction becomes available."""
    for balance in vault.all("balance_transaction"):
        if balance["status"] == "pending":
            balance["status"] = "available"
            if balance["type"] in ("charge", "payment"):
                vault.emit("charge.updated", vault.get(balance["source"]))


def pay_out(vault: Vault, *, automatic: bool) -> list[Json]:
    """A payout per currency of all that is available and not paid out yet."""
    waiting = [
        balance
        for balance in vault.all("balance_transaction")
        if balance["status"] == "available" and balance["id"] not in vault.paid_out
    ]
    nets: Counter[str] = Counter()
    for balance in waiting:
        nets[balance["currency"]] += balance["net"]
    return [
        _payout(vault, currency, net, waiting, automatic)
        for currency, net in nets.items()
        if net > 0
    ]


def _payout(vault: Vault, currency: str, net: int, waiting: list[Json], automatic: bool) -> Json:
    members: dict[str, Any] = {
        "amount": net,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": int(time.time()) + 86_400,
        "automatic": automatic,
        "balance_transaction": None,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": "ba_1",
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "reconciliation_status": "in_progress" if automatic else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "in_transit",
        "trace_id": None,
        "type": "bank_account",
    }
    payout = vault.add("po", **members)
    payout["balance_transaction"] = book(vault, "payout", payout, -net)
    own = vault.get(payout["balance_transaction"])
    own["status"] = "available"
    for balance in [*waiting, own]:
        if balance["currency"] == currency:
            vault.paid_out[balance["id"]] = payout["id"]
    vault.emit("payout.created", payout)
    return payout


def finish_payout(vault: Vault, payout: Json) -> None:
    """It arrives, and its items are known."""
    payout["status"] = "paid"
    vault.emit("payout.paid", payout)
    if payout["automatic"]:
        payout["reconciliation_status"] = "completed"
        vault.emit("payout.reconciliation_completed", payout)
