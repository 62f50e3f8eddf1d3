"""One call to the PSP about a saved payment method: planned, made, driven on.

Mental model: as payments.actions.call_provider and resume_payment, for saving and removing. The
call is committed with its PSP key and with all it says (payments.actions.method_operations), made
outside of any transaction (`drive`), and what it makes true is committed by method_outcome.
While the PSP remembers the key, calling again with it is the look-up; once the key has expired
nothing is sent any more. Whoever drives an operation holds its lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q

from payments.actions.account_rounds import Piece, work_by_account
from payments.actions.call_provider import lease_until
from payments.actions.change import Clock
from payments.actions.method_operations import audit_method_request
from payments.actions.method_outcome import conclude_unlearnt, record_method_outcome, unfinished
from payments.actions.provider_accounts import credentials_for
from payments.actions.through_breaker import through_breaker
from payments.idempotency import Answer, Claim, stored_answer
from payments.models import IdempotencyKey, MethodOperation
from payments.providers import provider_for
from payments.providers.base import Result
from payments.providers.objects import SaveMethod

BATCH_SIZE = 20


def drive(operation: MethodOperation, *, clock: Clock) -> Answer:
    """Make the call and record how it ended. The caller holds the lease and has committed;
    `operation` comes with its method, customer and provider account.
    """
    in_transaction = transaction.get_connection().in_atomic_block
    assert not in_transaction, "Bug! a provider call inside a database transaction"
    kind = f"{operation.kind}_method"
    result = through_breaker(
        operation.method.provider_account,
        kind,
        lambda: _call(operation, operation.reveal_request()),
    )
    return record_method_outcome(operation, result, now=clock())


def _call(operation: MethodOperation, asked: dict[str, Any]) -> Result:
    account = operation.method.provider_account
    provider = provider_for(account.provider)
    common: dict[str, Any] = {
        "credentials": credentials_for(account),
        "idempotency_key": operation.provider_idempotency_key,
        "timeout_seconds": settings.FLORIN_PROVIDER_TIMEOUT_SECONDS,
    }
    if operation.kind == MethodOperation.Kind.REMOVE:
        return provider.remove_method(asked["provider_reference"], **common)
    mandate = asked["mandate"]
    accepted_at = mandate.get("accepted_at")
    save = SaveMethod(
        reference=operation.method_id,
        customer=operation.method.customer_id,
        customer_reference=asked["customer_reference"],
        token=asked["token"],
        email=asked["email"],
        name=asked["name"],
        mandate_accepted_at=datetime.fromisoformat(accepted_at) if accepted_at else None,
        mandate_ip_address=mandate.get("ip_address", ""),
        mandate_user_agent=mandate.get("user_agent", ""),
    )
    return provider.save_method(save, **common)


def resume_claimed(claim: Claim, *, clock: Clock) -> Answer | None:
    """A client came back with the key of an unfinished request: drive its call on. None where the
    request has not made one.
    """
    if claim.recovery_point == IdempotencyKey.RecoveryPoint.STARTED:
        return None
    operation = MethodOperation.objects.get(claim_id=claim.row_id)
    leased = lease_method_operation(operation.pk, now=clock())
    if leased is not None:
        return resume_method_operation(leased, clock=clock)
    row = IdempotencyKey.objects.get(pk=claim.row_id)
    if row.recovery_point == IdempotencyKey.RecoveryPoint.FINISHED:
        return stored_answer(row)
    return unfinished(_with_method(operation.pk).method)


def lease_method_operation(operation_id: str, *, now: datetime) -> MethodOperation | None:
    """Take an open call that nobody works on, counting the try; None when there is none."""
    until = lease_until(now)
    taken = MethodOperation.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        pk=operation_id,
        finished_at__isnull=True,
    ).update(
        lease_token=secrets.token_hex(16),
        lease_until=until,
        next_try_at=until,
        try_count=F("try_count") + 1,
    )
    return _with_method(operation_id) if taken else None


def resume_method_operation(operation: MethodOperation, *, clock: Clock) -> Answer:
    """Drive a leased call on: the same key again while the PSP knows it, else nothing more."""
    now = clock()
    if now >= operation.key_expires_at:
        return conclude_unlearnt(operation, now=now)
    with transaction.atomic(durable=True):
        audit_method_request(operation, now=now)
    return drive(operation, clock=clock)


def resume_due_method_operations(*, clock: Clock) -> int:
    """One round of calls that are due; returns how many were driven on."""
    due = MethodOperation.objects.filter(finished_at__isnull=True, next_try_at__lte=clock())
    counts = due.values_list("method__provider_account").annotate(number=Count("pk")).order_by()
    return work_by_account(
        due=dict(counts),
        pieces=lambda account_id: _pieces(account_id, clock),
        job="resume_payment_methods",
    )


def _pieces(account_id: str, clock: Clock) -> Iterator[Piece]:
    """What is due for an account, each call leased just before it is handed out."""
    due = MethodOperation.objects.filter(
        finished_at__isnull=True,
        next_try_at__lte=clock(),
        method__provider_account=account_id,
    )
    for operation_id in list(due.order_by("next_try_at").values_list("pk", flat=True)[:BATCH_SIZE]):
        operation = lease_method_operation(operation_id, now=clock())
        if operation is not None:
            yield partial(resume_method_operation, operation, clock=clock)


def _with_method(operation_id: str) -> MethodOperation:
    return MethodOperation.objects.select_related(
        "method__customer", "method__provider_account"
    ).get(pk=operation_id)
