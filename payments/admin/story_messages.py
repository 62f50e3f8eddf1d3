"""Story entries about messages: what was asked of us, what came in, who was told, who looked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from django.urls import reverse

from audit.timeline import AuditRecord
from payments.admin import wording
from payments.admin.presentation import moment_text, money_text, pretty_json
from payments.admin.story import SOURCE_LIMIT, Entry, Step, merged_facts
from payments.admin.story_money import actor_text
from payments.admin.story_parts import is_about_a_part
from payments.idempotency import PERSONAL, STAFF_PREFIX, STAFF_WORDS
from payments.models import IdempotencyKey, Payment
from webhooks import story as webhook_story
from webhooks.story import EventLine, InboundLine, MerchantDeliveryLine

# Audit events that are told by another entry, with the record folded behind it.
_TOLD_ELSEWHERE = frozenset(
    {"provider.request", "provider.response", "provider.event", "request.refused", "record.viewed"}
)


def request_entries(payment: Payment, records: Sequence[AuditRecord]) -> list[Entry]:
    """Requests to our API about this payment, with their answers as long as those are kept.

    A key with its answer is kept for days, the audit trail for years: an older request is told
    from what it caused.
    """
    rows = IdempotencyKey.objects.filter(payment=payment).order_by("created_at")[:SOURCE_LIMIT]
    entries = [_kept_request(row, records) for row in rows]
    known = {row.request_id for row in rows}
    refused = {
        str(record.body.get("request", "")): record
        for record in records
        if record.event_type == "request.refused"
    }
    for record in records:
        request_id = record.request_id or str(record.body.get("request", ""))
        asked = record.actor_type in ("api_key", "user")
        looked = record.event_type == "record.viewed"
        if not asked or looked or not request_id or request_id in known:
            continue
        known.add(request_id)
        entries.append(_remembered_request(record, request_id, refused.get(request_id)))
    return entries


def _kept_request(row: IdempotencyKey, records: Sequence[AuditRecord]) -> Entry:
    what = wording.REQUESTS.get(row.operation, row.operation)
    status = row.response_status
    refused = status is not None and status >= 400
    error = (row.response_body or {}).get("error", {}) if refused else {}
    if status is None:
        text, tone = "It has not been answered in full yet; the same key resumes it.", "wait"
    elif refused:
        text, tone = f"We answered {status}: “{error.get('message', '')}”", "bad"
    else:
        text, tone = f"We answered {status}.", "good"
    by_staff = row.actor_id.startswith(STAFF_PREFIX)
    actor_id = row.actor_id.removeprefix(STAFF_PREFIX) if by_staff else row.actor_id
    words = str(row.parameters.get(STAFF_WORDS) or "")
    text = f"“{words}” {text}" if words else text
    display = next((r.actor_display for r in records if r.actor_id == actor_id), "")
    parameters = {name: value for name, value in row.parameters.items() if name != PERSONAL}
    technical = [("What was asked", pretty_json(parameters))]
    if row.response_body is not None:
        technical.append(("What we answered", pretty_json(row.response_body)))
    return Entry(
        at=row.created_at,
        kind="request",
        icon="call_received",
        tone=tone,
        title=f"{'Staff' if by_staff else 'The merchant'} asked us to {what}",
        text=text,
        actor=actor_text("user" if by_staff else "api_key", actor_id, display),
        facts=merged_facts(
            ("Request", f"{row.method} {row.path}"),
            ("Request id", row.request_id),
            ("Idempotency key", row.key),
        ),
        technical=technical,
    )


def _remembered_request(record: AuditRecord, request_id: str, refusal: AuditRecord | None) -> Entry:
    reason = f"“{record.reason}” " if record.actor_type == "user" and record.reason else ""
    text, tone = f"{reason}What it led to follows.", "calm"
    if refusal is not None:
        text, tone = f"We refused it: “{refusal.body.get('message', '')}”", "bad"
    operation = str((refusal or record).body.get("operation", ""))
    what = wording.REQUESTS.get(operation, "do something with this payment")
    who = "Staff" if record.actor_type == "user" else "The merchant"
    return Entry(
        at=record.occurred_at,
        kind="request",
        icon="call_received",
        tone=tone,
        title=f"{who} asked us to {what}",
        text=text,
        actor=actor_text(record.actor_type, record.actor_id, record.actor_display),
        facts=merged_facts(("Request id", request_id)),
        technical=[("Refusal", pretty_json(refusal.body))] if refusal is not None else [],
    )


def inbound_lines(payment: Payment, *, limit: int) -> list[InboundLine]:
    """Provider events that were applied to the payment, and those about it that are stuck."""
    lines = webhook_story.inbound_of(payment.pk, limit=limit)
    subjects = {
        (attempt.provider_account.provider, attempt.provider_account_id, attempt.provider_reference)
        for attempt in payment.attempts.select_related("provider_account")[:limit]
        if attempt.provider_reference
    }
    for provider, account_id, subject in sorted(subjects):
        lines += webhook_story.stuck_inbound_of(
            provider=provider, account_id=account_id, subject=subject, limit=limit
        )
    return lines


def inbound_entries(lines: Sequence[InboundLine], records: Sequence[AuditRecord]) -> list[Entry]:
    """One entry per webhook the provider sent, with what it did."""
    applied = {
        str(record.body.get("inbox", "")): record
        for record in records
        if record.event_type == "provider.event"
    }
    entries = []
    for line in lines:
        tone = wording.DELIVERY_TONES.get(line.status, "calm")
        technical = [("What arrived", _raw_text(line.raw))]
        if line.id in applied:
            technical.append(("What it did", pretty_json(applied[line.id].body)))
        entries.append(
            Entry(
                at=line.received_at,
                kind="inbound",
                icon="webhook",
                tone=tone,
                title=f"{wording.readable(line.provider)} sent news: {line.event_type}",
                text=wording.INBOX_SENTENCES.get(line.status, wording.readable(line.status)),
                actor=actor_text("psp", line.provider),
                badge=(wording.readable(line.status), tone),
                facts=merged_facts(
                    ("Taken in", moment_text(line.finished_at)),
                    ("Why", line.reason),
                    ("Failed tries", line.failures or ""),
                    ("Waited", f"{line.deferrals} times" if line.deferrals else ""),
                    ("Provider's event", line.event_id),
                    ("Stored as", line.id),
                ),
                link=("Open the news", reverse("admin:webhooks_inboxevent_change", args=[line.id])),
                technical=technical,
            )
        )
    return entries


def event_entries(events: Sequence[EventLine]) -> list[Entry]:
    """One entry per domain event, and one per delivery of it to the merchant."""
    entries = []
    for event in events:
        handled = [
            f"{wording.readable(h.handler)}: {wording.readable(h.status).lower()}"
            for h in event.handlers
        ]
        entries.append(
            Entry(
                at=event.occurred_at,
                kind="event",
                icon="campaign",
                title=f"Announced: {wording.event_words(event.type)}",
                actor=actor_text("system", ""),
                facts=merged_facts(
                    ("Event", f"{event.type} {event.id}"),
                    ("Number", event.seq),
                    ("Because of", event.causation_id),
                    ("Told to", ", ".join(handled)),
                ),
                technical=[("Payload", pretty_json(event.payload))],
                link=(
                    "Open the event",
                    reverse("admin:webhooks_domainevent_change", args=[event.id]),
                ),
                order=event.seq,
            )
        )
        entries += [_delivery_entry(event, delivery) for delivery in event.deliveries]
    return entries


def _delivery_entry(event: EventLine, delivery: MerchantDeliveryLine) -> Entry:
    tone = wording.DELIVERY_TONES.get(delivery.status, "calm")
    told = {
        "delivered": "The merchant's server confirmed it.",
        "pending": "It waits to be sent.",
        "retrying": "The merchant's server did not take it yet; it will be tried again.",
        "dead": "It was given up; a person can send it again.",
        "discarded": "A person decided not to send it.",
    }.get(delivery.status, wording.readable(delivery.status))
    steps = []
    for attempt in delivery.attempts:
        status = f", HTTP {attempt.response_status}" if attempt.response_status else ""
        took = f" in {attempt.duration_ms} ms" if attempt.duration_ms is not None else ""
        problem = f": {attempt.error}" if attempt.error else ""
        steps.append(
            Step(
                at=attempt.started_at,
                text=f"Try {attempt.number}: {attempt.outcome}{status}{took}{problem}",
                tone="good" if attempt.outcome == "succeeded" else "warn",
            )
        )
    if delivery.status == "delivered" and len(steps) == 1:
        told = f"{told} {steps[0].text}."
    return Entry(
        at=delivery.attempts[0].started_at if delivery.attempts else delivery.created_at,
        kind="delivery",
        icon="send",
        tone=tone,
        title=f"Webhook to the merchant: {wording.event_words(event.type)}",
        text=told,
        actor=actor_text("system", ""),
        badge=(wording.readable(delivery.status), tone),
        facts=merged_facts(
            ("To", delivery.url),
            ("Why", delivery.reason),
            ("Next try", moment_text(delivery.due_at) if delivery.due_at else ""),
            ("Delivery", delivery.id),
            ("Event", f"{event.type} {event.id}"),
        ),
        link=(
            "Open the delivery",
            reverse("admin:webhooks_merchantdelivery_change", args=[delivery.id]),
        ),
        steps=steps if len(steps) > 1 or delivery.status != "delivered" else [],
        order=event.seq,
    )


def view_entries(records: Sequence[AuditRecord]) -> list[Entry]:
    """Who looked, with the looks of one person in a row told as one."""
    views = [record for record in records if record.event_type == "record.viewed"]
    views.sort(key=lambda record: record.occurred_at)
    entries = []
    for _, group in groupby(views, key=lambda record: (record.actor_type, record.actor_id)):
        looks = list(group)
        last = looks[-1]
        often = f" {len(looks)} times" if len(looks) > 1 else ""
        pages = sorted({str(record.body.get("what", "")) for record in looks} - {""})
        entries.append(
            Entry(
                at=last.occurred_at,
                kind="view",
                icon="visibility",
                title=f"{last.actor_display or last.actor_id} looked at this payment{often}",
                text=f"Seen: {', '.join(pages)}." if pages else "",
                actor=actor_text(last.actor_type, last.actor_id, last.actor_display),
                facts=merged_facts(
                    ("First", moment_text(looks[0].occurred_at) if often else ""),
                    ("Audit record", last.id),
                ),
            )
        )
    return entries


def other_entries(records: Sequence[AuditRecord]) -> list[Entry]:
    """What only the audit trail tells."""
    entries = []
    for record in records:
        if (
            record.event_type in _TOLD_ELSEWHERE
            or is_about_a_part(record)
            or (record.event_type.startswith("payment.") and "version" in record.body)
        ):
            continue
        title, tone = wording.NOTES.get(
            record.event_type, (wording.readable(record.event_type), "calm")
        )
        entries.append(
            Entry(
                at=record.occurred_at,
                kind="note",
                icon="info",
                tone=tone,
                title=title,
                text=_note_text(record),
                actor=actor_text(record.actor_type, record.actor_id, record.actor_display),
                technical=[(f"Audit record {record.id}", pretty_json(record.body))],
            )
        )
    return entries


def _note_text(record: AuditRecord) -> str:
    decision = wording.DECISIONS.get(str(record.body.get("decision", "")), "")
    if decision:
        return f"{decision}: “{record.body.get('words', '')}”"
    fee_minor = record.body.get("fee_minor")
    if isinstance(fee_minor, int):
        return money_text(fee_minor, str(record.body.get("currency", "")))
    return str(record.body.get("words", "") or record.reason)


def _raw_text(raw: bytes) -> str:
    """A webhook's body as readable JSON without its secrets, or a word about why not."""
    try:
        return pretty_json(json.loads(raw))
    except (ValueError, UnicodeDecodeError):
        return f"{len(raw)} bytes that are not JSON"
