"""One short story per edge of the payment machine, told with the steps of a `World`.

A story leads a payment of its own along the edge it is named after. The life proof tells them
between random steps, so that rare edges are taken too, and tells again what was taken too seldom.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.proofs.life_world import SCREENED_ABOVE_MINOR, World

Story = Callable[[World], None]
STORIES: dict[tuple[str, str], Story] = {}

HOUR = 3600.0
# The provider has forgotten a call's key, and asking about it has gone on long enough.
EXHAUSTED = 49 * HOUR
PART = 1_000


def story(state: str, event: str) -> Callable[[Story], Story]:
    """The function tells how `event` is taken from `state`."""

    def keep(tell: Story) -> Story:
        assert (state, event) not in STORIES, f"Bug! two stories of {state} {event}"
        STORIES[state, event] = tell
        return tell

    return keep


# --- how far a payment gets before its story begins ----------------------------------------------


def open_payment(w: World) -> str:
    """Created, with an object at the provider, not confirmed."""
    return w.create(confirm=False, payment_method="")


def asks_payer(w: World, **more: str) -> str:
    """Waits for 3-D Secure."""
    payment = w.create(payment_method="tok_3ds", **more)
    w.news(payment)
    return payment


def authorized(w: World, token: str = "tok_visa") -> str:
    """Held."""
    payment = w.create(capture_method="manual", payment_method=token)
    w.news(payment)
    return payment


def partly(w: World) -> str:
    """A part captured, the rest still held."""
    payment = authorized(w)
    w.capture(payment, PART, final=False)
    w.news(payment)
    return payment


def captured(w: World, token: str = "tok_visa") -> str:
    """Captured in full, not settled."""
    payment = w.create(payment_method=token)
    w.news(payment)
    return payment


def settled(w: World) -> str:
    """Captured and settled."""
    payment = captured(w)
    w.happens(payment, "settle")
    w.news(payment)
    return payment


def disputed(w: World, payment: str, **more: int) -> str:
    """In dispute."""
    w.happens(payment, "dispute", **more)
    w.news(payment)
    return payment


def refunded(w: World, payment: str) -> str:
    """All given back."""
    w.refund(payment)
    w.news(payment)
    return payment


def returned(w: World, payment: str) -> str:
    """Taken back by the payer's bank."""
    w.happens(payment, "return", code="R10")
    w.news(payment)
    return payment


def told(w: World, payment: str, action: str, **body: object) -> str:
    """Something happens at the provider and its webhooks come."""
    w.happens(payment, action, **body)
    w.news(payment)
    return payment


def exhaust(w: World, payment: str) -> str:
    """Nobody could say for two days what became of the payment's call."""
    w.set(outage=True)
    w.later(EXHAUSTED)
    w.resume(payment)
    w.set(outage=False)
    return payment


def tries_again_there(w: World, token: str) -> str:
    """The payer fails 3-D Secure and pays with another token; we hear of the second only."""
    payment = asks_payer(w)
    w.authenticate(payment, "fail")
    w.news(payment, "lost")
    w.pay_there(payment, token)
    w.news(payment)
    return payment


# --- created -------------------------------------------------------------------------------------


@story("created", "attach_payment_method")
def _attach(w: World) -> None:
    w.update(open_payment(w))


@story("created", "confirm")
def _confirm(w: World) -> None:
    w.confirm(open_payment(w))


@story("created", "cancel")
def _cancel_open(w: World) -> None:
    w.cancel(open_payment(w))


@story("created", "expire")
def _expire_open(w: World) -> None:
    payment = open_payment(w)
    w.later(170 * HOUR)
    w.expire(payment)


@story("created", "screening_hold")
def _screen(w: World) -> None:
    w.create(amount_minor=SCREENED_ABOVE_MINOR + 1)


@story("created", "client_confirmed")
def _client_confirmed(w: World) -> None:
    payment = open_payment(w)
    w.pay_there(payment, "tok_visa")
    w.news(payment)


