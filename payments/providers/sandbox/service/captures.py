"""Taking held money at the sandbox PSP: all of it or parts, at once or later, and taking it back.

    authorized ──capture──► captured                     nothing is held any more
        │ ▲   ╲──not final──► partially_captured ──...──► captured
        │ ╰───refused──── capture_pending                (asynchronous: by the clock)
        ╰──────────────────► failed                      (refused, and the hold is gone)
    captured ──cancel, not settled──► canceled           the captures are voided
    captured ──fails late──► capture_failed              the money is taken back

Each capture is an entry of the payment's `captures`. What the payment says of itself
(`amount_captured_minor`, `amount_settled_minor`, `settled`) is the sum over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service import holds, settlements
from payments.providers.sandbox.service.desk import (
    Declined,
    Desk,
    changed,
    conflict,
    instrument_of,
    moment,
    move,
    new_part,
    part_of,
    reason_of,
    require,
    schedule,
)
from payments.providers.sandbox.service.wire import Refusal

CAPTURABLE = frozenset({"authorized", "partially_captured"})
_LATER = {
    "asynchronous": "capture_succeeds",
    "asynchronous_refused": "capture_is_refused",
    "asynchronous_hold_lost": "capture_loses_hold",
}


def behaviour_of(desk: Desk, payment: Mapping[str, Any]) -> str:
    """How a capture of this payment goes: by the knob, else by the token."""
    knob = desk.account.get("capture_behaviour")
    if knob == "by_token":
        return instrument_of(payment).capture
    return "" if knob == "at_once" else str(knob)


def capture(
    desk: Desk,
    payment: dict[str, Any],
    *,
    amount_minor: int | None,
    final: bool,
    reference: str,
) -> dict[str, Any] | Declined:
    """Take `amount_minor` of what is held (None: all of it). Raises Refusal 409 and 400."""
    require(payment, CAPTURABLE, "captured")
    held = payment["amount_capturable_minor"]
    if amount_minor is not None and amount_minor > held:
        message = f"{held} can be captured; {amount_minor} was asked for."
        code = "amount_not_capturable"
        raise Refusal(400, "invalid_request", code, message, param="amount_minor")
    return begin(desk, payment, amount_minor=amount_minor or held, final=final, reference=reference)


def begin(
    desk: Desk, payment: dict[str, Any], *, amount_minor: int, final: bool, reference: str = ""
) -> dict[str, Any] | Declined:
    """One capture starts and, unless it is asynchronous, ends."""
    if amount_minor > 1 and desk.accounts.take(desk.account, "capture_wrong_amount"):
        amount_minor -= 1
    made = new_part(
        desk,
        payment,
        "capture",
        reference=reference,
        status="pending",
        amount_minor=amount_minor,
        final=final,
        fee_minor=None,
        settled=False,
        failure=None,
    )
    payment["capture_error"] = None
    behaviour = behaviour_of(desk, payment)
    if behaviour in {"refused", "hold_lost"}:
        _refuse(desk, payment, made, hold_stands=behaviour == "refused")
        return Declined(payment["capture_error"]["code"], payment, made)
    if behaviour in _LATER:
        payment["status"] = "capture_pending"
        changed(desk, payment, "payment.capture_pending", part=made)
        after = desk.account.get("capture_result_after_seconds")
        schedule(desk, payment, _LATER[behaviour], after, made["id"])
    else:
        _succeed(desk, payment, made)
        if behaviour == "fails_late":
            after = desk.account.get("late_failure_after_seconds")
            schedule(desk, payment, "capture_fails_late", after, made["id"])
    return payment


def finish(desk: Desk, payment: dict[str, Any], capture_id: str, *, kind: str) -> None:
    """A pending capture has its result; `kind` is the job that was scheduled for it."""
    made = part_of(payment, "capture", capture_id)
    if made["status"] != "pending":
        return
    if kind == "capture_succeeds":
        _succeed(desk, payment, made)
    else:
        _refuse(desk, payment, made, hold_stands=kind == "capture_is_refused")


def fail_late(desk: Desk, payment: dict[str, Any], capture_id: str) -> None:
    """A capture that was told as done did not hold; what is still held is let go."""
    made = part_of(payment, "capture", capture_id)
    if made["status"] != "succeeded" or payment["status"] == "returned":
        return  # what the payer's bank took back cannot be taken once more
    holds.release(desk, payment)
    made["status"] = "failed"
    made["failure"] = payment["capture_error"] = reason_of("capture_failed")
    payment["status"] = "capture_failed"
    move(desk, payment, "capture_failure", made["amount_minor"], made)
    if made["settled"]:
        settlements.add(desk, payment, "capture_failure", -made["amount_minor"], made)
    _tally(payment)
    changed(desk, payment, "payment.capture_failed", part=made)


def expire(desk: Desk, payment: dict[str, Any]) -> None:
    """The hold's time is up. A payment of which a part was captured keeps that part; one whose
    capture is under way waits for its result.
    """
    if payment["status"] == "authorized":
        holds.release(desk, payment)
        payment["status"] = "canceled"
        payment["cancellation_reason"] = "expired"
        changed(desk, payment, "payment.canceled")
    elif payment["status"] == "partially_captured":
        release_rest(desk, payment)


def release_rest(desk: Desk, payment: dict[str, Any]) -> None:
    """Let go of what a payment that was captured in part still holds; the part stands."""
    holds.release(desk, payment)
    payment["status"] = "captured"
    _tally(payment)
    changed(desk, payment, "payment.captured")


def void_all(desk: Desk, payment: dict[str, Any]) -> None:
    """Undo every capture that is not settled. The caller ends the change.

    Raises Refusal 409 when money is settled or was given back already.
    """
    given_back = [one for one in payment["refunds"] if one["status"] not in {"failed", "canceled"}]
    if given_back or payment["disputes"]:
        raise conflict(payment, "A payment with refunds or disputes cannot be canceled.")
    if any(one["settled"] for one in payment["captures"]):
        raise conflict(payment, "The captured money is settled; refund it instead.")
    for made in payment["captures"]:
        if made["status"] == "succeeded":
            move(desk, payment, "void", made["amount_minor"], made)
        if made["status"] in {"succeeded", "pending"}:
            made["status"] = "voided"
            made["version"] += 1
            made["fee_minor"] = None if made["fee_minor"] is None else 0
    _tally(payment)


def settle(desk: Desk, payment: dict[str, Any], capture_id: str) -> None:
    """Captured money is available to the merchant from now on, and its fee is certain. A job of
    an older record names no capture: then it is all of them.
    """
    due = [
        made
        for made in payment["captures"]
        if made["status"] == "succeeded"
        and not made["settled"]
        and made["id"] == (capture_id or made["id"])
    ]
    for made in due:
        made["settled"] = True
        _charge_fee(desk, payment, made)
        payment["available_at"] = moment(desk.account.now())
        _tally(payment)
        changed(desk, payment, "payment.settled", part=made)
        settlements.add_charge(desk, payment, made)
        returned = instrument_of(payment).bank_return
        if returned and returned.since == "settlement":
            schedule(desk, payment, "bank_return", returned.after_days * 86_400.0)


def _succeed(desk: Desk, payment: dict[str, Any], made: dict[str, Any]) -> None:
    made["status"] = "succeeded"
    payment["amount_capturable_minor"] -= made["amount_minor"]
    move(desk, payment, "capture", made["amount_minor"], made)
    if made["final"]:
        holds.release(desk, payment)
    _tally(payment)
    if desk.account.get("fee_known") == "capture":
        _charge_fee(desk, payment, made)
    left = payment["amount_capturable_minor"]
    payment["status"] = "partially_captured" if left else "captured"
    changed(desk, payment, f"payment.{payment['status']}", part=made)
    schedule(desk, payment, "settle", desk.account.get("settle_after_seconds"), made["id"])
    _schedule_what_the_payer_does(desk, payment)


def _schedule_what_the_payer_does(desk: Desk, payment: Mapping[str, Any]) -> None:
    """Disputes and returns that belong to the token; the first capture starts them."""
    if len([one for one in payment["captures"] if one["status"] == "succeeded"]) != 1:
        return
    instrument = instrument_of(payment)
    if instrument.dispute:
        after = desk.account.get("dispute_after_seconds")
        schedule(desk, payment, "dispute_opens", after)
    if instrument.bank_return and instrument.bank_return.since == "success":
        schedule(desk, payment, "bank_return", instrument.bank_return.after_days * 86_400.0)


def _refuse(
    desk: Desk, payment: dict[str, Any], made: dict[str, Any], *, hold_stands: bool
) -> None:
    expires_at = payment["expires_at"]
    hold_stands = hold_stands and not (expires_at and expires_at <= moment(desk.account.now()))
    reason = reason_of("capture_refused" if hold_stands else "hold_lost")
    made["status"] = "failed"
    made["failure"] = payment["capture_error"] = reason
    if not hold_stands:
        holds.release(desk, payment)
    taken = payment["amount_captured_minor"]
    if hold_stands:
        payment["status"] = "partially_captured" if taken else "authorized"
    else:
        payment["status"] = "captured" if taken else "failed"
        payment["decline"] = None if taken else reason
    _tally(payment)
    changed(desk, payment, "payment.capture_refused", part=made)


def _tally(payment: dict[str, Any]) -> None:
    """What the payment says of itself, from its captures."""
    standing = [one for one in payment["captures"] if one["status"] == "succeeded"]
    captured = sum(one["amount_minor"] for one in standing)
    settled = sum(one["amount_minor"] for one in standing if one["settled"])
    payment["amount_captured_minor"] = captured
    payment["amount_settled_minor"] = settled
    whole = captured > 0 and payment["amount_capturable_minor"] == 0
    payment["settled"] = whole and settled == captured
    known = [one["fee_minor"] for one in payment["captures"] if one["fee_minor"] is not None]
    payment["fee_minor"] = sum(known) if known else None
    payment["fee_currency"] = payment["currency"] if known else None


def _charge_fee(desk: Desk, payment: dict[str, Any], made: dict[str, Any]) -> None:
    """Basis points rounded half up, plus the fixed part; never more than the capture."""
    if made["fee_minor"] is None:
        amount = made["amount_minor"]
        share = (amount * desk.account.get("fee_basis_points") + 5_000) // 10_000
        made["fee_minor"] = min(amount, share + desk.account.get("fee_fixed_minor"))
    _tally(payment)
