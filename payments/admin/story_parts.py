"""Story entries about the parts of a payment: refunds, disputes, review cases.

Mental model: the audit trail of the payment holds a record for everything that happened to a part;
each is told once, with the amounts and words of the record itself, so that the story of a year ago
reads as it was then and not as the part stands today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.urls import reverse

from audit.timeline import AuditRecord
from payments.admin import wording, wording_edges, wording_parts
from payments.admin.presentation import money_text, pretty_json
from payments.admin.story import Entry, merged_facts
from payments.admin.story_money import actor_text
from payments.models import Payment

_PARTS = {
    "refund": ("currency_exchange", "payments_refund_change", "refund", "Open the refund"),
    "dispute": ("gavel", "payments_dispute_change", "dispute", "Open the dispute"),
    "review": ("rule", "payments_reviewcase_change", "case", "Open the case"),
}


def is_about_a_part(record: AuditRecord) -> bool:
    """Whether a record is told here."""
    return _part_of(record) in _PARTS and record.event_type != "review.decided"


def part_entries(payment: Payment, records: Sequence[AuditRecord]) -> list[Entry]:
    """One entry per record about a refund, a dispute or a case, in the records' order."""
    return [
        _entry(payment, record, order)
        for order, record in enumerate(records)
        if is_about_a_part(record)
    ]


def _part_of(record: AuditRecord) -> str:
    return record.event_type.partition(".")[0]


def _entry(payment: Payment, record: AuditRecord, order: int) -> Entry:
    icon, page, member, link_title = _PARTS[_part_of(record)]
    title, tone = wording.note_words(record.event_type)
    body = dict(record.body)
    part_id = str(body.get(member, ""))
    amount_minor = body.get("amount_minor")
    if isinstance(amount_minor, int):
        title = f"{title}: {money_text(amount_minor, payment.currency)}"
    return Entry(
        at=record.occurred_at,
        kind="part",
        icon=icon,
        tone=tone,
        title=title,
        text=_text(record.event_type, body),
        actor=actor_text(record.actor_type, record.actor_id, record.actor_display),
        facts=merged_facts(
            ("Why", record.reason if record.actor_type == "user" else ""),
            *_facts(payment, body),
            (member.capitalize(), part_id),
        ),
        technical=[(f"Audit record {record.id}", pretty_json(record.body))],
        link=(link_title, reverse(f"admin:{page}", args=[part_id])) if part_id else None,
        order=order,
    )


def _text(event_type: str, body: dict[str, Any]) -> str:
    if event_type.startswith("review."):
        said = str(body.get("words", ""))
        told = wording_edges.EDGES.get(said) or said
        if event_type == "review.opened":
            return f"{wording_parts.case_words(str(body.get('kind', ''))).label}: {told}"
        return told
    if event_type == "dispute.file_added":
        kind = str(body.get("kind", ""))
        return wording_parts.EVIDENCE_FILES.get(kind, wording.readable(kind))
    if event_type.startswith("dispute."):
        words = wording_parts.dispute_words(str(body.get("state", "")))
        stage = wording_parts.stage_words(str(body.get("stage", "")))
        return f"{stage}, {words.label.lower()}: {words.sentence}"
    error = body.get("error") or {}
    return str(error.get("message", ""))


def _facts(payment: Payment, body: dict[str, Any]) -> list[tuple[str, Any]]:
    def money(name: str) -> str:
        return money_text(body[name], payment.currency) if body.get(name) else ""

    return [
        ("Withheld by the provider", money("withdrawn_minor")),
        ("Lost for good", money("lost_minor")),
        ("Fee", money("fee_minor")),
        ("Asked for by", wording_parts.REFUND_SOURCES.get(str(body.get("source", "")), "")),
        ("Reason", wording_parts.REFUND_REASONS.get(str(body.get("reason", "")), "")),
    ]