@story("created", "integrity_mismatch")
def _open_mismatch(w: World) -> None:
    w.create(confirm=False, payment_method="", fault="wrong amount")


@story("created", "outcome_unknown_exhausted")
def _open_exhausted(w: World) -> None:
    exhaust(w, w.create(confirm=False, payment_method="", fault="drop_before_commit"))


# --- requires_action -----------------------------------------------------------------------------


@story("requires_action", "client_completed")
def _came_back(w: World) -> None:
    w.payer_returns(asks_payer(w))


@story("requires_action", "psp_processing")
def _debit_instead(w: World) -> None:
    tries_again_there(w, "tok_bank")


@story("requires_action", "psp_authorized")
def _authenticated_manual(w: World) -> None:
    payment = asks_payer(w, capture_method="manual")
    w.authenticate(payment, "succeed")
    w.news(payment)


@story("requires_action", "psp_authorized_auto_capture")
def _authenticated_slowly(w: World) -> None:
    payment = asks_payer(w)
    w.set(capture_behaviour="asynchronous")
    w.authenticate(payment, "succeed")
    w.set(capture_behaviour=None)
    w.news(payment)


@story("requires_action", "psp_captured")
def _authenticated(w: World) -> None:
    payment = asks_payer(w)
    w.authenticate(payment, "succeed")
    w.news(payment)


@story("requires_action", "psp_action_required")
def _another_step(w: World) -> None:
    tries_again_there(w, "tok_3ds")


@story("requires_action", "psp_declined_retryable")
def _not_authenticated(w: World) -> None:
    payment = asks_payer(w)
    w.authenticate(payment, "fail")
    w.news(payment)


@story("requires_action", "psp_declined_final")
def _declined_for_good_there(w: World) -> None:
    tries_again_there(w, "tok_lost_card")


@story("requires_action", "cancel")
def _cancel_step(w: World) -> None:
    w.cancel(asks_payer(w))


@story("requires_action", "expire")
def _expire_step(w: World) -> None:
    payment = asks_payer(w)
    w.later(170 * HOUR)
    w.expire(payment)


@story("requires_action", "integrity_mismatch")
def _mismatch_there(w: World) -> None:
    tries_again_there(w, "tok_amount_mismatch")


@story("requires_action", "outcome_unknown_exhausted")
def _cancel_never_known(w: World) -> None:
    payment = asks_payer(w)
    w.cancel(payment, fault="drop_before_commit")
    exhaust(w, payment)


# --- processing ----------------------------------------------------------------------------------


@story("processing", "psp_action_required")
def _asks(w: World) -> None:
    asks_payer(w)


@story("processing", "psp_authorized")
def _holds(w: World) -> None:
    authorized(w)


@story("processing", "psp_authorized_auto_capture")
def _captures_later(w: World) -> None:
    captured(w, "tok_async_capture")


@story("processing", "psp_captured")
def _captures(w: World) -> None:
    captured(w)


@story("processing", "psp_declined_retryable")
def _declines(w: World) -> None:
    captured(w, "tok_insufficient_funds")


@story("processing", "psp_declined_final")
def _declines_for_good(w: World) -> None:
    captured(w, "tok_lost_card")


@story("processing", "psp_canceled")
def _canceled_there(w: World) -> None:
    payment = asks_payer(w)
    w.payer_returns(payment)
    told(w, payment, "cancel")


@story("processing", "integrity_mismatch")
def _mismatch(w: World) -> None:
    captured(w, "tok_amount_mismatch")


@story("processing", "outcome_unknown_exhausted")
def _never_known(w: World) -> None:
    exhaust(w, w.create(fault="drop_before_commit"))


@story("processing", "psp_fraud_hold")
def _fraud_desk(w: World) -> None:
    captured(w, "tok_review")


# --- in_review -----------------------------------------------------------------------------------


@story("in_review", "approve_resume")
def _release(w: World) -> None:
    w.decide(w.create(amount_minor=SCREENED_ABOVE_MINOR + 1), "release")


