"""One call to the PSP, outside any transaction.

Mental model: an operation is committed with its PSP key (`new_operation`, saved by the action),
then the call is made here under a deadline, then `record_outcome` commits what it makes true.
Whoever drives an operation holds its lease, so two drivers never both record.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from payments.actions.change import Cause, Change, Clock
from payments.actions.provider_accounts import credentials_for
from payments.actions.record_outcome import record_outcome
from payments.actions.through_breaker import through_breaker
from payments.idempotency import Answer
from payments.models import Attempt, Capture, Dispute, Payment, ProviderOperation, Refund
from payments.models.attempt import new_operation_id
from payments.providers import provider_for
from payments.providers.base import (
    CancelPayment,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Provider,
    Result,
)
from payments.providers.objects import (
    EvidenceFile,
    IncrementAuthorization,
    RefundPayment,
    SubmitEvidence,
)

Kind = ProviderOperation.Kind

# A driver holds an operation for its deadline and this much more, for the two commits around it.
LEASE_MARGIN_SECONDS = 15


def lease_until(now: datetime) -> datetime:
    """Until when a driver that starts now may be trusted to be at work."""
    return now + timedelta(seconds=settings.FLORIN_PROVIDER_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS)


def new_operation(
    *,
    payment: Payment,
    attempt: Attempt,
    kind: str,
    request: dict[str, Any],
    now: datetime,
    capture: Capture | None = None,
    refund: Refund | None = None,
    dispute: Dispute | None = None,
) -> ProviderOperation:
    """An operation leased to its maker, with a PSP key of its own, not yet saved."""
    operation_id = new_operation_id()
    capabilities = provider_for(attempt.provider_account.provider).capabilities
    until = lease_until(now)
    return ProviderOperation(
        id=operation_id,
        payment=payment,
        attempt=attempt,
        kind=kind,
        capture=capture,
        refund=refund,
        dispute=dispute,
        request=request,
        provider_idempotency_key=f"{payment.pk}:{kind}:{operation_id}",
        key_expires_at=now + timedelta(seconds=capabilities.idempotency_key_lifetime_seconds),
        try_count=1,
        lease_token=operation_id,
        lease_until=until,
        next_try_at=until,
        created_at=now,
    )


def audit_request(change: Change, operation: ProviderOperation) -> None:
    """The intent, committed before the call: an intent without an answer is itself news."""
    change.audit(
        "provider.request",
        {
            "operation": operation.pk,
            "kind": operation.kind,
            "attempt": operation.attempt_id,
            "provider_account": operation.attempt.provider_account_id,
            "provider_idempotency_key": operation.provider_idempotency_key,
            "try": operation.try_count,
        },
        references=[
            ("operation", operation.pk),
            ("provider_payment", operation.attempt.provider_reference),
            ("refund", operation.refund_id or ""),
            ("dispute", operation.dispute_id or ""),
        ],
    )


def drive(operation: ProviderOperation, *, cause: Cause, clock: Clock) -> Answer:
    """Make the operation's call and record how it ended. The caller holds the operation's lease
    and has committed; `operation` comes with its payment, attempt and provider account.
    """
    _refuse_open_transaction()
    account = operation.attempt.provider_account
    result = through_breaker(account, operation.kind, lambda: _call(operation))
    return record_outcome(operation, result, cause=cause, now=clock())


def fetch(attempt: Attempt) -> Result:
    """Ask the PSP for an attempt's payment object as it stands."""
    _refuse_open_transaction()
    account = attempt.provider_account
    known = attempt.provider_reference
    return through_breaker(
        account,
        "fetch",
        lambda: provider_for(account.provider).fetch_payment(
            credentials=credentials_for(account),
            timeout_seconds=settings.FLORIN_PROVIDER_TIMEOUT_SECONDS,
            provider_reference=known,
            our_reference="" if known else attempt.payment_id,
        ),
    )


