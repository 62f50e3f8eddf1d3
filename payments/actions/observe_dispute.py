"""What a PSP's word about a dispute does: to the dispute, the payment's state, amounts and books.

Mental model: called with the payment locked. The PSP decides; we follow. The stage only moves
forward and opens the case again. Money the PSP withdrew stands in dispute until the case is closed;
then it is ours again or lost, in full or in part. An inquiry withdraws nothing and does not move
the payment.
"""

from __future__ import annotations

from functools import partial

from payments import bookkeeping
from payments.actions.change import Change
from payments.actions.given_back import disputes_of
from payments.actions.observe_refund import follow_given_back, left_minor
from payments.amounts import amount_words
from payments.machines import DISPUTE_EDGES, LOST_DISPUTES, OPEN_DISPUTES, may, move
from payments.models import Attempt, Dispute
from payments.providers.objects import DisputeSnapshot, DisputeStage, DisputeStatus
from payments.representation import dispute_object
from payments.states import State, can_take

_STAGES = list(DisputeStage)

# status the PSP reports -> the edges that may lead there, the first that is allowed is taken.
_EVENTS: dict[DisputeStatus, tuple[str, ...]] = {
    DisputeStatus.NEEDS_RESPONSE: ("reopen",),
    DisputeStatus.UNDER_REVIEW: ("review", "review_again"),
    DisputeStatus.WON: ("win", "win_after_all"),
    DisputeStatus.LOST: ("lose", "lose_after_all"),
    DisputeStatus.EXPIRED: ("expire",),
    DisputeStatus.WITHDRAWN: ("withdraw",),
    DisputeStatus.CLOSED: ("close",),
    DisputeStatus.PREVENTED: ("prevent",),
}
# Our own words for a state that the PSP tells by a broader one.
_SAME = {
    ("submitted", DisputeStatus.NEEDS_RESPONSE),
    ("submitted", DisputeStatus.UNDER_REVIEW),
    ("accepted", DisputeStatus.LOST),
    ("expired", DisputeStatus.LOST),
}


def observe_dispute(change: Change, attempt: Attempt | None, snapshot: DisputeSnapshot) -> bool:
    """Bring the dispute to what `snapshot` says; True when that changed anything."""
    payment = change.payment
    if snapshot.status == DisputeStatus.UNRECOGNISED:
        words = f"The provider reports the dispute status {snapshot.raw_status!r}."
        return change.open_case("status_unknown", words)
    dispute = _known(change, snapshot)
    if not payment.amount_captured_minor or snapshot.currency != payment.currency:
        return change.contradict(
            f"The provider reports a dispute {snapshot.provider_reference} of "
            f"{amount_words(snapshot.amount_minor, snapshot.currency)}, for which we hold no "
            "captured money."
        )
    is_new = dispute is None
    if dispute is None:
        dispute = _first_seen(change, snapshot)
    elif _is_old(dispute, snapshot):
        return False
    was_open, was_stage = _at_risk(dispute), dispute.stage
    dispute.provider_version = max(dispute.provider_version, snapshot.version)
    moved = _follow(dispute, snapshot, is_new=is_new)
    booked = _book(change, dispute, snapshot)
    if not (is_new or moved or booked or dispute.stage != was_stage):
        return False
    open_now = dispute.state in OPEN_DISPUTES
    dispute.closed_at = None if open_now else dispute.closed_at or change.now
    change.keep(dispute)
    word = "opened" if is_new else "updated" if open_now else "closed"
    tell_dispute(change, dispute, word)
    if is_new and not open_now:
        change.announce("dispute.closed", dispute_object(dispute))
    _move_payment(change, attempt, dispute, was_open=was_open and not is_new, is_new=is_new)
    return True


def _known(change: Change, snapshot: DisputeSnapshot) -> Dispute | None:
    for here in change.kept(Dispute):
        if here.provider_reference == snapshot.provider_reference:
            return here
    disputes = change.payment.disputes
    return disputes.filter(provider_reference=snapshot.provider_reference).first()


