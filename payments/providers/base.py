"""What every payment service provider (PSP) is to Florin: values in, values out.

A provider is a stateless translator between our words and one PSP's wire format. It never touches
the database, never retries, never sleeps and never guesses. Each call takes the credentials it
uses, a deadline in seconds and, where money may move, an idempotency key that was committed before
the call. It returns a `Result`, whose `outcome` is the only thing the actions branch on:

    OK        the PSP did it; `snapshot` is its object as it now stands
    PENDING   accepted, the result comes later (bank debit, asynchronous capture)
    ACTION    the payer has to do something first; `snapshot.next_action` says what
    DECLINED  a definitive no; `error` says why and whether another try makes sense
    NOT_SENT  this request surely had no effect: it never reached the PSP (connection refused,
              unknown host, bulkhead full) or was refused at the door (credentials, rate limit).
              It says nothing about an earlier request with the same idempotency key
    UNKNOWN   anything else: time-out, lost connection, 5xx, an answer we cannot read.
              Never a failure; it is learnt by replaying the same key or by asking.

The split of "no" into DECLINED, NOT_SENT and UNKNOWN follows Kill Bill's plugin statuses; the
conformance suite in tests/payments/providers/conformance.py holds every provider to it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from payments.providers.objects import (
    DisputeSnapshot,
    IncrementAuthorization,
    MethodSnapshot,
    RefundPayment,
    RefundSnapshot,
    SaveMethod,
    SubmitEvidence,
)


class Outcome(enum.StrEnum):
    """The six ways a call can end; see the module docstring."""

    OK = "ok"
    PENDING = "pending"
    ACTION = "action"
    DECLINED = "declined"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class ObservedStatus(enum.StrEnum):
    """A PSP payment object's state in our words. `UNRECOGNISED` keeps our state and alerts."""

    OPEN = "open"  # waiting for a payment method or a confirmation
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    UNDER_REVIEW = "under_review"  # the PSP's fraud desk holds it; its decision comes later
    AUTHORIZED = "authorized"  # held, capturable, nothing captured
    CAPTURE_PENDING = "capture_pending"  # a capture is accepted, its result comes later
    PARTIALLY_CAPTURED = "partially_captured"  # some captured, the rest still capturable
    CAPTURED = "captured"  # captured, nothing capturable left
    CAPTURE_FAILED = "capture_failed"  # a capture that was told as done did not hold
    RETURNED = "returned"  # the payer's bank took a debit back after it had succeeded
    CANCELED = "canceled"
    DECLINED = "declined"  # the last try was refused; the object may still be payable
    FAILED = "failed"  # refused for good, the object is dead
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a PSP can do, as facts the actions read instead of asking which PSP it is."""

    partial_capture: bool = False
    multiple_captures: bool = False  # several partial captures of one authorization
    void_after_capture: bool = False  # cancel takes back a capture that is not settled yet
    incremental_authorization: bool = False
    asynchronous_capture: bool = False
    refunds: bool = False
    partial_refund: bool = False
    asynchronous_refund: bool = False
    disputes: bool = False
    dispute_evidence: bool = False
    dispute_acceptance: bool = False
    saved_methods: bool = False
    off_session: bool = False
    bank_debits: bool = False
    fraud_review: bool = False
    event_list: bool = False  # the PSP lists the events it has made
    authorization_lifetime_seconds: int = 7 * 86_400
    payer_confirmation: bool = True  # a front end may confirm with the PSP's own client secret
    idempotency_key_lifetime_seconds: int  # how long the PSP answers the same key the same way
    currencies: frozenset[str] = frozenset()  # empty: every ISO 4217 currency we know
    minimum_amount_minor: Mapping[str, int] = field(default_factory=dict)
    maximum_amount_minor: int = 99_999_999


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """One provider account's way in; made for one call, never stored on a module or logged."""

    secret_key: str = field(repr=False)
    publishable_key: str = ""
    api_base: str = ""


@dataclass(frozen=True, kw_only=True)
class CreatePayment:
    """Create the PSP's payment object, and confirm it at once when `confirm` is set.

    `reference` is our payment id; the PSP stores it so that an event that overtakes our commit,
    or an object whose creation timed out, can be tied back to the payment.
    """

    reference: str
    amount_minor: int
    currency: str
    capture_method: str  # "automatic" | "manual"
    confirm: bool = False
    payment_method: str = ""
    return_url: str = ""
    description: str = ""
    customer_reference: str = ""  # the PSP's customer, when payment_method is a saved one
    off_session: bool = False  # the payer is not there: no step of theirs can be asked


