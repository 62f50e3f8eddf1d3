"""Taking a saved payment method out of use: ours at once, the PSP's by a call that follows.

Mental model: from the commit on nobody charges it and its mandate is revoked, whatever the PSP says
of the call; a PSP that cannot be reached is asked until it can.
"""

from __future__ import annotations

from datetime import datetime

from payments.actions.customer_stream import tell
from payments.actions.method_operations import audit_method_request, new_method_operation
from payments.customer_representation import mandate_object, mandate_of, payment_method_object
from payments.idempotency import Claim
from payments.machines import move
from payments.models import Customer, Mandate, MethodOperation, PaymentMethod


def remove_in_transaction(
    method: PaymentMethod, *, causation_id: str, now: datetime, claim: Claim | None = None
) -> MethodOperation:
    """Remove an active method and plan the PSP's call, in the caller's transaction and under its
    customer's lock. With a `claim` the caller makes the call, else the periodic job does.
    """
    move(method, "remove")
    method.removed_at = now
    method.save()
    revoke_mandate(method, causation_id=causation_id, now=now)
    tell(
        method.customer,
        "payment_method.removed",
        payload=payment_method_object(method, mandate_of(method)),
        body={"payment_method": method.pk},
        references=[
            ("payment_method", method.pk),
            ("provider_method", method.provider_reference),
        ],
        causation_id=causation_id,
        now=now,
    )
    operation = new_method_operation(
        method,
        MethodOperation.Kind.REMOVE,
        {"provider_reference": method.provider_reference},
        now=now,
        claim=claim,
        leased=claim is not None,
    )
    operation.save(force_insert=True)
    if claim is not None:
        audit_method_request(operation, now=now)
    return operation


def erase_acceptances(customer: Customer) -> None:
    """Forget where the customer sat when they agreed to be charged later."""
    Mandate.objects.filter(method__customer=customer).update(acceptance_encrypted=None)


def revoke_mandate(method: PaymentMethod, *, causation_id: str, now: datetime) -> None:
    """Take back the payer's leave with the method it is about, in the caller's transaction."""
    mandate = mandate_of(method)
    if mandate is None or mandate.status == Mandate.Status.REVOKED:
        return
    mandate.status, mandate.revoked_at = Mandate.Status.REVOKED, now
    mandate.save()
    tell(
        method.customer,
        "mandate.revoked",
        payload=mandate_object(mandate),
        body={"mandate": mandate.pk, "payment_method": method.pk},
        references=[("mandate", mandate.pk), ("payment_method", method.pk)],
        causation_id=causation_id,
        now=now,
    )
