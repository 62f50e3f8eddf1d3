"""The payment machine as data: fourteen states and every edge between them.

Mental model: a payment moves only along a row of `EDGES`. The model's django-fsm methods are made
from this table, `actions.change.Change.advance` is the only caller, and the database refuses a
state change that has no matching transition record. Amounts, not states, carry what is partial.

The last column says what has happened. Who may take an edge follows from its name: `psp_*`,
`dispute_*`, `returned` and `late_*` are news from the PSP, `resolve_*`, `reject` and
`approve_resume` are a person's decision in review, the others are asked for by merchant or payer.

The other machines (captures, refunds, disputes) stand in payments.machines.
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
    Edge(
        _S.CREATED,
        "attach_payment_method",
        _S.CREATED,
        "another method or description before anything is sent",
    ),
    Edge(_S.CREATED, "confirm", _S.PROCESSING, "the merchant confirms; the call is committed"),
    Edge(_S.CREATED, "cancel", _S.CANCELED, "canceled before any money was held"),
    Edge(_S.CREATED, "expire", _S.CANCELED, "nobody paid in time"),
    Edge(
        _S.CREATED, "screening_hold", _S.IN_REVIEW, "held by our own rule before the PSP is asked"
    ),
    Edge(_S.CREATED, "client_confirmed", _S.PROCESSING, "the payer confirmed at the PSP"),
    Edge(_S.CREATED, "integrity_mismatch", _S.IN_REVIEW, "the PSP made another amount of it"),
    Edge(_S.CREATED, "outcome_unknown_exhausted", _S.IN_REVIEW, "nobody can say if it exists"),
    Edge(
        _S.REQUIRES_ACTION, "client_completed", _S.PROCESSING, "the payer came back from the step"
    ),
    Edge(_S.REQUIRES_ACTION, "psp_processing", _S.PROCESSING, "the payer acted, the PSP works"),
    Edge(_S.REQUIRES_ACTION, "psp_authorized", _S.AUTHORIZED, "funds are held"),
    Edge(
        _S.REQUIRES_ACTION,
        "psp_authorized_auto_capture",
        _S.CAPTURE_PENDING,
        "accepted; the PSP captures by itself, later",
    ),
    Edge(_S.REQUIRES_ACTION, "psp_captured", _S.CAPTURED, "captured in full"),
    Edge(_S.REQUIRES_ACTION, "psp_action_required", _S.REQUIRES_ACTION, "another step is asked"),
    Edge(
        _S.REQUIRES_ACTION, "psp_declined_retryable", _S.CREATED, "this try failed, another may not"
    ),
    Edge(_S.REQUIRES_ACTION, "psp_declined_final", _S.FAILED, "refused for good"),
    Edge(_S.REQUIRES_ACTION, "cancel", _S.CANCELED, "canceled at the PSP first"),
    Edge(_S.REQUIRES_ACTION, "expire", _S.CANCELED, "the payer did not act in time"),
    Edge(_S.REQUIRES_ACTION, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(
        _S.REQUIRES_ACTION,
        "outcome_unknown_exhausted",
        _S.IN_REVIEW,
        "the PSP cannot say; ask people",
    ),
    Edge(_S.PROCESSING, "psp_action_required", _S.REQUIRES_ACTION, "the payer must act"),
    Edge(_S.PROCESSING, "psp_authorized", _S.AUTHORIZED, "funds are held"),
    Edge(
        _S.PROCESSING,
        "psp_authorized_auto_capture",
        _S.CAPTURE_PENDING,
        "accepted; the PSP captures by itself, later",
    ),
    Edge(_S.PROCESSING, "psp_captured", _S.CAPTURED, "captured in full"),
    Edge(_S.PROCESSING, "psp_declined_retryable", _S.CREATED, "this try failed, another may not"),
    Edge(_S.PROCESSING, "psp_declined_final", _S.FAILED, "refused for good"),
    Edge(_S.PROCESSING, "psp_canceled", _S.CANCELED, "the PSP canceled its object"),
    Edge(_S.PROCESSING, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(
        _S.PROCESSING, "outcome_unknown_exhausted", _S.IN_REVIEW, "the PSP cannot say; ask people"
    ),
    Edge(_S.PROCESSING, "psp_fraud_hold", _S.IN_REVIEW, "the PSP's fraud desk holds it"),
    Edge(
        _S.IN_REVIEW, "approve_resume", _S.PROCESSING, "released by a person; the PSP is asked now"
    ),
    Edge(_S.IN_REVIEW, "resolve_authorized", _S.AUTHORIZED, "the PSP's truth: held"),
    Edge(
        _S.IN_REVIEW,
        "resolve_capture_pending",
        _S.CAPTURE_PENDING,
        "the PSP's truth: a capture is under way",
    ),
    Edge(_S.IN_REVIEW, "resolve_captured", _S.CAPTURED, "the PSP's truth: captured"),
    Edge(
        _S.IN_REVIEW,
        "resolve_partially_captured",
        _S.PARTIALLY_CAPTURED,
        "the PSP's truth: a part is captured",
    ),
    Edge(_S.IN_REVIEW, "resolve_settled", _S.SETTLED, "the PSP's truth: settled"),
    Edge(_S.IN_REVIEW, "resolve_refunded", _S.REFUNDED, "the PSP's truth: all was given back"),
    Edge(
        _S.IN_REVIEW, "resolve_reversed", _S.REVERSED, "the PSP's truth: the money was taken back"
    ),
    Edge(_S.IN_REVIEW, "reject", _S.CANCELED, "given up; nothing is held at the PSP"),
    Edge(_S.IN_REVIEW, "resolve_failed", _S.FAILED, "the PSP's truth: refused, or it has nothing"),
    Edge(_S.IN_REVIEW, "dispute_opened", _S.DISPUTED, "the payer's bank disputes it"),
    Edge(_S.IN_REVIEW, "returned", _S.REVERSED, "the payer's bank took the debit back"),
    Edge(_S.IN_REVIEW, "psp_settled", _S.IN_REVIEW, "settlement told afterwards; amounts only"),
    Edge(_S.AUTHORIZED, "capture_requested", _S.CAPTURE_PENDING, "the capture is committed"),
    Edge(_S.AUTHORIZED, "psp_captured", _S.CAPTURED, "captured in full"),
    Edge(
        _S.AUTHORIZED,
        "psp_partially_captured",
        _S.PARTIALLY_CAPTURED,
        "a part is captured, the rest stays capturable",
    ),
    Edge(_S.AUTHORIZED, "increment_or_extend", _S.AUTHORIZED, "the hold was raised or prolonged"),
    Edge(_S.AUTHORIZED, "psp_auth_adjusted", _S.AUTHORIZED, "the PSP changed the held amount"),
    Edge(_S.AUTHORIZED, "void", _S.CANCELED, "the hold is released"),
    Edge(_S.AUTHORIZED, "auth_expired", _S.CANCELED, "the hold ran out"),
    Edge(_S.AUTHORIZED, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(_S.AUTHORIZED, "psp_fraud_hold", _S.IN_REVIEW, "the PSP's fraud desk holds it"),
    Edge(_S.AUTHORIZED, "outcome_unknown_exhausted", _S.IN_REVIEW, "a void nobody can confirm"),
    Edge(_S.CAPTURE_PENDING, "psp_captured", _S.CAPTURED, "captured in full"),
    Edge(
        _S.CAPTURE_PENDING,
        "psp_partially_captured",
        _S.PARTIALLY_CAPTURED,
        "a part is captured, the rest stays capturable",
    ),
    Edge(_S.CAPTURE_PENDING, "capture_failed_retryable", _S.AUTHORIZED, "refused, the hold stands"),
    Edge(
        _S.CAPTURE_PENDING,
        "capture_failed_partial",
        _S.PARTIALLY_CAPTURED,
        "refused, an earlier capture stands",
    ),
    Edge(_S.CAPTURE_PENDING, "capture_failed_final", _S.FAILED, "refused, the hold is gone"),
    Edge(_S.CAPTURE_PENDING, "void", _S.CANCELED, "called back before it was captured"),
    Edge(
        _S.CAPTURE_PENDING,
        "outcome_unknown_exhausted",
        _S.IN_REVIEW,
        "the PSP cannot say; ask people",
    ),
    Edge(
        _S.CAPTURE_PENDING,
        "psp_settled",
        _S.SETTLED,
        "settlement overtakes the news of the capture",
    ),
    Edge(_S.CAPTURE_PENDING, "integrity_mismatch", _S.IN_REVIEW, "amount or currency differ"),
    Edge(
        _S.PARTIALLY_CAPTURED, "capture_requested", _S.CAPTURE_PENDING, "the capture is committed"
    ),
    Edge(_S.PARTIALLY_CAPTURED, "psp_captured", _S.CAPTURED, "captured in full"),
    Edge(
        _S.PARTIALLY_CAPTURED, "release_remainder", _S.CAPTURED, "what was not captured is released"
    ),
    Edge(_S.PARTIALLY_CAPTURED, "dispute_opened", _S.DISPUTED, "the payer's bank disputes it"),
    Edge(
        _S.PARTIALLY_CAPTURED,
        "capture_failed_late",
        _S.IN_REVIEW,
        "a capture told as done did not hold",
    ),
    Edge(
        _S.PARTIALLY_CAPTURED,
        "psp_settled",
        _S.PARTIALLY_CAPTURED,
        "settlement told afterwards; amounts only",
    ),
    Edge(_S.PARTIALLY_CAPTURED, "returned", _S.IN_REVIEW, "the payer's bank took the debit back"),
    Edge(_S.CAPTURED, "psp_settled", _S.SETTLED, "the PSP counts the money as ours"),
    Edge(_S.CAPTURED, "refunded_in_full", _S.REFUNDED, "all captured money was given back"),
    Edge(_S.CAPTURED, "post_capture_void", _S.CANCELED, "taken back before it settled"),
    Edge(_S.CAPTURED, "capture_failed_late", _S.IN_REVIEW, "a capture told as done did not hold"),
    Edge(_S.CAPTURED, "returned", _S.REVERSED, "the payer's bank took the debit back"),
    Edge(_S.CAPTURED, "dispute_opened", _S.DISPUTED, "the payer's bank disputes it"),
    Edge(_S.SETTLED, "refunded_in_full", _S.REFUNDED, "all captured money was given back"),
    Edge(_S.SETTLED, "dispute_opened", _S.DISPUTED, "the payer's bank disputes it"),
    Edge(_S.SETTLED, "returned", _S.REVERSED, "the payer's bank took the debit back"),
    Edge(_S.SETTLED, "capture_failed_late", _S.IN_REVIEW, "a capture told as done did not hold"),
    Edge(_S.DISPUTED, "dispute_closed_for_us", _S.CAPTURED, "won or withdrawn, not settled yet"),
    Edge(_S.DISPUTED, "dispute_closed_for_us_settled", _S.SETTLED, "won or withdrawn"),
    Edge(
        _S.DISPUTED,
        "dispute_closed_for_us_partial",
        _S.PARTIALLY_CAPTURED,
        "won, a remainder is still capturable",
    ),
    Edge(_S.DISPUTED, "dispute_closed_for_us_refunded", _S.REFUNDED, "won, but all was refunded"),
    Edge(_S.DISPUTED, "dispute_lost_in_full", _S.REVERSED, "lost, nothing is left"),
    Edge(_S.DISPUTED, "dispute_lost_in_part", _S.SETTLED, "lost, a part is left"),
    Edge(_S.DISPUTED, "psp_settled", _S.DISPUTED, "settlement told afterwards; amounts only"),
    Edge(_S.DISPUTED, "second_dispute_opened", _S.DISPUTED, "another dispute"),
    Edge(_S.DISPUTED, "returned", _S.REVERSED, "the payer's bank took the debit back"),
    Edge(
        _S.DISPUTED,
        "dispute_lost_in_part_unsettled",
        _S.CAPTURED,
        "lost, a part is left, not settled yet",
    ),
    Edge(_S.DISPUTED, "one_dispute_closed", _S.DISPUTED, "another dispute is still open"),
    Edge(
        _S.DISPUTED,
        "dispute_lost_in_part_partial",
        _S.PARTIALLY_CAPTURED,
        "lost, a remainder is still capturable",
    ),
    Edge(
        _S.REFUNDED,
        "refund_failed_after_success",
        _S.CAPTURED,
        "a refund came back; the money is ours again",
    ),
    Edge(
        _S.REFUNDED,
        "refund_failed_after_success_settled",
        _S.SETTLED,
        "a refund came back after settlement",
    ),
    Edge(_S.REFUNDED, "psp_settled", _S.REFUNDED, "settlement told afterwards; amounts only"),
    Edge(_S.REFUNDED, "dispute_opened", _S.DISPUTED, "the payer's bank disputes it"),
    Edge(_S.REFUNDED, "returned", _S.REVERSED, "the payer's bank took the debit back"),
    Edge(_S.REVERSED, "reversal_undone", _S.SETTLED, "what was taken back came again"),
    Edge(
        _S.REVERSED,
        "reversal_undone_unsettled",
        _S.CAPTURED,
        "what was taken back came again, not settled yet",
    ),
    Edge(_S.REVERSED, "dispute_opened", _S.DISPUTED, "a lost case goes on"),
    Edge(_S.REVERSED, "psp_settled", _S.REVERSED, "settlement told afterwards; amounts only"),
    Edge(_S.CANCELED, "late_money", _S.IN_REVIEW, "money on a canceled payment"),
    Edge(_S.CANCELED, "psp_settled", _S.IN_REVIEW, "settlement of a payment we hold canceled"),
    Edge(_S.FAILED, "late_money", _S.IN_REVIEW, "an earlier try of a failed payment was paid"),
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
        State.PARTIALLY_CAPTURED,
        State.CAPTURED,
        State.DISPUTED,
        State.IN_REVIEW,
    }
)


def edges_of(event: str) -> tuple[Edge, ...]:
    """Every edge that `event` takes, one per source state."""
    return tuple(edge for edge in EDGES if edge.event == event)


def can_take(state: str, event: str) -> bool:
    """True when a payment in `state` may take `event`."""
    return any(edge.source == state and edge.event == event for edge in EDGES)
