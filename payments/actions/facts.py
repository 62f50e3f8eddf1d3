"""What each edge makes true of a payment's fields, its captures and its books.

Mental model: `observe` decides which edges news takes; before an edge is taken its facts are
written here, so that the state after it keeps what it promises. One function per kind of fact, and
a table from edge to function at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from payments import bookkeeping
from payments.actions.change import Change, ContradictoryNews
from payments.actions.given_back import is_given_back, returned_minor
from payments.actions.lost_captures import captures_lost, lost_minor
from payments.amounts import amount_words
from payments.machines import OPEN_CAPTURES, STANDING_CAPTURES, move
from payments.models import Attempt, Capture, Payment
from payments.providers import provider_for
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.states import State

# A payment in these states has no capture, whatever came before: no row has to be looked for.
NEVER_CAPTURED = frozenset({State.CREATED, State.REQUIRES_ACTION, State.PROCESSING})


def error_object(error: ProviderError) -> dict[str, str]:
    """A provider's no, in the words of the API's `last_error`."""
    return {
        "code": error.code,
        "message": error.payer_message or error.message,
        "decline_code": error.decline_code,
        "advice_code": error.advice_code,
    }


def prepare(change: Change, attempt: Attempt, event: str, snapshot: PaymentSnapshot) -> None:
    """Write what the state after `event` promises. Raises ContradictoryNews."""
    payment = change.payment
    payment.outcome = ""
    payment.next_action = None
    FACTS[event](change, attempt, snapshot)


def open_capture(change: Change) -> Capture | None:
    """The payment's capture that is under way, if there is one."""
    if change.payment.state in NEVER_CAPTURED:
        return None
    kept = {capture.pk: capture for capture in change.kept(Capture)}
    stored = change.payment.captures.filter(state__in=OPEN_CAPTURES).exclude(pk__in=kept).first()
    here = [capture for capture in kept.values() if capture.state in OPEN_CAPTURES]
    return here[0] if here else stored


def new_capture(change: Change, amount_minor: int, *, final: bool) -> Capture:
    """A capture of the payment, with the next number, kept by the change."""
    payment = change.payment
    number = 1
    if payment.state not in NEVER_CAPTURED:
        new = [capture for capture in change.kept(Capture) if capture._state.adding]
        number = payment.captures.count() + len(new) + 1
    capture = Capture(
        payment=payment,
        number=number,
        amount_minor=amount_minor,
        final=final,
        created_at=change.now,
    )
    change.keep(capture)
    return capture


def fail_capture(change: Change, error: ProviderError | None) -> None:
    """The capture under way was refused."""
    capture = open_capture(change)
    if capture is None:
        return
    move(capture, "fail")
    capture.finished_at = change.now
    capture.error = error_object(error) if error else None
    change.payment.last_error = capture.error
    change.payment.outcome = ""
    change.keep(capture)


def note_decline(change: Change, attempt: Attempt, error: ProviderError | None) -> None:
    """The attempt was refused."""
    attempt.state = Attempt.State.DECLINED
    attempt.finished_at = change.now
    attempt.error = error_object(error) if error else None
    change.payment.last_error = attempt.error
    change.payment.outcome = ""
    change.payment.next_action = None


def settle(change: Change, amount_minor: int) -> None:
    """So much of the captured money, gross, the PSP counts as ours; the books follow."""
    change.payment.amount_settled_minor = amount_minor
    change.book(bookkeeping.settled)


def take_back(change: Change, amount_minor: int, kind: str) -> None:
    """Money of ours is gone for good."""
    change.payment.amount_reversed_minor += amount_minor
    change.book(partial(bookkeeping.taken_back, amount_minor=amount_minor, kind=kind))


