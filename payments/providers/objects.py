"""What a PSP keeps beside a payment: refunds, disputes, saved payment methods, in our words.

Each is a frozen value read from one PSP's object, as `PaymentSnapshot` in payments.providers.base
is, and names our own id where the PSP stored it, so that an object whose creation timed out is
found again. A status we do not know is UNRECOGNISED: it changes nothing and a person is told.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from payments.providers.base import ProviderError


class RefundStatus(enum.StrEnum):
    """A PSP refund's state. SUCCEEDED may still become FAILED (the payer's bank sends it back)."""

    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNRECOGNISED = "unrecognised"


class DisputeStage(enum.StrEnum):
    """How far a dispute has gone; it only moves forward. An inquiry withdraws no money."""

    INQUIRY = "inquiry"
    CHARGEBACK = "chargeback"
    PRE_ARBITRATION = "pre_arbitration"
    ARBITRATION = "arbitration"


class DisputeStatus(enum.StrEnum):
    """A PSP dispute's state within its stage."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"  # evidence is in, the bank decides
    WON = "won"
    LOST = "lost"  # also after we accepted it
    EXPIRED = "expired"  # the time for evidence ran out: lost
    WITHDRAWN = "withdrawn"  # the payer's bank took it back: won
    CLOSED = "closed"  # an inquiry that ended without a chargeback
    PREVENTED = "prevented"  # an alert that was refunded in time
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, kw_only=True)
class RefundSnapshot:
    """The PSP's refund object at one moment. Amounts in minor units.

    `our_reference` is our refund id, empty for a refund made in the PSP's own dashboard.
    `version` rises with every change where the PSP counts them (0: it does not).
    """

    provider_reference: str
    payment_reference: str
    status: RefundStatus
    amount_minor: int
    currency: str
    our_reference: str = ""
    charge_reference: str = ""
    reason: str = ""
    error: ProviderError | None = None  # why it failed
    raw_status: str = ""
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class DisputeSnapshot:
    """The PSP's dispute object at one moment. Amounts in minor units.

    funds_withdrawn_minor: what the PSP has taken from us for it and still holds or has given to
    the payer (0 for an inquiry, 0 again once all came back). A dispute lost in part ends LOST
    with less than `amount_minor` here.
    fee_minor: the PSP's fee for it so far, in the dispute's currency; None: not told.
    """

    provider_reference: str
    payment_reference: str
    stage: DisputeStage
    status: DisputeStatus
    amount_minor: int
    currency: str
    funds_withdrawn_minor: int = 0
    fee_minor: int | None = None
    charge_reference: str = ""
    reason: str = ""
    evidence_due_at: datetime | None = None
    evidence_submitted: bool = False
    raw_status: str = ""
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class MethodSnapshot:
    """A payment method as the PSP saved it: references and what may be shown, never a number.

    mandate_status: "active", "pending", "inactive" or "" where the method needs no mandate.
    fingerprint: the PSP's mark of the same card or account, where it has one.
    """

    customer_reference: str
    provider_reference: str
    kind: str  # "card" | "bank_debit" | the PSP's own word
    brand: str = ""
    last4: str = ""
    expiry_month: int | None = None
    expiry_year: int | None = None
    fingerprint: str = ""
    mandate_reference: str = ""
    mandate_status: str = ""


@dataclass(frozen=True, kw_only=True)
class RefundPayment:
    """Give captured money back. `reference` is our refund id, which the PSP stores."""

    reference: str
    provider_reference: str  # the PSP's payment object
    charge_reference: str
    amount_minor: int
    currency: str
    reason: str = ""  # duplicate | fraudulent | requested_by_customer | ""


@dataclass(frozen=True, kw_only=True)
class IncrementAuthorization:
    """Raise the held amount of an authorized payment to `amount_minor`, the new total."""

    provider_reference: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class EvidenceFile:
    """A file a dispute is answered with."""

    kind: str  # one of EVIDENCE_FILE_FIELDS
    filename: str
    content_type: str  # application/pdf | image/png | image/jpeg
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SubmitEvidence:
    """Answer a dispute. The call hands everything in at once; it is final at most PSPs.

    texts: evidence field -> words; the names are EVIDENCE_TEXT_FIELDS.
    """

    provider_reference: str
    texts: Mapping[str, str]
    files: tuple[EvidenceFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SaveMethod:
    """Save a token's payment method for later charges, for a customer that is made when
    `customer_reference` is empty. `reference` is our payment method id, `customer` our customer id.
    """

    reference: str
    customer: str
    customer_reference: str
    token: str
    email: str = ""
    name: str = ""
    mandate_accepted_at: datetime | None = None
    mandate_ip_address: str = ""
    mandate_user_agent: str = ""


# What a dispute can be answered with. The names are those of Stripe's evidence object, which other
# PSPs' fields map onto (https://docs.stripe.com/api/disputes/evidence_object).
EVIDENCE_TEXT_FIELDS = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)
EVIDENCE_FILE_FIELDS = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)
