"""The small machines beside the payment: captures, refunds, disputes, each as a table of edges.

Mental model: as payments.states, one size smaller. A row's `state` is a protected django-fsm field
moved by `move`, which takes the edge of that name from the table and refuses any other. What a move
means for the payment's amounts, state and books is said by the actions, not here.

An event of these machines is named after the state it leads to, except where two roads lead there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db import models
from django_fsm import TransitionNotAllowed, transition

Model = TypeVar("Model", bound=models.Model)


class CaptureState(enum.StrEnum):
    """Where one capture stands. `voided`: taken back by us before it settled. `failed_late`: told
    as done, and it did not hold; the payment's reversed amount tells the loss.
    """

    REQUESTED = "requested"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_LATE = "failed_late"
    VOIDED = "voided"


class RefundState(enum.StrEnum):
    """Where one refund stands. Its amount is reserved from `requested` on."""

    REQUESTED = "requested"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class DisputeState(enum.StrEnum):
    """Where one dispute stands within its stage; a later stage opens it again."""

    NEEDS_RESPONSE = "needs_response"
    SUBMITTED = "submitted"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"
    PREVENTED = "prevented"


# state -> event -> state after it.
Machine = Mapping[str, Mapping[str, str]]

CAPTURE_EDGES: Machine = {
    "requested": {"pending": "pending", "succeed": "succeeded", "fail": "failed"},
    "pending": {"succeed": "succeeded", "fail": "failed", "void": "voided"},
    "succeeded": {"fail_late": "failed_late", "void": "voided"},
    "failed_late": {"succeed_again": "succeeded"},
}
_REFUND_RESULTS = {
    "pending": "pending",
    "require_action": "requires_action",
    "succeed": "succeeded",
    "fail": "failed",
    "cancel": "canceled",
}
REFUND_EDGES: Machine = {
    "requested": _REFUND_RESULTS,
    "requires_action": {k: v for k, v in _REFUND_RESULTS.items() if k != "require_action"},
    "pending": {k: v for k, v in _REFUND_RESULTS.items() if k != "pending"},
    "succeeded": {"fail_late": "failed"},
}
_CLOSINGS = {
    "win": "won",
    "lose": "lost",
    "expire": "expired",
    "withdraw": "withdrawn",
    "close": "closed",
    "prevent": "prevented",
}
_OPEN_AGAIN = {"reopen": "needs_response", "review_again": "under_review"}
DISPUTE_EDGES: Machine = {
    "needs_response": {
        "submit": "submitted",
        "accept": "accepted",
        "review": "under_review",
        "reopen": "needs_response",
        **_CLOSINGS,
    },
    "submitted": {
        "submit": "submitted",
        "accept": "accepted",
        "review": "under_review",
        **_OPEN_AGAIN,
        **_CLOSINGS,
    },
    "under_review": {"accept": "accepted", **_OPEN_AGAIN, **_CLOSINGS},
    # Closed cases: a later stage opens them again, and a decision may still be turned round.
    "won": {"lose_after_all": "lost", **_OPEN_AGAIN},
    "withdrawn": {"lose_after_all": "lost", **_OPEN_AGAIN},
    "closed": {"lose_after_all": "lost", **_OPEN_AGAIN},
    "prevented": {"lose_after_all": "lost", **_OPEN_AGAIN},
    "lost": {"win_after_all": "won", **_OPEN_AGAIN},
    "expired": {"win_after_all": "won", "lose": "lost", **_OPEN_AGAIN},
    "accepted": {"win_after_all": "won", "lose": "lost", **_OPEN_AGAIN},
}

# Captures that count as captured money; what did not hold is told as reversed beside it.
STANDING_CAPTURES = frozenset({"succeeded", "failed_late"})
OPEN_CAPTURES = frozenset({"requested", "pending"})
OPEN_DISPUTES = frozenset({"needs_response", "submitted", "under_review"})
LOST_DISPUTES = frozenset({"lost", "expired", "accepted"})
OPEN_REFUNDS = frozenset({"requested", "requires_action", "pending"})


def guarded_by(machine: Machine) -> Callable[[type[Model]], type[Model]]:
    """Give a model one django-fsm method per event of `machine`, over its field `state`."""

    def add(model: type[Model]) -> type[Model]:
        field: Any = model._meta.get_field("state")
        for event in {event for edges in machine.values() for event in edges}:
            method: Any = _named(event)
            for source, edges in machine.items():
                if event in edges:
                    method = transition(field=field, source=source, target=edges[event])(method)
            setattr(model, f"_{event}", method)
        return model

    return add


def _named(event: str) -> Callable[[models.Model], None]:
    def move(self: models.Model) -> None:
        """Take the edge; django-fsm sets the state."""

    move.__name__ = f"_{event}"
    return move


def may(row: models.Model, machine: Machine, event: str) -> bool:
    """Whether `row` may take `event` from where it stands."""
    return event in machine.get(str(row.state), {})  # type: ignore[attr-defined]


def move(row: models.Model, event: str) -> None:
    """Take `event`. Raises IllegalMove."""
    try:
        getattr(row, f"_{event}")()
    except TransitionNotAllowed as error:
        raise IllegalMove(f"{row.pk}: {row.state} has no edge {event}") from error  # type: ignore[attr-defined]


class IllegalMove(Exception):
    """An edge was asked for that the table does not have."""
