"""Every move a payment can make, guarded by django-fsm.

Mental model: one method per event of payments.states.EDGES, each allowed from the states that the
table says and nowhere else. The methods do nothing besides: `actions.change.Change.advance` calls
them, and what a move means for amounts and books is said by the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import models
from django_fsm import FSMField, FSMModelMixin, transition

from payments.states import EVENTS, State, edges_of

Method = TypeVar("Method", bound=Callable[..., Any])


def _takes_its_edges(method: Method) -> Method:
    """Let django-fsm guard `method` by every row of EDGES that carries its name."""
    for edge in edges_of(method.__name__):
        method = transition(field="state", source=edge.source.value, target=edge.target.value)(
            method
        )
    return method


class PaymentMoves(FSMModelMixin, models.Model):
    """The state of a payment and the moves that lead from one to the next."""

    state = FSMField(
        default=State.CREATED.value,
        protected=True,
        max_length=24,
        choices=[(state.value, state.value) for state in State],
    )

    class Meta:
        abstract = True

    @_takes_its_edges
    def attach_payment_method(self) -> None:
        """The merchant changed what may still be changed."""

    @_takes_its_edges
    def confirm(self) -> None:
        """The merchant asked to take the money; the call to the PSP is committed."""

    @_takes_its_edges
    def cancel(self) -> None:
        """Given up before any money was held."""

    @_takes_its_edges
    def expire(self) -> None:
        """Nobody paid in time; the PSP's object was canceled first."""

    @_takes_its_edges
    def screening_hold(self) -> None:
        """Our own rule holds it before the PSP is asked."""

    @_takes_its_edges
    def client_confirmed(self) -> None:
        """The payer confirmed at the PSP; its own news follows in the same transaction."""

    @_takes_its_edges
    def integrity_mismatch(self) -> None:
        """The PSP's amount or currency is not ours; a person must look."""

    @_takes_its_edges
    def outcome_unknown_exhausted(self) -> None:
        """The PSP could not say in time what happened; a person must look."""

    @_takes_its_edges
    def client_completed(self) -> None:
        """The payer came back from their step; the PSP is asked."""

    @_takes_its_edges
    def psp_processing(self) -> None:
        """The payer did it; the PSP works on."""

    @_takes_its_edges
    def psp_authorized(self) -> None:
        """The money is held."""

    @_takes_its_edges
    def psp_authorized_auto_capture(self) -> None:
        """Accepted; the PSP captures by itself, later."""

    @_takes_its_edges
    def psp_captured(self) -> None:
        """The money is taken."""

    @_takes_its_edges
    def psp_action_required(self) -> None:
        """The payer must do something (3-D Secure, redirect)."""

    @_takes_its_edges
    def psp_declined_retryable(self) -> None:
        """This try was refused; another may succeed."""

    @_takes_its_edges
    def psp_declined_final(self) -> None:
        """Refused for good."""

    @_takes_its_edges
    def psp_canceled(self) -> None:
        """The PSP canceled its object."""

    @_takes_its_edges
    def psp_fraud_hold(self) -> None:
        """The PSP's fraud desk holds it."""

    @_takes_its_edges
    def approve_resume(self) -> None:
        """A person released what we held; the PSP is asked now."""

    @_takes_its_edges
    def resolve_authorized(self) -> None:
        """Review ended with the PSP's truth: held."""

    @_takes_its_edges
    def resolve_capture_pending(self) -> None:
        """Review ended with the PSP's truth: a capture is under way."""

    @_takes_its_edges
    def resolve_captured(self) -> None:
        """Review ended with the PSP's truth: captured."""

    @_takes_its_edges
    def resolve_partially_captured(self) -> None:
        """Review ended with the PSP's truth: a part is captured."""

    @_takes_its_edges
    def resolve_settled(self) -> None:
        """Review ended with the PSP's truth: settled."""

    @_takes_its_edges
    def resolve_refunded(self) -> None:
        """Review ended with the PSP's truth: all was given back."""

    @_takes_its_edges
    def resolve_reversed(self) -> None:
        """Review ended with the PSP's truth: the money was taken back."""

    @_takes_its_edges
    def reject(self) -> None:
        """Review ended: given up, nothing is held at the PSP."""

    @_takes_its_edges
    def resolve_failed(self) -> None:
        """Review ended with the PSP's truth: refused, or it has nothing."""

    @_takes_its_edges
    def dispute_opened(self) -> None:
        """The payer's bank disputes it."""

    @_takes_its_edges
    def returned(self) -> None:
        """The payer's bank took the debit back."""

    @_takes_its_edges
    def psp_settled(self) -> None:
        """The PSP counts the money as available to us."""

    @_takes_its_edges
    def capture_requested(self) -> None:
        """The merchant asked to take held money; the call is committed."""

    @_takes_its_edges
    def psp_partially_captured(self) -> None:
        """A part is taken; the rest stays capturable."""

    @_takes_its_edges
    def increment_or_extend(self) -> None:
        """The hold was raised or prolonged."""

    @_takes_its_edges
    def psp_auth_adjusted(self) -> None:
        """The PSP changed the held amount."""

    @_takes_its_edges
    def void(self) -> None:
        """The hold was released."""

    @_takes_its_edges
    def auth_expired(self) -> None:
        """The hold ran out at the PSP."""

    @_takes_its_edges
    def capture_failed_retryable(self) -> None:
        """The capture was refused; the hold stands."""

    @_takes_its_edges
    def capture_failed_partial(self) -> None:
        """The capture was refused; an earlier one stands."""

    @_takes_its_edges
    def capture_failed_final(self) -> None:
        """The capture was refused and the hold is gone."""

    @_takes_its_edges
    def release_remainder(self) -> None:
        """What was not captured is released."""

    @_takes_its_edges
    def capture_failed_late(self) -> None:
        """A capture that was told as done did not hold."""

    @_takes_its_edges
    def refunded_in_full(self) -> None:
        """All captured money was given back."""

    @_takes_its_edges
    def post_capture_void(self) -> None:
        """Taken back before it settled."""

    @_takes_its_edges
    def dispute_closed_for_us(self) -> None:
        """Won or withdrawn before settlement."""

    @_takes_its_edges
    def dispute_closed_for_us_settled(self) -> None:
        """Won or withdrawn."""

    @_takes_its_edges
    def dispute_closed_for_us_partial(self) -> None:
        """Won or withdrawn; a remainder is still capturable."""

    @_takes_its_edges
    def dispute_closed_for_us_refunded(self) -> None:
        """Won or withdrawn, but all was refunded."""

    @_takes_its_edges
    def dispute_lost_in_full(self) -> None:
        """Lost; nothing is left."""

    @_takes_its_edges
    def dispute_lost_in_part(self) -> None:
        """Lost; a part is left."""

    @_takes_its_edges
    def second_dispute_opened(self) -> None:
        """Another dispute."""

    @_takes_its_edges
    def dispute_lost_in_part_unsettled(self) -> None:
        """Lost before settlement; a part is left."""

    @_takes_its_edges
    def one_dispute_closed(self) -> None:
        """One dispute is closed; another is still open."""

    @_takes_its_edges
    def dispute_lost_in_part_partial(self) -> None:
        """Lost; a part is left and a remainder is still capturable."""

    @_takes_its_edges
    def refund_failed_after_success(self) -> None:
        """A refund came back before settlement."""

    @_takes_its_edges
    def refund_failed_after_success_settled(self) -> None:
        """A refund came back after settlement."""

    @_takes_its_edges
    def reversal_undone(self) -> None:
        """What was taken back came again."""

    @_takes_its_edges
    def reversal_undone_unsettled(self) -> None:
        """What was taken back came again, before settlement."""

    @_takes_its_edges
    def late_money(self) -> None:
        """The PSP reports money on a payment we hold canceled."""

    @_takes_its_edges
    def late_success(self) -> None:
        """The PSP reports success after failure."""

    @_takes_its_edges
    def late_authorized(self) -> None:
        """The PSP reports a hold after failure."""


_unguarded = [event for event in EVENTS if not hasattr(PaymentMoves, event)]
assert not _unguarded, f"Bug! no method on Payment takes the edges {_unguarded}"
