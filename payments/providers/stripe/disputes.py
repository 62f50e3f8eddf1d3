"""Stripe's disputes: inquiries, chargebacks and appeals, their money, and answering them.

    warning_needs_response, _under_review, _closed    INQUIRY: asks, withdraws nothing
    needs_response, under_review, won, lost           CHARGEBACK
    appeal_needs_response, appeal_under_review        PRE_ARBITRATION, and what is decided after it
    prevented                                         INQUIRY: an alert that was refunded in time

Stripe has one `lost` for an accepted dispute, one whose time ran out and one that was decided. A
bank debit's dispute is lost from the start; nothing can be handed in. What was withdrawn and the
fee are the sum over the dispute's balance transactions, of which events carry the whole objects
(docs.stripe.com/api/disputes/object, docs.stripe.com/disputes/how-disputes-work).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from payments.providers import fields
from payments.providers.base import Outcome, ProviderError, Result
from payments.providers.fields import UnreadableObject
from payments.providers.objects import (
    EVIDENCE_FILE_FIELDS,
    EVIDENCE_TEXT_FIELDS,
    DisputeSnapshot,
    DisputeStage,
    DisputeStatus,
    EvidenceFile,
    SubmitEvidence,
)
from payments.providers.outcomes import outcome_of_dispute
from payments.providers.refusals import refusal
from payments.providers.stripe.amounts import minor
from payments.providers.stripe.call import Call, Refused
from payments.providers.stripe.snapshots import reference

STATUSES = {
    "warning_needs_response": (DisputeStage.INQUIRY, DisputeStatus.NEEDS_RESPONSE),
    "warning_under_review": (DisputeStage.INQUIRY, DisputeStatus.UNDER_REVIEW),
    "warning_closed": (DisputeStage.INQUIRY, DisputeStatus.CLOSED),
    "prevented": (DisputeStage.INQUIRY, DisputeStatus.PREVENTED),
    "needs_response": (DisputeStage.CHARGEBACK, DisputeStatus.NEEDS_RESPONSE),
    "under_review": (DisputeStage.CHARGEBACK, DisputeStatus.UNDER_REVIEW),
    "won": (DisputeStage.CHARGEBACK, DisputeStatus.WON),
    "lost": (DisputeStage.CHARGEBACK, DisputeStatus.LOST),
    "appeal_needs_response": (DisputeStage.PRE_ARBITRATION, DisputeStatus.NEEDS_RESPONSE),
    "appeal_under_review": (DisputeStage.PRE_ARBITRATION, DisputeStatus.UNDER_REVIEW),
}
# Where closing a dispute leads: a chargeback is lost, an inquiry is over.
_ACCEPTED = frozenset({DisputeStatus.LOST, DisputeStatus.CLOSED})


class _NamedFile(io.BytesIO):
    """What the SDK takes for a file: bytes with a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def read_dispute(dispute: Mapping[str, Any]) -> DisputeSnapshot:
    """The DisputeSnapshot of a Dispute object. Raises UnreadableObject."""
    if dispute.get("object") != "dispute":
        raise UnreadableObject("the object is not a dispute")
    raw_status = fields.required_text(dispute, "status")
    inquiry = raw_status.startswith("warning_")
    unknown = DisputeStage.INQUIRY if inquiry else DisputeStage.CHARGEBACK
    stage, status = STATUSES.get(raw_status, (unknown, DisputeStatus.UNRECOGNISED))
    evidence = fields.mapping(dispute, "evidence")
    if stage == DisputeStage.CHARGEBACK and fields.mapping(evidence, "appeal"):
        stage = DisputeStage.PRE_ARBITRATION
    currency = fields.required_text(dispute, "currency").upper()
    amount_minor = minor(fields.whole(dispute, "amount"), currency)
    withdrawn_minor, fee_minor = _funds(dispute, amount_minor, currency)
    details = fields.mapping(dispute, "evidence_details")
    due_by = fields.epoch(details, "due_by") if details.get("due_by") else None
    return DisputeSnapshot(
        provider_reference=fields.required_text(dispute, "id"),
        payment_reference=reference(dispute, "payment_intent"),
        stage=stage,
        status=status,
        amount_minor=amount_minor,
        currency=currency,
        funds_withdrawn_minor=withdrawn_minor,
        fee_minor=fee_minor,
        charge_reference=reference(dispute, "charge"),
        reason=fields.text(dispute, "reason"),
        evidence_due_at=due_by,
        evidence_submitted=bool(fields.optional_whole(details, "submission_count")),
        raw_status=raw_status,
    )


