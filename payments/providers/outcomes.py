"""What a PSP's payment object means for the call that returned it: status to outcome, as a table.

A PSP that refuses because "the payment is in another state" shows the object as well. When that
object already is where the call wanted to bring it (the payer confirmed a moment earlier, the
capture was made in the PSP's dashboard), the call has what it wanted and is not a decline.
"""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot
from payments.providers.objects import (
    DisputeSnapshot,
    DisputeStatus,
    RefundSnapshot,
    RefundStatus,
)

_CONFIRMED = {
    ObservedStatus.REQUIRES_ACTION: Outcome.ACTION,
    ObservedStatus.PROCESSING: Outcome.PENDING,
    ObservedStatus.UNDER_REVIEW: Outcome.PENDING,
    ObservedStatus.AUTHORIZED: Outcome.OK,
    ObservedStatus.CAPTURE_PENDING: Outcome.PENDING,
    ObservedStatus.PARTIALLY_CAPTURED: Outcome.OK,
    ObservedStatus.CAPTURED: Outcome.OK,
    ObservedStatus.DECLINED: Outcome.DECLINED,
    ObservedStatus.FAILED: Outcome.DECLINED,
    ObservedStatus.CANCELED: Outcome.DECLINED,
}
_BY_OPERATION: dict[str, dict[ObservedStatus, Outcome]] = {
    "create": {ObservedStatus.OPEN: Outcome.OK},
    "create_and_confirm": _CONFIRMED,
    "confirm": _CONFIRMED,
    "capture": {
        ObservedStatus.CAPTURED: Outcome.OK,
        ObservedStatus.PARTIALLY_CAPTURED: Outcome.OK,
        ObservedStatus.CAPTURE_PENDING: Outcome.PENDING,
        ObservedStatus.PROCESSING: Outcome.PENDING,
        ObservedStatus.CANCELED: Outcome.DECLINED,
        ObservedStatus.FAILED: Outcome.DECLINED,
    },
    # A cancel of what was captured in part releases the rest, and the captured part stands.
    "cancel": {ObservedStatus.CANCELED: Outcome.OK, ObservedStatus.CAPTURED: Outcome.OK},
    "increment": {ObservedStatus.AUTHORIZED: Outcome.OK},
}
_REFUNDED = {
    RefundStatus.SUCCEEDED: Outcome.OK,
    RefundStatus.PENDING: Outcome.PENDING,
    RefundStatus.UNRECOGNISED: Outcome.PENDING,
    RefundStatus.REQUIRES_ACTION: Outcome.ACTION,
    RefundStatus.FAILED: Outcome.DECLINED,
    RefundStatus.CANCELED: Outcome.DECLINED,
}
_STILL_OPEN = {
    "submit_evidence": frozenset({DisputeStatus.NEEDS_RESPONSE}),
    "accept_dispute": frozenset({DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW}),
}


def outcome_of(operation: str, snapshot: PaymentSnapshot) -> Outcome:
    """How a call that was answered with `snapshot` ended.

    A status we do not recognise is PENDING: the PSP has taken the request, we cannot read what
    became of it. A status that the operation cannot lead to is UNKNOWN.
    """
    if snapshot.status == ObservedStatus.UNRECOGNISED:
        return Outcome.PENDING
    return _BY_OPERATION[operation].get(snapshot.status, Outcome.UNKNOWN)


def is_reached(operation: str, snapshot: PaymentSnapshot) -> bool:
    """Whether an object that refused `operation` for its state is where the operation leads."""
    if operation == "cancel":
        return snapshot.status == ObservedStatus.CANCELED
    outcome = _BY_OPERATION[operation].get(snapshot.status, Outcome.UNKNOWN)
    return outcome in {Outcome.OK, Outcome.PENDING, Outcome.ACTION}


def outcome_of_refund(refund: RefundSnapshot) -> Outcome:
    """How a refund call that was answered with `refund` ended."""
    return _REFUNDED[refund.status]


def outcome_of_dispute(operation: str, dispute: DisputeSnapshot) -> Outcome:
    """How "submit_evidence" or "accept_dispute", answered with `dispute`, ended.

    A dispute that still waits for what was just done is UNKNOWN; where it has gone on since (an
    old answer that is told again) the call had its effect.
    """
    if dispute.status == DisputeStatus.UNRECOGNISED:
        return Outcome.PENDING
    waits = dispute.status in _STILL_OPEN[operation] and not (
        operation == "submit_evidence" and dispute.evidence_submitted
    )
    return Outcome.UNKNOWN if waits else Outcome.OK
