"""What a PSP's word about a refund does: to the refund, to the payment's amounts, to the books.

Mental model: called with the payment locked. A refund is known by our id, which the PSP stores, or
by the PSP's own; one that was made in the PSP's dashboard is new to us and gets a row of its own.
What cannot be (another amount, money that was never captured) is told to a person and changes
nothing. A refund that succeeded may still fail: the money is then the merchant's again.
"""

from __future__ import annotations

from functools import partial

from payments import bookkeeping
from payments.actions.change import Change
from payments.actions.facts import error_object
from payments.amounts import amount_words
from payments.machines import OPEN_REFUNDS, REFUND_EDGES, may, move
from payments.models import Attempt, Payment, Refund
from payments.providers.base import PaymentSnapshot, ProviderError
from payments.providers.objects import RefundSnapshot, RefundStatus
from payments.representation import refund_object
from payments.states import State

_EVENTS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.REQUIRES_ACTION: "require_action",
    RefundStatus.SUCCEEDED: "succeed",
    RefundStatus.FAILED: "fail",
    RefundStatus.CANCELED: "cancel",
}
_ANNOUNCEMENTS = {
    "succeeded": "refund.succeeded",
    "failed": "refund.failed",
    "canceled": "refund.failed",
}
GIVEN_UP = frozenset({"failed", "canceled"})
NOT_MADE = ProviderError(
    code="provider_not_executed",
    message="The provider has no trace of this refund; nothing was given back.",
)


def observe_refund(change: Change, attempt: Attempt | None, snapshot: RefundSnapshot) -> bool:
    """Bring the refund to what `snapshot` says; True when that changed anything."""
    if snapshot.status == RefundStatus.UNRECOGNISED:
        words = f"The provider reports the refund status {snapshot.raw_status!r}."
        return change.open_case("status_unknown", words)
    refund = _known(change, snapshot)
    if refund is None:
        return _first_seen(change, attempt, snapshot)
    if snapshot.version and snapshot.version < refund.provider_version:
        return False
    if (snapshot.amount_minor, snapshot.currency) != (refund.amount_minor, refund.currency):
        return change.contradict(
            f"{refund.pk} is {amount_words(refund.amount_minor, refund.currency)}; the provider "
            f"reports {amount_words(snapshot.amount_minor, snapshot.currency)}."
        )
    newer = refund.succeeded_at is None or snapshot.version > refund.provider_version
    learnt = _bind(refund, snapshot)
    event = _EVENTS[snapshot.status]
    if refund.state in GIVEN_UP and snapshot.status == RefundStatus.SUCCEEDED and newer:
        if learnt:
            change.keep(refund)
        return change.contradict(
            f"{refund.pk} is {refund.state} and its {refund.amount_minor} {refund.currency} are "
            f"free again; the provider reports that {snapshot.provider_reference} succeeded."
        )
    if refund.state == "succeeded" and snapshot.status in (
        RefundStatus.FAILED,
        RefundStatus.CANCELED,
    ):
        event = "fail_late"
    if not may(refund, REFUND_EDGES, event):
        if learnt:
            change.keep(refund)
        return False
    finish_refund(change, attempt, refund, event, snapshot.error)
    return True


def reserve_refund(change: Change, refund: Refund) -> None:
    """Count a new refund's amount as promised, and book it; the caller keeps the change."""
    payment = change.payment
    payment.amount_refund_pending_minor += refund.amount_minor
    payment.platform_fee_minor -= refund.platform_fee_returned_minor
    change.keep(refund)
    change.book(partial(bookkeeping.refund_reserved, refund=refund))
    change.audit(
        "refund.created",
        {
            "refund": refund.pk,
            "amount_minor": refund.amount_minor,
            "currency": refund.currency,
            "source": refund.source,
            "reason": refund.reason,
        },
        references=[("refund", refund.pk), ("provider_refund", refund.provider_reference)],
    )
    change.announce("refund.created", refund_object(refund))


def finish_refund(
    change: Change,
    attempt: Attempt | None,
    refund: Refund,
    event: str,
    error: ProviderError | None,
) -> None:
    """Take an edge of the refund, with what it means for the payment."""
    was = refund.state
    move(refund, event)
    payment = change.payment
    if refund.state == "succeeded":
        refund.succeeded_at = change.now
        payment.amount_refund_pending_minor -= refund.amount_minor
        payment.amount_refunded_minor += refund.amount_minor
        change.book(partial(bookkeeping.refund_taken, refund=refund))
    elif refund.state in GIVEN_UP:
        _give_up(change, refund, was, error)
    change.keep(refund)
    change.audit(
        f"refund.{refund.state}",
        {"refund": refund.pk, "from_state": was, "to_state": refund.state, "error": refund.error},
        references=[("refund", refund.pk), ("provider_refund", refund.provider_reference)],
    )
    change.announce(_ANNOUNCEMENTS.get(refund.state, "refund.updated"), refund_object(refund))
    _move_payment(change, attempt, failed=event == "fail_late")


