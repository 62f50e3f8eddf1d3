"""Give captured money back: reserve under the payment's lock, ask the PSP, record.

Read top-down: the amount is checked and reserved in one transaction with the refund's row and the
PSP key, so that no two refunds can give back more than there is; then the call is made. A refund
whose outcome is not known keeps its reservation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payments.access import current_attempt
from payments.actions.ask_provider import ask_provider, capabilities_of
from payments.actions.call_provider import new_operation
from payments.actions.change import Change, Clock
from payments.actions.observe_refund import reserve_refund
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.machines import OPEN_DISPUTES
from payments.models import Payment, ProviderOperation, Refund
from payments.representation import refundable_minor
from payments.states import State

REFUNDABLE = frozenset({State.PARTIALLY_CAPTURED, State.CAPTURED, State.SETTLED, State.DISPUTED})


def refund_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Refund `amount_minor` (all that is refundable, unless told) of `claim.parameters["payment"]`.

    Further parameters: reason, metadata, refund_platform_fee (give the platform's share back too),
    source ("back_office" when staff asks). Answers 201 with the refund, 402 when the provider
    refuses (the amount is free again), or 202 while its outcome is not known.

    Raises FlorinError: not_found, payment_state_conflict, operation_in_flight, payment_disputed,
    bank_debit_not_settled, refund_amount_invalid, balance_insufficient, operation_unsupported.
    """
    return ask_provider(claim=claim, clock=clock, allowed=REFUNDABLE, plan=_plan)


def _plan(change: Change, asked: dict[str, Any], now: datetime) -> ProviderOperation:
    payment = change.payment
    _check(payment)
    amount_minor = asked["amount_minor"]
    if amount_minor is None:
        amount_minor = refundable_minor(payment)
    _check_amount(payment, amount_minor)
    attempt = current_attempt(payment)
    assert attempt is not None, f"Bug! {payment.pk} has no attempt"
    refund = Refund(
        payment=payment,
        provider_account=payment.provider_account,
        amount_minor=amount_minor,
        currency=payment.currency,
        reason=asked["reason"],
        source=asked.get("source", Refund.Source.API),
        metadata=asked["metadata"],
        created_at=now,
    )
    if asked["refund_platform_fee"]:
        refund.platform_fee_returned_minor = fee_share_minor(payment, amount_minor)
    reserve_refund(change, refund)
    return new_operation(
        payment=payment,
        attempt=attempt,
        kind=ProviderOperation.Kind.REFUND,
        refund=refund,
        request={"amount_minor": amount_minor},
        now=now,
    )


def fee_share_minor(payment: Payment, amount_minor: int) -> int:
    """The share of the platform's fee, as it still is, that goes back with a refund: in proportion
    to what is left to refund, rounded down, so that the last refund takes the rest.
    """
    left = refundable_minor(payment)
    return min(amount_minor, payment.platform_fee_minor * amount_minor // left) if left else 0


def _check(payment: Payment) -> None:
    if not capabilities_of(payment).refunds:
        raise FlorinError(ErrorCode.operation_unsupported)
    disputed = payment.disputes.filter(state__in=OPEN_DISPUTES).exclude(stage="inquiry").exists()
    if payment.state == State.DISPUTED or disputed:
        raise FlorinError(ErrorCode.payment_disputed, payment=payment.pk)
    debit = payment.payment_method.get("kind") == "bank_debit"
    if debit and payment.amount_settled_minor < payment.amount_captured_minor:
        raise FlorinError(ErrorCode.bank_debit_not_settled, payment=payment.pk)


def _check_amount(payment: Payment, amount_minor: int) -> None:
    refundable = refundable_minor(payment)
    if not 0 < amount_minor <= refundable:
        raise FlorinError(
            ErrorCode.refund_amount_invalid,
            f"{refundable} {payment.currency} can be refunded, in minor units.",
            param="amount_minor",
        )
    if amount_minor < payment.amount_captured_minor and not capabilities_of(payment).partial_refund:
        raise FlorinError(
            ErrorCode.refund_amount_invalid,
            "This provider refunds in full only.",
            param="amount_minor",
        )
