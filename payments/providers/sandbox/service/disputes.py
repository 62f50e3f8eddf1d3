"""Disputes at the sandbox PSP: the payer's bank asks for the money back.

    needs_response ──evidence──► under_review ──► won | lost (also in part)
        │  ╰──accepted──► lost    ╰─ its time is up ─► expired     any ──► withdrawn
        ╰─ an inquiry: closed, prevented by a full refund, or escalated
    inquiry ► chargeback ► pre_arbitration ► arbitration           each stage needs a response again

An inquiry takes no money. From a chargeback on the disputed amount is withdrawn from our balance
(movement `dispute`) with a fee (`dispute_fee`), and comes back with `dispute_reversal`; a stage
after a win withdraws it anew. The token says what the bank decides; the words of the evidence can
say otherwise (`VERDICT_WORDS`), and the controls can do anything at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from payments.providers.sandbox.service import settlements
from payments.providers.sandbox.service.behaviour import DisputeScript
from payments.providers.sandbox.service.desk import (
    Desk,
    changed,
    conflict,
    instrument_of,
    moment,
    move,
    new_part,
    part_of,
    schedule,
)
from payments.providers.sandbox.service.wire import Refusal

STAGES = ("inquiry", "chargeback", "pre_arbitration", "arbitration")
# Evidence whose `uncategorized_text` is one of these decides the case, whatever the token says.
VERDICT_WORDS = {
    "winning_evidence": "won",
    "losing_evidence": "lost",
    "partly_winning_evidence": "lost_in_part",
}
RESULTS = ("won", "lost", "lost_in_part", "withdrawn", "escalated", "prevented", "expired")
_OPEN = frozenset({"needs_response", "under_review"})


def holds_funds(payment: Mapping[str, Any]) -> bool:
    """Whether an open dispute has withdrawn money of this payment."""
    return any(
        one["status"] in _OPEN and one["funds_withdrawn_minor"] > 0 for one in payment["disputes"]
    )


def open_dispute(
    desk: Desk,
    payment: dict[str, Any],
    *,
    stage: str = "chargeback",
    reason: str = "fraudulent",
    amount_minor: int | None = None,
) -> dict[str, Any]:
    """A new dispute of what was captured (or of a part); the dispute with its payment.

    Raises Refusal 409 when nothing was captured and 400 for more than that.
    """
    captured = payment["amount_captured_minor"]
    if captured == 0:
        raise conflict(payment, "Nothing was captured, so there is nothing to dispute.")
    if (amount_minor or 0) > captured:
        message = f"{captured} was captured; {amount_minor} cannot be disputed."
        code = "amount_not_disputable"
        raise Refusal(400, "invalid_request", code, message, param="amount_minor")
    dispute = new_part(
        desk,
        payment,
        "dispute",
        reference="",
        stage=stage,
        status="needs_response",
        amount_minor=amount_minor or captured,
        reason=reason,
        funds_withdrawn_minor=0,
        fee_minor=0,
        evidence_due_at=None,
        evidence_submitted=False,
        evidence={},
        files=[],
        accepted=False,
    )
    _enter(desk, payment, dispute)
    if desk.accounts.take(desk.account, "dispute_unknown_status"):
        dispute["status"] = "under_inspection"
    changed(desk, payment, "dispute.opened", part=dispute)
    return {**dispute, "payment": payment}


def open_by_token(desk: Desk, payment: dict[str, Any]) -> None:
    """The payer disputes, as the token says; not what is no longer captured."""
    script = instrument_of(payment).dispute
    if script is None or payment["amount_captured_minor"] == 0:
        return
    made = open_dispute(desk, payment, stage=script.stage, reason=script.reason)
    if script.then in {"escalate", "withdraw"}:
        after = desk.account.get("dispute_step_after_seconds")
        schedule(desk, payment, f"dispute_{script.then}s", after, made["id"])


def step(desk: Desk, payment: dict[str, Any], dispute_id: str, *, result: str) -> None:
    """A dispute moves by itself: it is "withdrawn", or "escalated" until there is no stage left."""
    dispute = part_of(payment, "dispute", dispute_id)
    stuck = result == "escalated" and dispute["stage"] == STAGES[-1]
    if dispute["status"] in _OPEN and not stuck:
        resolve(desk, payment, dispute_id, result=result)
        if result == "escalated" and dispute["stage"] != STAGES[-1]:
            after = desk.account.get("dispute_step_after_seconds")
            schedule(desk, payment, "dispute_escalates", after, dispute_id)


def submit_evidence(
    desk: Desk,
    payment: dict[str, Any],
    dispute_id: str,
    *,
    texts: Mapping[str, str],
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Hand evidence in, once per stage; of a file its size is kept, not its content."""
    dispute = part_of(payment, "dispute", dispute_id)
    _require_response(payment, dispute)
    dispute["status"] = "under_review"
    dispute["evidence"] = dict(texts)
    dispute["files"] = [dict(one) for one in files]
    dispute["evidence_submitted"] = True
    changed(desk, payment, "dispute.evidence_submitted", part=dispute)
    after = desk.account.get("dispute_decision_after_seconds")
    schedule(desk, payment, "dispute_is_decided", after, dispute_id)
    return {**dispute, "payment": payment}


def accept(desk: Desk, payment: dict[str, Any], dispute_id: str) -> dict[str, Any]:
    """Give in: lost. An inquiry has nothing to accept; it is answered or refunded."""
    dispute = part_of(payment, "dispute", dispute_id)
    if dispute["stage"] == "inquiry":
        message = "An inquiry takes no money, so there is nothing to accept; refund it instead."
        raise conflict(payment, message, code="dispute_is_inquiry", dispute=dict(dispute))
    _require_response(payment, dispute)
    dispute["accepted"] = True
    return resolve(desk, payment, dispute_id, result="lost")


