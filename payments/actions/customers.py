"""Customers: made, changed, erased. Each is one transaction, because no provider is asked.

Mental model: a customer's events are one stream, in which its payment methods and mandates are told
too. Erasing empties the row for ever, keeps its id for the payments that name it, and removes its
payment methods; what that asks of providers is committed with it and done by
payments.actions.method_calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import IntegrityError, transaction

from payments.access import locked_customer_for
from payments.actions.change import Clock
from payments.actions.customer_stream import tell
from payments.actions.method_removal import erase_acceptances, remove_in_transaction
from payments.customer_representation import customer_object
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim
from payments.models import Customer, Merchant


def create_customer(*, claim: Claim, clock: Clock) -> Answer:
    """Make the customer that `claim` describes.

    Parameters: merchant_reference, metadata; personal: email, name. Answers 201.
    Raises FlorinError: merchant_reference_taken.
    """
    now = clock()
    asked, personal = claim.parameters, claim.personal()
    customer = Customer(
        merchant=claim.merchant,
        livemode=claim.livemode,
        merchant_reference=asked.get("merchant_reference", ""),
        metadata=asked.get("metadata", {}),
        created_at=now,
        updated_at=now,
    )
    customer.set_email(personal.get("email", ""))
    customer.set_name(personal.get("name", ""))
    with _reference_is_free(claim), transaction.atomic(durable=True):
        customer.save(force_insert=True)
        tell(
            customer,
            "customer.created",
            payload=customer_object(customer),
            body={"livemode": customer.livemode},
            references=[("merchant_reference", customer.merchant_reference)],
            causation_id=claim.request_id,
            now=now,
        )
        answer = Answer(status=201, body=customer_object(customer))
        claim.finish(answer, now=now)
    return answer


def update_customer(*, claim: Claim, clock: Clock) -> Answer:
    """Change what `claim` gives of a customer; what it leaves out stays. Answers 200.

    Parameters: customer, and any of merchant_reference, metadata; personal: email, name.
    Raises FlorinError: not_found, merchant_reference_taken.
    """
    now = clock()
    asked, personal = claim.parameters, claim.personal()
    with _reference_is_free(claim), transaction.atomic(durable=True):
        customer = locked_customer_for(claim.merchant, claim.livemode, asked["customer"])
        for name in ("merchant_reference", "metadata"):
            if name in asked:
                setattr(customer, name, asked[name])
        if "email" in personal:
            customer.set_email(personal["email"])
        if "name" in personal:
            customer.set_name(personal["name"])
        customer.updated_at = now
        customer.save()
        changed = sorted({*asked, *personal} - {"customer", "personal"})
        tell(
            customer,
            "customer.updated",
            payload=customer_object(customer),
            body={"changed": changed},
            references=[("merchant_reference", customer.merchant_reference)],
            causation_id=claim.request_id,
            now=now,
        )
        answer = Answer(status=200, body=customer_object(customer))
        claim.finish(answer, now=now)
    return answer


def delete_customer(
    *, merchant: Merchant, livemode: bool, customer_id: str, request_id: str, now: datetime
) -> Customer:
    """Erase a customer's personal data and remove its payment methods; once erased, nothing more.

    Raises FlorinError: not_found.
    """
    with transaction.atomic(durable=True):
        customer = locked_customer_for(merchant, livemode, customer_id, deleted=True)
        if customer.deleted_at is not None:
            return customer
        for method in customer.methods.select_related("customer", "provider_account").filter(
            state="active"
        ):
            remove_in_transaction(method, causation_id=request_id, now=now)
        erase_acceptances(customer)
        customer.set_email("")
        customer.set_name("")
        customer.merchant_reference = ""
        customer.metadata = {}
        customer.updated_at = customer.deleted_at = now
        customer.save()
        tell(
            customer,
            "customer.deleted",
            payload=customer_object(customer),
            body={"erased": ["email", "name", "merchant_reference", "metadata"]},
            causation_id=request_id,
            now=now,
        )
    return customer


@contextmanager
def _reference_is_free(claim: Claim) -> Iterator[None]:
    """Turn the database's refusal of a taken merchant_reference into ours."""
    try:
        yield
    except IntegrityError as error:
        if "customer_merchant_reference_once" not in str(error):
            raise
        existing = Customer.objects.filter(
            merchant=claim.merchant,
            livemode=claim.livemode,
            merchant_reference=claim.parameters["merchant_reference"],
        ).first()
        raise FlorinError(
            ErrorCode.merchant_reference_taken,
            "A customer with this merchant_reference exists; use it or another reference.",
            param="merchant_reference",
            customer=existing.pk if existing else None,
        ) from error
