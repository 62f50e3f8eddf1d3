"""Webhooks of the sandbox PSP: Standard Webhooks signatures, one payment document per event.

Every event carries the whole payment with its `version`, its refunds and disputes included, so an
observation never needs a fetch; the refund or dispute that an event is about is named beside.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payments.providers import fields
from payments.providers.base import (
    InvalidSignature,
    Notification,
    Observation,
    UnreadableEvent,
)
from payments.providers.fields import UnreadableObject
from payments.providers.sandbox.snapshots import read_dispute, read_refund, read_snapshot
from payments.providers.strict_json import read_object

TOLERANCE_SECONDS = 300


def verify(
    raw: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime
) -> None:
    """Check a Standard Webhooks signature over the raw bytes. Raises InvalidSignature."""
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not message_id or not sent_at or not signatures:
        raise InvalidSignature("A webhook-id, -timestamp or -signature header is missing.")
    if not sent_at.isascii() or not sent_at.isdecimal() or len(sent_at) > 12:
        raise InvalidSignature("The webhook-timestamp is not a number of seconds.")
    signed = f"{message_id}.{sent_at}.".encode() + raw
    given = [entry[3:] for entry in signatures.split(" ") if entry.startswith("v1,")]
    if not any(_matches(signed, secret, given) for secret in secrets):
        raise InvalidSignature("No signature fits any of the endpoint's secrets.")
    age_seconds = now.timestamp() - int(sent_at)
    if age_seconds > TOLERANCE_SECONDS:
        raise InvalidSignature(f"The webhook is {age_seconds:.0f} seconds old.")
    if age_seconds < -TOLERANCE_SECONDS:
        raise InvalidSignature(f"The webhook is {-age_seconds:.0f} seconds in the future.")


def _matches(signed: bytes, secret: str, given: Sequence[str]) -> bool:
    """Whether one of the signatures fits this secret; a malformed secret fits none."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    if not key:
        return False
    expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
    return any(hmac.compare_digest(expected, entry.encode()) for entry in given)


def read_notification(raw: bytes) -> Notification:
    """Which event this is and which payment it is about. Raises UnreadableEvent."""
    event, payment = _open(raw)
    try:
        return Notification(
            event_id=fields.required_text(event, "id"),
            event_type=fields.required_text(event, "type"),
            subject=fields.text(payment, "id"),
            our_reference=fields.text(payment, "reference"),
        )
    except UnreadableObject as error:
        raise UnreadableEvent(f"The event is unreadable: {error}.") from error


def read_observation(raw: bytes) -> Observation:
    """What the event says about its payment. Raises UnreadableEvent."""
    event, payment = _open(raw)
    try:
        occurred_at = fields.moment(event, "created_at")
        if occurred_at is None:
            raise UnreadableObject("created_at is missing")
        snapshot = read_snapshot(payment) if payment else None
        data = fields.mapping(event, "data")
        refund, dispute = fields.mapping(data, "refund"), fields.mapping(data, "dispute")
        return Observation(
            event_id=fields.required_text(event, "id"),
            event_type=fields.required_text(event, "type"),
            provider_reference=snapshot.provider_reference if snapshot else "",
            our_reference=snapshot.our_reference if snapshot else "",
            occurred_at=occurred_at,
            livemode=fields.flag(event, "livemode"),
            snapshot=snapshot,
            refund=read_refund(refund) if refund else None,
            dispute=read_dispute(dispute) if dispute else None,
            relevant=snapshot is not None,
        )
    except UnreadableObject as error:
        raise UnreadableEvent(f"The event is unreadable: {error}.") from error


def _open(raw: bytes) -> tuple[dict[str, Any], Mapping[str, Any]]:
    try:
        event = read_object(raw)
        return event, fields.mapping(fields.mapping(event, "data"), "payment")
    except ValueError as error:
        raise UnreadableEvent(f"The body is not an event: {error}.") from error
