"""One short story per edge of captured money, and of what comes after the end."""

from __future__ import annotations

from tests.proofs.life_starts import (
    PART,
    authorized,
    captured,
    disputed,
    open_payment,
    partly,
    refunded,
    returned,
    settled,
    story,
    told,
)
from tests.proofs.life_world import World

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
