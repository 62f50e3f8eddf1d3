"""Which edges lead from the state we hold to what the PSP reports, as tables and exceptions.

Mental model: `PATHS` is read by state and status. Where the same status means different things (a
capture that is under way, a review, money that may be taken back), a function by the state's name
decides. An empty path means that the news is old. What is impossible raises `ContradictoryNews`.
"""

from __future__ import annotations

from collections.abc import Callable

from payments.actions.change import Change, ContradictoryNews
from payments.actions.given_back import returned_minor
from payments.actions.lost_captures import lost_minor
from payments.models import Payment, ProviderOperation, ReviewCase
from payments.providers import provider_for
from payments.providers.base import ObservedStatus, PaymentSnapshot
from payments.states import State

DECLINE = "psp_declined"  # becomes _retryable or _final
_S, _O = State, ObservedStatus

# From a payment that was handed to the PSP: what its word leads to.
_SUBMITTED: dict[ObservedStatus, tuple[str, ...]] = {
    _O.REQUIRES_ACTION: ("psp_action_required",),
    _O.AUTHORIZED: ("psp_authorized",),
    _O.CAPTURE_PENDING: ("psp_authorized_auto_capture",),
    _O.PARTIALLY_CAPTURED: ("psp_authorized", "psp_partially_captured"),
    _O.CAPTURED: ("psp_captured",),
    _O.RETURNED: ("psp_captured", "returned"),
    _O.DECLINED: (DECLINE,),
    _O.FAILED: ("psp_declined_final",),
}
_LATE_MONEY: dict[ObservedStatus, tuple[str, ...]] = dict.fromkeys(
    (_O.AUTHORIZED, _O.CAPTURE_PENDING, _O.PARTIALLY_CAPTURED, _O.CAPTURED), ("late_money",)
)

# (state we hold) -> status the PSP reports -> the edges between them. Absent: old news.
PATHS: dict[State, dict[ObservedStatus, tuple[str, ...]]] = {
    _S.CREATED: {
        **{status: ("client_confirmed", *path) for status, path in _SUBMITTED.items()},
        _O.PROCESSING: ("client_confirmed",),
        _O.UNDER_REVIEW: ("client_confirmed", "psp_fraud_hold"),
        _O.CANCELED: ("cancel",),
    },
    _S.PROCESSING: {
        **_SUBMITTED,
        _O.UNDER_REVIEW: ("psp_fraud_hold",),
        _O.CANCELED: ("psp_canceled",),
    },
    _S.REQUIRES_ACTION: {
        **_SUBMITTED,
        _O.PROCESSING: ("psp_processing",),
        _O.UNDER_REVIEW: ("psp_processing", "psp_fraud_hold"),
        _O.CANCELED: ("cancel",),
    },
    _S.AUTHORIZED: {
        _O.UNDER_REVIEW: ("psp_fraud_hold",),
        _O.CAPTURE_PENDING: ("capture_requested",),
        _O.PARTIALLY_CAPTURED: ("psp_partially_captured",),
        _O.CAPTURED: ("psp_captured",),
        _O.CANCELED: ("void",),
    },
    _S.PARTIALLY_CAPTURED: {
        _O.CAPTURE_PENDING: ("capture_requested",),
        _O.CAPTURED: ("psp_captured",),
        _O.CAPTURE_FAILED: ("capture_failed_late",),
        _O.RETURNED: ("returned",),
    },
    _S.CAPTURED: {_O.CAPTURE_FAILED: ("capture_failed_late",), _O.RETURNED: ("returned",)},
    _S.SETTLED: {_O.CAPTURE_FAILED: ("capture_failed_late",), _O.RETURNED: ("returned",)},
    _S.REFUNDED: {_O.RETURNED: ("returned",)},
    _S.DISPUTED: {_O.RETURNED: ("returned",)},
    _S.CANCELED: _LATE_MONEY,
    _S.FAILED: {
        **_LATE_MONEY,
        _O.AUTHORIZED: ("late_authorized",),
        _O.CAPTURED: ("late_success",),
    },
}

# Nothing is held or captured any more, and nothing was booked.
_NOTHING_HELD: dict[State, tuple[str, ...]] = {
    _S.CREATED: ("client_confirmed", "psp_declined_final"),
    _S.PROCESSING: ("psp_declined_final",),
    _S.REQUIRES_ACTION: ("psp_declined_final",),
    _S.AUTHORIZED: ("capture_requested", "capture_failed_final"),
    _S.CAPTURE_PENDING: ("capture_failed_final",),
}

