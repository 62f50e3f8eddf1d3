"""What a payout consists of: the balance transactions that were paid out with it, as they are.

Stripe tells this for automatic payouts only, and only once their reconciliation is completed; the
account's owner decides what is in a manual payout, so nobody can say
(docs.stripe.com/payouts/reconciliation). The payout's own transaction, which takes the money out,
is among them: without it the items' net amounts add up to the payout's amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payments.providers import fields
from payments.providers.base import Credentials, Outcome, Result
from payments.providers.refusals import refusal
from payments.providers.stripe.amounts import minor
from payments.providers.stripe.call import Call
from payments.providers.stripe.snapshots import expanded, reference


@dataclass(frozen=True, kw_only=True)
class PayoutItem:
    """One balance transaction. Amounts in minor units of the balance's currency; what leaves the
    balance is negative. `net_minor` is `amount_minor - fee_minor`.

    source: the charge, refund, dispute, payout ... that it comes from; `payment_reference` the
    PaymentIntent behind that, where there is one.
    """

    provider_reference: str
    kind: str  # Stripe's own word: charge, payment, refund, refund_failure, adjustment, payout ...
    reporting_category: str
    source: str
    payment_reference: str
    amount_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    created_at: datetime | None
    available_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PayoutItems:
    """One reading: `items` when `result` is OK, else why there are none."""

    result: Result
    items: tuple[PayoutItem, ...] = ()


def list_payout_items(
    provider_reference: str, *, credentials: Credentials, timeout_seconds: float
) -> PayoutItems:
    """Every balance transaction of one automatic payout, the payout's own among them.

    `result` is OK, DECLINED (no such payout, or one that Stripe does not itemise), PENDING (the
    reconciliation is not completed), NOT_SENT or UNKNOWN.
    """
    call = Call("payout_items", credentials, "", timeout_seconds)
    found: list[PayoutItem] = []

    def steps() -> Result:
        payout = call.get(
            lambda v1, given, options: v1.payouts.retrieve(provider_reference, given, options), {}
        )
        if payout.get("automatic") is not True:
            words = "Stripe does not tell what a manual payout consists of."
            return call.result(Outcome.DECLINED, error=refusal("provider_request_refused", words))
        if payout.get("reconciliation_status") != "completed":
            return call.result(Outcome.PENDING)
        listed = call.get_all(
            lambda v1, given, options: v1.balance_transactions.list(given, options),
            {"payout": provider_reference, "expand": ["data.source"]},
            step="balance_transactions",
        )
        found.extend(read_item(one) for one in listed)
        return call.result(Outcome.OK)

    result = call.run(steps)
    return PayoutItems(result=result, items=tuple(found) if result.outcome == Outcome.OK else ())


def read_item(balance_transaction: Mapping[str, Any]) -> PayoutItem:
    """The PayoutItem of a balance transaction. Raises UnreadableObject."""
    currency = fields.required_text(balance_transaction, "currency").upper()
    source = expanded(balance_transaction, "source")
    amounts = {
        name: minor(fields.whole(balance_transaction, name), currency)
        for name in ("amount", "fee", "net")
    }
    return PayoutItem(
        provider_reference=fields.required_text(balance_transaction, "id"),
        kind=fields.required_text(balance_transaction, "type"),
        reporting_category=fields.text(balance_transaction, "reporting_category"),
        source=reference(balance_transaction, "source"),
        payment_reference=reference(source, "payment_intent"),
        amount_minor=amounts["amount"],
        fee_minor=amounts["fee"],
        net_minor=amounts["net"],
        currency=currency,
        created_at=fields.epoch(balance_transaction, "created"),
        available_at=fields.epoch(balance_transaction, "available_on"),
    )