def _funds(dispute: Mapping[str, Any], amount_minor: int, currency: str) -> tuple[int, int | None]:
    """What Stripe holds of our money for it, and its fee.

    A balance in another currency cannot tell amounts in the dispute's: then it is the whole amount
    while anything is out, and the fee is not told.
    """
    moves = dispute.get("balance_transactions") or []
    if not isinstance(moves, list) or not all(isinstance(move, Mapping) for move in moves):
        raise UnreadableObject("balance_transactions is not a list of objects")
    moved = sum(fields.whole(move, "amount") for move in moves)
    if any(fields.required_text(move, "currency").upper() != currency for move in moves):
        return (amount_minor if moved < 0 else 0), None
    fee = sum(fields.optional_whole(move, "fee") or 0 for move in moves)
    return max(0, minor(-moved, currency)), minor(fee, currency)


def submit(call: Call, request: SubmitEvidence) -> Result:
    """Upload the files, then hand everything in at once (docs.stripe.com/disputes/api). A payer's
    bank reads one submission: what is refused here was not handed in.
    """
    evidence = {
        name: words for name, words in request.texts.items() if name in EVIDENCE_TEXT_FIELDS
    }
    for number, file in enumerate(request.files):
        if file.kind in EVIDENCE_FILE_FIELDS:
            evidence[file.kind] = _upload(call, file, number)
    params = {"evidence": evidence, "submit": True}
    return _change(
        call,
        request.provider_reference,
        lambda v1, given, options: v1.disputes.update(request.provider_reference, given, options),
        params,
    )


def _upload(call: Call, file: EvidenceFile, number: int) -> str:
    """Bring a file to Stripe; its id there. Raises Ended, Refused."""
    # Made inside, because a file can be read once.
    uploaded = call.post(
        lambda v1, given, options: v1.files.create(
            {**given, "file": _NamedFile(file.content, file.filename)}, options
        ),
        {"purpose": "dispute_evidence"},
        step=f"file-{number}",
    )
    return fields.required_text(uploaded, "id")


def accept(call: Call, provider_reference: str) -> Result:
    """Give a chargeback up, for good (docs.stripe.com/api/disputes/close). Stripe has no such word
    for an inquiry: it is answered, or its payment refunded.
    """
    return _change(
        call,
        provider_reference,
        lambda v1, given, options: v1.disputes.close(provider_reference, given, options),
        {},
    )


def _change(call: Call, provider_reference: str, request: Any, params: dict[str, Any]) -> Result:
    """Send the one request that counts. A refusal is told with the dispute as it stands; it is none
    where the dispute already is where the call wanted it.
    """
    try:
        dispute = read_dispute(call.post(request, params))
    except Refused as refused:
        if refused.translated.code == "provider_not_found":
            raise
        stands = read_dispute(
            call.get(
                lambda v1, given, options: v1.disputes.retrieve(provider_reference, given, options),
                {},
                step="dispute",
            )
        )
        if call.operation == "accept_dispute" and stands.status in _ACCEPTED:
            return Result(outcome=Outcome.OK, exchange=refused.exchange, dispute=stands)
        declined = call.declined(refused, dispute=stands)
        return replace(declined, error=_why_refused(call.operation, refused, stands))
    outcome, error = outcome_of_dispute(call.operation, dispute), None
    if outcome == Outcome.UNKNOWN:
        words = f"The dispute is {dispute.raw_status} after {call.operation}."
        error = refusal("provider_state_conflict", words, provider_code=dispute.raw_status)
    return call.result(outcome, dispute=dispute, error=error)


def _why_refused(operation: str, refused: Refused, stands: DisputeSnapshot) -> ProviderError:
    """Stripe has words for most of it, but no codes."""
    if refused.translated.code != "provider_request_refused":
        return refused.translated
    if operation == "accept_dispute" and stands.stage == DisputeStage.INQUIRY:
        code = "provider_operation_unsupported"
    elif stands.status == DisputeStatus.NEEDS_RESPONSE:
        code = "provider_evidence_refused"
    else:
        code = "provider_state_conflict"
    return refusal(code, str(refused), provider_code=stands.raw_status)