# Where a review ends, by what the PSP says now.
DECISIONS: dict[ObservedStatus, tuple[str, ...]] = {
    _O.AUTHORIZED: ("resolve_authorized",),
    _O.CAPTURE_PENDING: ("resolve_capture_pending",),
    _O.PARTIALLY_CAPTURED: ("resolve_partially_captured",),
    _O.CAPTURED: ("resolve_captured",),
    _O.CAPTURE_FAILED: ("resolve_reversed",),
    _O.CANCELED: ("reject",),
    _O.OPEN: ("resolve_failed",),
    _O.DECLINED: ("resolve_failed",),
    _O.FAILED: ("resolve_failed",),
}
# Reviews that only waited for the PSP's word end with it; the others wait for a person.
_WAITED_FOR_THE_PROVIDER = (ReviewCase.Kind.FRAUD_HOLD, ReviewCase.Kind.OUTCOME_UNKNOWN)

# States in which money was taken: a PSP that now says the payment was canceled, or that another
# attempt took money too, contradicts our books.
MONEY_TAKEN = frozenset(
    {
        State.PARTIALLY_CAPTURED,
        State.CAPTURED,
        State.SETTLED,
        State.DISPUTED,
        State.REFUNDED,
        State.REVERSED,
    }
)
REFUSALS = frozenset({ObservedStatus.DECLINED, ObservedStatus.FAILED})
MONEY_NEWS = frozenset({ObservedStatus.AUTHORIZED, *_LATE_MONEY})


