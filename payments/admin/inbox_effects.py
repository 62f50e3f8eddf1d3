"""What one provider event did: the first thing on its page in the back office.

Mental model: an event is stored, then applied in one transaction. Whatever that transaction wrote
names the event as its cause: transitions, domain events and journal entries by the cause's id,
audit records by a reference. So nothing is guessed here; each source is read along its payment or
along the id, with a bound. An event without effect is told with the reason why. What a reader's
groups may not see is left out, and said to be. The page belongs to `webhooks`, which knows nothing
of payments; this module is told to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from audit import log
from audit import timeline as audit_timeline
from ledger import balances
from payments.admin import wording
from payments.admin.access import may
from payments.admin.presentation import moment_text, money_text
from payments.admin.story_money import actor_text
from payments.models import ProviderAccount, ProviderEndpoint, Transition
from webhooks import story as webhook_story
from webhooks.admin.events import effects_told_by
from webhooks.story import InboundLine

LIMIT = 100


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was done: when, what, its page ("" without one), its status."""

    at: datetime | None
    what: str
    detail: str = ""
    url: str = ""
    badge: tuple[str, str] | None = None
    move: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A label, a value, and where it leads."""

    label: str
    value: str
    url: str = ""


@dataclass(kw_only=True)
class Effects:
    """What the page shows: a sentence, facts, chapters of lines, and what was left out."""

    sentence: str
    badge: tuple[str, str]
    facts: list[Fact] = field(default_factory=list)
    chapters: list[tuple[str, list[Line]]] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    did_nothing: bool = False

    def add(self, title: str, lines: list[Line]) -> None:
        """A chapter, unless it is empty."""
        if lines:
            self.chapters.append((title, lines))


def effects_of(request: HttpRequest, inbox_id: str) -> Effects | None:
    """Everything the event caused, as far as the reader may see it; None for an unknown id."""
    line = webhook_story.inbound(inbox_id)
    if line is None:
        return None
    others = webhook_story.other_inbound_of(line, limit=LIMIT)
    tone = wording.DELIVERY_TONES.get(line.status, "calm")
    effects = Effects(
        sentence=_sentence(line),
        badge=(wording.readable(line.status), tone),
        facts=_facts(request, line),
    )
    if line.payment_id and may(request, "payments.view_payment"):
        log.viewed(
            stream_type="payment",
            stream_id=line.payment_id,
            what=f"effects of {line.id}",
            occurred_at=timezone.now(),
        )
        effects.add("What it made of the payment", _transitions(line))
    elif line.payment_id:
        effects.withheld.append("the payment")
    _add_books(request, effects, line)
    if may(request, "webhooks.view_domainevent"):
        _add_events(effects, line)
    elif line.payment_id:
        effects.withheld.append("what was announced")
    effects.did_nothing = not effects.chapters and not effects.withheld
    if may(request, "audit.view_auditevent"):
        effects.add("What the audit trail has", _records(line))
    else:
        effects.withheld.append("the audit trail")
    effects.add("The same event, delivered again", [_delivery(other) for other in others])
    return effects


def _sentence(line: InboundLine) -> str:
    """What became of it, and why nothing where it did nothing."""
    told = wording.INBOX_SENTENCES.get(line.status, wording.readable(line.status))
    reason = f" Why: {line.reason}." if line.reason else ""
    if line.status == "deferred":
        times = "once" if line.deferrals == 1 else f"{line.deferrals} times"
        return (
            f"{told}{reason} Looked at {times}; again at {moment_text(line.due_at)}, or as soon as "
            "what it waits for comes. After two minutes the provider is asked."
        )
    if line.status == "failed":
        return f"{told}{reason} Tried {line.failures} times; again at {moment_text(line.due_at)}."
    if line.status == "duplicate":
        return f"{told} What the event did stands with the delivery that had its effect."
    return f"{told}{reason}"


def _facts(request: HttpRequest, line: InboundLine) -> list[Fact]:
    facts = []
    if line.payment_id:
        seen = may(request, "payments.view_payment")
        story = reverse("admin:payments_payment_story", args=[line.payment_id]) if seen else ""
        facts.append(Fact(label="Payment", value=line.payment_id, url=story))
    account = ProviderAccount.objects.filter(pk=line.account_id).first()
    if account is not None:
        facts.append(
            Fact(
                label="Provider account",
                value=str(account.name or account.pk),
                url=_page(request, "provideraccount", account.pk),
            )
        )
    endpoint = ProviderEndpoint.objects.filter(pk=line.came_by).first()
    if endpoint is not None:
        page = _page(request, "providerendpoint", endpoint.pk)
        facts.append(Fact(label="Came in by", value=endpoint.name, url=page))
    else:
        facts.append(Fact(label="Came in by", value=line.came_by or "not kept at the time"))
    effective = webhook_story.had_its_effect(line)
    if effective and effective != line.id:
        facts.append(Fact(label="Had its effect", value=effective, url=_inbox_page(effective)))
    if line.status == "dead":
        letter = reverse("admin:webhooks_deadletter_change", args=[f"inbox:{line.id}"])
        seen = may(request, "webhooks.view_deadletter")
        facts.append(Fact(label="Dead letter", value="what to do", url=letter if seen else ""))
    return facts


def _transitions(line: InboundLine) -> list[Line]:
    rows = Transition.objects.filter(payment_id=line.payment_id, cause_id=line.id)
    story = reverse("admin:payments_payment_story", args=[line.payment_id])
    return [
        Line(
            at=row.occurred_at,
            what=wording.edge_meaning(row.event),
            detail=f"version {row.version}",
            url=f"{story}?show=state",
            move=(row.from_state, row.to_state),
        )
        for row in rows.order_by("version")[:LIMIT]
    ]


def _add_books(request: HttpRequest, effects: Effects, line: InboundLine) -> None:
    if not line.payment_id:
        return
    if not may(request, "ledger.view_journalentry"):
        effects.withheld.append("ledger entries")
        return
    booked = balances.entries_for_source("payment", line.payment_id, metadata={"cause_id": line.id})
    effects.add(
        "What was booked",
        [
            Line(
                at=entry.effective_at,
                what=wording.LEDGER_KINDS.get(entry.kind, wording.readable(entry.kind)),
                detail=money_text(
                    sum(side.debit_minor for side in entry.lines), entry.lines[0].currency
                ),
                url=reverse("admin:ledger_journalentry_change", args=[entry.id]),
            )
            for entry in booked[:LIMIT]
        ],
    )


def _add_events(effects: Effects, line: InboundLine) -> None:
    if not line.payment_id:
        return
    announced: list[Line] = []
    delivered: list[Line] = []
    for event in webhook_story.events_of_aggregate(
        "payment", line.payment_id, limit=LIMIT, causation_id=line.id
    ):
        announced.append(
            Line(
                at=event.occurred_at,
                what=wording.event_words(event.type),
                detail=f"{event.type}, number {event.seq}",
                url=reverse("admin:webhooks_domainevent_change", args=[event.id]),
            )
        )
        delivered += [
            Line(
                at=each.finished_at or each.created_at,
                what=wording.event_words(event.type),
                detail=each.url,
                url=reverse("admin:webhooks_merchantdelivery_change", args=[each.id]),
                badge=(
                    wording.readable(each.status),
                    wording.DELIVERY_TONES.get(each.status, "calm"),
                ),
            )
            for each in event.deliveries
        ]
    effects.add("What was announced", announced)
    effects.add("What the merchant was sent", delivered)


def _records(line: InboundLine) -> list[Line]:
    records = audit_timeline.timeline(stream_type="inbox_event", stream_id=line.id, limit=LIMIT)
    return [
        Line(
            at=record.occurred_at,
            what=wording.note_words(record.event_type)[0],
            detail=actor_text(record.actor_type, record.actor_id, record.actor_display),
            url=reverse("admin:audit_auditevent_change", args=[record.id]),
        )
        for record in reversed(records)
    ]


def _delivery(other: InboundLine) -> Line:
    return Line(
        at=other.received_at,
        what=other.id,
        detail=other.reason,
        url=_inbox_page(other.id),
        badge=(
            wording.readable(other.status),
            wording.DELIVERY_TONES.get(other.status, "calm"),
        ),
    )


def _inbox_page(inbox_id: str) -> str:
    return reverse("admin:webhooks_inboxevent_change", args=[inbox_id])


def _page(request: HttpRequest, model: str, object_id: str) -> str:
    if not may(request, f"payments.view_{model}"):
        return ""
    return reverse(f"admin:payments_{model}_change", args=[object_id])


effects_told_by(effects_of)