@dataclass(frozen=True, kw_only=True)
class ConfirmPayment:
    """Confirm the PSP's payment object with a payment method token."""

    provider_reference: str
    amount_minor: int
    currency: str
    payment_method: str = ""
    return_url: str = ""


@dataclass(frozen=True, kw_only=True)
class CapturePayment:
    """Take held money, `amount_minor` of it now. `final` releases what is then still held; without
    it the rest stays capturable (needs `multiple_captures`). `reference` is our capture id.
    """

    provider_reference: str
    amount_minor: int
    currency: str
    final: bool = True
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelPayment:
    """Cancel the PSP's payment object, releasing what is held; with `void_after_capture` also
    taking back what was captured and is not settled.
    """

    provider_reference: str
    reason: str  # requested_by_customer | abandoned | duplicate | fraudulent


@dataclass(frozen=True, kw_only=True)
class PaymentSnapshot:
    """The PSP's payment object at one moment, in our words. Amounts in minor units.

    `fee_minor` and `fee_currency` are the PSP's own fee once it is known, else None.
    `settled` is true once the PSP counts the money as available to us.
    `amount_minor` is the payment's amount at the PSP. `amount_authorized_minor` is what is held or
    was held when it differs from that (the PSP or an increment changed it), else None.
    `amount_captured_minor` counts what stands captured now, over all captures.
    `amount_settled_minor` is the captured money, gross, that the PSP counts as available where it
    tells that in parts; `settled` says that all of it is.
    `amount_returned_minor` is what the payer's bank took back (RETURNED); `return_code` its reason
    (an ACH code such as R01).
    `capture_error` is why the last capture was refused; the hold stands or not by `status`.
    `refunds` and `disputes` are all the PSP has of this payment, or None where it was not told.
    `attempt_number` counts the tries the PSP has seen, where it says so (0: it does not).
    `version` rises with every change of the PSP's object, where it counts them (0: it does not).
    """

    provider_reference: str
    status: ObservedStatus
    amount_minor: int
    currency: str
    our_reference: str = ""
    charge_reference: str = ""
    amount_capturable_minor: int = 0
    amount_captured_minor: int = 0
    amount_authorized_minor: int | None = None
    amount_settled_minor: int = 0
    amount_returned_minor: int = 0
    return_code: str = ""
    capture_error: ProviderError | None = None
    refunds: tuple[RefundSnapshot, ...] | None = None
    disputes: tuple[DisputeSnapshot, ...] | None = None
    fee_minor: int | None = None
    fee_currency: str = ""
    settled: bool = False
    available_at: datetime | None = None
    client_secret: str = field(default="", repr=False)
    next_action: Mapping[str, Any] | None = None
    payment_method: str = ""
    payment_method_summary: Mapping[str, str] = field(default_factory=dict)  # brand, last4, kind
    cancellation_reason: str = ""
    error: ProviderError | None = None  # why the last try was declined
    raw_status: str = ""
    attempt_number: int = 0
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class ProviderError:
    """A PSP's no, translated by the provider's error table (data, not branches).

    code: our standard code, documented in docs/errors.md.
    decline_code / advice_code: the PSP's finer words, where it gives them.
    retryable: another try with the same or another payment method may succeed.
    payer_message: words that may be shown to the payer.
    """

    code: str
    message: str
    decline_code: str = ""
    advice_code: str = ""  # "try_again_later" | "do_not_try_again" | "confirm_card_data" | ""
    retryable: bool = True
    payer_message: str = ""
    provider_code: str = ""
    param: str = ""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What went over the wire, for the audit trail: allow-listed fields only, no secrets."""

    operation: str
    method: str
    url: str
    request: Mapping[str, Any]
    http_status: int | None
    response: Mapping[str, Any]
    provider_request_id: str = ""
    duration_ms: int = 0
    failure: str = ""  # the exception's class and words when there was no answer


@dataclass(frozen=True, kw_only=True)
class ListedEvent:
    """One event of the PSP's own list. `raw` reads like the body of its webhook: the same object,
    written down by us, so it is not what the PSP signs.
    """

    raw: bytes
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """A part of the PSP's list of events, oldest first within the page. `next_cursor` leads to the
    next page, "" at the end.
    """

    events: tuple[ListedEvent, ...]
    next_cursor: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one call ended. `snapshot` (for refund calls `refund`, for dispute calls `dispute`, for
    `save_method` `method`, for `list_events` `events`) is present for OK, PENDING and ACTION, and
    for DECLINED where the PSP's object still stands; `error` is present for DECLINED, and says
    what went wrong for NOT_SENT and UNKNOWN. `idempotency_conflict` marks an UNKNOWN that the PSP
    answered with "this key is in use": ask again soon. `not_found` marks a fetch whose object the
    PSP surely does not have. `retry_after_seconds` says when asking again makes sense, where that
    is known.
    """

    outcome: Outcome
    exchange: Exchange
    snapshot: PaymentSnapshot | None = None
    refund: RefundSnapshot | None = None
    dispute: DisputeSnapshot | None = None
    method: MethodSnapshot | None = None
    events: EventPage | None = None
    error: ProviderError | None = None
    idempotency_conflict: bool = False
    not_found: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One verified webhook, read just far enough to route it (`Provider.read_webhook`).

    subject: the PSP's payment reference, the unit of ordering. Empty: not about a payment.
    """

    event_id: str
    event_type: str
    subject: str
    our_reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one webhook says about one payment.

    snapshot: the payment object inside the event, or None when the event only hints (fees,
    settlement on objects that do not carry the payment's state): then `fetch_needed` is true.
    refund, dispute: the refund or dispute object inside the event, where it is about one.
    occurred_at: the PSP's own time, whole seconds at some PSPs, so never used for ordering.
    livemode: whether the PSP says that it is about real money; None where it does not say.
    """

    event_id: str
    event_type: str
    provider_reference: str
    our_reference: str
    occurred_at: datetime
    snapshot: PaymentSnapshot | None
    refund: RefundSnapshot | None = None
    dispute: DisputeSnapshot | None = None
    livemode: bool | None = None
    fetch_needed: bool = False
    relevant: bool = True


