"""Giving captured money back at the sandbox PSP.

    pending ──► succeeded ──late──► failed        requires_action ──payer──► succeeded | canceled
        ╰─────► failed                            (refused at once: failed, and a 402)

A refund counts against what is left of the payment from the moment it is made until it fails; this
PSP refuses more than that by itself. Refunds made by a person in its dashboard have no reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service import disputes, settlements
from payments.providers.sandbox.service.desk import (
    Declined,
    Desk,
    changed,
    conflict,
    instrument_of,
    move,
    new_part,
    part_of,
    reason_of,
    require,
    schedule,
)
from payments.providers.sandbox.service.wire import Refusal

REFUNDABLE = frozenset({"captured", "partially_captured"})
_WAITING = frozenset({"pending", "requires_action", "under_inspection"})
_COUNTED = _WAITING | {"succeeded"}


def refundable_minor(payment: Mapping[str, Any]) -> int:
    """What may still be given back."""
    given = sum(one["amount_minor"] for one in payment["refunds"] if one["status"] in _COUNTED)
    withdrawn = sum(one["funds_withdrawn_minor"] for one in payment["disputes"])
    left = payment["amount_captured_minor"] - payment["amount_returned_minor"] - given - withdrawn
    return max(0, int(left))


def refund(
    desk: Desk,
    payment: dict[str, Any],
    *,
    amount_minor: int | None,
    reference: str,
    reason: str,
    source: str = "api",
) -> dict[str, Any] | Declined:
    """Give back `amount_minor` (None: all that is left); the refund with its payment.

    Raises Refusal 409 for a payment that has nothing to give back or is disputed, and 400 for more
    than is left.
    """
    require(payment, REFUNDABLE, "refunded")
    if disputes.holds_funds(payment):
        message = "The payment is disputed and its money withdrawn; it cannot be refunded."
        raise conflict(payment, message, code="payment_disputed")
    left = refundable_minor(payment)
    if left == 0 or (amount_minor or 0) > left:
        message = f"{left} can be refunded; {amount_minor or 'all of it'} was asked for."
        code = "amount_not_refundable"
        raise Refusal(400, "invalid_request", code, message, param="amount_minor")
    amount = amount_minor or left
    if amount > 1 and desk.accounts.take(desk.account, "refund_wrong_amount"):
        amount -= 1
    made = new_part(
        desk,
        payment,
        "refund",
        reference=reference,
        status="pending",
        amount_minor=amount,
        reason=reason,
        source=source,
        failure=None,
    )
    if desk.accounts.take(desk.account, "refund_unknown_status"):
        made["status"] = "under_inspection"
        changed(desk, payment, "refund.inspected", part=made)
        return {**made, "payment": payment}
    return _carry_out(desk, payment, made)


def _carry_out(
    desk: Desk, payment: dict[str, Any], made: dict[str, Any]
) -> dict[str, Any] | Declined:
    behaviour = _behaviour(desk, payment)
    after = desk.account.get("refund_result_after_seconds")
    if behaviour == "refused":
        _fail(desk, payment, made, "refund_refused")
        return Declined("refund_refused", payment, made)
    if behaviour == "requires_action":
        made["status"] = "requires_action"
        changed(desk, payment, "refund.requires_action", part=made)
    elif behaviour.startswith("asynchronous"):
        changed(desk, payment, "refund.created", part=made)
        kind = "refund_succeeds" if behaviour == "asynchronous" else "refund_fails"
        schedule(desk, payment, kind, after, made["id"])
    else:
        _succeed(desk, payment, made)
        if behaviour == "fails_late":
            late = desk.account.get("late_failure_after_seconds")
            schedule(desk, payment, "refund_fails_late", late, made["id"])
    return {**made, "payment": payment}


def finish(desk: Desk, payment: dict[str, Any], refund_id: str, *, result: str) -> dict[str, Any]:
    """A refund's news: "succeed", "fail", "fail_late" or "cancel". News that does not fit the
    refund's status changes nothing.
    """
    made = part_of(payment, "refund", refund_id)
    waiting = made["status"] in _WAITING
    if result == "succeed" and waiting:
        _succeed(desk, payment, made)
    elif result == "fail" and waiting:
        _fail(desk, payment, made, "refund_refused")
    elif result == "cancel" and waiting:
        made["status"] = "canceled"
        made["failure"] = reason_of("refund_canceled")
        changed(desk, payment, "refund.canceled", part=made)
    elif result == "fail_late" and made["status"] == "succeeded":
        move(desk, payment, "refund_failure", made["amount_minor"], made)
        settlements.add(desk, payment, "refund_failure", made["amount_minor"], made)
        payment["amount_refunded_minor"] -= made["amount_minor"]
        _fail(desk, payment, made, "refund_returned")
    return {**made, "payment": payment}


def _behaviour(desk: Desk, payment: Mapping[str, Any]) -> str:
    knob = desk.account.get("refund_behaviour")
    if knob == "by_token":
        return instrument_of(payment).refund
    return "" if knob == "at_once" else str(knob)


def _succeed(desk: Desk, payment: dict[str, Any], made: dict[str, Any]) -> None:
    made["status"] = "succeeded"
    payment["amount_refunded_minor"] += made["amount_minor"]
    move(desk, payment, "refund", made["amount_minor"], made)
    settlements.add(desk, payment, "refund", -made["amount_minor"], made)
    changed(desk, payment, "refund.succeeded", part=made)
    disputes.prevent(desk, payment)


def _fail(desk: Desk, payment: dict[str, Any], made: dict[str, Any], code: str) -> None:
    made["status"] = "failed"
    made["failure"] = reason_of(code)
    changed(desk, payment, "refund.failed", part=made)
