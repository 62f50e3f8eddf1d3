"""Drive on what is unfinished: open operations, payments that owe us news, requests that died.

Mental model: nothing here guesses. While the PSP still remembers an operation's key, calling again
with that key *is* the look-up. Every second try asks for the object instead, because some PSPs
(Stripe) store a 500 and replay it for ever. Once the key is forgotten nothing is ever sent again:
the object is fetched, and what cannot be learnt goes to a person (`in_review`).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from payments import idempotency
from payments.access import current_attempt, locked_payment, payment_for
from payments.actions.call_provider import audit_request, drive, fetch, lease_until
from payments.actions.change import Cause, Change, Clock
from payments.actions.observe import ContradictoryNews, observe
from payments.actions.operation_answers import unfinished_answer
from payments.actions.record_outcome import conclude, note_contradiction
from payments.idempotency import Answer, Claim
from payments.models import IdempotencyKey, Payment, ProviderOperation
from payments.providers.base import PaymentSnapshot

# How long after its key has expired an operation is still asked about before people must look.
ASKING_AFTER_EXPIRY = timedelta(hours=24)


def resume_claimed_operation(claim: Claim, *, cause: Cause, clock: Clock) -> Answer:
    """A client came back with the key of an unfinished request: drive its operation on."""
    operation = lease_operation(claim.provider_operation_id, now=clock())
    if operation is None:
        row = IdempotencyKey.objects.get(pk=claim.row_id)
        if row.recovery_point == IdempotencyKey.RecoveryPoint.FINISHED:
            return idempotency.stored_answer(row)
        payment = payment_for(claim.merchant, claim.livemode, claim.payment_id)
        return unfinished_answer(payment, current_attempt(payment), row.provider_operation)
    return resume_operation(operation, cause=cause, clock=clock)


def lease_operation(operation_id: str, *, now: datetime) -> ProviderOperation | None:
    """Take an open operation that nobody works on, counting the try; None when there is none."""
    token = secrets.token_hex(16)
    free = ProviderOperation.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        pk=operation_id,
        finished_at__isnull=True,
    )
    until = lease_until(now)
    taken = free.update(
        lease_token=token, lease_until=until, next_try_at=until, try_count=F("try_count") + 1
    )
    if not taken:
        return None
    return ProviderOperation.objects.select_related(
        "payment__provider_account", "attempt__provider_account", "refund", "dispute"
    ).get(pk=operation_id)


def resume_operation(operation: ProviderOperation, *, cause: Cause, clock: Clock) -> Answer:
    """Drive a leased operation on: replay its key while the PSP knows it, else ask."""
    now = clock()
    with transaction.atomic(durable=True):
        payment = locked_payment(operation.payment_id)
        change = Change(payment, cause=cause, now=now)
        audit_request(change, operation)
        change.write()
    expired = now >= operation.key_expires_at
    if not expired and operation.try_count % 2 == 0:
        return drive(operation, cause=cause, clock=clock)
    result = fetch(operation.attempt)
    exhausted = now >= operation.key_expires_at + ASKING_AFTER_EXPIRY
    return conclude(
        operation, result, cause=cause, now=clock(), expired=expired, exhausted=exhausted
    )


def poll_payment(payment_id: str, *, clock: Clock) -> None:
    """Ask the PSP how a payment that owes us news stands, and take the answer in."""
    payment = Payment.objects.select_related("provider_account").get(pk=payment_id)
    attempt = current_attempt(payment)
    known = attempt is not None and attempt.provider_reference
    snapshot = fetch(attempt).snapshot if attempt is not None and known else None
    try:
        _take_in_poll(payment, snapshot, now=clock())
    except ContradictoryNews as contradiction:
        note_contradiction(payment_id, str(contradiction), cause=Cause(type="poll"), now=clock())


def _take_in_poll(asked: Payment, snapshot: PaymentSnapshot | None, *, now: datetime) -> None:
    """Take a look-up in, unless the payment moved or a call went out while it was made: then the
    snapshot may be older than what we know, and the next poll asks again.
    """
    with transaction.atomic(durable=True):
        payment = locked_payment(asked.pk)
        being_driven = payment.operations.filter(finished_at__isnull=True).exists()
        if being_driven or payment.version != asked.version:
            snapshot = None
        attempt = current_attempt(payment)
        change = Change(payment, cause=Cause(type="poll"), now=now)
        change.postpone_poll()
        if snapshot is not None and attempt is not None:
            observe(change, attempt, snapshot, current=True)
        change.write()
