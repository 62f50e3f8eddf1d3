"""A call about a saved payment method as it is committed before it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from payments.actions.call_provider import lease_until
from payments.actions.customer_stream import audit
from payments.idempotency import Claim
from payments.models import MethodOperation, PaymentMethod
from payments.models.customer import new_method_operation_id
from payments.providers import provider_for


def new_method_operation(
    method: PaymentMethod,
    kind: str,
    request: dict[str, Any],
    *,
    now: datetime,
    claim: Claim | None = None,
    leased: bool = True,
) -> MethodOperation:
    """An operation with a PSP key of its own, leased to its maker unless somebody else is to make
    the call; not yet saved.
    """
    operation_id = new_method_operation_id()
    capabilities = provider_for(method.provider_account.provider).capabilities
    until = lease_until(now)
    operation = MethodOperation(
        id=operation_id,
        method=method,
        kind=kind,
        provider_idempotency_key=f"{method.pk}:{kind}:{operation_id}",
        key_expires_at=now + timedelta(seconds=capabilities.idempotency_key_lifetime_seconds),
        claim_id=claim.row_id if claim else None,
        try_count=1 if leased else 0,
        lease_token=operation_id if leased else "",
        lease_until=until if leased else None,
        next_try_at=until if leased else now,
        created_at=now,
    )
    operation.set_request(request)
    return operation


def audit_method_request(operation: MethodOperation, *, now: datetime) -> None:
    """The intent, committed before the call, as for payments."""
    method = operation.method
    audit(
        method.customer,
        "provider.request",
        body={
            "operation": operation.pk,
            "kind": f"{operation.kind}_method",
            "payment_method": method.pk,
            "provider_account": method.provider_account_id,
            "provider_idempotency_key": operation.provider_idempotency_key,
            "try": operation.try_count,
        },
        references=[
            ("payment_method", method.pk),
            ("operation", operation.pk),
            ("provider_method", method.provider_reference),
        ],
        now=now,
    )
