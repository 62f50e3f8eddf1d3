"""What is due of payments: operations without an outcome, and payments that owe us news.

Mental model: everything is due per provider account, and each account is worked on by threads of
its own (payments.actions.account_rounds). Each piece is taken, by its lease, just before it is
worked on, so any number of processes may do this at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, QuerySet

from payments.actions.account_rounds import Piece, work_by_account
from payments.actions.call_provider import lease_until
from payments.actions.change import Cause, Clock
from payments.actions.resume_payment import lease_operation, poll_payment, resume_operation
from payments.models import Payment, ProviderOperation

BATCH_SIZE = 20


def resume_due(*, clock: Clock) -> int:
    """One round of everything that is due. Returns how many pieces were worked on, so that a caller
    can go on until none is left.
    """
    return work_by_account(
        due=_due_accounts(clock()),
        pieces=lambda account_id: pieces_of(account_id, clock),
        job="resume_payments",
    )


def pieces_of(account_id: str, clock: Clock) -> Iterator[Piece]:
    """What is due for an account, each piece taken just before it is handed out."""
    while found := _due_operations(account_id, clock()):
        for operation_id in found:
            operation = lease_operation(operation_id, now=clock())
            if operation is not None:
                yield partial(resume_operation, operation, cause=Cause(type="poll"), clock=clock)
    while (payment_id := _claim_due_poll(account_id, clock())) is not None:
        yield partial(poll_payment, payment_id, clock=clock)


def _due_accounts(now: datetime) -> dict[str, int]:
    """Accounts with something due and how much of it, those that wait longest first."""
    operations = ProviderOperation.objects.filter(finished_at__isnull=True, next_try_at__lte=now)
    found: dict[str, tuple[datetime, int]] = {}
    for account_id, since, count in [
        *operations.values_list("attempt__provider_account")
        .annotate(since=Min("next_try_at"), number=Count("pk"))
        .order_by(),
        *_due_polls(now)
        .values_list("provider_account")
        .annotate(since=Min("poll_due_at"), number=Count("pk"))
        .order_by(),
    ]:
        earlier, counted = found.get(account_id, (since, 0))
        found[account_id] = (min(earlier, since), counted + count)
    by_wait = sorted(found.items(), key=lambda item: item[1][0])
    return {account_id: count for account_id, (_, count) in by_wait}


def _due_operations(account_id: str, now: datetime) -> list[str]:
    return list(
        ProviderOperation.objects.filter(
            finished_at__isnull=True, next_try_at__lte=now, attempt__provider_account=account_id
        )
        .order_by("next_try_at")
        .values_list("pk", flat=True)[:BATCH_SIZE]
    )


def _due_polls(now: datetime) -> QuerySet[Payment]:
    being_driven = ProviderOperation.objects.filter(
        payment=OuterRef("pk"), finished_at__isnull=True
    )
    return Payment.objects.filter(~Exists(being_driven), poll_due_at__lte=now)


def _claim_due_poll(account_id: str, now: datetime) -> str | None:
    """Take a due poll by moving its time ahead, so that a second poller finds it taken."""
    with transaction.atomic(durable=True):
        due = (
            _due_polls(now)
            .select_for_update(skip_locked=True, of=("self",), no_key=True)
            .filter(provider_account=account_id)
            .order_by("poll_due_at")
            .values_list("pk", flat=True)
            .first()
        )
        if due is not None:
            Payment.objects.filter(pk=due).update(poll_due_at=lease_until(now))
        return due
