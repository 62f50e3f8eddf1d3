"""What a PSP's word about a payment does to it: the one place where news becomes state.

Mental model: news comes by four roads (the answer to our call, a webhook, a poll, a look-up) and
all end here with the payment locked. `paths` says which edges lead from the state we hold to the
status the PSP reports; an empty path means the news is old and is superseded. What an edge makes
true stands in `facts`; refunds and disputes beside the payment in `observe_refund` and
`observe_dispute`. News that would contradict money we hold raises `ContradictoryNews` and ends
with a person, never with a guess.
"""

from __future__ import annotations

import enum
from datetime import datetime
from functools import partial

from payments import bookkeeping
from payments.actions.change import Change, ContradictoryNews
from payments.actions.facts import (
    error_object,
    note_decline,
    prepare,
    settle,
    take_in_second_loss,
)
from payments.actions.lost_captures import standing_minor
from payments.actions.observe_dispute import observe_dispute
from payments.actions.observe_refund import (
    follow_given_back,
    free_lost_refunds,
    observe_refund,
)
from payments.actions.paths import (
    DECLINE,
    MONEY_NEWS,
    MONEY_TAKEN,
    REFUSALS,
    path_of,
    raised_to,
    review_path,
)
from payments.amounts import amount_words
from payments.models import Attempt, Payment, ReviewCase
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.states import State, can_take

__all__ = [
    "REFUSALS",
    "ContradictoryNews",
    "Effect",
    "decline",
    "error_object",
    "is_about",
    "next_attempt",
    "observe",
    "refuse_open_attempt",
]

# After this many declined tries a payment is failed instead of open for another.
ATTEMPTS_MAX = 10


class Effect(enum.StrEnum):
    """What the news did. UNSURE: it may be old, so the PSP has to be asked."""

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    UNRECOGNISED = "unrecognised"
    UNSURE = "unsure"


def observe(
    change: Change,
    attempt: Attempt,
    snapshot: PaymentSnapshot,
    *,
    current: bool,
    decided: bool = False,
) -> Effect:
    """Bring the locked payment to what `snapshot` says, as far as the machine allows.

    The caller holds the payment's lock and writes `change` afterwards; `attempt` is the one the
    news is about and is kept here. `current` says that the snapshot cannot be older than the
    attempt: the answer to its own call, or a look-up while nothing was under way. `decided` says
    that a person ends the payment's review with what the PSP says here. Raises ContradictoryNews.
    """
    payment = change.payment
    attempt = _on_the_way(change, attempt, snapshot)
    if snapshot.version and snapshot.version < attempt.provider_version:
        return Effect.SUPERSEDED
    if snapshot.status == ObservedStatus.UNRECOGNISED:
        change.audit("provider.status_unrecognised", {"raw_status": snapshot.raw_status})
        words = f"The provider reports the status {snapshot.raw_status!r}, which we do not know."
        change.open_case(ReviewCase.Kind.STATUS_UNKNOWN, words)
        return Effect.UNRECOGNISED
    if not decided and _differs(payment, snapshot):
        return _hold_for_review(change, attempt, snapshot)
    path = _path(change, attempt, snapshot, current=current, decided=decided)
    sure = current or bool(snapshot.version)
    late = payment.state == State.CANCELED or (
        path and path[0].startswith(("late_", "reversal_undone", "resolve_", "psp_auth_adjusted"))
    )
    if path and not sure and (late or _may_be_the_try_before(attempt, snapshot, path)):
        return Effect.UNSURE
    if path and path[0] == "client_confirmed":
        attempt = _attempt_for_payer(change, attempt, snapshot)
    _bind(attempt, snapshot)
    for event in path:
        prepare(change, attempt, event, snapshot)
        change.advance(event, attempt)
    learnt = not path and take_in_second_loss(change, attempt, snapshot)
    learnt = _learn_the_rest(change, attempt, snapshot) or learnt
    if current:
        learnt = free_lost_refunds(change, attempt, snapshot) or learnt
    if path:
        follow_given_back(change, attempt)
    change.keep(attempt)
    return Effect.APPLIED if path or learnt else Effect.SUPERSEDED


def decline(change: Change, attempt: Attempt, error: ProviderError) -> None:
    """The PSP refused this try and left no object to observe."""
    event = _decline_event(change.payment, attempt, error)
    note_decline(change, attempt, error)
    change.advance(event, attempt)
    change.keep(attempt)


def refuse_open_attempt(change: Change, attempt: Attempt, error: ProviderError) -> None:
    """The PSP refused to make its object: the payment stays open for another try."""
    note_decline(change, attempt, error)
    change.keep(attempt)