def path_of(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """The edges from a payment that is not in review. Raises ContradictoryNews."""
    state = State(change.payment.state)
    unbooked = not change.payment.amount_captured_minor
    if snapshot.status == ObservedStatus.CAPTURE_FAILED and unbooked:
        return _failed_unseen(state, snapshot)
    special = _SPECIAL.get(state)
    if special is not None:
        return special(change, snapshot)
    return PATHS[state].get(snapshot.status, ())


def _failed_unseen(state: State, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """A capture that we never heard of did not hold: what counts is what stands of the others."""
    if snapshot.amount_captured_minor:
        captured = {State.CAPTURE_PENDING: ("psp_captured",)}
        return captured.get(state) or PATHS[state].get(ObservedStatus.CAPTURED, ())
    return _NOTHING_HELD.get(state, ())


def raised_to(payment: Payment, amount_minor: int) -> bool:
    """Whether a raise of the authorization to this total is under way."""
    raises = payment.operations.filter(
        finished_at=None,
        kind=ProviderOperation.Kind.INCREMENT,
        request__amount_minor=amount_minor,
    )
    return raises.exists()


def _from_requires_action(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    payment = change.payment
    same = dict(snapshot.next_action or {}) == (payment.next_action or {})
    if snapshot.status == ObservedStatus.REQUIRES_ACTION and same:
        return ()
    return PATHS[State.REQUIRES_ACTION].get(snapshot.status, ())


def _from_authorized(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    payment = change.payment
    if snapshot.status == ObservedStatus.CANCELED and snapshot.cancellation_reason == "expired":
        return ("auth_expired",)
    if snapshot.status == ObservedStatus.AUTHORIZED:
        held = snapshot.amount_authorized_minor or snapshot.amount_minor
        if held == payment.amount_authorized_minor:
            return ()
        asked = raised_to(payment, held)
        return ("increment_or_extend",) if asked else ("psp_auth_adjusted",)
    return PATHS[State.AUTHORIZED].get(snapshot.status, ())


def _from_capture_pending(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """A capture is under way. An earlier state at the PSP is old news unless it says why."""
    payment = change.payment
    status, booked = snapshot.status, payment.amount_captured_minor
    if status in (ObservedStatus.CAPTURED, ObservedStatus.CAPTURE_PENDING) and snapshot.settled:
        return ("psp_settled",)
    if status == ObservedStatus.CAPTURED:
        return ("psp_captured",)
    if status == ObservedStatus.PARTIALLY_CAPTURED and snapshot.amount_captured_minor > booked:
        return ("psp_partially_captured",)
    if status == ObservedStatus.RETURNED:
        return ("psp_captured", "returned")
    if status in (ObservedStatus.AUTHORIZED, ObservedStatus.PARTIALLY_CAPTURED):
        refused = "capture_failed_partial" if booked else "capture_failed_retryable"
        return (refused,) if snapshot.capture_error else ()
    if status == ObservedStatus.CAPTURE_FAILED and booked:
        lost = lost_minor(payment, snapshot)
        return ("capture_failed_partial", "capture_failed_late" if lost else "release_remainder")
    if status in (ObservedStatus.CAPTURE_FAILED, *REFUSALS, ObservedStatus.CANCELED):
        if booked:
            raise ContradictoryNews(f"the provider reports {status} of a part that we have booked")
        asked = status == ObservedStatus.CANCELED and payment.cancellation_reason
        return ("void",) if asked else ("capture_failed_final",)
    return ()


def _from_partially_captured(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    payment = change.payment
    more = snapshot.amount_captured_minor > payment.amount_captured_minor
    if snapshot.status == ObservedStatus.CAPTURE_FAILED and not lost_minor(payment, snapshot):
        return ("release_remainder",)
    if snapshot.status == ObservedStatus.CAPTURED and not more:
        return ("release_remainder",)
    if snapshot.status == ObservedStatus.PARTIALLY_CAPTURED and more:
        return ("capture_requested", "psp_partially_captured")
    if snapshot.status == ObservedStatus.CANCELED:
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    return PATHS[State.PARTIALLY_CAPTURED].get(snapshot.status, ())


def _from_canceled(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """Nothing should move any more; what does is late money, settled or not."""
    if snapshot.status == ObservedStatus.CAPTURED and snapshot.settled:
        return ("psp_settled",)
    return PATHS[State.CANCELED].get(snapshot.status, ())


def _from_money(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """Captured or settled: only what takes the money back is news."""
    payment = change.payment
    if snapshot.status == ObservedStatus.CAPTURE_FAILED and not lost_minor(payment, snapshot):
        return ()
    if snapshot.status == ObservedStatus.CANCELED:
        provider = provider_for(payment.provider_account.provider)
        if payment.state == State.CAPTURED and provider.capabilities.void_after_capture:
            return ("post_capture_void",)
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    return PATHS[State(payment.state)].get(snapshot.status, ())


def _from_given_back(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """Refunded or disputed: a debit may be returned on top."""
    if snapshot.status == ObservedStatus.CANCELED:
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    if snapshot.status != ObservedStatus.RETURNED:
        return ()
    return ("returned",) if snapshot.amount_returned_minor > returned_minor(change) else ()


def _from_reversed(change: Change, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    payment = change.payment
    if snapshot.status != ObservedStatus.CAPTURED:
        return ()
    again = returned_minor(change) - snapshot.amount_returned_minor
    given_back = payment.amount_refunded_minor + payment.amount_reversed_minor
    if again <= 0 or payment.amount_captured_minor <= given_back - again:
        return ()  # nothing came again, or it was lost twice and is still lost once
    settled = payment.amount_settled_minor == payment.amount_captured_minor
    return ("reversal_undone",) if settled else ("reversal_undone_unsettled",)


_SPECIAL: dict[State, Callable[[Change, PaymentSnapshot], tuple[str, ...]]] = {
    State.REQUIRES_ACTION: _from_requires_action,
    State.AUTHORIZED: _from_authorized,
    State.CAPTURE_PENDING: _from_capture_pending,
    State.PARTIALLY_CAPTURED: _from_partially_captured,
    State.CAPTURED: _from_money,
    State.SETTLED: _from_money,
    State.REFUNDED: _from_given_back,
    State.DISPUTED: _from_given_back,
    State.REVERSED: _from_reversed,
    State.CANCELED: _from_canceled,
}


def review_path(change: Change, snapshot: PaymentSnapshot, *, decided: bool) -> tuple[str, ...]:
    """How a review ends: by a person, or by the PSP's word where that was all that was missing."""
    payment = change.payment
    if snapshot.status == ObservedStatus.RETURNED and payment.amount_captured_minor:
        known = returned_minor(change)
        more = snapshot.amount_returned_minor > known if known else True
        return ("returned",) if decided or more else ()
    open_kinds = set(payment.cases.filter(resolved_at=None).values_list("kind", flat=True))
    if not decided and not open_kinds & set(_WAITED_FOR_THE_PROVIDER):
        return ()
    path = DECISIONS.get(snapshot.status, ())
    if decided and path and payment.amount_captured_minor and lost_minor(payment, snapshot):
        path = ("resolve_reversed",)  # booked money that the PSP does not count any more
    if path == ("resolve_reversed",):
        if snapshot.amount_captured_minor:
            path = ("resolve_captured",)  # other captures stand
        elif not payment.amount_captured_minor:
            path = ("resolve_failed",)
    without_money = path in (("reject",), ("resolve_failed",))
    if without_money and payment.amount_captured_minor:
        raise ContradictoryNews(f"the provider reports {snapshot.status} of money we have booked")
    if path != ("resolve_captured",):
        return path
    refunded = sum(
        refund.amount_minor for refund in snapshot.refunds or () if refund.status == "succeeded"
    )
    if refunded and refunded == snapshot.amount_captured_minor:
        return ("resolve_refunded",)
    return ("resolve_settled",) if snapshot.settled else path
