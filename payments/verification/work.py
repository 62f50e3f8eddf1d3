"""Nothing that is open was forgotten: provider calls, payments that wait, requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q

from payments.actions.resume_payment import ASKING_AFTER_EXPIRY
from payments.idempotency import COMPLETIONS_MAX
from payments.models import IdempotencyKey, Payment, ProviderOperation, ReviewCase
from payments.states import AWAITING_PROVIDER
from payments.verification.findings import Offence

# Open work that nobody has taken up for this long after it was due is not explained.
OVERDUE_AFTER = timedelta(minutes=10)
# Cases that say that our books and the PSP disagree: named until a person has settled them.
NEVER_IN_ORDER = (ReviewCase.Kind.CONTRADICTION, ReviewCase.Kind.DOUBLE_LOSS)


def check_waiting(now: datetime) -> Iterator[Offence | None]:
    """Each payment that owes us news is asked about, and what a person has to settle is settled."""
    being_driven = ProviderOperation.objects.filter(
        payment=OuterRef("pk"), finished_at__isnull=True
    )
    cases = ReviewCase.objects.filter(payment=OuterRef("pk"), resolved_at__isnull=True)
    overdue = now - OVERDUE_AFTER
    forgotten = Payment.objects.filter(
        ~Exists(being_driven),
        ~Exists(cases),
        state__in=[state.value for state in AWAITING_PROVIDER],
    ).filter(Q(poll_due_at__isnull=True) | Q(poll_due_at__lt=overdue))
    for payment in forgotten.order_by("pk").iterator():
        yield Offence(
            kind="payment_forgotten",
            object=payment.pk,
            detail=f"it is {payment.state} and nobody asks the provider "
            f"(due {payment.poll_due_at or 'never'})",
        )
    unsettled = ReviewCase.objects.filter(resolved_at=None, kind__in=NEVER_IN_ORDER)
    for case in unsettled.order_by("pk").iterator():
        yield Offence(
            kind="payment_contradicted", object=case.payment_id, detail=f"{case.pk}: {case.words}"
        )


def check_operations(now: datetime) -> Iterator[Offence | None]:
    """Each open provider call has somebody who will ask about it, and none is open for ever."""
    still_open = ProviderOperation.objects.filter(finished_at__isnull=True).order_by("pk")
    for operation in still_open.iterator():
        words = f"{operation.kind} of {operation.payment_id}, try {operation.try_count}"
        if operation.next_try_at < now - OVERDUE_AFTER:
            yield Offence(
                kind="operation_abandoned",
                object=operation.pk,
                detail=f"{words}: nobody has asked since {operation.next_try_at}",
            )
        elif now > operation.key_expires_at + ASKING_AFTER_EXPIRY + timedelta(days=1):
            yield Offence(
                kind="operation_never_ends",
                object=operation.pk,
                detail=f"{words}: open since {operation.created_at}, nobody decided",
            )
        yield None


def check_requests(now: datetime) -> Iterator[Offence | None]:
    """Each claimed request was answered, or will be taken up again."""
    unfinished = IdempotencyKey.objects.exclude(
        recovery_point=IdempotencyKey.RecoveryPoint.FINISHED
    ).order_by("pk")
    for row in unfinished.iterator():
        waits_for_operation = row.recovery_point == IdempotencyKey.RecoveryPoint.SUBMITTING
        operation = row.provider_operation
        if waits_for_operation and (operation is None or operation.finished_at is not None):
            yield Offence(
                kind="request_without_answer",
                object=str(row.pk),
                detail=f"{row.operation}: its operation has ended, its answer is missing",
            )
        elif not waits_for_operation and row.completion_count >= COMPLETIONS_MAX:
            yield Offence(
                kind="request_given_up",
                object=str(row.pk),
                detail=f"{row.operation}: {row.completion_error or 'no process survived it'}",
            )
        elif not waits_for_operation and _overdue(row.completion_due_at, now):
            yield Offence(
                kind="request_abandoned",
                object=str(row.pk),
                detail=f"{row.operation}: due since {row.completion_due_at}",
            )
        yield None


def _overdue(due_at: datetime | None, now: datetime) -> bool:
    return due_at is None or due_at < now - OVERDUE_AFTER