def _refuse_open_transaction() -> None:
    in_transaction = transaction.get_connection().in_atomic_block
    assert not in_transaction, "Bug! a provider call inside a database transaction"


def _call(operation: ProviderOperation) -> Result:
    account = operation.attempt.provider_account
    call = _CALLS.get(operation.kind)
    assert call is not None, f"Bug! unknown kind of operation {operation.kind!r}"
    return call(
        operation,
        provider_for(account.provider),
        {
            "credentials": credentials_for(account),
            "idempotency_key": operation.provider_idempotency_key,
            "timeout_seconds": settings.FLORIN_PROVIDER_TIMEOUT_SECONDS,
        },
    )


def _create(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    payment, asked = operation.payment, operation.request
    create = CreatePayment(
        reference=payment.pk,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        capture_method=payment.capture_method,
        confirm=asked["confirm"],
        payment_method=asked["payment_method"],
        return_url=asked["return_url"],
        description=payment.description,
        customer_reference=asked.get("customer_reference", ""),
        off_session=asked.get("off_session", False),
    )
    return provider.create_payment(create, **common)


def _confirm(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    payment, asked = operation.payment, operation.request
    confirm = ConfirmPayment(
        provider_reference=operation.attempt.provider_reference,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        payment_method=asked["payment_method"],
        return_url=asked["return_url"],
    )
    return provider.confirm_payment(confirm, **common)


def _capture(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    asked = operation.request
    capture = CapturePayment(
        provider_reference=operation.attempt.provider_reference,
        amount_minor=asked["amount_minor"],
        currency=operation.payment.currency,
        final=asked["final"],
        reference=operation.capture_id or "",
    )
    return provider.capture_payment(capture, **common)


def _cancel(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    cancel = CancelPayment(
        provider_reference=operation.attempt.provider_reference,
        reason=operation.request["reason"],
    )
    return provider.cancel_payment(cancel, **common)


def _increment(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    increment = IncrementAuthorization(
        provider_reference=operation.attempt.provider_reference,
        amount_minor=operation.request["amount_minor"],
        currency=operation.payment.currency,
    )
    return provider.increment_authorization(increment, **common)


def _refund(operation: ProviderOperation, provider: Provider, common: dict[str, Any]) -> Result:
    refund = operation.refund
    assert refund is not None, f"Bug! {operation.pk} refunds nothing"
    order = RefundPayment(
        reference=refund.pk,
        provider_reference=operation.attempt.provider_reference,
        charge_reference=operation.attempt.charge_reference,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        reason=refund.reason,
    )
    return provider.refund_payment(order, **common)


def _submit_evidence(
    operation: ProviderOperation, provider: Provider, common: dict[str, Any]
) -> Result:
    dispute = operation.dispute
    assert dispute is not None, f"Bug! {operation.pk} answers no dispute"
    files = tuple(
        EvidenceFile(
            kind=file.kind,
            filename=file.filename,
            content_type=file.content_type,
            content=file.reveal_content(),
        )
        for file in dispute.files.order_by("kind")
    )
    order = SubmitEvidence(
        provider_reference=dispute.provider_reference, texts=dispute.evidence, files=files
    )
    return provider.submit_evidence(order, **common)


def _accept_dispute(
    operation: ProviderOperation, provider: Provider, common: dict[str, Any]
) -> Result:
    dispute = operation.dispute
    assert dispute is not None, f"Bug! {operation.pk} accepts no dispute"
    return provider.accept_dispute(dispute.provider_reference, **common)


_CALLS: dict[str, Callable[[ProviderOperation, Provider, dict[str, Any]], Result]] = {
    Kind.CREATE: _create,
    Kind.CONFIRM: _confirm,
    Kind.CAPTURE: _capture,
    Kind.CANCEL: _cancel,
    Kind.INCREMENT: _increment,
    Kind.REFUND: _refund,
    Kind.SUBMIT_EVIDENCE: _submit_evidence,
    Kind.ACCEPT_DISPUTE: _accept_dispute,
}
