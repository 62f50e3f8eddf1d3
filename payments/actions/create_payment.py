"""Create a payment, and confirm it at once when asked: row, PSP call, client secret.

Read top-down: `create_payment` commits the payment with its PSP key (`_open`), then
`call_provider.drive` makes the call and commits its outcome with the client's answer. A request
that comes back finds the operation and drives the same one on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from ledger import money
from payments.actions.call_provider import audit_request, drive, new_operation
from payments.actions.change import Cause, Change, Clock
from payments.actions.provider_accounts import account_for_payment
from payments.actions.resume_payment import resume_claimed_operation
from payments.actions.saved_methods import hold, payer_of
from payments.actions.screening import hold_payment, must_be_held
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Attempt, Payment, ProviderOperation
from payments.providers import provider_for
from payments.representation import payment_object


def create_payment(*, claim: Claim, clock: Clock) -> Answer:
    """Create the payment that `claim.parameters` describe and return the client's answer.

    Parameters: amount_minor, currency, capture_method, confirm, payment_method, return_url,
    description, merchant_reference, metadata, provider_account, customer, off_session. Answers
    201, 402 for a decline, or 202 while the provider's outcome is not known.

    Raises FlorinError: provider_account_missing, not_found, currency_invalid, amount_invalid,
    merchant_reference_taken, and what `payer_of` raises.
    """
    cause = Cause(type="api", id=claim.request_id)
    if claim.provider_operation_id:
        return resume_claimed_operation(claim, cause=cause, clock=clock)
    operation = _open(claim, cause=cause, now=clock())
    if isinstance(operation, Answer):
        return operation
    return drive(operation, cause=cause, clock=clock)


def _open(claim: Claim, *, cause: Cause, now: datetime) -> ProviderOperation | Answer:
    """Commit payment, attempt, operation and PSP key: from here on the call may be out. A payment
    that our own rule holds is committed and answered without a call.
    """
    asked = claim.parameters
    account = account_for_payment(claim.merchant, claim.livemode, asked.get("provider_account", ""))
    _check_amount(asked, account.provider)
    payer = payer_of(asked, merchant=claim.merchant, livemode=claim.livemode, account=account)
    payment = Payment(
        merchant=claim.merchant,
        livemode=claim.livemode,
        provider_account=account,
        customer=payer.customer,
        amount_minor=asked["amount_minor"],
        currency=asked["currency"],
        capture_method=asked["capture_method"],
        description=asked["description"],
        merchant_reference=asked["merchant_reference"],
        metadata=asked["metadata"],
        return_url=asked["return_url"],
        created_at=now,
    )
    attempt = Attempt(
        payment=payment,
        number=1,
        provider_account=account,
        payment_method_token=asked["payment_method"],
        off_session=asked.get("off_session", False),
        created_at=now,
    )
    operation = new_operation(
        payment=payment,
        attempt=attempt,
        kind=ProviderOperation.Kind.CREATE,
        request={
            "confirm": asked["confirm"],
            "return_url": asked["return_url"],
            "off_session": attempt.off_session,
            **payer.request(),
        },
        now=now,
    )
    change = Change(payment, cause=cause, now=now)
    change.begin(attempt)
    if asked["confirm"] and must_be_held(payment):
        return _hold(claim, change, attempt)
    if asked["confirm"]:
        attempt.state = Attempt.State.SUBMITTED
        payment.outcome = "pending"
        change.advance("confirm", attempt)
    change.keep(attempt)
    change.keep(operation)
    audit_request(change, operation)
    with _one_per_reference(claim), transaction.atomic(durable=True):
        hold(payer)
        change.write()
        claim.submitting(payment=payment, operation=operation)
    return operation


def _hold(claim: Claim, change: Change, attempt: Attempt) -> Answer:
    change.keep(attempt)
    hold_payment(change, attempt)
    shown = payment_object(change.payment, attempt)
    answer = Answer(status=201, body=shown, payment_id=change.payment.pk, attempt=attempt)
    with _one_per_reference(claim), transaction.atomic(durable=True):
        change.write()
        claim.finish(answer, now=change.now)
    return answer


@contextmanager
def _one_per_reference(claim: Claim) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if "payment_merchant_reference_once" in str(error):
            raise _reference_taken(claim) from error
        raise


def _check_amount(asked: dict[str, Any], provider_code: str) -> None:
    capabilities = provider_for(provider_code).capabilities
    currency, amount_minor = asked["currency"], asked["amount_minor"]
    known = money.is_currency(currency)
    if not known or (capabilities.currencies and currency not in capabilities.currencies):
        raise FlorinError(
            ErrorCode.currency_invalid,
            f"{currency!r} is not a currency that {provider_code} takes.",
            param="currency",
        )
    lowest = capabilities.minimum_amount_minor.get(currency, 1)
    highest = capabilities.maximum_amount_minor
    if not lowest <= amount_minor <= highest:
        raise FlorinError(
            ErrorCode.amount_invalid,
            f"{provider_code} takes {lowest} to {highest} {currency} in minor units.",
            param="amount_minor",
        )


def _reference_taken(claim: Claim) -> FlorinError:
    existing = Payment.objects.filter(
        merchant=claim.merchant,
        livemode=claim.livemode,
        merchant_reference=claim.parameters["merchant_reference"],
    ).first()
    return FlorinError(
        ErrorCode.merchant_reference_taken,
        param="merchant_reference",
        payment=existing.pk if existing else None,
    )
