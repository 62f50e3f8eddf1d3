"""Save a payment method for later charges: a PSP's token in, the PSP's reference kept.

Read top-down: `save_payment_method` commits the method with its PSP key (`_open`), then `drive`
makes the call and commits its outcome with the client's answer. A request that comes back finds the
call and drives the same one on. Card data is in none of it: the token was made by the PSP's own
script in the payer's browser.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.dateparse import parse_datetime

from payments.access import locked_customer_for
from payments.actions.change import Clock
from payments.actions.customer_stream import audit
from payments.actions.method_calls import drive, resume_claimed
from payments.actions.method_operations import audit_method_request, new_method_operation
from payments.actions.provider_accounts import account_for_payment
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Customer, Mandate, MethodOperation, PaymentMethod, ProviderAccount
from payments.providers import provider_for

# How far ahead of ours a merchant's clock may be when it says that a payer has agreed.
CLOCK_DIFFERENCE_MAX = timedelta(minutes=5)


def save_payment_method(*, claim: Claim, clock: Clock) -> Answer:
    """Save the token that `claim` brings and return the client's answer.

    Parameters: customer, token; personal: mandate (accepted_at, ip_address, user_agent) or None.
    Answers 201, 402 when the PSP refuses, or 202 while its outcome is not known.

    Raises FlorinError: not_found, provider_account_missing, operation_unsupported,
    parameter_invalid.
    """
    resumed = resume_claimed(claim, clock=clock)
    if resumed is not None:
        return resumed
    operation = _open(claim, now=clock())
    return drive(operation, clock=clock)


def _open(claim: Claim, *, now: datetime) -> MethodOperation:
    """Commit method, mandate, call and PSP key: from here on the call may be out."""
    account = account_for_payment(claim.merchant, claim.livemode)
    if not provider_for(account.provider).capabilities.saved_methods:
        raise FlorinError(
            ErrorCode.operation_unsupported,
            f"{account.provider} cannot keep payment methods.",
        )
    acceptance = claim.personal().get("mandate") or {}
    accepted_at = _accepted_at(acceptance, now=now)
    with transaction.atomic(durable=True):
        customer = locked_customer_for(claim.merchant, claim.livemode, claim.parameters["customer"])
        method = PaymentMethod(customer=customer, provider_account=account, created_at=now)
        method.save(force_insert=True)
        if acceptance:
            mandate = Mandate(method=method, accepted_at=accepted_at, created_at=now)
            mandate.set_acceptance(acceptance)
            mandate.save(force_insert=True)
        request = _request(customer, account, claim.parameters["token"], acceptance)
        operation = new_method_operation(
            method, MethodOperation.Kind.SAVE, request, now=now, claim=claim
        )
        operation.save(force_insert=True)
        audit(
            customer,
            "payment_method.requested",
            body={"payment_method": method.pk, "mandate": bool(acceptance)},
            references=[("payment_method", method.pk)],
            now=now,
        )
        audit_method_request(operation, now=now)
        claim.calling()
    return operation


def _request(
    customer: Customer, account: ProviderAccount, token: str, acceptance: dict[str, Any]
) -> dict[str, Any]:
    """All that the call says, as it stands now: a repeat under the same key must say the same."""
    reference = customer.references.filter(provider_account=account).first()
    return {
        "token": token,
        "customer_reference": reference.provider_reference if reference else "",
        "email": customer.reveal_email(),
        "name": customer.reveal_name(),
        "mandate": acceptance,
    }


def _accepted_at(acceptance: dict[str, Any], *, now: datetime) -> datetime | None:
    """When the payer agreed. Raises FlorinError(parameter_invalid) for a moment to come."""
    if not acceptance:
        return None
    accepted_at = parse_datetime(acceptance["accepted_at"])
    assert accepted_at is not None, "Bug! the API lets only moments pass"
    if accepted_at > now + CLOCK_DIFFERENCE_MAX:
        raise FlorinError(
            ErrorCode.parameter_invalid,
            "mandate.accepted_at: The payer has agreed already, so this is a moment in the past.",
            param="mandate.accepted_at",
        )
    return accepted_at
