"""What an applier of provider events is given and what it answers; what a drain says it did.

Mental model: the business implements `Apply` and is named in FLORIN_INBOX_APPLY; the inbox knows no
more of it than these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxEventView:
    """A stored provider event as `apply` sees it; `raw` is what came over the wire."""

    id: str
    provider: str
    account_id: str
    event_id: str
    event_type: str
    subject: str
    raw: bytes
    headers: Mapping[str, str]
    received_at: datetime
    deferrals: int
    failures: int


@dataclass(frozen=True)
class Applied:
    """What an event did. `deferred` leaves no trace of the call but the deferral itself."""

    outcome: Literal["processed", "superseded", "deferred", "ignored"]
    reason: str
    payment_id: str = ""


class Apply(Protocol):
    """What settings.FLORIN_INBOX_APPLY names: moves our payment, says what came of it."""

    def __call__(self, event: InboxEventView, *, now: datetime) -> Applied: ...


@dataclass
class DrainResult:
    """What one call of `drain` did, in events."""

    finished: int = 0
    deferred: int = 0
    failed: int = 0
    dead: int = 0
    postponed: int = 0

    @property
    def total(self) -> int:
        return self.finished + self.deferred + self.failed + self.dead + self.postponed
