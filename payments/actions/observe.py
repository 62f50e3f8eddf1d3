"""What a PSP's word about a payment does to it: the one place where news becomes state.

Mental model: news comes by four roads (the answer to our call, a webhook, a poll, a look-up) and
all end here with the payment locked. `PATHS` says which edges lead from the state we hold to the
status the PSP reports; an empty path means the news is old and is superseded. News that would
contradict money we hold raises `ContradictoryNews` and ends with a person, never with a guess.
"""

from __future__ import annotations

import enum
from datetime import datetime

from payments import bookkeeping
from payments.actions.change import Change
from payments.models import Attempt, Payment
from payments.providers.base import ObservedStatus, PaymentSnapshot, ProviderError
from payments.states import State

# After this many declined tries a payment is failed instead of open for another.
ATTEMPTS_MAX = 10

_DECLINE = "psp_declined"  # becomes _retryable or _final

# (state we hold, status the PSP reports) -> the edges between them. Absent: old news.
PATHS: dict[tuple[State, ObservedStatus], tuple[str, ...]] = {
    (State.CREATED, ObservedStatus.PROCESSING): ("client_confirmed",),
    (State.CREATED, ObservedStatus.REQUIRES_ACTION): ("client_confirmed", "psp_action_required"),
    (State.CREATED, ObservedStatus.AUTHORIZED): ("client_confirmed", "psp_authorized"),
    (State.CREATED, ObservedStatus.CAPTURED): ("client_confirmed", "psp_captured"),
    (State.CREATED, ObservedStatus.DECLINED): ("client_confirmed", _DECLINE),
    (State.CREATED, ObservedStatus.FAILED): ("client_confirmed", "psp_declined_final"),
    (State.CREATED, ObservedStatus.CANCELED): ("cancel",),
    (State.PROCESSING, ObservedStatus.REQUIRES_ACTION): ("psp_action_required",),
    (State.PROCESSING, ObservedStatus.AUTHORIZED): ("psp_authorized",),
    (State.PROCESSING, ObservedStatus.CAPTURED): ("psp_captured",),
    (State.PROCESSING, ObservedStatus.DECLINED): (_DECLINE,),
    (State.PROCESSING, ObservedStatus.FAILED): ("psp_declined_final",),
    (State.PROCESSING, ObservedStatus.CANCELED): ("psp_canceled",),
    (State.REQUIRES_ACTION, ObservedStatus.PROCESSING): ("psp_processing",),
    (State.REQUIRES_ACTION, ObservedStatus.REQUIRES_ACTION): ("psp_action_required",),
    (State.REQUIRES_ACTION, ObservedStatus.AUTHORIZED): ("psp_authorized",),
    (State.REQUIRES_ACTION, ObservedStatus.CAPTURED): ("psp_captured",),
    (State.REQUIRES_ACTION, ObservedStatus.DECLINED): (_DECLINE,),
    (State.REQUIRES_ACTION, ObservedStatus.FAILED): ("psp_declined_final",),
    (State.REQUIRES_ACTION, ObservedStatus.CANCELED): ("cancel",),
    (State.AUTHORIZED, ObservedStatus.CAPTURED): ("psp_captured",),
    (State.AUTHORIZED, ObservedStatus.CANCELED): ("void",),
    (State.CAPTURE_PENDING, ObservedStatus.CAPTURED): ("psp_captured",),
    (State.CAPTURE_PENDING, ObservedStatus.CANCELED): ("capture_failed_final",),
    (State.CANCELED, ObservedStatus.AUTHORIZED): ("late_money",),
    (State.CANCELED, ObservedStatus.CAPTURED): ("late_money",),
    (State.FAILED, ObservedStatus.AUTHORIZED): ("late_authorized",),
    (State.FAILED, ObservedStatus.CAPTURED): ("late_success",),
}

# States in which money was taken: a PSP that now says the payment was canceled, or that another
# attempt took money too, contradicts our books.
MONEY_TAKEN = frozenset({State.CAPTURED, State.SETTLED})
REFUSALS = frozenset({ObservedStatus.DECLINED, ObservedStatus.FAILED})
MONEY_NEWS = frozenset({ObservedStatus.AUTHORIZED, ObservedStatus.CAPTURED})


class Effect(enum.StrEnum):
    """What the news did."""

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    UNRECOGNISED = "unrecognised"


class ContradictoryNews(Exception):
    """The PSP says something that our books cannot take in; a person must decide."""