@story("in_review", "resolve_authorized")
def _approved_hold(w: World) -> None:
    told(w, authorized(w, "tok_review"), "approve")


@story("in_review", "resolve_capture_pending")
def _approved_slowly(w: World) -> None:
    payment = captured(w, "tok_review")
    w.set(capture_behaviour="asynchronous")
    told(w, payment, "approve")
    w.set(capture_behaviour=None)


@story("in_review", "resolve_captured")
def _approved(w: World) -> None:
    told(w, captured(w, "tok_review"), "approve")


@story("in_review", "resolve_partially_captured")
def _part_after_all(w: World) -> None:
    payment = authorized(w)
    w.capture(payment, PART, final=False, fault="drop_after_commit")
    w.news(payment, "lost")
    exhaust(w, payment)
    w.news(payment, "lost")
    w.poll(payment)


@story("in_review", "resolve_settled")
def _settled_meanwhile(w: World) -> None:
    payment = w.create(fault="drop_after_commit")
    exhaust(w, payment)
    w.news(payment, "lost")
    w.decide(payment, "accept_provider")


@story("in_review", "resolve_refunded")
def _refunded_meanwhile(w: World) -> None:
    payment = w.create(fault="drop_after_commit")
    exhaust(w, payment)
    w.happens(payment, "refund")
    w.news(payment, "lost")
    w.decide(payment, "accept_provider")


@story("in_review", "resolve_reversed")
def _did_not_hold(w: World) -> None:
    w.decide(told(w, captured(w), "fail_capture"), "accept_provider")


@story("in_review", "reject")
def _reject(w: World) -> None:
    w.decide(captured(w, "tok_review"), "cancel")


@story("in_review", "resolve_failed")
def _desk_declines(w: World) -> None:
    told(w, captured(w, "tok_review"), "decline")


@story("in_review", "dispute_opened")
def _disputed_in_review(w: World) -> None:
    payment = partly(w)
    w.capture(payment)
    told(w, payment, "fail_capture")
    disputed(w, payment, amount_minor=PART)


@story("in_review", "returned")
def _returned_in_review(w: World) -> None:
    payment = told(w, captured(w), "fail_capture")
    w.happens(payment, "return", code="R01")
    payment = returned(w, partly(w))
    w.decide(payment, "accept_provider")


@story("in_review", "psp_settled")
def _settled_in_review(w: World) -> None:
    payment = partly(w)
    w.capture(payment)
    told(w, payment, "fail_capture")
    told(w, payment, "settle")


# --- authorized ----------------------------------------------------------------------------------


@story("authorized", "capture_requested")
def _capture(w: World) -> None:
    w.capture(authorized(w))


@story("authorized", "psp_captured")
def _captured_there(w: World) -> None:
    told(w, authorized(w), "capture")


@story("authorized", "psp_partially_captured")
def _part_captured_there(w: World) -> None:
    told(w, authorized(w), "capture", amount_minor=PART, final=False)


@story("authorized", "increment_or_extend")
def _raise(w: World) -> None:
    w.increment(authorized(w), 5_000)


@story("authorized", "psp_auth_adjusted")
def _adjusted(w: World) -> None:
    told(w, authorized(w), "adjust", amount_minor=3_000)


@story("authorized", "void")
def _void(w: World) -> None:
    w.cancel(authorized(w))


@story("authorized", "auth_expired")
def _hold_expired(w: World) -> None:
    told(w, authorized(w), "expire")


@story("authorized", "integrity_mismatch")
def _lied_to(w: World) -> None:
    w.poll(authorized(w), fault="wrong currency")


@story("authorized", "psp_fraud_hold")
def _reviewed_late(w: World) -> None:
    told(w, authorized(w), "review")


@story("authorized", "outcome_unknown_exhausted")
def _void_never_known(w: World) -> None:
    payment = authorized(w)
    w.cancel(payment, fault="drop_before_commit")
    exhaust(w, payment)