def _submitted(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    attempt.state = Attempt.State.SUBMITTED
    change.payment.outcome = "pending"


def _pending(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    change.payment.outcome = "pending"


def _action_required(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    attempt.state = Attempt.State.SUBMITTED
    change.payment.next_action = dict(snapshot.next_action or {})


def _fraud_hold(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    attempt.state = Attempt.State.SUBMITTED
    change.payment.review_reason = "The provider's fraud desk holds this payment."


def _authorized(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    if payment.state == State.IN_REVIEW:
        fail_capture(change, snapshot.capture_error)
    attempt.state = Attempt.State.SUBMITTED
    held = snapshot.amount_authorized_minor or snapshot.amount_minor
    payment.amount_authorized_minor = held
    payment.amount_capturable_minor = held
    payment.last_error = None
    payment.payment_method = dict(snapshot.payment_method_summary) or payment.payment_method
    lifetime = provider_for(payment.provider_account.provider).capabilities
    payment.capture_before = change.now + timedelta(seconds=lifetime.authorization_lifetime_seconds)


def _authorization_changed(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    held = snapshot.amount_authorized_minor or snapshot.amount_minor
    payment.amount_authorized_minor = held
    payment.amount_capturable_minor = held - payment.amount_captured_minor


def _capture_under_way(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """A capture that the PSP makes, without our asking or after it; its result comes later."""
    payment = change.payment
    if not payment.amount_authorized_minor:
        _authorized(change, attempt, snapshot)
    payment.outcome = "pending"
    capture = open_capture(change)
    if capture is None:
        left = snapshot.amount_capturable_minor
        taken = payment.amount_authorized_minor - payment.amount_captured_minor - left
        capture = new_capture(change, taken or payment.amount_capturable_minor, final=left == 0)
        move(capture, "pending")
    elif capture.state == "requested":
        move(capture, "pending")
        change.keep(capture)


def _captured(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """Bring the captured sum to what the PSP says stands captured."""
    payment = change.payment
    if snapshot.amount_captured_minor < payment.amount_captured_minor:
        raise ContradictoryNews(
            f"the provider counts {snapshot.amount_captured_minor} {payment.currency} as captured, "
            f"{payment.amount_captured_minor} are booked"
        )
    if not payment.amount_authorized_minor:
        payment.amount_authorized_minor = snapshot.amount_authorized_minor or snapshot.amount_minor
    attempt.state = Attempt.State.SUCCEEDED
    attempt.finished_at = change.now
    taken = snapshot.amount_captured_minor - payment.amount_captured_minor
    under_way = open_capture(change) if payment.state == State.IN_REVIEW else None
    if under_way is not None and under_way.amount_minor != taken:
        fail_capture(change, snapshot.capture_error)  # decided: this is not what was captured
    if taken:
        _record_capture(change, taken, final=snapshot.amount_capturable_minor == 0)
    if payment.amount_authorized_minor < payment.amount_captured_minor:
        payment.amount_authorized_minor = payment.amount_captured_minor  # decided by a person
    payment.amount_capturable_minor = snapshot.amount_capturable_minor
    payment.last_error = None
    payment.payment_method = dict(snapshot.payment_method_summary) or payment.payment_method


def _record_capture(change: Change, amount_minor: int, *, final: bool) -> None:
    payment = change.payment
    capture = open_capture(change)
    if capture is not None and capture.amount_minor != amount_minor:
        raise ContradictoryNews(
            f"{amount_words(amount_minor, payment.currency)} were captured, "
            f"{amount_words(capture.amount_minor, payment.currency)} were asked for"
        )
    if capture is None:
        capture = new_capture(change, amount_minor, final=final)
    move(capture, "succeed")
    capture.finished_at = change.now
    total = payment.amount_captured_minor + amount_minor
    earned = bookkeeping.platform_fee_minor(payment.merchant, total)
    if payment.amount_captured_minor:
        captures = payment.captures.filter(state__in=STANDING_CAPTURES)
        earned -= sum(earlier.platform_fee_minor for earlier in captures)
    capture.platform_fee_minor = max(0, min(earned, amount_minor))
    payment.amount_captured_minor = total
    payment.platform_fee_minor += capture.platform_fee_minor
    change.keep(capture)
    change.book(partial(bookkeeping.captured, capture=capture))


def _captured_and_settled(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """Settlement that overtakes the news of the capture: both are true."""
    payment = change.payment
    if snapshot.amount_captured_minor > payment.amount_captured_minor:
        _captured(change, attempt, snapshot)
    elif (capture := open_capture(change)) is not None:
        attempt.state, attempt.finished_at = Attempt.State.SUCCEEDED, change.now
        _record_capture(change, capture.amount_minor, final=True)
        payment.amount_capturable_minor = 0
    settle(change, payment.amount_captured_minor)


def _settled(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    if payment.state == State.CAPTURE_PENDING:
        _captured_and_settled(change, attempt, snapshot)
        return
    whole = payment.amount_captured_minor
    settle(change, whole if snapshot.settled else min(whole, snapshot.amount_settled_minor))


def _declined(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    if change.payment.state == State.IN_REVIEW:
        fail_capture(change, snapshot.capture_error)
        change.payment.amount_capturable_minor = 0
    note_decline(change, attempt, snapshot.error or snapshot.capture_error)


def _canceled(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    attempt.state = Attempt.State.CANCELED
    attempt.finished_at = change.now
    payment.amount_capturable_minor = 0
    if not payment.cancellation_reason:
        payment.cancellation_reason = snapshot.cancellation_reason or "canceled_at_provider"
    capture = open_capture(change)
    if capture is not None:
        move(capture, "void" if capture.state == "pending" else "fail")
        capture.finished_at = change.now
        change.keep(capture)


def _capture_failed(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    fail_capture(change, snapshot.capture_error or snapshot.error)
    payment = change.payment
    payment.amount_capturable_minor = (
        payment.amount_authorized_minor - payment.amount_captured_minor
    )


def _capture_failed_for_good(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    fail_capture(change, snapshot.capture_error or snapshot.error)
    attempt.state, attempt.finished_at = Attempt.State.CANCELED, change.now
    change.payment.amount_capturable_minor = 0


def _capture_did_not_hold(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    change.payment.review_reason = (
        "The provider reports that captured money did not hold. Nothing is booked until this is "
        "decided."
    )


def _voided_after_capture(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    _refuse_if_given_back(payment, "the provider canceled a payment")
    if payment.captures.filter(state="failed_late").exists():
        raise ContradictoryNews("the provider canceled a payment whose capture did not hold before")
    for capture in payment.captures.filter(state="succeeded"):
        move(capture, "void")
        change.keep(capture)
        change.book(partial(bookkeeping.capture_taken_back, capture=capture))
    payment.amount_captured_minor = 0
    payment.platform_fee_minor = 0
    if payment.provider_account.owned_by_merchant:
        change.book(bookkeeping.provider_fee_owed)
    _canceled(change, attempt, snapshot)


def _reversed_by_provider(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """Captured money did not hold: entries of unsettled, untouched captures are reversed; what is
    settled or given back is taken from the merchant, even if it is lost twice then.
    """
    payment = change.payment
    lost = lost_minor(payment, snapshot)
    captures = captures_lost(payment, lost)
    for capture in captures:
        move(capture, "fail_late")
        change.keep(capture)
    payment.amount_capturable_minor = snapshot.amount_capturable_minor
    if payment.amount_settled_minor or is_given_back(payment):
        take_back(change, lost, "payment.capture_failed")
        return
    for capture in captures:
        change.book(
            partial(
                bookkeeping.capture_taken_back, capture=capture, kind="payment.capture_failed_late"
            )
        )
    payment.amount_reversed_minor += lost
    payment.platform_fee_minor -= sum(capture.platform_fee_minor for capture in captures)


def _resolved_captured(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """Captured, or what is left of it where another capture did not hold."""
    if change.payment.amount_captured_minor and lost_minor(change.payment, snapshot):
        _reversed_by_provider(change, attempt, snapshot)
    else:
        _captured(change, attempt, snapshot)


def _resolved_settled(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """As `_resolved_captured`, and the PSP counts what is left as ours."""
    lost = change.payment.amount_captured_minor and lost_minor(change.payment, snapshot)
    if lost or snapshot.status == ObservedStatus.CAPTURE_FAILED:
        _resolved_captured(change, attempt, snapshot)
        settle(change, change.payment.amount_captured_minor)
    else:
        _captured_and_settled(change, attempt, snapshot)


def _returned(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """The payer's bank took the debit back: what the PSP says, else what is left of it."""
    payment = change.payment
    told = snapshot.amount_returned_minor - returned_minor(change)
    left = (
        payment.amount_captured_minor
        - payment.amount_refunded_minor
        - payment.amount_reversed_minor
    )
    take_back(change, max(0, told if snapshot.amount_returned_minor else left), "payment.returned")
    payment.last_error = {
        "code": "bank_debit_returned",
        "message": "The payer's bank took the debit back.",
        "decline_code": snapshot.return_code,
        "advice_code": "",
    }
    payment.review_reason = f"The payer's bank took the debit back ({snapshot.return_code})."


def _given_again(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    again = returned_minor(change) - snapshot.amount_returned_minor
    payment.amount_reversed_minor -= again
    payment.last_error = None
    change.book(partial(bookkeeping.given_again, amount_minor=again))


def take_in_second_loss(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """Money that is gone already is taken once more, or that second loss comes again: the payment
    stays where it is, its amounts and books follow, and the double loss is told to a person.
    """
    payment, status = change.payment, snapshot.status
    if payment.state not in (State.REVERSED, State.REFUNDED):
        return False
    if status == ObservedStatus.CAPTURE_FAILED and lost_minor(payment, snapshot):
        _reversed_by_provider(change, attempt, snapshot)
        return True
    if payment.state == State.REFUNDED:
        return False
    told = snapshot.amount_returned_minor - returned_minor(change)
    if status == ObservedStatus.RETURNED and told > 0:
        take_back(change, told, "payment.returned")
        return True
    if status == ObservedStatus.CAPTURED and told < 0:
        _given_again(change, attempt, snapshot)
        return True
    return False


def _late_money(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    payment.review_reason = (
        f"The provider reports {snapshot.status} on a payment that we hold {payment.state}."
    )


def _refuse_if_given_back(payment: Payment, words: str) -> None:
    if payment.amount_settled_minor or is_given_back(payment):
        raise ContradictoryNews(f"{words} whose money we have booked as settled or given back")


FACTS: dict[str, Callable[[Change, Attempt, PaymentSnapshot], None]] = {
    "client_confirmed": _submitted,
    "psp_processing": _pending,
    "psp_action_required": _action_required,
    "psp_fraud_hold": _fraud_hold,
    "psp_authorized": _authorized,
    "late_authorized": _authorized,
    "resolve_authorized": _authorized,
    "increment_or_extend": _authorization_changed,
    "psp_auth_adjusted": _authorization_changed,
    "psp_authorized_auto_capture": _capture_under_way,
    "capture_requested": _capture_under_way,
    "resolve_capture_pending": _capture_under_way,
    "psp_captured": _captured,
    "psp_partially_captured": _captured,
    "release_remainder": _captured,
    "late_success": _captured,
    "resolve_captured": _resolved_captured,
    "resolve_partially_captured": _captured,
    "resolve_refunded": _captured,
    "resolve_settled": _resolved_settled,
    "psp_settled": _settled,
    "psp_declined_retryable": _declined,
    "psp_declined_final": _declined,
    "resolve_failed": _declined,
    "cancel": _canceled,
    "expire": _canceled,
    "psp_canceled": _canceled,
    "void": _canceled,
    "auth_expired": _canceled,
    "reject": _canceled,
    "capture_failed_retryable": _capture_failed,
    "capture_failed_partial": _capture_failed,
    "capture_failed_final": _capture_failed_for_good,
    "capture_failed_late": _capture_did_not_hold,
    "post_capture_void": _voided_after_capture,
    "resolve_reversed": _reversed_by_provider,
    "returned": _returned,
    "reversal_undone": _given_again,
    "reversal_undone_unsettled": _given_again,
    "late_money": _late_money,
}
