"""The payment machine as data: fourteen states and every edge between them.

Mental model: a payment moves only along a row of `EDGES`. The model's django-fsm methods are made
from this table, `actions.change.Change.advance` is the only caller, and the database refuses a
state change that has no matching transition record. Amounts, not states, carry what is partial.

The last column says who takes the edge: "payer or merchant asked" (confirm, cancel, ...), "the PSP
told us" (psp_*), or "we learnt it late" (late_*). Four states have no edge into them yet:
partially_captured, disputed, refunded, reversed are entered by operations that arrive with
refunds, disputes and partial captures; nothing here pretends otherwise.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class State(enum.StrEnum):
    """Where a payment stands. Documented in docs/states.md."""

    CREATED = "created"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    IN_REVIEW = "in_review"
    AUTHORIZED = "authorized"
    CAPTURE_PENDING = "capture_pending"
    PARTIALLY_CAPTURED = "partially_captured"
    CAPTURED = "captured"
    SETTLED = "settled"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    REVERSED = "reversed"
    CANCELED = "canceled"
    FAILED = "failed"


class Edge(NamedTuple):
    """One legal move: from `source`, on `event`, to `target`."""

    source: State
    event: str
    target: State
    meaning: str


_S = State

EDGES: tuple[Edge, ...] = (
    Edge(_S.CREATED, "confirm", _S.PROCESSING, "the merchant confirms; the call is committed"),
    Edge(_S.CREATED, "client_confirmed", _S.PROCESSING, "the payer confirmed at the PSP"),
    Edge(_S.CREATED, "cancel", _S.CANCELED, "canceled before any money was held"),
    Edge(_S.CREATED, "integrity_mismatch", _S.IN_REVIEW, "the PSP made another amount of it"),
    Edge(_S.CREATED, "outcome_unknown_exhausted", _S.IN_REVIEW, "nobody can say if it exists"),
    Edge(_S.PROCESSING, "psp_action_required", _S.REQUIRES_ACTION, "the payer must act"),
    Edge(_S.PROCESSING, "psp_authorized", _S.AUTHORIZED, "funds are held"),
    Edge(_S.PROCESSING, "psp_captured", _S.CAPTURED, "sale confirmed in full"),
    Edge(_S.PROCESSING, "psp_declined_retryable", _S.CREATED, "this try failed, another may not"),
    Edge(_S.PROCESSING, "psp_declined_final", _S.FAILED, "refused for good"),
    Edge(_S.PROCESSING, "psp_canceled", _S.CANCELED, "the PSP canceled its object"),
    Edge(_S.PROCESSING, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(
        _S.PROCESSING, "outcome_unknown_exhausted", _S.IN_REVIEW, "the PSP cannot say; ask people"
    ),
    Edge(_S.REQUIRES_ACTION, "psp_processing", _S.PROCESSING, "the payer acted, the PSP works"),
    Edge(_S.REQUIRES_ACTION, "psp_authorized", _S.AUTHORIZED, "funds are held"),
    Edge(_S.REQUIRES_ACTION, "psp_captured", _S.CAPTURED, "sale confirmed in full"),
    Edge(_S.REQUIRES_ACTION, "psp_action_required", _S.REQUIRES_ACTION, "another step is asked"),
    Edge(_S.REQUIRES_ACTION, "psp_declined_retryable", _S.CREATED, "not authenticated, try again"),
    Edge(_S.REQUIRES_ACTION, "psp_declined_final", _S.FAILED, "not authenticated, no try left"),
    Edge(_S.REQUIRES_ACTION, "cancel", _S.CANCELED, "canceled at the PSP first"),
    Edge(_S.REQUIRES_ACTION, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(_S.REQUIRES_ACTION, "outcome_unknown_exhausted", _S.IN_REVIEW, "the PSP cannot say"),
    Edge(_S.AUTHORIZED, "capture_requested", _S.CAPTURE_PENDING, "the capture is committed"),
    Edge(_S.AUTHORIZED, "psp_captured", _S.CAPTURED, "captured at the PSP"),
    Edge(_S.AUTHORIZED, "void", _S.CANCELED, "the hold is released"),
    Edge(_S.AUTHORIZED, "auth_expired", _S.CANCELED, "the hold ran out"),
    Edge(_S.AUTHORIZED, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(_S.AUTHORIZED, "outcome_unknown_exhausted", _S.IN_REVIEW, "a void nobody can confirm"),
    Edge(_S.CAPTURE_PENDING, "psp_captured", _S.CAPTURED, "the capture is confirmed"),
    Edge(_S.CAPTURE_PENDING, "capture_failed_retryable", _S.AUTHORIZED, "refused, hold stands"),
    Edge(_S.CAPTURE_PENDING, "capture_failed_final", _S.FAILED, "refused, the hold is gone"),
    Edge(_S.CAPTURE_PENDING, "integrity_mismatch", _S.IN_REVIEW, "captured amount differs"),
    Edge(_S.CAPTURE_PENDING, "outcome_unknown_exhausted", _S.IN_REVIEW, "the PSP cannot say"),
    Edge(_S.CAPTURED, "psp_settled", _S.SETTLED, "the PSP counts the money as ours"),
    Edge(_S.CANCELED, "late_money", _S.IN_REVIEW, "money on a canceled payment"),
    Edge(_S.FAILED, "late_success", _S.CAPTURED, "success reported after failure"),
    Edge(_S.FAILED, "late_authorized", _S.AUTHORIZED, "a hold reported after failure"),
)

EVENTS: tuple[str, ...] = tuple(dict.fromkeys(edge.event for edge in EDGES))

# States in which the PSP still owes us news, so that a poller asks when no webhook comes.
AWAITING_PROVIDER = frozenset(
    {
        State.CREATED,
        State.REQUIRES_ACTION,
        State.PROCESSING,
        State.AUTHORIZED,
        State.CAPTURE_PENDING,
        State.CAPTURED,
    }
)


def edges_of(event: str) -> tuple[Edge, ...]:
    """Every edge that `event` takes, one per source state."""
    return tuple(edge for edge in EDGES if edge.event == event)


def can_take(state: str, event: str) -> bool:
    """True when a payment in `state` may take `event`."""
    return any(edge.source == state and edge.event == event for edge in EDGES)