def _first_seen(change: Change, snapshot: DisputeSnapshot) -> Dispute:
    return Dispute(
        payment=change.payment,
        provider_account=change.payment.provider_account,
        provider_reference=snapshot.provider_reference,
        stage=snapshot.stage,
        amount_minor=snapshot.amount_minor,
        currency=snapshot.currency,
        reason=snapshot.reason[:80],
        evidence_due_at=snapshot.evidence_due_at,
        created_at=change.now,
    )


def _is_old(dispute: Dispute, snapshot: DisputeSnapshot) -> bool:
    if snapshot.version:
        return snapshot.version < dispute.provider_version
    earlier_stage = _STAGES.index(snapshot.stage) < _STAGES.index(DisputeStage(dispute.stage))
    closed = dispute.state not in OPEN_DISPUTES
    opens = snapshot.status in (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)
    before_money = snapshot.funds_withdrawn_minor < dispute.withdrawn_minor
    return earlier_stage or ((closed or before_money) and opens and snapshot.stage == dispute.stage)


def _follow(dispute: Dispute, snapshot: DisputeSnapshot, *, is_new: bool) -> bool:
    """Take the edge to what the PSP says; False when the dispute is there already."""
    later = _STAGES.index(snapshot.stage) > _STAGES.index(DisputeStage(dispute.stage))
    dispute.stage = max(snapshot.stage, DisputeStage(dispute.stage), key=_STAGES.index)
    dispute.amount_minor = snapshot.amount_minor
    if snapshot.evidence_due_at is not None:
        dispute.evidence_due_at = snapshot.evidence_due_at
    if is_new and snapshot.status == DisputeStatus.NEEDS_RESPONSE:
        return True
    if not later and (dispute.state, snapshot.status) in _SAME:
        return False
    if not later and dispute.state == snapshot.status:
        return False
    for event in _EVENTS[snapshot.status]:
        if may(dispute, DISPUTE_EDGES, event):
            move(dispute, event)
            return True
    return False


def _book(change: Change, dispute: Dispute, snapshot: DisputeSnapshot) -> bool:
    """Bring withdrawn, lost and fee to what the PSP says; each difference is one entry."""
    payment = change.payment
    before = (dispute.withdrawn_minor, dispute.lost_minor, dispute.fee_minor)
    lost = dispute.state in LOST_DISPUTES
    target_lost = snapshot.funds_withdrawn_minor if lost else 0
    target_held = 0 if lost else snapshot.funds_withdrawn_minor
    if target_lost < dispute.lost_minor:  # a lost case was decided for us after all
        again = dispute.lost_minor - target_lost
        dispute.lost_minor -= again
        payment.amount_reversed_minor -= again
        change.book(partial(bookkeeping.given_again, amount_minor=again))
    more = target_held + target_lost - dispute.withdrawn_minor - dispute.lost_minor
    if more > 0:
        dispute.withdrawn_minor += more
        payment.amount_disputed_minor += more
        change.book(partial(bookkeeping.dispute_withdrawn, dispute=dispute, amount_minor=more))
    if target_lost > dispute.lost_minor:
        gone = target_lost - dispute.lost_minor
        dispute.lost_minor += gone
        dispute.withdrawn_minor -= gone
        payment.amount_disputed_minor -= gone
        payment.amount_reversed_minor += gone
        change.book(partial(bookkeeping.dispute_lost, dispute=dispute, amount_minor=gone))
    if dispute.withdrawn_minor > target_held:
        back = dispute.withdrawn_minor - target_held
        dispute.withdrawn_minor -= back
        payment.amount_disputed_minor -= back
        change.book(partial(bookkeeping.dispute_returned, dispute=dispute, amount_minor=back))
    if snapshot.fee_minor is not None and snapshot.fee_minor != dispute.fee_minor:
        rise = snapshot.fee_minor - dispute.fee_minor
        dispute.fee_minor += rise
        payment.dispute_fee_minor += rise
        change.book(partial(bookkeeping.dispute_fee, dispute=dispute, change_minor=rise))
    return before != (dispute.withdrawn_minor, dispute.lost_minor, dispute.fee_minor)