def observe(
    change: Change, attempt: Attempt, snapshot: PaymentSnapshot, *, current: bool
) -> Effect:
    """Bring the locked payment to what `snapshot` says, as far as the machine allows.

    The caller holds the payment's lock and writes `change` afterwards; `attempt` is the one the
    news is about and is kept here. `current` says that the snapshot cannot be older than the
    attempt: the answer to its own call, or a look-up while nothing was under way. Raises
    ContradictoryNews.
    """
    payment = change.payment
    if snapshot.version and snapshot.version < attempt.provider_version:
        return Effect.SUPERSEDED
    if snapshot.status == ObservedStatus.UNRECOGNISED:
        change.audit("provider.status_unrecognised", {"raw_status": snapshot.raw_status})
        return Effect.UNRECOGNISED
    if _differs(payment, snapshot):
        return _hold_for_review(change, attempt, snapshot)
    path = _path(change, attempt, snapshot, current=current)
    if path and path[0] == "client_confirmed":
        attempt = _attempt_for_payer(change, attempt, snapshot)
    _bind(attempt, snapshot)
    for event in path:
        _prepare(change, attempt, event, snapshot)
        change.advance(event, attempt)
    learnt = _learn_money_facts(change, attempt, snapshot)
    change.keep(attempt)
    return Effect.APPLIED if path or learnt else Effect.SUPERSEDED


def decline(change: Change, attempt: Attempt, error: ProviderError) -> None:
    """The PSP refused this try and left no object to observe."""
    event = _decline_event(change.payment, attempt, error)
    _note_decline(change, attempt, error)
    change.advance(event, attempt)
    change.keep(attempt)


def refuse_open_attempt(change: Change, attempt: Attempt, error: ProviderError) -> None:
    """The PSP refused to make its object: the payment stays open for another try."""
    _note_decline(change, attempt, error)
    change.keep(attempt)


def error_object(error: ProviderError) -> dict[str, str]:
    """A provider's no, in the words of the API's `last_error`."""
    return {
        "code": error.code,
        "message": error.payer_message or error.message,
        "decline_code": error.decline_code,
        "advice_code": error.advice_code,
    }


def _differs(payment: Payment, snapshot: PaymentSnapshot) -> bool:
    """True when the PSP's money is not ours: never trusted, in any state."""
    if snapshot.amount_minor != payment.amount_minor or snapshot.currency != payment.currency:
        return True
    captured = snapshot.status == ObservedStatus.CAPTURED
    return captured and snapshot.amount_captured_minor != payment.amount_minor