# --- capture_pending -----------------------------------------------------------------------------


def capture_pending(w: World) -> str:
    """A capture whose result comes later."""
    payment = authorized(w, "tok_async_capture")
    w.capture(payment)
    w.news(payment)
    return payment


@story("capture_pending", "psp_captured")
def _capture_done(w: World) -> None:
    told(w, capture_pending(w), "finish_capture", result="succeed")


@story("capture_pending", "psp_partially_captured")
def _part_done(w: World) -> None:
    partly(w)


@story("capture_pending", "capture_failed_retryable")
def _capture_refused(w: World) -> None:
    w.capture(authorized(w, "tok_capture_refused"))


@story("capture_pending", "capture_failed_partial")
def _second_refused(w: World) -> None:
    payment = partly(w)
    w.set(capture_behaviour="refused")
    w.capture(payment)
    w.set(capture_behaviour=None)


@story("capture_pending", "capture_failed_final")
def _hold_lost(w: World) -> None:
    w.capture(authorized(w, "tok_capture_hold_lost"))


@story("capture_pending", "void")
def _called_back(w: World) -> None:
    w.cancel(capture_pending(w))


@story("capture_pending", "outcome_unknown_exhausted")
def _capture_never_known(w: World) -> None:
    payment = authorized(w)
    w.capture(payment, fault="drop_before_commit")
    exhaust(w, payment)


@story("capture_pending", "psp_settled")
def _settled_first(w: World) -> None:
    payment = capture_pending(w)
    w.happens(payment, "finish_capture", result="succeed")
    w.happens(payment, "settle")
    w.news(payment, "reversed")


@story("capture_pending", "integrity_mismatch")
def _lied_to_while_pending(w: World) -> None:
    w.poll(capture_pending(w), fault="wrong currency")


# --- partially_captured --------------------------------------------------------------------------


@story("partially_captured", "capture_requested")
def _capture_rest(w: World) -> None:
    w.capture(partly(w))


@story("partially_captured", "psp_captured")
def _rest_captured_there(w: World) -> None:
    told(w, partly(w), "capture")


@story("partially_captured", "release_remainder")
def _release_rest(w: World) -> None:
    told(w, partly(w), "expire")


@story("partially_captured", "dispute_opened")
def _part_disputed(w: World) -> None:
    disputed(w, partly(w))


@story("partially_captured", "capture_failed_late")
def _part_did_not_hold(w: World) -> None:
    told(w, partly(w), "fail_capture")


@story("partially_captured", "psp_settled")
def _part_settled(w: World) -> None:
    told(w, partly(w), "settle")


@story("partially_captured", "returned")
def _part_returned(w: World) -> None:
    returned(w, partly(w))


# --- captured and settled ------------------------------------------------------------------------


@story("captured", "psp_settled")
def _settled(w: World) -> None:
    settled(w)


@story("captured", "refunded_in_full")
def _refunded(w: World) -> None:
    refunded(w, captured(w))


@story("captured", "post_capture_void")
def _voided(w: World) -> None:
    w.cancel(captured(w))


@story("captured", "capture_failed_late")
def _failed_late(w: World) -> None:
    told(w, captured(w), "fail_capture")


@story("captured", "returned")
def _returned(w: World) -> None:
    returned(w, captured(w))


@story("captured", "dispute_opened")
def _disputed(w: World) -> None:
    disputed(w, captured(w))


@story("settled", "refunded_in_full")
def _refunded_settled(w: World) -> None:
    refunded(w, settled(w))


@story("settled", "dispute_opened")
def _disputed_settled(w: World) -> None:
    disputed(w, settled(w))


@story("settled", "returned")
def _returned_settled(w: World) -> None:
    returned(w, settled(w))


@story("settled", "capture_failed_late")
def _failed_after_settlement(w: World) -> None:
    told(w, settled(w), "fail_capture")


# --- disputed ------------------------------------------------------------------------------------


