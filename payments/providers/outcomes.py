"""What a PSP's payment object means for the call that returned it: status to outcome, as a table.

A PSP that refuses because "the payment is in another state" shows the object as well. When that
object already is where the call wanted to bring it (the payer confirmed a moment earlier, the
capture was made in the PSP's dashboard), the call has what it wanted and is not a decline.
"""

from __future__ import annotations

from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot

_CONFIRMED = {
    ObservedStatus.REQUIRES_ACTION: Outcome.ACTION,
    ObservedStatus.PROCESSING: Outcome.PENDING,
    ObservedStatus.AUTHORIZED: Outcome.OK,
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
        ObservedStatus.PROCESSING: Outcome.PENDING,
        ObservedStatus.CANCELED: Outcome.DECLINED,
        ObservedStatus.FAILED: Outcome.DECLINED,
    },
    "cancel": {ObservedStatus.CANCELED: Outcome.OK},
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
    outcome = _BY_OPERATION[operation].get(snapshot.status, Outcome.UNKNOWN)
    return outcome in {Outcome.OK, Outcome.PENDING, Outcome.ACTION}
