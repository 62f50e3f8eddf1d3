"""The back office's vocabulary: what each state, call and event is in plain words.

Mental model: engineers named things for machines (`psp_captured`); this file names them for the
people who answer for the money. A word has a tone (good, bad, warn, wait, calm), which decides a
badge's colour, and never colour alone: the words always say it too. Unknown names fall back to a
readable form of themselves, so that a new event shows up plainly before anybody words it.
"""

from __future__ import annotations

from typing import NamedTuple

from payments.models import Attempt, ProviderOperation
from payments.states import EDGES, State


class Words(NamedTuple):
    """A short label, its tone, and one sentence for a person who is not an engineer."""

    label: str
    tone: str
    sentence: str


STATES: dict[str, Words] = {
    State.CREATED: Words(
        "Created", "calm", "Waiting for the payer: no money has been asked for yet."
    ),
    State.REQUIRES_ACTION: Words(
        "Payer must act", "wait", "The payer has to do something, such as confirm at their bank."
    ),
    State.PROCESSING: Words("Processing", "wait", "The provider is working on it."),
    State.IN_REVIEW: Words("In review", "warn", "Something does not fit: a person has to decide."),
    State.AUTHORIZED: Words(
        "Authorized", "good", "The money is held on the payer's side and not yet taken."
    ),
    State.CAPTURE_PENDING: Words("Capturing", "wait", "Taking the held money has been asked for."),
    State.PARTIALLY_CAPTURED: Words("Partly captured", "good", "A part of the money was taken."),
    State.CAPTURED: Words(
        "Captured", "good", "The money was taken; the provider has not released it yet."
    ),
    State.SETTLED: Words("Settled", "good", "The money was taken and the provider released it."),
    State.DISPUTED: Words("Disputed", "warn", "The payer contests it at their bank."),
    State.REFUNDED: Words("Refunded", "calm", "All of the money was given back."),
    State.REVERSED: Words("Reversed", "bad", "The payer's bank took the money back."),
    State.CANCELED: Words("Canceled", "calm", "Given up; no money was kept."),
    State.FAILED: Words("Failed", "bad", "Refused for good; no money was taken."),
}

OPERATIONS: dict[str, str] = {
    ProviderOperation.Kind.CREATE: "make the payment",
    ProviderOperation.Kind.CONFIRM: "take the payment with the payer's method",
    ProviderOperation.Kind.CAPTURE: "take the held money",
    ProviderOperation.Kind.CANCEL: "cancel the payment",
}

# What a provider's answer means, whoever asked (payments.providers.base.Outcome, and our own).
OUTCOMES: dict[str, Words] = {
    "ok": Words("Done", "good", "It said yes."),
    "pending": Words("Under way", "wait", "It is working on it and will tell us."),
    "action": Words("Payer must act", "wait", "It needs the payer to do something first."),
    "declined": Words("Declined", "bad", "It said no."),
    "not_sent": Words("Not sent", "warn", "It could not be reached; nothing was done."),
    "unknown": Words(
        "Not known", "warn", "The answer never arrived. It is being asked again, never guessed."
    ),
    "exhausted": Words("Given up", "warn", "It could not say in time; a person has to look."),
    "contradicted": Words("Contradicts us", "warn", "Its answer does not fit our books."),
    "": Words("No answer yet", "wait", "No answer has been recorded yet."),
}

REQUESTS: dict[str, str] = {
    "payments.create": "create a payment",
    "payments.confirm": "confirm the payment",
    "payments.capture": "take the held money",
    "payments.cancel": "cancel the payment",
}

ATTEMPT_TONES: dict[str, str] = {
    Attempt.State.OPEN: "calm",
    Attempt.State.SUBMITTED: "wait",
    Attempt.State.SUCCEEDED: "good",
    Attempt.State.DECLINED: "bad",
    Attempt.State.CANCELED: "calm",
}

