"""Story entries about the money itself: state changes, calls to the provider, the books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.urls import reverse

from audit.timeline import AuditRecord
from ledger import balances
from payments.admin import wording
from payments.admin.presentation import money_digits, money_text, pretty_json
from payments.admin.story import SOURCE_LIMIT, Books, Entry, Posting, Step, merged_facts
from payments.models import Payment, ProviderOperation


def transition_entries(
    payment: Payment, records: Sequence[AuditRecord], *, audit: bool
) -> list[Entry]:
    """One entry per state change; its audit record stands behind it for those who may see it."""
    by_version: dict[int, AuditRecord] = {}
    for record in records:
        version = record.body.get("version")
        if record.event_type.startswith("payment.") and isinstance(version, int):
            by_version[version] = record
    entries = []
    for transition in payment.transitions.order_by("version")[:SOURCE_LIMIT]:
        words = wording.state_words(transition.to_state)
        made = not transition.from_state
        title = (
            f"The payment was made: {money_text(payment.amount_minor, payment.currency)}"
            if made
            else wording.edge_meaning(transition.event)
        )
        technical = [
            (
                "Transition",
                pretty_json(
                    {
                        "version": transition.version,
                        "event": transition.event,
                        "from_state": transition.from_state,
                        "to_state": transition.to_state,
                        "cause_type": transition.cause_type,
                        "cause_id": transition.cause_id,
                        "actor_type": transition.actor_type,
                        "actor_id": transition.actor_id,
                    }
                ),
            )
        ]
        recorded = by_version.get(transition.version)
        if audit and recorded is not None:
            technical.append((f"Audit record {recorded.id}", pretty_json(recorded.body)))
        entries.append(
            Entry(
                at=transition.occurred_at,
                kind="transition",
                icon="swap_horiz" if not made else "add_circle",
                tone=words.tone,
                title=title,
                text=words.sentence,
                actor=actor_text(
                    transition.actor_type,
                    transition.actor_id,
                    recorded.actor_display if recorded else "",
                ),
                move=(transition.from_state, transition.to_state),
                technical=technical,
                order=transition.version,
            )
        )
    return entries


def call_entries(payment: Payment, records: Sequence[AuditRecord]) -> list[Entry]:
    """One entry per provider call: what we meant to ask, each try, how it ended."""
    asked: dict[str, list[AuditRecord]] = defaultdict(list)
    answered: dict[str, list[AuditRecord]] = defaultdict(list)
    for record in records:
        operation = str(record.body.get("operation", ""))
        if record.event_type == "provider.request":
            asked[operation].append(record)
        elif record.event_type == "provider.response":
            answered[operation].append(record)
    operations = payment.operations.select_related("attempt__provider_account")
    return [
        _call_entry(operation, asked[operation.pk], answered[operation.pk])
        for operation in operations.order_by("created_at")[:SOURCE_LIMIT]
    ]


def _call_entry(
    operation: ProviderOperation, asked: list[AuditRecord], answered: list[AuditRecord]
) -> Entry:
    provider = operation.attempt.provider_account.provider
    words = wording.outcome_words(operation.outcome)
    what = wording.OPERATIONS.get(operation.kind, operation.kind)
    error = operation.error or {}
    last_exchange: dict[str, Any] = (
        dict(answered[-1].body.get("exchange") or {}) if answered else {}
    )
    duration_ms = last_exchange.get("duration_ms")
    took = f" after {duration_ms} ms" if duration_ms is not None else ""
    sentence = f"{wording.readable(provider)}'s answer{took}: {words.sentence}"
    if error.get("message"):
        sentence = f"{sentence} It says: “{error['message']}”"
    technical = [
        (f"Intent, committed before try {n}", pretty_json(r.body)) for n, r in _numbered(asked)
    ]
    technical += [(f"Outcome of try {n}", pretty_json(r.body)) for n, r in _numbered(answered)]
    return Entry(
        at=operation.created_at,
        kind="provider_call",
        icon="cloud_upload",
        tone=words.tone,
        title=f"{wording.readable(provider)} was asked to {what}",
        text=sentence,
        badge=(words.label, words.tone),
        facts=merged_facts(
            ("Tries", operation.try_count if operation.try_count > 1 else ""),
            ("HTTP status", last_exchange.get("http_status")),
            ("Refusal code", error.get("decline_code") or error.get("code")),
            ("Call", operation.pk),
            ("Key at the provider", operation.provider_idempotency_key),
        ),
        steps=_call_steps(asked, answered) if len(asked) + len(answered) > 2 else [],
        technical=technical,
    )


def _numbered(records: list[AuditRecord]) -> list[tuple[int, AuditRecord]]:
    return list(enumerate(records, start=1))


def _call_steps(asked: list[AuditRecord], answered: list[AuditRecord]) -> list[Step]:
    steps = [Step(at=record.occurred_at, text="Asked") for record in asked]
    for record in answered:
        words = wording.outcome_words(str(record.body.get("outcome", "")))
        duration_ms = (record.body.get("exchange") or {}).get("duration_ms")
        took = f" after {duration_ms} ms" if duration_ms is not None else ""
        steps.append(Step(at=record.occurred_at, text=f"{words.label}{took}", tone=words.tone))
    return sorted(steps, key=lambda step: step.at)


def ledger_entries(payment: Payment) -> list[Entry]:
    """One entry per journal entry booked for this payment, with its lines and their sums."""
    entries = []
    for booked in balances.entries_for_source("payment", payment.pk):
        lines = [
            Posting(
                account=wording.account_words(line.account.code),
                code=line.account.code,
                owner=line.account.owner,
                debit=money_digits(line.debit_minor, line.currency) if line.debit_minor else "",
                credit=money_digits(line.credit_minor, line.currency) if line.credit_minor else "",
            )
            for line in booked.lines
        ]
        debit = sum(line.debit_minor for line in booked.lines)
        credit = sum(line.credit_minor for line in booked.lines)
        currency = booked.lines[0].currency if booked.lines else payment.currency
        entries.append(
            Entry(
                at=booked.effective_at,
                kind="ledger",
                icon="account_balance",
                tone="good" if debit == credit else "bad",
                title=wording.LEDGER_KINDS.get(booked.kind, wording.readable(booked.kind)),
                text="Debits and credits are equal: the entry sums to zero."
                if debit == credit
                else "Debits and credits differ. This must never be: run the verify command.",
                actor="Books",
                books=Books(
                    lines=lines,
                    debit_sum=money_text(debit, currency),
                    credit_sum=money_text(credit, currency),
                    balanced=debit == credit,
                    entry_id=str(booked.id),
                ),
                link=(
                    "Open in the ledger",
                    reverse("admin:ledger_journalentry_change", args=[booked.id]),
                ),
                order=booked.id,
            )
        )
    return entries


def actor_text(actor_type: str, actor_id: str, display: str = "") -> str:
    """Who did it: "Merchant's key (Demo Shop)"."""
    who = wording.ACTORS.get(actor_type, wording.readable(actor_type))
    name = actor_id if actor_type == "psp" else display or actor_id
    return f"{who} ({name})" if name else who