class InvalidSignature(Exception):
    """The request is not from the PSP, or too old or too far in the future. Says which."""


class UnreadableEvent(Exception):
    """Correctly signed, but not an event as the PSP documents them. Says what is wrong."""


class Provider(Protocol):
    """One PSP. Implementations are stateless; connection pools may live on the module."""

    code: str
    capabilities: Capabilities

    def create_payment(
        self,
        request: CreatePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def confirm_payment(
        self,
        request: ConfirmPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def capture_payment(
        self,
        request: CapturePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def cancel_payment(
        self,
        request: CancelPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def increment_authorization(
        self,
        request: IncrementAuthorization,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def refund_payment(
        self,
        request: RefundPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """OK: the money is on its way back; PENDING: taken on; ACTION: the payer must help."""
        ...

    def submit_evidence(
        self,
        request: SubmitEvidence,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def accept_dispute(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def save_method(
        self,
        request: SaveMethod,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result: ...

    def remove_method(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Forget a saved method; one that is gone already is OK."""
        ...

    def fetch_payment(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        provider_reference: str = "",
        our_reference: str = "",
    ) -> Result:
        """Ask for the object as it stands, with fee, settlement, refunds and disputes (neither list
        is None here where the PSP has such objects); by the PSP's reference when known, else by
        ours (a PSP's search may lag: `not_found` by ours is not proof).
        """
        ...

    def list_events(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        since: datetime,
        cursor: str = "",
    ) -> Result:
        """One page of the events that the PSP made at or after `since`, by its own clock, whole
        seconds or finer. Pages may come in either order of time; events that are made while they
        are read may be missing, and a PSP's list may lag. DECLINED for a cursor it does not know.
        """
        ...

    def verify_webhook(
        self, raw: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime
    ) -> None:
        """Check the signature over the raw bytes against every current secret, and the
        timestamp's age both ways. Headers have lower-case names.

        Raises InvalidSignature.
        """
        ...

    def read_webhook(self, raw: bytes) -> Notification:
        """Route a verified webhook. Raises UnreadableEvent (also for duplicate JSON keys)."""
        ...

    def observe_webhook(self, raw: bytes) -> Observation:
        """Read a verified webhook completely. Raises UnreadableEvent."""
        ...