def _give_up(change: Change, refund: Refund, was: str, error: ProviderError | None) -> None:
    payment = change.payment
    refund.failed_at = change.now
    refund.error = error_object(error) if error else None
    if was in OPEN_REFUNDS:
        payment.amount_refund_pending_minor -= refund.amount_minor
    else:
        payment.amount_refunded_minor -= refund.amount_minor
    payment.platform_fee_minor += refund.platform_fee_returned_minor
    taken = was == "succeeded"
    change.book(partial(bookkeeping.refund_failed, refund=refund, was_taken=taken))


def _move_payment(change: Change, attempt: Attempt | None, *, failed: bool = False) -> None:
    """The payment follows where all, or no longer all, of its money is given back."""
    payment = change.payment
    state = State(payment.state)
    all_given_back = left_minor(payment) <= 0 and payment.amount_refunded_minor > 0
    if all_given_back and state in (State.CAPTURED, State.SETTLED):
        change.advance("refunded_in_full", attempt)
    elif state == State.REFUNDED and not all_given_back:
        settled = payment.amount_settled_minor == payment.amount_captured_minor
        suffix = "_settled" if settled else ""
        change.advance(f"refund_failed_after_success{suffix}", attempt)
    elif state == State.REVERSED and left_minor(payment) > 0 and failed:
        settled = payment.amount_settled_minor == payment.amount_captured_minor
        change.advance("reversal_undone" if settled else "reversal_undone_unsettled", attempt)


def follow_given_back(change: Change, attempt: Attempt | None) -> None:
    """A payment that comes to rest with all its money given back before is refunded."""
    if change.payment.state in (State.CAPTURED, State.SETTLED):
        _move_payment(change, attempt)


def free_lost_refunds(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """Give back what is reserved for refunds that the PSP surely never made: nobody asks for them
    any more, their keys are forgotten, and the PSP's own list does not have them.
    """
    payment = change.payment
    if snapshot.refunds is None or not payment.amount_refund_pending_minor:
        return False
    told = {refund.our_reference for refund in snapshot.refunds}
    lost = payment.refunds.filter(state="requested", provider_reference="").exclude(pk__in=told)
    freed = False
    for refund in lost:
        operations = payment.operations.filter(refund=refund)
        if operations.filter(finished_at=None).exists():
            continue
        if operations.filter(key_expires_at__gt=change.now).exists():
            continue
        finish_refund(change, attempt, refund, "fail", NOT_MADE)
        freed = True
    return freed


def left_minor(payment: Payment) -> int:
    """What is left of captured money after what was given or taken back for good."""
    return (
        payment.amount_captured_minor
        - payment.amount_refunded_minor
        - payment.amount_reversed_minor
    )


def _known(change: Change, snapshot: RefundSnapshot) -> Refund | None:
    for here in change.kept(Refund):
        if snapshot.our_reference == here.pk or (
            snapshot.provider_reference == here.provider_reference
        ):
            return here
    refunds = change.payment.refunds
    ours = refunds.filter(pk=snapshot.our_reference).first() if snapshot.our_reference else None
    return ours or refunds.filter(provider_reference=snapshot.provider_reference).first()


def _first_seen(change: Change, attempt: Attempt | None, snapshot: RefundSnapshot) -> bool:
    """A refund that nobody asked us for: it is a fact, so it is booked; what it gives back beyond
    what was there is a double loss that a person is told of.
    """
    payment = change.payment
    if not payment.amount_captured_minor or snapshot.currency != payment.currency:
        return change.contradict(
            f"The provider reports a refund {snapshot.provider_reference} of "
            f"{amount_words(snapshot.amount_minor, snapshot.currency)}, for which we hold no "
            "captured money."
        )
    if snapshot.status in (RefundStatus.FAILED, RefundStatus.CANCELED):
        return False
    refund = Refund(
        payment=payment,
        provider_account=payment.provider_account,
        amount_minor=snapshot.amount_minor,
        currency=snapshot.currency,
        reason=snapshot.reason if snapshot.reason in Refund.Reason.values else "",
        source=Refund.Source.PSP,
        provider_reference=snapshot.provider_reference,
        provider_version=snapshot.version,
        created_at=change.now,
    )
    reserve_refund(change, refund)
    finish_refund(change, attempt, refund, _EVENTS[snapshot.status], snapshot.error)
    return True


def _bind(refund: Refund, snapshot: RefundSnapshot) -> bool:
    before = (refund.provider_reference, refund.provider_version)
    refund.provider_reference = refund.provider_reference or snapshot.provider_reference
    refund.provider_version = max(refund.provider_version, snapshot.version)
    return before != (refund.provider_reference, refund.provider_version)
