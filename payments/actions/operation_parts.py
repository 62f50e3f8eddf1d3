"""Outcomes of operations on a part of a payment: a refund, a dispute.

Mental model: `record_outcome` decides how an operation ends; for one that is about a refund or a
dispute it asks here. What the PSP says about the part itself goes through `observe_refund` and
`observe_dispute`, the same road as webhooks and polls.
"""

from __future__ import annotations

from payments.actions.change import Change
from payments.actions.observe import observe
from payments.actions.observe_dispute import observe_dispute, tell_dispute
from payments.actions.observe_refund import finish_refund, observe_refund
from payments.machines import DISPUTE_EDGES, OPEN_REFUNDS, may, move
from payments.models import Attempt, Dispute, ProviderOperation, Refund
from payments.providers.base import Outcome, PaymentSnapshot, ProviderError, Result
from payments.providers.objects import DisputeSnapshot, DisputeStatus, RefundStatus

Kind = ProviderOperation.Kind

_OVER = (DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.EXPIRED, DisputeStatus.WITHDRAWN)


def is_about_a_part(operation: ProviderOperation) -> bool:
    """True for operations on a refund or a dispute."""
    return operation.kind in (Kind.REFUND, Kind.SUBMIT_EVIDENCE, Kind.ACCEPT_DISPUTE)


def take_in_part(
    change: Change, operation: ProviderOperation, attempt: Attempt, result: Result
) -> None:
    """The PSP did it, or took it on: our own move comes first, then what the PSP says besides."""
    if operation.kind == Kind.REFUND:
        assert result.refund is not None, f"Bug! {result.outcome} came without a refund"
        observe_refund(change, attempt, result.refund)
    else:
        _take_own_move(change, operation)
    if result.dispute is not None:
        observe_dispute(change, attempt, result.dispute)
    if result.snapshot is not None:
        observe(change, attempt, result.snapshot, current=True)


def _take_own_move(change: Change, operation: ProviderOperation) -> None:
    dispute = _dispute(change, operation)
    event = "submit" if operation.kind == Kind.SUBMIT_EVIDENCE else "accept"
    if not may(dispute, DISPUTE_EDGES, event):
        return
    move(dispute, event)
    dispute.submitted_at = change.now
    change.keep(dispute)
    tell_dispute(change, dispute, "evidence_submitted" if event == "submit" else "accepted")


def take_in_part_decline(
    change: Change,
    operation: ProviderOperation,
    attempt: Attempt,
    result: Result,
    error: ProviderError,
) -> None:
    """The PSP said no: a refund gives its reservation back, a dispute stays as it is."""
    if result.refund is not None:
        observe_refund(change, attempt, result.refund)
    if result.dispute is not None:
        observe_dispute(change, attempt, result.dispute)
    if operation.kind != Kind.REFUND:
        return
    refund = next(
        (row for row in change.kept(Refund) if row.pk == operation.refund_id), None
    ) or Refund.objects.get(pk=operation.refund_id)
    if refund.state in OPEN_REFUNDS:
        finish_refund(change, attempt, refund, "fail", error)


def part_shows_execution(operation: ProviderOperation, snapshot: PaymentSnapshot) -> str | None:
    """The outcome that the PSP's list of refunds or disputes proves, or None for no trace."""
    if operation.kind == Kind.REFUND:
        for refund in snapshot.refunds or ():
            if refund.our_reference == operation.refund_id:
                failed = refund.status in (RefundStatus.FAILED, RefundStatus.CANCELED)
                return Outcome.DECLINED.value if failed else Outcome.OK.value
        return None
    dispute = operation.dispute
    assert dispute is not None, f"Bug! {operation.pk} is about no dispute"
    for found in snapshot.disputes or ():
        if found.provider_reference == dispute.provider_reference and _done(operation, found):
            return Outcome.OK.value
    return None


def _done(operation: ProviderOperation, found: DisputeSnapshot) -> bool:
    if operation.kind == Kind.ACCEPT_DISPUTE:
        return found.status in _OVER
    return (
        found.evidence_submitted
        or found.status == DisputeStatus.UNDER_REVIEW
        or found.status in _OVER
    )


def _dispute(change: Change, operation: ProviderOperation) -> Dispute:
    kept = [row for row in change.kept(Dispute) if row.pk == operation.dispute_id]
    return kept[0] if kept else Dispute.objects.get(pk=operation.dispute_id)
