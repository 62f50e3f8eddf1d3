"""The two ways out for what waits for a person: again, or never.

Mental model: a dead letter is known as "kind:row" (webhooks.models.DeadLetter lists them). Both
functions sort the ids by kind and call the one function of that kind; each of those is one
transaction, locks what it touches, and audits every row under the name of the person.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from audit.log import Actor
from webhooks import delivery, inbox, outbox


def replay(ids: Collection[str], *, actor: Actor, now: datetime) -> int:
    """Let dead letters run again, as the same rows under the same ids; returns how many did."""
    found = _by_kind(ids)
    return (
        inbox.replay(found["inbox"], actor=actor, now=now)
        + outbox.replay([int(row) for row in found["handler"]], actor=actor, now=now)
        + delivery.replay(found["merchant"], actor=actor, now=now)
    )


def discard(ids: Collection[str], *, reason: str, actor: Actor, now: datetime) -> int:
    """Give dead letters up for good; returns how many. Raises ValueError without a reason."""
    found = _by_kind(ids)
    return (
        inbox.discard(found["inbox"], reason=reason, actor=actor, now=now)
        + outbox.discard(
            [int(row) for row in found["handler"]], reason=reason, actor=actor, now=now
        )
        + delivery.discard(found["merchant"], reason=reason, actor=actor, now=now)
    )


def _by_kind(ids: Collection[str]) -> dict[str, list[str]]:
    """Row ids per kind. Raises ValueError for an id of no kind."""
    found: dict[str, list[str]] = {"inbox": [], "handler": [], "merchant": []}
    for dead_letter_id in ids:
        kind, _, row_id = dead_letter_id.partition(":")
        if kind not in found or not row_id:
            raise ValueError(f"{dead_letter_id!r} is no dead letter; write inbox:inb_..., say.")
        found[kind].append(row_id)
    return found
