"""Answer a dispute: collect evidence, hand it in, or accept that the payer is right.

Mental model: evidence is handed in once and whole, its files with it, because most PSPs take it
once. Files are collected before, here and encrypted; nothing is uploaded until it is handed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Any

from django.db import transaction

from payments.access import dispute_for, locked_payment_for
from payments.actions.ask_provider import Plan, ask_provider, capabilities_of
from payments.actions.call_provider import new_operation
from payments.actions.change import Cause, Change, Clock
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.machines import OPEN_DISPUTES
from payments.models import Dispute, EvidenceFile, ProviderOperation
from payments.providers.objects import EVIDENCE_FILE_FIELDS, EVIDENCE_TEXT_FIELDS
from payments.representation import dispute_object
from payments.states import State

FILE_SIZE_MAX_BYTES = 700_000
TEXTS_LENGTH_MAX = 150_000  # Stripe takes 150,000 characters in all
# What a file of a kind begins with: the name and the declared type prove nothing.
FILE_STARTS = {
    "application/pdf": (b"%PDF-",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
}
# A dispute does not wait for its payment: money may be refunded, settled or reversed meanwhile.
_ANY = frozenset(State)


def submit_evidence(*, claim: Claim, clock: Clock) -> Answer:
    """Hand `evidence` (field -> words) and the files collected so far in, for `dispute`.

    Answers 200 with the dispute, 4xx when the provider refuses, or 202 while its outcome is not
    known. Raises FlorinError: not_found, dispute_state_conflict, evidence_overdue,
    evidence_invalid, operation_in_flight, operation_unsupported.
    """
    return _ask(claim, clock, _plan_evidence)


def accept_dispute(*, claim: Claim, clock: Clock) -> Answer:
    """Give `dispute` up: the payer keeps the money. Answers and errors as `submit_evidence`."""
    return _ask(claim, clock, _plan_acceptance)


def _ask(claim: Claim, clock: Clock, plan: Plan) -> Answer:
    dispute = dispute_for(claim.merchant, claim.livemode, claim.parameters["dispute"])
    return ask_provider(
        claim=claim, clock=clock, allowed=_ANY, plan=plan, payment_id=dispute.payment_id
    )


def _plan_evidence(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    dispute = _open_dispute(change, asked["dispute"])
    if not capabilities_of(change.payment).dispute_evidence:
        raise FlorinError(ErrorCode.operation_unsupported)
    if dispute.state != "needs_response":
        raise _conflict(dispute, "Evidence is handed in once, while a response is needed.")
    _refuse_overdue(dispute, now)
    texts = asked["evidence"]
    _check_texts(texts)
    if not texts and not dispute.files.exists():
        raise FlorinError(ErrorCode.evidence_invalid, "Give words or files.", param="evidence")
    dispute.evidence = texts
    change.keep(dispute)
    return _operation(change, dispute, ProviderOperation.Kind.SUBMIT_EVIDENCE, now)


def _plan_acceptance(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    dispute = _open_dispute(change, asked["dispute"])
    if not capabilities_of(change.payment).dispute_acceptance:
        raise FlorinError(ErrorCode.operation_unsupported)
    return _operation(change, dispute, ProviderOperation.Kind.ACCEPT_DISPUTE, now)


def _operation(change: Change, dispute: Dispute, kind: str, now: datetime) -> ProviderOperation:
    attempt = change.payment.attempts.last_try()
    assert attempt is not None, f"Bug! {change.payment.pk} has no attempt"
    return new_operation(
        payment=change.payment, attempt=attempt, kind=kind, dispute=dispute, request={}, now=now
    )


def add_evidence_file(*, claim: Claim, clock: Clock) -> Answer:
    """Keep a file for `dispute`'s answer: kind, filename, content_type, content_base64. A second
    file of a kind takes the first one's place. Answers 201 with the dispute.

    Raises FlorinError: not_found, dispute_state_conflict, evidence_overdue, evidence_invalid.
    """
    asked, now = {**claim.parameters, **claim.personal()}, clock()
    found = dispute_for(claim.merchant, claim.livemode, asked["dispute"])
    content = _content(asked)
    with transaction.atomic(durable=True):
        payment = locked_payment_for(claim.merchant, claim.livemode, found.payment_id)
        change = Change(payment, cause=Cause(type="api", id=claim.request_id), now=now)
        dispute = _open_dispute(change, asked["dispute"])
        if dispute.state != "needs_response":
            raise _conflict(dispute, "Its evidence was handed in.")
        _refuse_overdue(dispute, now)
        kept = dispute.files.filter(kind=asked["kind"]).first()
        file = kept or EvidenceFile(dispute=dispute, kind=asked["kind"], created_at=now)
        file.filename, file.content_type = asked["filename"], asked["content_type"]
        file.size_bytes, file.sha256 = len(content), hashlib.sha256(content).hexdigest()
        file.keep_content(content)
        change.keep(file)
        change.audit(
            "dispute.file_added",
            {"dispute": dispute.pk, "kind": file.kind, "sha256": file.sha256},
            references=[("dispute", dispute.pk)],
        )
        change.write()
        answer = Answer(status=201, body=dispute_object(dispute), payment_id=payment.pk)
        claim.finish(answer, now=now)
    return answer


def _open_dispute(change: Change, dispute_id: str) -> Dispute:
    dispute = change.payment.disputes.get(pk=dispute_id)
    if dispute.state not in OPEN_DISPUTES:
        raise _conflict(dispute, "It is over.")
    return dispute


def _conflict(dispute: Dispute, words: str) -> FlorinError:
    return FlorinError(
        ErrorCode.dispute_state_conflict,
        f"The dispute is {dispute.state}. {words}",
        dispute=dispute.pk,
    )


def _refuse_overdue(dispute: Dispute, now: datetime) -> None:
    if dispute.evidence_due_at is not None and now > dispute.evidence_due_at:
        raise FlorinError(ErrorCode.evidence_overdue, dispute=dispute.pk)


def _check_texts(texts: dict[str, str]) -> None:
    unknown = sorted(set(texts) - set(EVIDENCE_TEXT_FIELDS))
    if unknown:
        raise FlorinError(
            ErrorCode.evidence_invalid,
            f"There is no field {unknown[0]!r}; fields: {', '.join(EVIDENCE_TEXT_FIELDS)}.",
            param=f"evidence.{unknown[0]}",
        )
    if sum(len(words) for words in texts.values()) > TEXTS_LENGTH_MAX:
        raise FlorinError(
            ErrorCode.evidence_invalid,
            f"All texts together may have {TEXTS_LENGTH_MAX} characters.",
            param="evidence",
        )


def _content(asked: dict[str, Any]) -> bytes:
    """The file in clear, checked. Raises FlorinError(evidence_invalid)."""
    if asked["kind"] not in EVIDENCE_FILE_FIELDS:
        kinds = ", ".join(EVIDENCE_FILE_FIELDS)
        raise FlorinError(ErrorCode.evidence_invalid, f"Use one of {kinds}.", param="kind")
    starts = FILE_STARTS.get(asked["content_type"])
    if starts is None:
        raise FlorinError(
            ErrorCode.evidence_invalid,
            f"Use one of {', '.join(FILE_STARTS)}.",
            param="content_type",
        )
    try:
        content = base64.b64decode(asked["content_base64"], validate=True)
    except (binascii.Error, ValueError):
        raise FlorinError(
            ErrorCode.evidence_invalid, "This is not base64.", param="content_base64"
        ) from None
    if not 0 < len(content) <= FILE_SIZE_MAX_BYTES or not content.startswith(starts):
        raise FlorinError(
            ErrorCode.evidence_invalid,
            f"A {asked['content_type']} of at most {FILE_SIZE_MAX_BYTES} bytes is expected.",
            param="content_base64",
        )
    return content