def _differs(payment: Payment, snapshot: PaymentSnapshot) -> bool:
    """True when the PSP's money is not ours: never trusted, in any state."""
    if snapshot.currency != payment.currency:
        return True
    known = {payment.amount_minor, payment.amount_authorized_minor}
    if snapshot.amount_minor not in known and not raised_to(payment, snapshot.amount_minor):
        return True
    captured = snapshot.amount_captured_minor
    if captured > max(known | {snapshot.amount_authorized_minor or 0}):
        return True
    if snapshot.status != ObservedStatus.CAPTURED or payment.state == State.CANCELED:
        return False
    whole = payment.capture_method == Payment.CaptureMethod.AUTOMATIC
    booked = payment.state in MONEY_TAKEN and not payment.amount_capturable_minor
    if booked and payment.state != State.PARTIALLY_CAPTURED:
        return captured not in (payment.amount_captured_minor, standing_minor(payment))
    return captured != payment.amount_minor if whole else captured <= 0


def _hold_for_review(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> Effect:
    payment = change.payment
    words = (
        f"The provider reports {amount_words(snapshot.amount_minor, snapshot.currency)} "
        f"(captured {amount_words(snapshot.amount_captured_minor, snapshot.currency)}) for a "
        f"payment of {amount_words(payment.amount_minor, payment.currency)}."
    )
    if payment.state == State.IN_REVIEW:
        return Effect.SUPERSEDED
    if not can_take(payment.state, "integrity_mismatch"):
        raise ContradictoryNews(words)
    _bind(attempt, snapshot)
    change.keep(attempt)
    payment.review_reason = words[:200]
    change.advance("integrity_mismatch", attempt)
    return Effect.APPLIED


def _path(
    change: Change, attempt: Attempt, snapshot: PaymentSnapshot, *, current: bool, decided: bool
) -> tuple[str, ...]:
    """The edges to take, with old news about an earlier attempt answered by none."""
    payment = change.payment
    state = State(payment.state)
    over = attempt.state in (Attempt.State.DECLINED, Attempt.State.CANCELED)
    about_an_earlier_try = attempt.number < payment.attempt_count
    if state in MONEY_TAKEN and about_an_earlier_try and snapshot.status in MONEY_NEWS:
        raise ContradictoryNews(
            f"attempt {attempt.number} reports {snapshot.status} although another attempt was paid"
        )
    if snapshot.status in REFUSALS and state != State.IN_REVIEW:
        if about_an_earlier_try or (over and not _is_new_try(attempt, snapshot)):
            return ()
        if not over and not current and not is_about(attempt, snapshot):
            return ()
    if state == State.IN_REVIEW:
        path = review_path(change, snapshot, decided=decided)
    else:
        path = path_of(change, snapshot)
    if state == State.FAILED and about_an_earlier_try and path:
        return ("late_money",)
    if path == ("cancel",) and payment.cancellation_reason == "intent_expired":
        return ("expire",)
    return tuple(
        _decline_event(payment, attempt, snapshot.error, snapshot) if event == DECLINE else event
        for event in path
    )


def _on_the_way(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> Attempt:
    """The try that the news is about: what is no refusal is never about a declined try of the same
    object while a later one is under way, whatever charge the PSP still names.
    """
    payment = change.payment
    over = payment.state in (*MONEY_TAKEN, State.FAILED, State.CANCELED)
    if attempt.number >= payment.attempt_count or over or snapshot.status in REFUSALS:
        return attempt
    latest = payment.attempts.last_try()
    same = latest is not None and latest.provider_reference == attempt.provider_reference
    return latest if same and latest is not None else attempt


def is_about(attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """True when a refusal is surely not that of an earlier try on the same PSP object: the PSP
    counts it higher, or names another charge. Where neither tells, it is not sure.
    """
    if attempt.number == 1:
        return True
    if snapshot.attempt_number:
        return snapshot.attempt_number > attempt.earlier_try
    charge = snapshot.charge_reference
    return bool(charge) and charge != attempt.earlier_charge_reference


def _may_be_the_try_before(
    attempt: Attempt, snapshot: PaymentSnapshot, path: tuple[str, ...]
) -> bool:
    """True when a step or a wait may be that of a try which was refused since."""
    over = attempt.state in (Attempt.State.DECLINED, Attempt.State.CANCELED)
    early = snapshot.status in (ObservedStatus.REQUIRES_ACTION, ObservedStatus.PROCESSING)
    begins = path[0] == "client_confirmed"
    return begins and over and early and not _is_new_try(attempt, snapshot)


def _is_new_try(attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """True when a decline is surely about another try than the attempt's own: the PSP counts it
    higher, or, where it does not count, names another charge.
    """
    if snapshot.attempt_number:
        return snapshot.attempt_number > attempt.provider_try
    return bool(snapshot.charge_reference) and snapshot.charge_reference != attempt.charge_reference


def _decline_event(
    payment: Payment,
    attempt: Attempt,
    error: ProviderError | None,
    snapshot: PaymentSnapshot | None = None,
) -> str:
    """Final when no try is left, when the PSP says so, and for a bank debit that came back: days
    have passed, and its payer is no longer there to try again.
    """
    exhausted = attempt.number >= ATTEMPTS_MAX
    debit = snapshot is not None and snapshot.payment_method_summary.get("kind") == "bank_debit"
    came_back = debit and payment.state == State.PROCESSING
    final = exhausted or came_back or (error is not None and not error.retryable)
    return "psp_declined_final" if final else "psp_declined_retryable"


def _attempt_for_payer(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> Attempt:
    """The payer tried again at the PSP after a decline: their try is an attempt of its own."""
    if attempt.state not in (Attempt.State.DECLINED, Attempt.State.CANCELED):
        return attempt
    following = next_attempt(change.payment, attempt, now=change.now)
    change.keep(following)
    return following


def next_attempt(payment: Payment, previous: Attempt, *, now: datetime) -> Attempt:
    """A new try on the same PSP object, not yet saved; the payment counts it."""
    payment.attempt_count = previous.number + 1
    return Attempt(
        payment=payment,
        number=payment.attempt_count,
        provider_account=previous.provider_account,
        provider_reference=previous.provider_reference,
        provider_version=previous.provider_version,
        provider_try=previous.provider_try,
        earlier_try=previous.provider_try,
        earlier_charge_reference=previous.charge_reference or previous.earlier_charge_reference,
        created_at=now,
    )


def _bind(attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    """Keep what ties the attempt to the PSP's objects; a reference never changes once known."""
    known = attempt.provider_reference
    if known and known != snapshot.provider_reference:
        raise ContradictoryNews(
            f"attempt {attempt.pk} belongs to {known}, the news is about "
            f"{snapshot.provider_reference}"
        )
    attempt.provider_reference = snapshot.provider_reference
    attempt.provider_version = max(attempt.provider_version, snapshot.version)
    attempt.provider_try = max(attempt.provider_try, snapshot.attempt_number)
    if snapshot.charge_reference:
        attempt.charge_reference = snapshot.charge_reference
    attempt.keep_client_secret(snapshot.client_secret)


def _learn_the_rest(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """Take in what comes with captured money: refunds, disputes, the PSP's fee, settlement."""
    payment = change.payment
    learnt = False
    for refund in snapshot.refunds or ():
        learnt = observe_refund(change, attempt, refund) or learnt
    for dispute in snapshot.disputes or ():
        learnt = observe_dispute(change, attempt, dispute) or learnt
    if not payment.amount_captured_minor:
        return learnt
    if snapshot.fee_minor is not None:
        fee_currency = snapshot.fee_currency or snapshot.currency
        learnt = _learn_fee(change, snapshot, snapshot.fee_minor, fee_currency) or learnt
    return _learn_settlement(change, attempt, snapshot) or learnt


def _learn_settlement(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """The PSP counts captured money as ours. States that keep their name take the edge too."""
    payment = change.payment
    whole = payment.amount_captured_minor
    told = whole if snapshot.settled else min(whole, snapshot.amount_settled_minor)
    if snapshot.settled and 0 < snapshot.amount_captured_minor < whole:
        older = snapshot.amount_captured_minor < standing_minor(payment)
        told = snapshot.amount_captured_minor if older else whole
    if told <= payment.amount_settled_minor:
        if payment.state != State.CAPTURED or payment.amount_settled_minor < whole:
            return False
        change.advance("psp_settled", attempt)  # all that was captured had settled before
        return True
    if told < whole and payment.state == State.CAPTURED:
        settle(change, told)
        return True
    if not can_take(payment.state, "psp_settled"):
        return False
    settle(change, told)
    change.advance("psp_settled", attempt)
    return True


def _learn_fee(change: Change, snapshot: PaymentSnapshot, fee_minor: int, currency: str) -> bool:
    """Book the PSP's fee. It grows with every capture; a fee that changes without one, or that
    cannot be booked, is a person's matter and takes nothing back: the captured money stays booked.
    """
    payment = change.payment
    if currency != payment.currency:
        return change.contradict(
            f"The provider's fee is in {currency}, the payment in {payment.currency}."
        )
    known = payment.provider_fee_minor
    if known == fee_minor:
        return False
    several = payment.amount_captured_minor < payment.amount_authorized_minor
    if known is not None and not several and payment.captures.count() < 2:
        return change.contradict(f"The provider's fee was {known} and is now {fee_minor}.")
    payment.provider_fee_minor = fee_minor
    book = bookkeeping.provider_fee
    if payment.provider_account.owned_by_merchant:
        book = bookkeeping.provider_fee_of_merchant
    change.book(partial(book, change_minor=fee_minor - (known or 0)))
    change.audit("payment.provider_fee_learnt", {"fee_minor": fee_minor, "currency": currency})
    return True
