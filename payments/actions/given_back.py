"""What of a payment's captured money was given or taken back, read with the change under way."""

from __future__ import annotations

from payments.actions.change import Change
from payments.models import Dispute, Payment


def returned_minor(change: Change) -> int:
    """How much of what was taken back was not lost in disputes: returns, captures that failed."""
    payment = change.payment
    if not payment.amount_reversed_minor:
        return 0
    return payment.amount_reversed_minor - sum(row.lost_minor for row in disputes_of(change))


def disputes_of(change: Change) -> list[Dispute]:
    """The payment's disputes as they are with this change."""
    kept = {dispute.pk: dispute for dispute in change.kept(Dispute)}
    stored = change.payment.disputes.exclude(pk__in=kept)
    return [*stored, *kept.values()]


def is_given_back(payment: Payment) -> bool:
    """Whether anything was refunded, promised, disputed or reversed."""
    return bool(
        payment.amount_refunded_minor
        or payment.amount_refund_pending_minor
        or payment.amount_disputed_minor
        or payment.amount_reversed_minor
    )
