"""The only doors to a tenant's rows: foreign and absent look the same.

Every read on behalf of a merchant goes through here, so that one condition on merchant and mode
exists once. Locked reads are for actions; they take the payment's row lock, the one lock of this
app.
"""

from __future__ import annotations

from payments import rows
from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, Merchant, Payment


def payment_for(merchant: Merchant, livemode: bool, payment_id: str) -> Payment:
    """The merchant's payment in this mode. Raises FlorinError(not_found)."""
    try:
        return Payment.objects.select_related("provider_account").get(
            pk=payment_id, merchant=merchant, livemode=livemode
        )
    except Payment.DoesNotExist:
        raise _not_found(payment_id) from None


def locked_payment_for(merchant: Merchant, livemode: bool, payment_id: str) -> Payment:
    """As `payment_for`, holding the row lock until the transaction ends."""
    try:
        return (
            Payment.objects.select_for_update(of=("self",), no_key=True)
            .select_related("provider_account", "merchant")
            .get(pk=payment_id, merchant=merchant, livemode=livemode)
        )
    except Payment.DoesNotExist:
        raise _not_found(payment_id) from None


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


def current_attempt(payment: Payment) -> Attempt | None:
    """The payment's latest attempt; its earlier ones are over."""
    return Attempt.objects.filter(payment=payment).last_try()


def _not_found(payment_id: str) -> FlorinError:
    return FlorinError(ErrorCode.not_found, f"No such payment: {payment_id!r}.", param="id")