def decided(w: World, payment: str, result: str, *, which: int = -1, **more: int) -> None:
    """The bank decides a dispute."""
    w.dispute_happens(payment, result, which=which, **more)
    w.news(payment)


@story("disputed", "dispute_closed_for_us")
def _won(w: World) -> None:
    decided(w, disputed(w, captured(w)), "won")


@story("disputed", "dispute_closed_for_us_settled")
def _won_settled(w: World) -> None:
    decided(w, disputed(w, settled(w)), "won")


@story("disputed", "dispute_closed_for_us_partial")
def _won_partial(w: World) -> None:
    decided(w, disputed(w, partly(w)), "won")


@story("disputed", "dispute_closed_for_us_refunded")
def _won_refunded(w: World) -> None:
    decided(w, disputed(w, refunded(w, captured(w))), "won")


@story("disputed", "dispute_lost_in_full")
def _lost(w: World) -> None:
    decided(w, disputed(w, captured(w)), "lost")


@story("disputed", "dispute_lost_in_part")
def _lost_in_part(w: World) -> None:
    decided(w, disputed(w, settled(w)), "lost_in_part")


@story("disputed", "psp_settled")
def _settled_in_dispute(w: World) -> None:
    told(w, disputed(w, captured(w)), "settle")


@story("disputed", "second_dispute_opened")
def _second(w: World) -> None:
    disputed(w, disputed(w, captured(w), amount_minor=PART), amount_minor=PART)


@story("disputed", "returned")
def _returned_in_dispute(w: World) -> None:
    returned(w, disputed(w, captured(w), amount_minor=PART))


@story("disputed", "dispute_lost_in_part_unsettled")
def _lost_in_part_unsettled(w: World) -> None:
    decided(w, disputed(w, captured(w)), "lost_in_part")


@story("disputed", "one_dispute_closed")
def _one_closed(w: World) -> None:
    payment = disputed(w, disputed(w, captured(w), amount_minor=PART), amount_minor=PART)
    decided(w, payment, "won", which=0)


