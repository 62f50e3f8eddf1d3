"""Remove a saved payment method because the merchant or the payer wants it gone."""

from __future__ import annotations

from django.db import transaction

from payments.access import locked_customer, method_for
from payments.actions.change import Clock
from payments.actions.method_calls import drive, resume_claimed
from payments.actions.method_removal import remove_in_transaction
from payments.customer_representation import mandate_of, payment_method_object
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim


def remove_payment_method(*, claim: Claim, clock: Clock) -> Answer:
    """Take `claim.parameters["payment_method"]` out of use and have the PSP forget it.

    One that is removed or failed already is answered as it stands. Answers 200, or 202 while the
    PSP has not said that it has forgotten it. Raises FlorinError: not_found, operation_in_flight.
    """
    resumed = resume_claimed(claim, clock=clock)
    if resumed is not None:
        return resumed
    now = clock()
    with transaction.atomic(durable=True):
        method_id = claim.parameters["payment_method"]
        found = method_for(claim.merchant, claim.livemode, method_id)
        customer = locked_customer(found.customer_id)
        method = method_for(claim.merchant, claim.livemode, method_id)
        method.customer = customer
        if method.state == "pending":
            raise FlorinError(
                ErrorCode.operation_in_flight,
                "The provider has not said yet whether it has saved this payment method.",
                retry_after_seconds=5,
            )
        if method.state != "active":
            shown = payment_method_object(method, mandate_of(method))
            answer = Answer(status=200, body=shown)
            claim.finish(answer, now=now)
            return answer
        operation = remove_in_transaction(
            method, causation_id=claim.request_id, now=now, claim=claim
        )
        claim.calling()
    return drive(operation, clock=clock)