# Rows of webhooks: inbox events, handler deliveries and merchant deliveries share most words.
DELIVERY_TONES: dict[str, str] = {
    "received": "wait",
    "pending": "wait",
    "deferred": "wait",
    "retrying": "warn",
    "failed": "warn",
    "dead": "bad",
    "discarded": "calm",
    "processed": "good",
    "done": "good",
    "delivered": "good",
    "superseded": "calm",
    "ignored": "calm",
    "duplicate": "calm",
}

INBOX_SENTENCES: dict[str, str] = {
    "received": "It is stored and waits for its turn.",
    "deferred": "It waits for news that has to come first.",
    "failed": "Taking it in failed; it will be tried again.",
    "processed": "It was taken in.",
    "superseded": "It told us nothing new.",
    "ignored": "It was not about anything of ours.",
    "duplicate": "We had this one before; it changed nothing.",
    "dead": "Taking it in failed for good; a person has to look.",
    "discarded": "A person decided to leave it.",
}

LEDGER_KINDS: dict[str, str] = {
    "payment.captured": "The money was taken: the provider owes it to us, we owe it on",
    "payment.provider_fee": "The provider keeps its fee",
    "payment.settled": "The provider released the money: the merchant may have it",
}

EVENTS: dict[str, str] = {
    "payment.initiated": "the payment was made",
    "payment.provider_submitted": "handed to the provider",
    "payment.attempt_failed": "this try was refused",
    "payment.requires_action": "the payer must act",
    "payment.authorized": "the money is held",
    "payment.capture_requested": "taking the money was asked for",
    "payment.confirmed": "the money was taken",
    "payment.settled": "the money was released",
    "payment.in_review": "a person has to look",
    "payment.canceled": "canceled",
    "payment.failed": "refused for good",
    "dead_letter.added": "something waits for a person",
}

ACCOUNTS: dict[str, str] = {
    "psp:clearing": "Provider owes us (clearing)",
    "psp:in_transit": "On the way from the provider",
    "psp:disputed_funds": "Withheld in disputes",
    "bank": "Bank",
    "merchant:receivable": "Merchant owes us",
    "merchant:pending": "Merchant's, pending",
    "merchant:available": "Merchant's, available",
    "merchant:reserve": "Merchant's, reserved",
    "merchant:payouts_in_transit": "On the way to the merchant",
    "psp:refunds_in_transit": "Refunds on their way",
    "platform_fee_income": "Our fee (income)",
    "psp_fee_expense": "Provider's fee (expense)",
    "dispute_loss": "Dispute losses",
    "fx_gain_loss": "Exchange gains and losses",
    "suspense": "Unexplained (suspense)",
}

CAUSES: dict[str, str] = {
    "api": "Request to our API",
    "provider_event": "News from the provider",
    "poll": "We asked the provider",
}

ACTORS: dict[str, str] = {
    "user": "Staff",
    "api_key": "Merchant's key",
    "psp": "Provider",
    "job": "Background job",
    "system": "Florin",
    "payer": "Payer",
}

_EDGE_MEANINGS = {(edge.source.value, edge.event): edge.meaning for edge in EDGES}


def state_words(state: str) -> Words:
    """What a payment's state means."""
    return STATES.get(state) or Words(readable(state), "calm", "")


def outcome_words(outcome: str) -> Words:
    """What a provider's answer means."""
    return OUTCOMES.get(outcome) or Words(readable(outcome), "calm", "")


def edge_meaning(from_state: str, event: str) -> str:
    """Why a payment takes this edge, from the state table itself, as a sentence's beginning."""
    meaning = _EDGE_MEANINGS.get((from_state, event), readable(event)).replace("PSP", "provider")
    return meaning[:1].upper() + meaning[1:]


def event_words(event_type: str) -> str:
    """What a domain event announces."""
    return EVENTS.get(event_type) or readable(event_type).lower()


def account_words(code: str) -> str:
    """A ledger account's code, for people."""
    return ACCOUNTS.get(code) or readable(code.replace(":", " "))


def readable(name: str) -> str:
    """`provider.status_unrecognised` as "Provider status unrecognised"."""
    return name.replace(".", " ").replace("_", " ").strip().capitalize()
