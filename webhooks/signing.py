"""Standard Webhooks signatures (specification 1.0.0, symmetric `v1`).

Mental model: the signature is an HMAC-SHA256 over `{id}.{timestamp}.{body}` with the endpoint's
secret, base64; the header lists one per valid secret, so a rotation needs no gap. The id is the
event's and stays the same over all retries; the timestamp is the attempt's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random_source
from collections.abc import Iterable, Mapping
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105  the start of every secret, none itself
SECRET_BYTES = 32
TOLERANCE_SECONDS = 300


class InvalidSignature(ValueError):
    """Nothing a receiver may act on: a header is missing, malformed, too old, or does not fit."""


def new_secret() -> str:
    """`whsec_` and base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(random_source.token_bytes(SECRET_BYTES)).decode()


def headers(
    *, secrets: Iterable[str], message_id: str, attempted_at: datetime, body: bytes
) -> dict[str, str]:
    """The three headers of one attempt; `secrets` holds the current one first."""
    timestamp = int(attempted_at.timestamp())
    signatures = [f"v1,{_signature(secret, message_id, timestamp, body)}" for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def verify(*, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise InvalidSignature unless one signature fits and the timestamp is within 5 minutes.

    `headers` has lower-case names. For receivers of our own (the demo's, the tests').
    """
    try:
        message_id, text = headers["webhook-id"], headers["webhook-timestamp"]
        presented = headers["webhook-signature"].split(" ")
        timestamp = int(text)
    except (KeyError, ValueError) as error:
        raise InvalidSignature("A webhook-* header is missing or malformed.") from error
    if abs(now.timestamp() - timestamp) > TOLERANCE_SECONDS:
        raise InvalidSignature("The timestamp is more than five minutes away.")
    expected = f"v1,{_signature(secret, message_id, timestamp, body)}".encode()
    if not any(hmac.compare_digest(expected, candidate.encode()) for candidate in presented):
        raise InvalidSignature("No signature fits.")


def _signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("Bug! A webhook secret is not base64.") from error
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
