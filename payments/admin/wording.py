"""The back office's vocabulary: what each state, call and event is in plain words.

Mental model: engineers named things for machines (`psp_captured`); this file names them for the
people who answer for the money. A word has a tone (good, bad, warn, wait, calm), which decides a
badge's colour, and never colour alone: the words always say it too. Unknown names fall back to a
readable form of themselves, so that a new event shows up plainly before anybody words it.
"""

from __future__ import annotations

from typing import NamedTuple

from payments.admin import wording_edges
from payments.models import Attempt, ProviderOperation
from payments.states import State


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
    ProviderOperation.Kind.INCREMENT: "hold more money",
    ProviderOperation.Kind.REFUND: "give money back",
    ProviderOperation.Kind.SUBMIT_EVIDENCE: "take the evidence for a dispute",
    ProviderOperation.Kind.ACCEPT_DISPUTE: "close a dispute in the payer's favour",
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
    "payments.update": "change the payment",
    "payments.increment_authorization": "hold more money",
    "refunds.create": "give money back",
    "disputes.add_file": "keep a file for a dispute's answer",
    "disputes.submit_evidence": "hand in the evidence for a dispute",
    "disputes.accept": "accept a dispute",
    "customers.create": "keep a customer",
    "customers.update": "change a customer",
    "payment_methods.save": "save a payment method",
    "payment_methods.remove": "remove a saved payment method",
    "webhook_endpoints.create": "send webhooks to an address",
    "webhook_endpoints.rotate_secret": "replace an address's signing secret",
    "webhook_endpoints.resend": "send a webhook again",
    "webhook_endpoints.recover": "send the webhooks again that failed",
    "webhook_endpoints.test": "send a test event to an address",
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
    "payment.capture_voided": "The money was given up again: what was booked for it is reversed",
    "payment.capture_failed_late": "The money did not hold: what was booked for it is reversed",
    "payment.capture_failed": "Money that was released did not hold: the merchant bears it",
    "payment.returned": "The payer's bank took the debit back: the merchant bears it",
    "payment.reversal_undone": "What was taken back came again: it is the merchant's",
    "payment.provider_fee_owed": "The provider keeps its fee of a capture that was taken back",
    "payment.paid_directly": "The provider pays the merchant itself: our books let go of it",
    "refund.reserved": "A refund is promised: the merchant's money is set aside for it",
    "refund.taken": "The provider gave the refund to the payer, out of what it owes us",
    "refund.failed": "The refund did not reach the payer: the merchant has the money again",
    "dispute.withdrawn": "The provider withheld the disputed money; the merchant's is reserved",
    "dispute.returned": "Disputed money came back to the merchant",
    "dispute.lost": "The payer keeps the disputed money: the merchant's reserve pays for it",
    "dispute.fee": "The provider charged for the dispute: the merchant bears it",
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
    "payment.updated": "the payment was changed",
    "payment.partially_captured": "a part of the money was taken",
    "payment.authorization_changed": "the held amount changed",
    "payment.capture_failed": "taking the money was refused",
    "payment.settlement_recorded": "a part of the money was released",
    "payment.disputed": "the payer contests it",
    "payment.refunded": "all was given back",
    "payment.reversed": "the money was taken back",
    "payment.contradicted": "the provider contradicts our books",
    "refund.created": "a refund was asked for",
    "refund.updated": "a refund goes on",
    "refund.succeeded": "a refund was given",
    "refund.failed": "a refund failed",
    "dispute.opened": "a dispute was opened",
    "dispute.updated": "a dispute goes on",
    "dispute.evidence_submitted": "evidence for a dispute was handed in",
    "dispute.accepted": "a dispute was accepted",
    "dispute.closed": "a dispute is over",
    "review.opened": "a person has to look",
    "review.resolved": "a person has decided",
    "customer.created": "a customer was kept",
    "customer.updated": "a customer was changed",
    "customer.deleted": "a customer was deleted",
    "payment_method.requested": "saving a payment method was asked for",
    "payment_method.saved": "a payment method was saved",
    "payment_method.failed": "a payment method could not be saved",
    "payment_method.removed": "a payment method was removed",
    "payment_method.removal_refused": "a payment method could not be removed",
    "payment_method.unresolved": "nobody knows whether a payment method was saved",
    "mandate.revoked": "the payer's consent ended",
    "breaker.opened": "calls to the provider are held back",
    "breaker.closed": "calls to the provider go out again",
    "endpoint.disabled": "an address for webhooks was switched off",
    "endpoint.test": "a test event was sent to an address for webhooks",
    "endpoint.delivery_failed": "a webhook to an address was given up",
    "endpoint.failing": "an address for webhooks has taken nothing for a day",
    "endpoint.recovered": "an address for webhooks takes deliveries again",
    "dead_letter.added": "something waits for a person",
    "request.given_up": "a merchant's request could not be carried out and waits for a person",
}

