"""The vocabulary of what belongs to a payment: captures, refunds, disputes, review cases.

Mental model: as payments.admin.wording, for the small machines beside the payment. A review case
says what was met and, in its sentence, what a person is to do about it.
"""

from __future__ import annotations

from payments.admin.wording import Words, readable
from payments.machines import CaptureState, DisputeState, RefundState
from payments.models import Refund, ReviewCase
from payments.providers.objects import DisputeStage

CAPTURES: dict[str, Words] = {
    CaptureState.REQUESTED: Words("Asked for", "wait", "The provider is being asked."),
    CaptureState.PENDING: Words("Under way", "wait", "The provider is taking the money."),
    CaptureState.SUCCEEDED: Words("Taken", "good", "The money was taken."),
    CaptureState.FAILED: Words("Refused", "bad", "The provider did not take the money."),
    CaptureState.FAILED_LATE: Words("Did not hold", "bad", "Told as taken, and lost afterwards."),
    CaptureState.VOIDED: Words("Given up", "calm", "Taken back by us before it was released."),
}

REFUNDS: dict[str, Words] = {
    RefundState.REQUESTED: Words(
        "Asked for", "wait", "The amount is reserved; the provider is being asked."
    ),
    RefundState.REQUIRES_ACTION: Words(
        "Payer must act", "wait", "The payer has to say where the money is to go."
    ),
    RefundState.PENDING: Words("Under way", "wait", "The provider is sending the money back."),
    RefundState.SUCCEEDED: Words("Given back", "good", "The provider gave the money back."),
    RefundState.FAILED: Words("Failed", "bad", "The money did not reach the payer; it is ours."),
    RefundState.CANCELED: Words("Canceled", "calm", "Called off; the money is ours."),
}

REFUND_SOURCES: dict[str, str] = {
    Refund.Source.API: "the merchant",
    Refund.Source.BACK_OFFICE: "staff, in the back office",
    Refund.Source.PSP: "somebody at the provider",
}

REFUND_REASONS: dict[str, str] = {
    Refund.Reason.REQUESTED_BY_CUSTOMER: "The payer asked for it",
    Refund.Reason.DUPLICATE: "Paid twice",
    Refund.Reason.FRAUDULENT: "Fraud",
}

CANCEL_REASONS: dict[str, str] = {
    "requested_by_customer": "The payer asked for it",
    "duplicate": "Made twice",
    "fraudulent": "Fraud",
    "abandoned": "Nobody will pay it",
}

DISPUTE_STAGES: dict[str, str] = {
    DisputeStage.INQUIRY: "Inquiry",
    DisputeStage.CHARGEBACK: "Chargeback",
    DisputeStage.PRE_ARBITRATION: "Pre-arbitration",
    DisputeStage.ARBITRATION: "Arbitration",
}

DISPUTES: dict[str, Words] = {
    DisputeState.NEEDS_RESPONSE: Words(
        "Needs an answer", "warn", "Hand evidence in before the deadline, or accept it."
    ),
    DisputeState.SUBMITTED: Words("Answered", "wait", "The evidence is in; the bank looks at it."),
    DisputeState.UNDER_REVIEW: Words("With the bank", "wait", "The payer's bank is deciding."),
    DisputeState.WON: Words("Won", "good", "Decided for the merchant."),
    DisputeState.LOST: Words("Lost", "bad", "Decided for the payer."),
    DisputeState.ACCEPTED: Words("Accepted", "calm", "We gave it up; the payer keeps the money."),
    DisputeState.EXPIRED: Words("Expired", "bad", "Not answered in time: lost."),
    DisputeState.WITHDRAWN: Words("Withdrawn", "good", "The payer's bank took it back."),
    DisputeState.CLOSED: Words("Closed", "good", "The inquiry ended without a chargeback."),
    DisputeState.PREVENTED: Words("Prevented", "good", "Refunded in time, so nothing followed."),
}

