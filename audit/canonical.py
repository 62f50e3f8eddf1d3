"""The exact bytes an audit event is hashed as, and its hash. The database computes the same.

An event is evidence only if a stranger can recompute its hash from what is stored. So the form is
plain: one line of text per field, in a fixed order, the first naming the version, the last being
the body as canonical JSON (RFC 8785), which has no line breaks. Times are whole microseconds since
1970, because that is what the database keeps. The hash is that of a leaf in an RFC 6962 Merkle
tree: SHA-256 over a zero byte and these bytes. `sha256sum` can do it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785

VERSION = "florin-audit-event-v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def canonical_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """RFC 8785 text of a JSON value: sorted keys, no spaces, numbers as ECMAScript writes them.

    Raises rfc8785.CanonicalizationError for what JSON cannot carry (audit.redaction removes it).
    """
    return rfc8785.dumps(value).decode()


def microseconds(moment: datetime) -> int:
    """Whole microseconds from 1970 to an aware `moment`, exactly (floats would round)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFields:
    """The fields of one event that its hash covers, in the order in which they are hashed.

    `body` and `reference_list` are canonical JSON text, exactly as stored.
    """

    id: int
    recorded_at: datetime
    xid: int
    occurred_at: datetime
    event_type: str
    actor_type: str
    actor_id: str
    actor_display: str
    stream_type: str
    stream_id: str
    trace_id: str
    request_id: str
    reason: str
    redacted: bool
    reference_list: str
    body: str

    def evidence(self) -> bytes:
        """The bytes the hash is taken of. Raises ValueError if a field holds a line break.

        A line break inside a field would let two different events have the same bytes.
        """
        lines = (
            VERSION,
            str(self.id),
            str(microseconds(self.recorded_at)),
            str(self.xid),
            str(microseconds(self.occurred_at)),
            self.event_type,
            self.actor_type,
            self.actor_id,
            self.actor_display,
            self.stream_type,
            self.stream_id,
            self.trace_id,
            self.request_id,
            self.reason,
            "t" if self.redacted else "f",
            self.reference_list,
            self.body,
        )
        text = "\n".join(lines)
        if text.count("\n") != len(lines) - 1:
            raise ValueError("a field of an audit event holds a line break")
        return text.encode()

    def leaf_hash(self) -> bytes:
        """32 bytes: SHA-256(0x00 || evidence), a leaf of an RFC 6962 tree."""
        return hashlib.sha256(b"\x00" + self.evidence()).digest()
