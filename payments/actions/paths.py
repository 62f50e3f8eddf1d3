"""Which edges lead from the state we hold to what the PSP reports, as tables and exceptions.

Mental model: `PATHS` is read by state and status. Where the same status means different things (a
capture that is under way, a review, money that may be taken back), a function by the state's name
decides. An empty path means that the news is old. What is impossible raises `ContradictoryNews`.
"""

from __future__ import annotations

from collections.abc import Callable

from payments.actions.change import Change
from payments.actions.facts import ContradictoryNews, returned_minor
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
    _O.CAPTURE_FAILED: ("psp_captured", "capture_failed_late"),
    _O.RETURNED: ("psp_captured", "returned"),
    _O.DECLINED: (DECLINE,),
    _O.FAILED: ("psp_declined_final",),
}
_LATE_MONEY = dict.fromkeys(
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
        _O.CAPTURE_FAILED: ("psp_captured", "capture_failed_late"),
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


def path_of(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """The edges from a payment that is not in review. Raises ContradictoryNews."""
    state = State(payment.state)
    special = _SPECIAL.get(state)
    if special is not None:
        return special(payment, snapshot)
    return PATHS[state].get(snapshot.status, ())


def raised_to(payment: Payment, amount_minor: int) -> bool:
    """Whether a raise of the authorization to this total is under way."""
    raises = payment.operations.filter(
        finished_at=None,
        kind=ProviderOperation.Kind.INCREMENT,
        request__amount_minor=amount_minor,
    )
    return raises.exists()


def _from_requires_action(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    same = dict(snapshot.next_action or {}) == (payment.next_action or {})
    if snapshot.status == ObservedStatus.REQUIRES_ACTION and same:
        return ()
    return PATHS[State.REQUIRES_ACTION].get(snapshot.status, ())


def _from_authorized(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    if snapshot.status == ObservedStatus.CANCELED and snapshot.cancellation_reason == "expired":
        return ("auth_expired",)
    if snapshot.status == ObservedStatus.AUTHORIZED:
        held = snapshot.amount_authorized_minor or snapshot.amount_minor
        if held == payment.amount_authorized_minor:
            return ()
        asked = raised_to(payment, held)
        return ("increment_or_extend",) if asked else ("psp_auth_adjusted",)
    return PATHS[State.AUTHORIZED].get(snapshot.status, ())


def _from_capture_pending(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """A capture is under way. An earlier state at the PSP is old news unless it says why."""
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
    if status in (ObservedStatus.CAPTURE_FAILED, *REFUSALS, ObservedStatus.CANCELED):
        if booked:
            raise ContradictoryNews(f"the provider reports {status} of a part that we have booked")
        asked = status == ObservedStatus.CANCELED and payment.cancellation_reason
        return ("void",) if asked else ("capture_failed_final",)
    return ()


def _from_partially_captured(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    more = snapshot.amount_captured_minor > payment.amount_captured_minor
    if snapshot.status == ObservedStatus.CAPTURED and not more:
        return ("release_remainder",)
    if snapshot.status == ObservedStatus.PARTIALLY_CAPTURED and more:
        return ("capture_requested", "psp_partially_captured")
    if snapshot.status == ObservedStatus.CANCELED:
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    return PATHS[State.PARTIALLY_CAPTURED].get(snapshot.status, ())


def _from_money(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """Captured or settled: only what takes the money back is news."""
    if snapshot.status == ObservedStatus.CANCELED:
        provider = provider_for(payment.provider_account.provider)
        if payment.state == State.CAPTURED and provider.capabilities.void_after_capture:
            return ("post_capture_void",)
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    return PATHS[State(payment.state)].get(snapshot.status, ())


def _from_given_back(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    """Refunded or disputed: a debit may be returned on top."""
    if snapshot.status == ObservedStatus.CANCELED:
        raise ContradictoryNews("the provider canceled a payment whose money we have booked")
    if snapshot.status != ObservedStatus.RETURNED:
        return ()
    return ("returned",) if snapshot.amount_returned_minor > returned_minor(payment) else ()


def _from_reversed(payment: Payment, snapshot: PaymentSnapshot) -> tuple[str, ...]:
    if snapshot.status != ObservedStatus.CAPTURED:
        return ()
    if returned_minor(payment) <= snapshot.amount_returned_minor:
        return ()
    settled = payment.amount_settled_minor == payment.amount_captured_minor
    return ("reversal_undone",) if settled else ("reversal_undone_unsettled",)


_SPECIAL: dict[State, Callable[[Payment, PaymentSnapshot], tuple[str, ...]]] = {
    State.REQUIRES_ACTION: _from_requires_action,
    State.AUTHORIZED: _from_authorized,
    State.CAPTURE_PENDING: _from_capture_pending,
    State.PARTIALLY_CAPTURED: _from_partially_captured,
    State.CAPTURED: _from_money,
    State.SETTLED: _from_money,
    State.REFUNDED: _from_given_back,
    State.DISPUTED: _from_given_back,
    State.REVERSED: _from_reversed,
}


def review_path(change: Change, snapshot: PaymentSnapshot, *, decided: bool) -> tuple[str, ...]:
    """How a review ends: by a person, or by the PSP's word where that was all that was missing."""
    payment = change.payment
    if snapshot.status == ObservedStatus.RETURNED and payment.amount_captured_minor:
        return ("returned",)
    open_kinds = set(payment.cases.filter(resolved_at=None).values_list("kind", flat=True))
    if not decided and not open_kinds & set(_WAITED_FOR_THE_PROVIDER):
        return ()
    path = DECISIONS.get(snapshot.status, ())
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
