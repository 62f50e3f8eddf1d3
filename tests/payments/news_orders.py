"""A payment's life at a provider as random documents, and what our books must say at its end.

Mental model: `history_of` goes on from a captured payment's document, a few steps at a time, as a
provider may: refunds and disputes come and move on, the money settles. Every step is one document.
The test tells them in any order; `figures_told` and `state_told` read the last one anew, without
any code of ours.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

from payments.models import Payment
from tests.payments.altered_news import Document, dispute_in, refund_in

STEPS = 10
DISPUTES_MAX = 3
REFUND_NEXT = {"pending": ["succeeded", "failed"], "succeeded": ["failed"], "failed": []}
DISPUTE_NEXT = {
    "needs_response": ["under_review", "won", "lost"],
    "under_review": ["won", "lost"],
    "lost": ["won"],
    "won": [],
}
UNDER_WAY = ("needs_response", "under_review")


def history_of(document: Document, rng: random.Random, *, versions: bool) -> list[Document]:
    """The document and those that follow; without `versions` the provider counts none."""
    history = [document if versions else {**document, "version": 0}]
    for _ in range(STEPS):
        history.append(_following(history[-1], rng, versions=versions))
    return history


def _following(document: Document, rng: random.Random, *, versions: bool) -> Document:
    following = copy.deepcopy(document)
    following["version"] += versions
    for _ in range(rng.choice([1, 1, 2])):
        part = rng.choice(HAPPENINGS)(following, rng, versions)
        if part is not None:
            part["version"] += versions
    return following


# --- what may happen: each changes the document and gives the part that it changed --------------


def _refund_begins(document: Document, rng: random.Random, versions: bool) -> Document | None:
    left = document["amount_captured_minor"] - _refunded(document, "pending", "succeeded")
    if left <= 0:
        return None
    refund = refund_in(
        document,
        id=f"sbr_{rng.getrandbits(60):x}",
        status=rng.choice(["pending", "succeeded"]),
        amount_minor=rng.choice([left, min(700, left)]),
    )
    document["refunds"].append(refund)
    return refund


def _refund_moves_on(document: Document, rng: random.Random, versions: bool) -> Document | None:
    moving: list[Document] = [one for one in document["refunds"] if REFUND_NEXT[one["status"]]]
    if not moving:
        return None
    refund = rng.choice(moving)
    refund["status"] = rng.choice(REFUND_NEXT[refund["status"]])
    return refund


def _dispute_begins(document: Document, rng: random.Random, versions: bool) -> Document | None:
    if len(document["disputes"]) >= DISPUTES_MAX:
        return None
    amount = rng.choice([document["amount_captured_minor"], 1000])
    dispute = dispute_in(
        document,
        id=f"sbd_{rng.getrandbits(60):x}",
        amount_minor=amount,
        funds_withdrawn_minor=amount,
    )
    if rng.random() < 0.2:
        dispute |= {"stage": "inquiry", "funds_withdrawn_minor": 0, "fee_minor": 0}
    document["disputes"].append(dispute)
    return dispute


def _dispute_moves_on(document: Document, rng: random.Random, versions: bool) -> Document | None:
    moving: list[Document] = [one for one in document["disputes"] if _next(one, versions)]
    if not moving:
        return None
    dispute = rng.choice(moving)
    status = rng.choice(_next(dispute, versions))
    dispute["status"] = status
    if status == "won":
        dispute |= {"funds_withdrawn_minor": 0, "fee_minor": rng.choice([0, 1500])}
    if dispute["stage"] == "inquiry" and status == "needs_response":
        withdrawn = dispute["amount_minor"]
        dispute |= {"stage": "chargeback", "funds_withdrawn_minor": withdrawn, "fee_minor": 1500}
    return dispute


def _next(dispute: Document, versions: bool) -> list[str]:
    """Where the dispute may go. Only who counts versions can say that a lost one was won after all:
    else it cannot be told from old news.
    """
    status = dispute["status"]
    if dispute["stage"] == "inquiry":
        return [] if status == "closed" else ["closed", "needs_response"]
    return [] if status == "lost" and not versions else DISPUTE_NEXT[status]


def _settlement(document: Document, rng: random.Random, versions: bool) -> Document | None:
    document["settled"] = True
    document["amount_settled_minor"] = document["amount_captured_minor"]
    return None


HAPPENINGS: list[Callable[[Document, random.Random, bool], Document | None]] = [
    _refund_begins,
    _refund_begins,
    _refund_moves_on,
    _refund_moves_on,
    _dispute_begins,
    _dispute_moves_on,
    _dispute_moves_on,
    _settlement,
]


# --- what must be true at the end ---------------------------------------------------------------


def figures(payment: Payment) -> dict[str, int]:
    """Our figures of the payment that a provider's document determines."""
    return {
        "captured": payment.amount_captured_minor,
        "capturable": payment.amount_capturable_minor,
        "settled": payment.amount_settled_minor,
        "refunded": payment.amount_refunded_minor,
        "refund pending": payment.amount_refund_pending_minor,
        "disputed": payment.amount_disputed_minor,
        "reversed": payment.amount_reversed_minor,
        "dispute fees": payment.dispute_fee_minor,
    }


def figures_told(document: Document) -> dict[str, int]:
    """The same figures as the document tells them."""
    captured = document["amount_captured_minor"]
    withdrawn = sum(one["funds_withdrawn_minor"] for one in document["disputes"])
    return {
        "captured": captured,
        "capturable": document["amount_capturable_minor"],
        "settled": captured if document["settled"] else 0,
        "refunded": _refunded(document, "succeeded"),
        "refund pending": _refunded(document, "pending"),
        "disputed": withdrawn - _lost(document),
        "reversed": _lost(document),
        "dispute fees": sum(one["fee_minor"] for one in document["disputes"]),
    }


def state_told(document: Document) -> str:
    """The state that the document's payment is in."""
    if any(
        one["stage"] != "inquiry" and one["status"] in UNDER_WAY for one in document["disputes"]
    ):
        return "disputed"
    given_back = _refunded(document, "succeeded") + _lost(document)
    gone = given_back >= document["amount_captured_minor"]
    if gone and _lost(document):
        return "reversed"
    if document["amount_capturable_minor"]:
        return "partially_captured"
    if gone:
        return "refunded"
    return "settled" if document["settled"] else "captured"


def _refunded(document: Document, *statuses: str) -> int:
    return sum(one["amount_minor"] for one in document["refunds"] if one["status"] in statuses)


def _lost(document: Document) -> int:
    return sum(
        one["funds_withdrawn_minor"] for one in document["disputes"] if one["status"] == "lost"
    )
