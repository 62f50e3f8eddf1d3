"""One short story per edge of held and partly captured money."""

from __future__ import annotations

from tests.proofs.life_starts import (
    PART,
    authorized,
    disputed,
    exhaust,
    partly,
    returned,
    story,
    told,
)
from tests.proofs.life_world import World

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