# What the audit trail of a payment holds beside its moves: title and tone.
NOTES: dict[str, tuple[str, str]] = {
    "payment.provider_fee_learnt": ("The provider said what it keeps as its fee", "calm"),
    "provider.contradiction": ("The provider's news contradicts our books", "warn"),
    "provider.status_unrecognised": ("The provider reported a status we do not know", "warn"),
    "refund.created": ("A refund was asked for, and its amount set aside", "wait"),
    "refund.requires_action": ("The payer has to say where the refund is to go", "wait"),
    "refund.pending": ("The provider is sending the refund", "wait"),
    "refund.succeeded": ("The provider gave the refund to the payer", "good"),
    "refund.failed": ("The refund failed; the money is the merchant's again", "bad"),
    "refund.canceled": ("The refund was called off; the money is the merchant's again", "warn"),
    "dispute.opened": ("A dispute was opened", "warn"),
    "dispute.updated": ("The provider told more of a dispute", "calm"),
    "dispute.file_added": ("A file was kept for a dispute's answer", "calm"),
    "dispute.evidence_submitted": ("Evidence for a dispute was handed in", "wait"),
    "dispute.accepted": ("A dispute was accepted: the payer keeps the money", "calm"),
    "dispute.closed": ("A dispute is over", "calm"),
    "review.opened": ("A case was opened: a person has to look", "warn"),
    "review.decided": ("A person took a decision", "calm"),
    "review.resolved": ("A case was closed", "good"),
    "payment_method.requested": ("Saving a payment method was asked for", "calm"),
    "payment_method.saved": ("A payment method was saved", "calm"),
}

DECISIONS: dict[str, str] = {
    "accept_provider": "Take over what the provider says",
    "cancel": "Cancel the payment at the provider",
    "release": "Let the payment go to the provider",
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
    "payer": "The payer came back",
    "review": "A decision in review",
    "expiry": "Its time was over",
}

ACTORS: dict[str, str] = {
    "user": "Staff",
    "api_key": "Merchant's key",
    "psp": "Provider",
    "job": "Background job",
    "system": "Florin",
    "payer": "Payer",
}


def state_words(state: str) -> Words:
    """What a payment's state means."""
    return STATES.get(state) or Words(readable(state), "calm", "")


def outcome_words(outcome: str) -> Words:
    """What a provider's answer means."""
    return OUTCOMES.get(outcome) or Words(readable(outcome), "calm", "")


def edge_meaning(event: str) -> str:
    """Why a payment moved, as the headline of that moment."""
    return wording_edges.EDGES.get(event) or readable(event)


def cause_words(cause_type: str, actor_type: str) -> str:
    """What brought a move about. Staff ask through the same door as merchants."""
    if cause_type == "api" and actor_type == "user":
        return "Asked for in the back office"
    return CAUSES.get(cause_type) or readable(cause_type)


def event_words(event_type: str) -> str:
    """What a domain event announces."""
    return EVENTS.get(event_type) or readable(event_type).lower()


def note_words(event_type: str) -> tuple[str, str]:
    """What an audit event of a payment tells: title and tone."""
    return NOTES.get(event_type) or (readable(event_type), "calm")


def account_words(code: str) -> str:
    """A ledger account's code, for people."""
    return ACCOUNTS.get(code) or readable(code.replace(":", " "))


def readable(name: str) -> str:
    """`provider.status_unrecognised` as "Provider status unrecognised"."""
    return name.replace(".", " ").replace("_", " ").strip().capitalize()