def _hold_for_review(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> Effect:
    payment = change.payment
    words = (
        f"The provider reports {snapshot.amount_minor} {snapshot.currency} "
        f"(captured {snapshot.amount_captured_minor}) for a payment of "
        f"{payment.amount_minor} {payment.currency}."
    )
    if payment.state == State.IN_REVIEW:
        return Effect.SUPERSEDED
    if payment.state in MONEY_TAKEN or payment.state in (State.CANCELED, State.FAILED):
        raise ContradictoryNews(words)
    _bind(attempt, snapshot)
    change.keep(attempt)
    payment.review_reason = words[:200]
    change.advance("integrity_mismatch", attempt)
    return Effect.APPLIED


def _path(
    change: Change, attempt: Attempt, snapshot: PaymentSnapshot, *, current: bool
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
    if state in MONEY_TAKEN and snapshot.status == ObservedStatus.CANCELED:
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    if snapshot.status in REFUSALS:
        if about_an_earlier_try or (over and not _is_new_try(attempt, snapshot)):
            return ()
        if not over and not current and not is_about(attempt, snapshot):
            return ()
    if state == State.REQUIRES_ACTION and snapshot.status == ObservedStatus.REQUIRES_ACTION:
        same = dict(snapshot.next_action or {}) == (payment.next_action or {})
        return () if same else ("psp_action_required",)
    if state == State.AUTHORIZED and snapshot.status == ObservedStatus.CANCELED:
        return ("auth_expired",) if snapshot.cancellation_reason == "expired" else ("void",)
    path = PATHS.get((state, snapshot.status), ())
    error = snapshot.error
    return tuple(
        _decline_event(payment, attempt, error) if event == _DECLINE else event for event in path
    )


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


def _is_new_try(attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """True when a decline is surely about another try than the attempt's own: the PSP counts it
    higher, or, where it does not count, names another charge.
    """
    if snapshot.attempt_number:
        return snapshot.attempt_number > attempt.provider_try
    return bool(snapshot.charge_reference) and snapshot.charge_reference != attempt.charge_reference


def _decline_event(payment: Payment, attempt: Attempt, error: ProviderError | None) -> str:
    exhausted = attempt.number >= ATTEMPTS_MAX
    final = exhausted or (error is not None and not error.retryable)
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


def _prepare(change: Change, attempt: Attempt, event: str, snapshot: PaymentSnapshot) -> None:
    """Set the fields that the state after `event` promises, before the edge is taken."""
    payment = change.payment
    payment.outcome = ""
    payment.next_action = None
    if event == "client_confirmed":
        attempt.state = Attempt.State.SUBMITTED
        payment.outcome = "pending"
    elif event == "psp_processing":
        payment.outcome = "pending"
    elif event == "psp_action_required":
        attempt.state = Attempt.State.SUBMITTED
        payment.next_action = dict(snapshot.next_action or {})
    elif event in ("psp_authorized", "late_authorized"):
        _mark_authorized(payment, attempt, snapshot)
    elif event in ("psp_captured", "late_success"):
        _mark_captured(change, attempt, snapshot)
    elif event in ("psp_declined_retryable", "psp_declined_final"):
        _note_decline(change, attempt, snapshot.error)
    elif event in ("cancel", "psp_canceled", "void", "auth_expired", "capture_failed_final"):
        _mark_canceled(payment, attempt, snapshot)
        attempt.finished_at = change.now
    elif event == "late_money":
        payment.review_reason = f"The provider reports {snapshot.status} on a canceled payment."
    else:
        raise AssertionError(f"Bug! no facts are written for the edge {event}")


def _mark_authorized(payment: Payment, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    attempt.state = Attempt.State.SUBMITTED
    payment.amount_authorized_minor = payment.amount_minor
    payment.amount_capturable_minor = payment.amount_minor
    payment.last_error = None
    payment.payment_method = dict(snapshot.payment_method_summary)


def _mark_captured(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    payment = change.payment
    attempt.state = Attempt.State.SUCCEEDED
    attempt.finished_at = change.now
    payment.amount_authorized_minor = payment.amount_minor
    payment.amount_capturable_minor = 0
    payment.amount_captured_minor = payment.amount_minor
    payment.platform_fee_minor = bookkeeping.platform_fee_minor(
        payment.merchant, payment.amount_captured_minor
    )
    payment.last_error = None
    payment.payment_method = dict(snapshot.payment_method_summary) or payment.payment_method
    change.book(bookkeeping.captured)


def _mark_canceled(payment: Payment, attempt: Attempt, snapshot: PaymentSnapshot) -> None:
    attempt.state = Attempt.State.CANCELED
    payment.amount_capturable_minor = 0
    if not payment.cancellation_reason:
        payment.cancellation_reason = snapshot.cancellation_reason or "canceled_at_provider"


def _note_decline(change: Change, attempt: Attempt, error: ProviderError | None) -> None:
    attempt.state = Attempt.State.DECLINED
    attempt.finished_at = change.now
    attempt.error = error_object(error) if error else None
    change.payment.last_error = attempt.error
    change.payment.outcome = ""
    change.payment.next_action = None


def _learn_money_facts(change: Change, attempt: Attempt, snapshot: PaymentSnapshot) -> bool:
    """Book the PSP's fee and the settlement, each once, when the captured payment learns them."""
    payment = change.payment
    if payment.state not in MONEY_TAKEN:
        return False
    learnt = False
    if snapshot.fee_minor is not None:
        learnt = _learn_fee(change, snapshot.fee_minor, snapshot.fee_currency or snapshot.currency)
    if snapshot.settled and payment.state == State.CAPTURED:
        payment.amount_settled_minor = payment.amount_captured_minor
        change.book(bookkeeping.settled)
        change.advance("psp_settled", attempt)
        learnt = True
    return learnt


def _learn_fee(change: Change, fee_minor: int, currency: str) -> bool:
    """Book the fee once. A fee that cannot be booked is a person's matter and takes nothing back:
    the captured money stays booked.
    """
    payment = change.payment
    if currency != payment.currency:
        return change.contradict(
            f"The provider's fee is in {currency}, the payment in {payment.currency}."
        )
    if payment.provider_fee_minor is None:
        payment.provider_fee_minor = fee_minor
        change.book(bookkeeping.provider_fee)
        change.audit("payment.provider_fee_learnt", {"fee_minor": fee_minor, "currency": currency})
        return True
    if payment.provider_fee_minor != fee_minor:
        return change.contradict(
            f"The provider's fee was {payment.provider_fee_minor} and is now {fee_minor}."
        )
    return False
