"""Customers and saved payment methods as the outside world sees them.

Mental model: as payments.representation: pure functions of committed rows. What is personal (name,
e-mail address) is in no stored answer and in no event; `with_personal_data` adds it to a living
answer, by the API, as client secrets are added to payments. So erasing a customer erases it
everywhere.
"""

from __future__ import annotations

from typing import Any

from payments.models import Customer, Mandate, PaymentMethod
from payments.representation import timestamp


def customer_object(customer: Customer) -> dict[str, Any]:
    """The customer in the API's words, without what is personal."""
    return {
        "id": customer.pk,
        "object": "customer",
        "livemode": customer.livemode,
        "merchant_reference": customer.merchant_reference or None,
        "metadata": customer.metadata,
        "deleted": customer.deleted_at is not None,
        "created_at": timestamp(customer.created_at),
        "updated_at": timestamp(customer.updated_at),
    }


def with_personal_data(shown: dict[str, Any], customer: Customer) -> dict[str, Any]:
    """A customer object for its merchant's server: plus e-mail address and name as they are now."""
    return {
        **shown,
        "email": customer.reveal_email() or None,
        "name": customer.reveal_name() or None,
    }


def payment_method_object(method: PaymentMethod, mandate: Mandate | None) -> dict[str, Any]:
    """The saved payment method in the API's words; needs its customer and provider account."""
    return {
        "id": method.pk,
        "object": "payment_method",
        "livemode": method.customer.livemode,
        "customer": method.customer_id,
        "status": method.state,
        "kind": method.kind or None,
        "brand": method.brand or None,
        "last4": method.last4 or None,
        "expiry_month": method.expiry_month,
        "expiry_year": method.expiry_year,
        "fingerprint": method.fingerprint or None,
        "mandate": mandate_object(mandate) if mandate is not None else None,
        "provider": method.provider_account.provider,
        "last_error": method.error,
        "created_at": timestamp(method.created_at),
        "saved_at": timestamp(method.saved_at),
        "failed_at": timestamp(method.failed_at),
        "removed_at": timestamp(method.removed_at),
    }


def mandate_object(mandate: Mandate) -> dict[str, Any]:
    """The payer's leave, without where they sat when they gave it."""
    return {
        "id": mandate.pk,
        "object": "mandate",
        "payment_method": mandate.method_id,
        "status": mandate.status,
        "accepted_at": timestamp(mandate.accepted_at),
        "revoked_at": timestamp(mandate.revoked_at),
    }


def mandate_of(method: PaymentMethod) -> Mandate | None:
    """The method's mandate, where it has one."""
    return Mandate.objects.filter(method=method).first()