# kind of case -> what was met; the sentence says what a person is to do.
CASES: dict[str, Words] = {
    ReviewCase.Kind.SCREENING: Words(
        "Above the merchant's limit",
        "wait",
        "Look whether the payment is plausible for this merchant. Release it to have the provider "
        "asked, or cancel it; no money is held yet.",
    ),
    ReviewCase.Kind.FRAUD_HOLD: Words(
        "Held by the provider's fraud desk",
        "warn",
        "Nothing to do unless the provider asks: its decision ends the case by itself. Canceling "
        "does not wait for it.",
    ),
    ReviewCase.Kind.INTEGRITY_MISMATCH: Words(
        "Amount or currency differ",
        "bad",
        "Compare amount and currency with the provider's dashboard. Take over what the provider "
        "says if it is right for the merchant, or cancel, which releases held money.",
    ),
    ReviewCase.Kind.OUTCOME_UNKNOWN: Words(
        "Nobody knows the outcome",
        "warn",
        "Find the payment in the provider's dashboard. Then take over what the provider says; "
        "nothing is sent a second time.",
    ),
    ReviewCase.Kind.LATE_MONEY: Words(
        "Money for a payment that was over",
        "bad",
        "The payer's money arrived after the payment had ended. Take it over if the merchant still "
        "delivers, and refund it otherwise, or cancel where it is only held.",
    ),
    ReviewCase.Kind.CAPTURE_FAILED_LATE: Words(
        "Captured money did not hold",
        "bad",
        "The merchant may have delivered already: tell them. Take over what the provider says once "
        "it has settled.",
    ),
    ReviewCase.Kind.RETURNED_IN_PART: Words(
        "A part was taken back by the bank",
        "bad",
        "Compare what the provider still holds. Take over what it says.",
    ),
    ReviewCase.Kind.DOUBLE_LOSS: Words(
        "Given back more than was taken",
        "bad",
        "The payer got the money twice, by refund and by dispute or return. Contest the dispute "
        "with the refund as evidence, then close the case with what came of it.",
    ),
    ReviewCase.Kind.CONTRADICTION: Words(
        "The provider contradicts our books",
        "bad",
        "Nothing was changed. Clear it up with the provider, then close the case with what settled "
        "it.",
    ),
    ReviewCase.Kind.STATUS_UNKNOWN: Words(
        "The provider uses a word we do not know",
        "warn",
        "Nothing was changed. Look it up with the provider and tell the engineers; then close the "
        "case.",
    ),
}

EVIDENCE_TEXTS: dict[str, str] = {
    "product_description": "What was sold",
    "customer_name": "Payer's name",
    "customer_email_address": "Payer's e-mail address",
    "customer_purchase_ip": "IP address of the order",
    "billing_address": "Billing address",
    "service_date": "Day of the service",
    "shipping_address": "Shipping address",
    "shipping_carrier": "Carrier",
    "shipping_date": "Day of shipping",
    "shipping_tracking_number": "Tracking number",
    "refund_policy_disclosure": "How the payer was shown the refund policy",
    "refund_refusal_explanation": "Why no refund was due",
    "cancellation_policy_disclosure": "How the payer was shown the cancellation policy",
    "cancellation_rebuttal": "Why the cancellation does not hold",
    "duplicate_charge_explanation": "Why it is no double charge",
    "access_activity_log": "Proof that the service was used",
    "uncategorized_text": "Anything else",
}

EVIDENCE_FILES: dict[str, str] = {
    "receipt": "Receipt or invoice",
    "customer_communication": "Messages with the payer",
    "shipping_documentation": "Proof of delivery",
    "service_documentation": "Proof of the service",
    "customer_signature": "Payer's signature",
    "refund_policy": "Refund policy",
    "cancellation_policy": "Cancellation policy",
    "duplicate_charge_documentation": "Proof that it is no double charge",
    "uncategorized_file": "Any other file",
}


def capture_words(state: str) -> Words:
    """What a capture's state means."""
    return CAPTURES.get(state) or Words(readable(state), "calm", "")


def refund_words(state: str) -> Words:
    """What a refund's state means."""
    return REFUNDS.get(state) or Words(readable(state), "calm", "")


def dispute_words(state: str) -> Words:
    """What a dispute's state means."""
    return DISPUTES.get(state) or Words(readable(state), "calm", "")


def case_words(kind: str) -> Words:
    """What a case is about and what a person is to do."""
    return CASES.get(kind) or Words(readable(kind), "warn", "")


def stage_words(stage: str) -> str:
    """How far a dispute has gone."""
    return DISPUTE_STAGES.get(stage) or readable(stage)
