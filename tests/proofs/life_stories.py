"""All stories of the life proof: one per edge, those of what once went wrong, faults that meet.

The life proof tells them between random steps, so that rare edges are taken too, and tells again
what was taken too seldom.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.proofs import (
    life_stories_before_money,
    life_stories_of_captures,
    life_stories_of_money,
)
from tests.proofs.life_starts import (
    PART,
    STORIES,
    authorized,
    captured,
    disputed,
    open_payment,
    partly,
    refunded,
    returned,
    settled,
    told,
)
from tests.proofs.life_world import World

__all__ = ["MEETINGS", "MORE", "STORIES", "meet"]

_TOLD_IN = (life_stories_before_money, life_stories_of_captures, life_stories_of_money)

# --- more than edges: what once went wrong -------------------------------------------------


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


def lost_after_all_was_refunded(w: World) -> None:
    """A refunded capture does not hold either."""
    told(w, refunded(w, captured(w)), "fail_capture")


def returned_after_a_lost_dispute(w: World) -> None:
    """The payer's bank takes back what the payer got already, and gives it again."""
    payment = disputed(w, captured(w))
    w.dispute_happens(payment, "lost")
    returned(w, payment)
    told(w, payment, "undo_return")


MORE = (
    lost_after_all_was_refunded,
    returned_after_a_lost_dispute,
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
