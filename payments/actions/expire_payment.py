"""Give up payments that nobody paid in time, at the PSP first.

Mental model: the PSP's object is canceled before ours is, so that a payer who pays at the last
moment is not lost: the PSP then says "captured" instead, and that is what becomes true.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef

from audit import log
from payments.access import locked_payment
from payments.actions.ask_provider import commit_intent
from payments.actions.call_provider import drive
from payments.actions.cancel_payment import plan_cancel
from payments.actions.change import Cause, Change, Clock
from payments.models import Payment, ProviderOperation
from payments.states import State

EXPIRABLE = (State.CREATED, State.REQUIRES_ACTION)
REASON = "intent_expired"
BATCH_SIZE = 20


def expire_payments(*, clock: Clock) -> int:
    """Expire what is due; returns how many were taken on."""
    being_driven = ProviderOperation.objects.filter(payment=OuterRef("pk"), finished_at=None)
    due = Payment.objects.filter(
        ~Exists(being_driven), state__in=EXPIRABLE, expires_at__lte=clock()
    ).order_by("expires_at")
    ids = list(due.values_list("pk", flat=True)[:BATCH_SIZE])
    with log.acting_as(log.Actor(type="job", id="expire_payments")):
        for payment_id in ids:
            expire_payment(payment_id, clock=clock)
    return len(ids)


def expire_payment(payment_id: str, *, clock: Clock) -> None:
    """Expire one payment whose time has come; one that was paid meanwhile stays as it is."""
    now, cause = clock(), Cause(type="expiry")
    with transaction.atomic(durable=True):
        payment = locked_payment(payment_id)
        if payment.state not in EXPIRABLE or payment.expires_at is None:
            return
        if payment.expires_at > now or payment.operations.filter(finished_at=None).exists():
            return
        change = Change(payment, cause=cause, now=now)
        operation = plan_cancel(change, REASON, now=now, event="expire")
        if operation is None:
            change.write()
            return
        commit_intent(change, operation)
    drive(operation, cause=cause, clock=clock)
