"""One short story per edge before money is captured: created, waiting, in review, refused."""

from __future__ import annotations

from tests.proofs.life_frame import SCREENED_ABOVE_MINOR
from tests.proofs.life_starts import (
    HOUR,
    PART,
    asks_payer,
    authorized,
    captured,
    disputed,
    exhaust,
    open_payment,
    partly,
    returned,
    story,
    told,
    tries_again_there,
)
from tests.proofs.life_world import World

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
