"""The whole story of one payment, told in time order from everything that was written about it.

Mental model: each source (our own rows, the audit trail, webhooks in and out, the ledger) is read
once, along an index and with a bound, and turned into `Entry`s in plain words; the entries are
merged by time, and within one moment by cause before effect. What a reader may not see (the
ledger, the audit trail) is left out and said to be left out. Nothing is computed twice: a state
change is told once, from its transition, with its audit record folded behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit import timeline as audit_timeline
from payments.models import Payment
from webhooks import story as webhook_story

# No source is read further than this; a payment with more is told so on the page.
SOURCE_LIMIT = 500

# Within one moment: who asked, what the provider said, what that made of the payment, what we
# asked next, what was booked, who was told, who looked.
RANKS = (
    "request",
    "inbound",
    "provider_answer",
    "transition",
    "part",
    "provider_call",
    "note",
    "ledger",
    "event",
    "delivery",
    "view",
)


@dataclass(kw_only=True)
class Posting:
    """One line of a journal entry: the account in words and its side."""

    account: str
    code: str
    owner: str
    debit: str
    credit: str


@dataclass(kw_only=True)
class Books:
    """A journal entry as a small table with its sums."""

    lines: list[Posting]
    debit_sum: str
    credit_sum: str
    balanced: bool
    entry_id: str


@dataclass(kw_only=True)
class Step:
    """One of several tries inside an entry."""

    at: datetime
    text: str
    tone: str = "calm"


@dataclass(kw_only=True)
class Entry:
    """One thing that happened, in plain words first; `technical` is folded away."""

    at: datetime
    kind: str
    title: str
    icon: str
    tone: str = "calm"
    text: str = ""
    actor: str = ""
    badge: tuple[str, str] | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    books: Books | None = None
    move: tuple[str, str] | None = None
    technical: list[tuple[str, str]] = field(default_factory=list)
    link: tuple[str, str] | None = None
    order: int = 0
    since_previous: str = ""

    @property
    def sort_key(self) -> tuple[datetime, int, int]:
        return (self.at, RANKS.index(self.kind), self.order)


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Which sources the reader may see beside the payment itself."""

    ledger: bool
    webhooks: bool
    audit: bool


@dataclass(kw_only=True)
class Story:
    """The entries in order, what was left out, and whether a source had more than is told."""

    entries: list[Entry]
    withheld: list[str]
    shortened: bool

    def counts(self) -> dict[str, int]:
        """Entries per chapter, for the filter above the story."""
        counted = dict.fromkeys(CHAPTERS, 0)
        for entry in self.entries:
            for chapter, kinds in CHAPTERS.items():
                counted[chapter] += entry.kind in kinds
        return counted


# The reader's filter: a chapter and the kinds of entries it holds.
CHAPTERS: dict[str, tuple[str, ...]] = {
    "state": ("transition", "request"),
    "parts": ("part",),
    "provider": ("provider_call", "provider_answer", "inbound"),
    "money": ("ledger",),
    "merchant": ("event", "delivery"),
    "staff": ("view", "note"),
}


def tell(payment: Payment, *, rights: Rights) -> Story:
    """The payment's story as far as the reader may see it."""
    from payments.admin import story_messages, story_money, story_parts

    records = audit_timeline.timeline(
        stream_type="payment", stream_id=payment.pk, limit=SOURCE_LIMIT
    )[::-1]
    withheld = []
    inbound: list[webhook_story.InboundLine] = []
    events: list[webhook_story.EventLine] = []
    entries: list[Entry] = []
    if rights.webhooks:
        inbound = story_messages.inbound_lines(payment, limit=SOURCE_LIMIT)
        events = webhook_story.events_of_aggregate("payment", payment.pk, limit=SOURCE_LIMIT)
        entries += story_messages.inbound_entries(inbound, records)
        entries += story_messages.event_entries(events)
    else:
        withheld.append("webhooks and events")
    if rights.ledger:
        entries += story_money.ledger_entries(payment)
    else:
        withheld.append("ledger entries")
    entries += story_money.transition_entries(payment, records, audit=rights.audit)
    entries += story_parts.part_entries(payment, records)
    entries += story_money.call_entries(payment, records)
    entries += story_messages.request_entries(payment, records)
    if rights.audit:
        entries += story_messages.view_entries(records)
    else:
        withheld.append("who looked at it")
    entries += story_messages.other_entries(records)
    return Story(
        entries=_in_order(entries),
        withheld=withheld,
        shortened=any(len(rows) >= SOURCE_LIMIT for rows in (records, inbound, events)),
    )


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    ordered = sorted(entries, key=lambda entry: entry.sort_key)
    previous: Entry | None = None
    for entry in ordered:
        entry.since_previous = pause_text(entry.at - previous.at) if previous else ""
        previous = entry
    return ordered


def pause_text(pause: timedelta) -> str:
    """How long nothing happened: "" under a millisecond, then in the largest useful unit."""
    milliseconds = round(pause / timedelta(milliseconds=1))
    if milliseconds < 1:
        return ""
    if milliseconds < 1000:
        return f"+{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"+{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"+{minutes} min"
    hours = minutes // 60
    return f"+{hours} h" if hours < 48 else f"+{hours // 24} days"


def merged_facts(*pairs: tuple[str, Any]) -> list[tuple[str, str]]:
    """Pairs of a label and a value, without those that have no value."""
    return [(label, str(value)) for label, value in pairs if value not in (None, "", "–")]
