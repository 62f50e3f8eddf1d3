"""What the world is told when a payment takes an edge, and what a person is told in review."""

from __future__ import annotations

from payments.models import ReviewCase
from payments.states import State

# The domain event that announces each state a payment arrives in (docs/events.md).
ANNOUNCEMENTS: dict[State, str] = {
    State.CREATED: "payment.attempt_failed",
    State.PROCESSING: "payment.provider_submitted",
    State.REQUIRES_ACTION: "payment.requires_action",
    State.AUTHORIZED: "payment.authorized",
    State.CAPTURE_PENDING: "payment.capture_requested",
    State.PARTIALLY_CAPTURED: "payment.partially_captured",
    State.CAPTURED: "payment.confirmed",
    State.SETTLED: "payment.settled",
    State.IN_REVIEW: "payment.in_review",
    State.DISPUTED: "payment.disputed",
    State.REFUNDED: "payment.refunded",
    State.REVERSED: "payment.reversed",
    State.CANCELED: "payment.canceled",
    State.FAILED: "payment.failed",
}
# Edges that are announced by another word than the state they lead to would have.
ANNOUNCEMENTS_OF_EDGES: dict[str, str] = {
    "attach_payment_method": "payment.updated",
    "increment_or_extend": "payment.authorization_changed",
    "psp_auth_adjusted": "payment.authorization_changed",
    "capture_failed_retryable": "payment.capture_failed",
    "capture_failed_partial": "payment.capture_failed",
    "capture_failed_final": "payment.capture_failed",
}
# Edges that leave the payment where it is and only tell of its settlement.
SETTLED_IN_PLACE = "payment.settlement_recorded"

# What a person finds in the case that each edge into review opens.
CASES: dict[str, ReviewCase.Kind] = {
    "screening_hold": ReviewCase.Kind.SCREENING,
    "psp_fraud_hold": ReviewCase.Kind.FRAUD_HOLD,
    "integrity_mismatch": ReviewCase.Kind.INTEGRITY_MISMATCH,
    "outcome_unknown_exhausted": ReviewCase.Kind.OUTCOME_UNKNOWN,
    "late_money": ReviewCase.Kind.LATE_MONEY,
    "psp_settled": ReviewCase.Kind.LATE_MONEY,
    "capture_failed_late": ReviewCase.Kind.CAPTURE_FAILED_LATE,
    "returned": ReviewCase.Kind.RETURNED_IN_PART,
}
# What stays open when the payment leaves review: it has to be decided by itself.
KEPT_OPEN = frozenset({ReviewCase.Kind.DOUBLE_LOSS, ReviewCase.Kind.CONTRADICTION})


def announcement(event: str, before: str, after: State) -> str:
    """The domain event of one edge (docs/events.md)."""
    if event == "psp_settled" and after != State.SETTLED:
        return SETTLED_IN_PLACE if before == after else ANNOUNCEMENTS[after]
    return ANNOUNCEMENTS_OF_EDGES.get(event) or ANNOUNCEMENTS[after]
