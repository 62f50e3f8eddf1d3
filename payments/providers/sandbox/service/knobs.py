"""The knobs of a sandbox account: settings and chaos switches, each with its default and its words.

Those that count ("the next N ...") go down by themselves. The table is printed in docs/sandbox.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from payments.providers.sandbox.service.behaviour import CAPTURE_BEHAVIOURS, REFUND_BEHAVIOURS
from payments.providers.sandbox.service.wire import Refusal


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting: its default (whose type is the type) and what it does."""

    default: float | int | bool | str
    words: str
    choices: tuple[str, ...] = ()
    countdown: bool = False


KNOBS: dict[str, Knob] = {
    "settle_after_seconds": Knob(default=2.0, words="captured money is settled after this long"),
    "bank_result_after_seconds": Knob(default=2.0, words="a bank debit has its result after"),
    "slow_seconds": Knob(default=3.0, words="how long `tok_slow` takes"),
    "hang_seconds": Knob(default=30.0, words="how long a hanging request keeps its connection"),
    "latency_seconds": Knob(default=0.0, words="added to every request about payments"),
    "fee_basis_points": Knob(default=290, words="fee, in hundredths of a per cent"),
    "fee_fixed_minor": Knob(default=30, words="fixed part of the fee, in minor units"),
    "fee_known": Knob(
        default="capture",
        choices=("capture", "settlement"),
        words="when the fee appears on the payment",
    ),
    "outage": Knob(default=False, words="every request about payments is answered 503"),
    "rate_limited": Knob(default=0, countdown=True, words="next N requests about payments: 429"),
    "fail_before_commit": Knob(default=0, countdown=True, words="next N changes: 500, no effect"),
    "fail_after_commit": Knob(default=0, countdown=True, words="next N changes: done, then 500"),
    "drop_before_commit": Knob(
        default=0, countdown=True, words="next N changes: connection dropped, no effect"
    ),
    "drop_after_commit": Knob(
        default=0, countdown=True, words="next N changes: done, then connection dropped"
    ),
    "hang_before_commit": Knob(default=0, countdown=True, words="next N changes: hang, no effect"),
    "hang_after_commit": Knob(default=0, countdown=True, words="next N changes: done, then hang"),
    "fail_reads": Knob(default=0, countdown=True, words="next N fetches and searches: 500"),
    "hang_reads": Knob(default=0, countdown=True, words="next N fetches and searches: hang"),
    "fail_event_lists": Knob(
        default=0, countdown=True, words="next N lists of events since a moment: 500"
    ),
    "hang_event_lists": Knob(
        default=0, countdown=True, words="next N lists of events since a moment: hang"
    ),
    "event_list_lag_seconds": Knob(
        default=0.0, words="an event is in the list since a moment only this long after"
    ),
    "webhook_drop": Knob(default=0, countdown=True, words="next N events are never delivered"),
    "webhook_copies": Knob(default=0, words="each event is delivered this many times more"),
    "webhook_delay_seconds": Knob(default=0.0, words="each event is delivered this much later"),
    "webhook_reorder": Knob(
        default=0, countdown=True, words="next N events are delivered in reverse order"
    ),
    "webhook_bad_signature": Knob(
        default=0, countdown=True, words="next N events: first try with a wrong signature"
    ),
    "webhook_stale_timestamp": Knob(
        default=0, countdown=True, words="next N events: first try with a time one day old"
    ),
    "capture_behaviour": Knob(
        default="by_token",
        choices=("by_token", "at_once", *CAPTURE_BEHAVIOURS),
        words="how every capture goes",
    ),
    "refund_behaviour": Knob(
        default="by_token",
        choices=("by_token", "at_once", *REFUND_BEHAVIOURS),
        words="how every refund goes",
    ),
    "capture_wrong_amount": Knob(
        default=0, countdown=True, words="next N captures: one minor unit less than asked for"
    ),
    "refund_wrong_amount": Knob(
        default=0, countdown=True, words="next N refunds: one minor unit less than asked for"
    ),
    "refund_unknown_status": Knob(
        default=0, countdown=True, words="next N refunds: in a status that is in no documentation"
    ),
    "dispute_unknown_status": Knob(
        default=0, countdown=True, words="next N disputes: in a status that is in no documentation"
    ),
    "capture_result_after_seconds": Knob(default=2.0, words="a pending capture has its result"),
    "refund_result_after_seconds": Knob(default=2.0, words="a pending refund has its result"),
    "late_failure_after_seconds": Knob(
        default=4.0, words="what fails late (capture, refund, payout) fails this long afterwards"
    ),
    "authorization_lifetime_seconds": Knob(
        default=604_800.0, words="held money is released when it was not captured for this long"
    ),
    "dispute_after_seconds": Knob(default=2.0, words="a token's dispute is opened this long after"),
    "dispute_step_after_seconds": Knob(
        default=2.0, words="a dispute that moves by itself does so this long after"
    ),
    "dispute_decision_after_seconds": Knob(
        default=2.0, words="the bank decides this long after evidence is in"
    ),
    "evidence_due_after_seconds": Knob(default=604_800.0, words="evidence has this much time"),
    "dispute_fee_minor": Knob(default=1_500, words="fee of a dispute that takes money"),
    "settlement_batch_seconds": Knob(
        default=2.0, words="a settlement is closed this long after its first item"
    ),
    "payout_after_seconds": Knob(default=2.0, words="a payout is paid this long after it was made"),
    "payout_fails_late": Knob(default=0, countdown=True, words="next N payouts: paid, then failed"),
    "settlement_missing_item": Knob(
        default=0, countdown=True, words="next N charges: not in the settlement"
    ),
    "settlement_extra_item": Knob(
        default=0, countdown=True, words="next N charges: with one nobody knows beside them"
    ),
    "settlement_wrong_amount": Knob(
        default=0, countdown=True, words="next N charges: one minor unit too much"
    ),
    "settlement_wrong_currency": Knob(
        default=0, countdown=True, words="next N charges: in another currency"
    ),
    "settlement_duplicated_item": Knob(
        default=0, countdown=True, words="next N charges: in the settlement twice"
    ),
    "settlement_wrong_fee": Knob(
        default=0, countdown=True, words="next N charges: with a fee one minor unit higher"
    ),
}


def checked(name: str, value: Any) -> Any:
    """The value a knob is turned to; None: back to its default. Raises Refusal 400."""
    knob = KNOBS.get(name)
    if knob is None:
        message = f"There is no setting {name!r}. There are: {', '.join(KNOBS)}."
        raise Refusal(400, "invalid_request", "setting_unknown", message, param=name)
    if value is None:
        return None
    wanted = type(knob.default)
    fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
    if isinstance(value, bool) and wanted is not bool:
        fits = False
    if (
        not fits
        or (knob.choices and value not in knob.choices)
        or (wanted is not str and value < 0)
    ):
        expected = " or ".join(knob.choices) or f"a {wanted.__name__} of 0 or more"
        message = f"{name} must be {expected}."
        raise Refusal(400, "invalid_request", "setting_invalid", message, param=name)
    return value