def tell_dispute(change: Change, dispute: Dispute, word: str) -> None:
    """Audit and announce what happened to a dispute: dispute.opened, .updated, .closed, ..."""
    change.audit(
        f"dispute.{word}",
        {
            "dispute": dispute.pk,
            "stage": dispute.stage,
            "state": dispute.state,
            "amount_minor": dispute.amount_minor,
            "withdrawn_minor": dispute.withdrawn_minor,
            "lost_minor": dispute.lost_minor,
            "fee_minor": dispute.fee_minor,
        },
        references=[("dispute", dispute.pk), ("provider_dispute", dispute.provider_reference)],
    )
    change.announce(f"dispute.{word}", dispute_object(dispute))


def _at_risk(dispute: Dispute) -> bool:
    """Whether the dispute holds the payment in dispute: more than an inquiry, and not over."""
    past_inquiry = dispute.stage != DisputeStage.INQUIRY
    return past_inquiry and (dispute.state in OPEN_DISPUTES or dispute.withdrawn_minor > 0)


def _move_payment(
    change: Change, attempt: Attempt | None, dispute: Dispute, *, was_open: bool, is_new: bool
) -> None:
    state = State(change.payment.state)
    if _at_risk(dispute):
        if not was_open:
            _open_payment(change, attempt, state)
        return
    never_at_risk = dispute.stage == DisputeStage.INQUIRY
    last = state == State.DISPUTED and not any(_at_risk(row) for row in disputes_of(change))
    if never_at_risk or not (was_open or is_new or last):
        if dispute.lost_minor == 0 and state == State.REVERSED:
            _undo(change, attempt)
        return
    if is_new:  # we hear of it when it is over: both edges are true
        _open_payment(change, attempt, state)
    if change.payment.state == State.DISPUTED:
        _close_payment(change, attempt, dispute)


def _open_payment(change: Change, attempt: Attempt | None, state: State) -> None:
    if state == State.DISPUTED:
        change.advance("second_dispute_opened", attempt)
    elif can_take(state, "dispute_opened"):
        change.advance("dispute_opened", attempt)
    else:
        change.contradict(f"The provider reports a dispute of a payment that is {state}.")


def _close_payment(change: Change, attempt: Attempt | None, dispute: Dispute) -> None:
    """A dispute is over: the payment goes where its other disputes, amounts and times say."""
    payment = change.payment
    others = [other for other in disputes_of(change) if other.pk != dispute.pk]
    if any(_at_risk(other) for other in others):
        change.advance("one_dispute_closed", attempt)
        return
    left = left_minor(payment)
    settled = payment.amount_settled_minor == payment.amount_captured_minor
    capturable = payment.amount_capturable_minor > 0
    if dispute.lost_minor or payment.amount_reversed_minor:
        if left <= 0:
            event = "dispute_lost_in_full"
        elif capturable:
            event = "dispute_lost_in_part_partial"
        else:
            event = "dispute_lost_in_part" if settled else "dispute_lost_in_part_unsettled"
    elif left <= 0:
        event = "dispute_closed_for_us_refunded"
    elif capturable:
        event = "dispute_closed_for_us_partial"
    else:
        event = "dispute_closed_for_us_settled" if settled else "dispute_closed_for_us"
    change.advance(event, attempt)


def _undo(change: Change, attempt: Attempt | None) -> None:
    """A lost case was won after all: what is left is ours again, or was refunded meanwhile."""
    payment = change.payment
    if left_minor(payment) > 0 or not payment.amount_reversed_minor:
        settled = payment.amount_settled_minor == payment.amount_captured_minor
        change.advance("reversal_undone" if settled else "reversal_undone_unsettled", attempt)
        follow_given_back(change, attempt)