@story("disputed", "dispute_lost_in_part_partial")
def _lost_in_part_partial(w: World) -> None:
    decided(w, disputed(w, partly(w)), "lost_in_part", lost_minor=PART // 2)


# --- refunded and reversed -----------------------------------------------------------------------


def refund_comes_back(w: World, payment: str) -> None:
    """A refund that had succeeded fails."""
    w.refund_happens(payment, "fail_late")
    w.news(payment)


@story("refunded", "refund_failed_after_success")
def _came_back_unsettled(w: World) -> None:
    refund_comes_back(w, refunded(w, captured(w)))


@story("refunded", "refund_failed_after_success_settled")
def _came_back_settled(w: World) -> None:
    refund_comes_back(w, refunded(w, settled(w)))


@story("refunded", "psp_settled")
def _settled_refunded(w: World) -> None:
    told(w, refunded(w, captured(w)), "settle")


@story("refunded", "dispute_opened")
def _disputed_refunded(w: World) -> None:
    disputed(w, refunded(w, captured(w)))


@story("refunded", "returned")
def _returned_refunded(w: World) -> None:
    returned(w, refunded(w, captured(w)))


@story("reversed", "reversal_undone")
def _undone_settled(w: World) -> None:
    told(w, returned(w, settled(w)), "undo_return")


@story("reversed", "reversal_undone_unsettled")
def _undone(w: World) -> None:
    told(w, returned(w, captured(w)), "undo_return")


@story("reversed", "dispute_opened")
def _goes_on(w: World) -> None:
    payment = disputed(w, captured(w))
    decided(w, payment, "lost")
    decided(w, payment, "escalated")


@story("reversed", "psp_settled")
def _settled_reversed(w: World) -> None:
    payment = disputed(w, captured(w))
    decided(w, payment, "lost")
    told(w, payment, "settle")


# --- canceled and failed -------------------------------------------------------------------------


@story("canceled", "late_money")
def _paid_after_cancel(w: World) -> None:
    payment = open_payment(w)
    w.cancel(payment)
    told(w, payment, "succeed_late")


@story("canceled", "psp_settled")
def _settled_after_cancel(w: World) -> None:
    payment = open_payment(w)
    w.cancel(payment)
    w.happens(payment, "succeed_late")
    w.happens(payment, "settle")
    w.news(payment, "reversed")


@story("failed", "late_money")
def _paid_slowly_after_failure(w: World) -> None:
    payment = captured(w, "tok_lost_card")
    w.set(capture_behaviour="asynchronous")
    told(w, payment, "succeed_late")
    w.set(capture_behaviour=None)


@story("failed", "late_success")
def _late_success(w: World) -> None:
    told(w, captured(w, "tok_lost_card"), "succeed_late")


@story("failed", "late_authorized")
def _late_hold(w: World) -> None:
    told(w, authorized(w, "tok_lost_card"), "succeed_late")


# --- more than edges: what once went wrong ---------------------------------------------------------


def captured_and_lost_unheard(w: World) -> None:
    """The capture and its failure are both heard of by a poll only."""
    payment = w.create(fault="drop_after_commit")
    w.happens(payment, "fail_capture")
    w.news(payment, "lost")
    w.settle_operation(payment)
    w.poll(payment)


def captured_late_in_part_and_lost(w: World) -> None:
    """A second capture is made and lost before its answer is known."""
    payment = partly(w)
    w.capture(payment, fault="drop_after_commit")
    w.happens(payment, "fail_capture")
    w.news(payment)
    w.settle_operation(payment)


def lost_after_a_refund(w: World) -> None:
    """A capture does not hold although a part of it was refunded."""
    payment = captured(w)
    w.refund(payment, PART)
    told(w, payment, "fail_capture")


def held_captured_and_lost_there(w: World) -> None:
    """The dashboard captures a hold, and it does not last."""
    payment = authorized(w)
    w.happens(payment, "capture")
    w.happens(payment, "fail_capture")
    w.news(payment, "lost")
    w.poll(payment)


MORE = (
    captured_and_lost_unheard,
    captured_late_in_part_and_lost,
    lost_after_a_refund,
    held_captured_and_lost_there,
)


def meet(w: World, fault: str, kind: str) -> None:
    """An operation of `kind` whose call meets `fault`; what it leaves is asked about."""
    payment = MEETINGS[kind](w, fault)
    w.settle_operation(payment)
    w.news(payment)


def _meets_confirm(w: World, fault: str) -> str:
    payment = open_payment(w)
    w.confirm(payment, fault=fault)
    return payment


def _meets_capture(w: World, fault: str) -> str:
    payment = authorized(w)
    w.capture(payment, PART, final=False, fault=fault)
    return payment


def _meets_cancel(w: World, fault: str) -> str:
    payment = authorized(w)
    w.cancel(payment, fault=fault)
    return payment


def _meets_increment(w: World, fault: str) -> str:
    payment = authorized(w)
    w.increment(payment, 5_000, fault=fault)
    return payment


def _meets_refund(w: World, fault: str) -> str:
    payment = settled(w)
    w.refund(payment, PART, fault=fault)
    return payment


def _meets_evidence(w: World, fault: str) -> str:
    payment = disputed(w, settled(w))
    w.answer_dispute(payment, "submit_evidence", fault=fault)
    return payment


def _meets_acceptance(w: World, fault: str) -> str:
    payment = disputed(w, settled(w))
    w.answer_dispute(payment, "accept", fault=fault)
    return payment


MEETINGS: dict[str, Callable[[World, str], str]] = {
    "create": lambda w, fault: w.create(fault=fault),
    "confirm": _meets_confirm,
    "capture": _meets_capture,
    "cancel": _meets_cancel,
    "increment": _meets_increment,
    "refund": _meets_refund,
    "submit_evidence": _meets_evidence,
    "accept_dispute": _meets_acceptance,
}
