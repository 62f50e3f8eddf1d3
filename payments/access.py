"""The only doors to a tenant's rows: foreign and absent look the same.

Every read on behalf of a merchant goes through here, so that one condition on merchant and mode
exists once. Locked reads are for actions; they take the payment's row lock, the one lock of this
app.
"""

from __future__ import annotations

from django.db.models import QuerySet

from payments import rows
from payments.errors import ErrorCode, FlorinError
from payments.models import (
    Attempt,
    Customer,
    Dispute,
    Merchant,
    Payment,
    PaymentMethod,
    Refund,
    ReviewCase,
)


def payment_for(merchant: Merchant, livemode: bool, payment_id: str) -> Payment:
    """The merchant's payment in this mode. Raises FlorinError(not_found)."""
    try:
        return Payment.objects.select_related("provider_account").get(
            pk=payment_id, merchant=merchant, livemode=livemode
        )
    except Payment.DoesNotExist:
        raise no_such_payment(payment_id) from None


def locked_payment_for(merchant: Merchant, livemode: bool, payment_id: str) -> Payment:
    """As `payment_for`, holding the row lock until the transaction ends."""
    try:
        return (
            Payment.objects.select_for_update(of=("self",), no_key=True)
            .select_related("provider_account", "merchant")
            .get(pk=payment_id, merchant=merchant, livemode=livemode)
        )
    except Payment.DoesNotExist:
        raise no_such_payment(payment_id) from None


def dispute_for(merchant: Merchant, livemode: bool, dispute_id: str) -> Dispute:
    """The merchant's dispute in this mode. Raises FlorinError(not_found)."""
    found = Dispute.objects.filter(
        pk=dispute_id, payment__merchant=merchant, payment__livemode=livemode
    ).first()
    if found is None:
        raise FlorinError(ErrorCode.not_found, f"No such dispute: {dispute_id!r}.", param="id")
    return found


def refund_for(merchant: Merchant, livemode: bool, refund_id: str) -> Refund:
    """The merchant's refund in this mode. Raises FlorinError(not_found)."""
    found = Refund.objects.filter(
        pk=refund_id, payment__merchant=merchant, payment__livemode=livemode
    ).first()
    if found is None:
        raise FlorinError(ErrorCode.not_found, f"No such refund: {refund_id!r}.", param="id")
    return found


def case_for(merchant: Merchant, livemode: bool, case_id: str) -> ReviewCase:
    """The merchant's review case in this mode. Raises FlorinError(not_found)."""
    found = ReviewCase.objects.filter(
        pk=case_id, payment__merchant=merchant, payment__livemode=livemode
    ).first()
    if found is None:
        raise FlorinError(ErrorCode.not_found, f"No such review case: {case_id!r}.", param="id")
    return found


def locked_payment(payment_id: str) -> Payment:
    """Any payment, locked, for work that no tenant asked for (events, polls)."""
    return (
        Payment.objects.select_for_update(of=("self",), no_key=True)
        .select_related("provider_account", "merchant")
        .get(pk=payment_id)
    )


def locked_again(payment: Payment) -> Payment:
    """A payment read before, as it stands now and locked. Its merchant and its provider account
    never change, so those that were read with it are kept.
    """
    fresh = rows.table(Payment).find(lock=True, id=payment.pk)
    assert fresh is not None, f"Bug! {payment.pk} is gone"
    for relation in (Payment.provider_account, Payment.merchant):
        if relation.is_cached(payment):
            relation.field.set_cached_value(fresh, relation.field.get_cached_value(payment))
    return fresh


def read_again(attempt: Attempt) -> Attempt:
    """An attempt read before, as it stands now, with its provider account, which never changes."""
    fresh = rows.table(Attempt).find(id=attempt.pk)
    assert fresh is not None, f"Bug! {attempt.pk} is gone"
    fresh.provider_account = attempt.provider_account
    return fresh


def current_attempt(payment: Payment) -> Attempt | None:
    """The payment's latest attempt; its earlier ones are over."""
    return Attempt.objects.filter(payment=payment).last_try()


def customer_for(merchant: Merchant, livemode: bool, customer_id: str) -> Customer:
    """The merchant's customer in this mode, also a deleted one. Raises FlorinError(not_found)."""
    return _customer(Customer.objects.all(), merchant, livemode, customer_id)


def locked_customer_for(
    merchant: Merchant, livemode: bool, customer_id: str, *, deleted: bool = False
) -> Customer:
    """As `customer_for`, holding the row lock until the transaction ends; a deleted one only if
    `deleted`.
    """
    found = Customer.objects.select_for_update(of=("self",), no_key=True)
    if not deleted:
        found = found.filter(deleted_at__isnull=True)
    return _customer(found, merchant, livemode, customer_id)


def locked_customer(customer_id: str) -> Customer:
    """Any customer, locked, for work that no tenant asked for."""
    return Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)


def method_for(
    merchant: Merchant, livemode: bool, method_id: str, *, param: str = "id"
) -> PaymentMethod:
    """The merchant's saved payment method in this mode, with its customer and provider account.
    Raises FlorinError(not_found).
    """
    try:
        return PaymentMethod.objects.select_related("customer", "provider_account").get(
            pk=method_id, customer__merchant=merchant, customer__livemode=livemode
        )
    except PaymentMethod.DoesNotExist:
        raise FlorinError(
            ErrorCode.not_found, f"No such payment method: {method_id!r}.", param=param
        ) from None


def _customer(
    found: QuerySet[Customer], merchant: Merchant, livemode: bool, customer_id: str
) -> Customer:
    try:
        return found.get(pk=customer_id, merchant=merchant, livemode=livemode)
    except Customer.DoesNotExist:
        raise FlorinError(
            ErrorCode.not_found, f"No such customer: {customer_id!r}.", param="customer"
        ) from None


def no_such_payment(payment_id: str) -> FlorinError:
    """What is said of a payment that is not there, or not there for whoever asks."""
    return FlorinError(ErrorCode.not_found, f"No such payment: {payment_id!r}.", param="id")
