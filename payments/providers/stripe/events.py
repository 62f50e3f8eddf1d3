"""Webhooks of Stripe: the `Stripe-Signature` header, snapshot events, and what each type tells.

    payment_intent.*                the whole PaymentIntent; when money was taken, or an id stands
                                    for what decides, a fetch brings the rest
    refund.*, charge.refund.updated the whole Refund
    charge.dispute.*                the whole Dispute with its money; fetched all the same, because
                                    Stripe counts no versions and events come in any order
    charge.*, review.*              a hint that fee, refunds, availability or state changed: fetch
    everything else                 stored, not about a payment's state

The SDK verifies text and refuses old timestamps only; this checks the raw bytes, several secrets
and both directions of time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payments.providers import fields
from payments.providers.base import (
    InvalidSignature,
    Notification,
    Observation,
    ObservedStatus,
    PaymentSnapshot,
    UnreadableEvent,
)
from payments.providers.fields import UnreadableObject
from payments.providers.objects import DisputeSnapshot, DisputeStage, DisputeStatus
from payments.providers.strict_json import read_object
from payments.providers.stripe.disputes import read_dispute
from payments.providers.stripe.refunds import read_refund
from payments.providers.stripe.snapshots import (
    is_ambiguous,
    our_reference,
    read_snapshot,
    reference,
)

TOLERANCE_SECONDS = 300

# Events whose news is on the PaymentIntent or on what is behind it.
HINTS = frozenset(
    {
        "charge.captured", "charge.expired", "charge.failed", "charge.pending", "charge.refunded",
        "charge.succeeded", "charge.updated", "review.closed", "review.opened",
    }
)  # fmt: skip
REFUNDS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"})
_DISPUTES = "charge.dispute."

# After these a fetch brings the fee.
_MONEY_TAKEN = frozenset({ObservedStatus.CAPTURED, ObservedStatus.PARTIALLY_CAPTURED})


def verify(
    raw: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime
) -> None:
    """Check `Stripe-Signature` over the raw bytes. Raises InvalidSignature."""
    header = headers.get("stripe-signature", "")
    if not header:
        raise InvalidSignature("The stripe-signature header is missing.")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdecimal() or len(times[0]) > 12:
        raise InvalidSignature("The stripe-signature header has no time (t=).")
    signed = f"{times[0]}.".encode() + raw
    if not any(_matches(signed, secret, given) for secret in secrets):
        raise InvalidSignature("No v1 signature fits any of the endpoint's secrets.")
    age_seconds = now.timestamp() - int(times[0])
    if age_seconds > TOLERANCE_SECONDS:
        raise InvalidSignature(f"The webhook is {age_seconds:.0f} seconds old.")
    if age_seconds < -TOLERANCE_SECONDS:
        raise InvalidSignature(f"The webhook is {-age_seconds:.0f} seconds in the future.")


def _matches(signed: bytes, secret: str, given: Sequence[str]) -> bool:
    """Whether one of the signatures fits this secret; an empty secret fits none."""
    if not secret.strip():
        return False
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    return any(hmac.compare_digest(expected, entry.encode()) for entry in given)


def read_notification(raw: bytes) -> Notification:
    """Which event this is and which payment it is about. Raises UnreadableEvent."""
    try:
        event, subject = _open(raw)
        about = _payment_reference(fields.required_text(event, "type"), subject)
        return Notification(
            event_id=fields.required_text(event, "id"),
            event_type=fields.required_text(event, "type"),
            subject=about,
            our_reference=our_reference(subject) if about else "",
        )
    except ValueError as error:
        raise UnreadableEvent(f"The event is unreadable: {error}.") from error


def read_observation(raw: bytes) -> Observation:
    """What the event says about its payment. Raises UnreadableEvent."""
    try:
        event, subject = _open(raw)
        event_type = fields.required_text(event, "type")
        about = _payment_reference(event_type, subject)
        occurred_at = fields.epoch(event, "created")
        if occurred_at is None:
            raise UnreadableObject("created is missing")
        snapshot = _snapshot(event_type, subject)
        is_refund, is_dispute = event_type in REFUNDS, event_type.startswith(_DISPUTES)
        paid = event_type == "payment_intent.succeeded"
        taken = paid or (snapshot is not None and snapshot.status in _MONEY_TAKEN)
        hint = taken or (snapshot is None and not is_refund)
        return Observation(
            event_id=fields.required_text(event, "id"),
            event_type=event_type,
            provider_reference=about,
            our_reference=our_reference(subject) if about else "",
            occurred_at=occurred_at,
            livemode=fields.flag(event, "livemode"),
            snapshot=snapshot,
            refund=read_refund(subject) if about and is_refund else None,
            dispute=_dispute(subject) if about and is_dispute else None,
            fetch_needed=bool(about) and hint,
            relevant=bool(about),
        )
    except ValueError as error:
        raise UnreadableEvent(f"The event is unreadable: {error}.") from error


def _open(raw: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The event and the object it is about."""
    event = read_object(raw)
    if event.get("object") != "event":
        raise UnreadableObject("it is not an event object")
    return event, fields.mapping(fields.mapping(event, "data"), "object")


def _payment_reference(event_type: str, subject: Mapping[str, Any]) -> str:
    """The PaymentIntent an event is about, or the empty string."""
    if event_type.startswith("payment_intent."):
        return fields.required_text(subject, "id")
    if event_type in HINTS or event_type in REFUNDS or event_type.startswith(_DISPUTES):
        return reference(subject, "payment_intent")
    return ""


def _snapshot(event_type: str, subject: Mapping[str, Any]) -> PaymentSnapshot | None:
    """The payment's state, where the event alone can tell it."""
    if not event_type.startswith("payment_intent."):
        return None
    snapshot = read_snapshot(subject)
    return None if is_ambiguous(subject) else snapshot


def _dispute(subject: Mapping[str, Any]) -> DisputeSnapshot | None:
    """The dispute, unless it is an open chargeback whose money is not told: that is either very
    new, or older than what was told before.
    """
    dispute = read_dispute(subject)
    told = bool(subject.get("balance_transactions"))
    is_open = dispute.status in {DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW}
    silent = is_open and not told and dispute.stage != DisputeStage.INQUIRY
    return None if silent else dispute