def decide(desk: Desk, payment: dict[str, Any], dispute_id: str) -> None:
    """The bank's decision on evidence, unless the case took another turn since."""
    dispute = part_of(payment, "dispute", dispute_id)
    if dispute["status"] != "under_review":
        return
    words = dispute["evidence"].get("uncategorized_text", "")
    script = instrument_of(payment).dispute or DisputeScript()
    resolve(desk, payment, dispute_id, result=VERDICT_WORDS.get(words, script.verdict))


def evidence_is_due(desk: Desk, payment: dict[str, Any], dispute_id: str) -> None:
    """The time for evidence is up. A later stage has a later time, and a job of its own."""
    dispute = part_of(payment, "dispute", dispute_id)
    due_at = dispute["evidence_due_at"]
    if dispute["status"] != "needs_response" or due_at > moment(desk.account.now()):
        return
    script = instrument_of(payment).dispute
    alert = dispute["stage"] == "inquiry" and script is not None and script.alert
    resolve(desk, payment, dispute_id, result="escalated" if alert else "expired")


def prevent(desk: Desk, payment: dict[str, Any]) -> None:
    """A refund in full answers every inquiry that is still open."""
    if payment["amount_refunded_minor"] < payment["amount_captured_minor"]:
        return
    for dispute in payment["disputes"]:
        if dispute["stage"] == "inquiry" and dispute["status"] in _OPEN:
            resolve(desk, payment, dispute["id"], result="prevented")


def resolve(
    desk: Desk,
    payment: dict[str, Any],
    dispute_id: str,
    *,
    result: str,
    lost_minor: int | None = None,
) -> dict[str, Any]:
    """What becomes of a dispute: one of RESULTS. It may change its mind later (a lost case that is
    won after all, a won one that goes to the next stage); the money follows.

    lost_minor: for "lost_in_part", how much is lost; half of it when not given.
    """
    dispute = part_of(payment, "dispute", dispute_id)
    won_before = dispute["status"] == "won"
    is_inquiry = dispute["stage"] == "inquiry"
    if result == "escalated" or (is_inquiry and result in {"lost", "lost_in_part"}):
        _escalate(desk, payment, dispute)
    elif is_inquiry:
        dispute["status"] = result if result in {"withdrawn", "prevented"} else "closed"
        changed(desk, payment, "dispute.closed", part=dispute)
    else:
        amount = dispute["amount_minor"]
        lost = {"lost": amount, "expired": amount, "lost_in_part": amount // 2}.get(result, 0)
        if result == "lost_in_part" and lost_minor is not None:
            lost = min(lost_minor, amount)
        dispute["status"] = "lost" if result == "lost_in_part" else result
        _set_withdrawn(desk, payment, dispute, lost)
        changed(desk, payment, "dispute.closed", part=dispute)
    script = instrument_of(payment).dispute
    again = script is not None and script.then == "again" and len(payment["disputes"]) == 1
    if again and dispute["status"] == "won" and not won_before:
        schedule(desk, payment, "dispute_opens", desk.account.get("dispute_after_seconds"))
    return {**dispute, "payment": payment}


def _require_response(payment: Mapping[str, Any], dispute: Mapping[str, Any]) -> None:
    if dispute["status"] == "needs_response":
        return
    code = "evidence_overdue" if dispute["status"] == "expired" else "dispute_not_open"
    message = f"A dispute that is {dispute['status']} takes no answer."
    raise conflict(payment, message, code=code, dispute=dict(dispute))


def _escalate(desk: Desk, payment: dict[str, Any], dispute: dict[str, Any]) -> None:
    place = STAGES.index(dispute["stage"])
    if place == len(STAGES) - 1:
        raise conflict(payment, "Arbitration is the last stage.", code="dispute_not_open")
    dispute["stage"] = STAGES[place + 1]
    _enter(desk, payment, dispute)
    changed(desk, payment, "dispute.escalated", part=dispute)


def _enter(desk: Desk, payment: dict[str, Any], dispute: dict[str, Any]) -> None:
    """A stage begins: it needs a response, and from a chargeback on it takes the money."""
    dispute["status"] = "needs_response"
    dispute["evidence_submitted"] = False
    after = desk.account.get("evidence_due_after_seconds")
    dispute["evidence_due_at"] = moment(desk.account.now() + after)
    schedule(desk, payment, "evidence_is_due", after, dispute["id"])
    if dispute["stage"] == "inquiry":
        return
    _set_withdrawn(desk, payment, dispute, dispute["amount_minor"])
    if dispute["fee_minor"] == 0:
        fee = desk.account.get("dispute_fee_minor")
        dispute["fee_minor"] = fee
        move(desk, payment, "dispute_fee", fee, dispute)
        settlements.add(desk, payment, "dispute_fee", -fee, dispute)


def _set_withdrawn(
    desk: Desk, payment: Mapping[str, Any], dispute: dict[str, Any], amount_minor: int
) -> None:
    """Take or give back money so that this much of the dispute is withdrawn."""
    more = amount_minor - dispute["funds_withdrawn_minor"]
    dispute["funds_withdrawn_minor"] = amount_minor
    kind = "dispute" if more > 0 else "dispute_reversal"
    move(desk, payment, kind, abs(more), dispute)
    settlements.add(desk, payment, kind, -more, dispute)
