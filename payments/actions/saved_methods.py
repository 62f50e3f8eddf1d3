"""What a payment is paid with: a PSP's token as it came, or a saved payment method of ours.

Mental model: an id in our own form names a saved method and is exchanged here for the PSP's
references, inside the action, so that no other merchant's method, no removed one and none that the
payer did not agree to is ever charged. Anything else is a token and passes unread, without a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from payments.access import customer_for, method_for
from payments.customer_representation import mandate_of
from payments.errors import ErrorCode, FlorinError
from payments.models import (
    Attempt,
    Customer,
    Mandate,
    Merchant,
    Payment,
    PaymentMethod,
    ProviderAccount,
)
from payments.models.customer import MethodState
from payments.providers import provider_for

_SAVED_METHOD = re.compile(r"pm_[0-7][0-9a-hjkmnp-tv-z]{25}")
BANK_DEBIT = "bank_debit"


@dataclass(frozen=True, kw_only=True)
class Payer:
    """Whom and what a call to the PSP charges. `token` and `customer_reference` are the PSP's
    names; a payment that is made for a customer can later be confirmed with what they have saved.
    """

    token: str
    customer: Customer | None = None
    customer_reference: str = ""
    method: PaymentMethod | None = None

    def request(self) -> dict[str, Any]:
        """What the operation's request holds of it; nothing but the token for a plain one."""
        request = {"payment_method": self.token}
        if self.customer_reference:
            request["customer_reference"] = self.customer_reference
        if self.method is not None:
            request["saved_method"] = self.method.pk
        return request


def payer_of(
    asked: dict[str, Any], *, merchant: Merchant, livemode: bool, account: ProviderAccount
) -> Payer:
    """Exchange what a request names: `payment_method`, and perhaps `customer`, `off_session`.

    Raises FlorinError: not_found (param customer or payment_method), payment_method_unusable,
    mandate_missing, operation_unsupported.
    """
    named, customer_id = asked["payment_method"], asked.get("customer", "")
    off_session = asked.get("off_session", False)
    if not customer_id and not off_session and not is_saved(named):
        return Payer(token=named)
    customer = None
    if customer_id:
        customer = customer_for(merchant, livemode, customer_id)
        if customer.deleted_at is not None:
            raise FlorinError(
                ErrorCode.not_found, f"No such customer: {customer_id!r}.", param="customer"
            )
    if not is_saved(named):
        if off_session:
            raise _no_method(named)
        known = customer.references.filter(provider_account=account).first() if customer else None
        return Payer(
            token=named,
            customer=customer,
            customer_reference=known.provider_reference if known else "",
        )
    method = method_for(merchant, livemode, named, param="payment_method")
    if customer is not None and method.customer_id != customer.pk:
        raise _no_method(named)
    _refuse_unusable(method, account, off_session=off_session)
    return Payer(
        token=method.provider_reference,
        customer=method.customer,
        customer_reference=method.customer_reference,
        method=method,
    )


def payer_again(attempt: Attempt, payment: Payment, *, made_for: str | None) -> Payer:
    """As `payer_of`, for what an attempt of an existing payment names. `made_for` is the customer
    reference that the PSP's object was made with, None where there is no object yet.
    """
    named = attempt.payment_method_token
    if not is_saved(named) and (payment.customer_id is None or made_for is not None):
        return Payer(token=named)
    payer = payer_of(
        {
            "payment_method": named,
            "customer": payment.customer_id or "",
            "off_session": attempt.off_session,
        },
        merchant=payment.merchant,
        livemode=payment.livemode,
        account=attempt.provider_account,
    )
    if payment.customer_id is None or made_for not in (None, payer.customer_reference):
        raise _unusable(
            "The payment was not made for this method's customer as the provider knows them; "
            "create a payment with `customer`, or with the saved method."
        )
    return payer


def hold(payer: Payer) -> None:
    """Keep a saved method from being removed until the caller's transaction ends.

    Raises FlorinError(payment_method_unusable) if it was removed just now.
    """
    if payer.method is None:
        return
    state = (
        PaymentMethod.objects.select_for_update(of=("self",), no_key=True)
        .values_list("state", flat=True)
        .get(pk=payer.method.pk)
    )
    if state != MethodState.ACTIVE:
        raise _unusable(f"The payment method is {state}.")


def is_saved(named: str) -> bool:
    """Whether a payment method is named by an id of ours."""
    return named.startswith("pm_") and _SAVED_METHOD.fullmatch(named) is not None


def _refuse_unusable(method: PaymentMethod, account: ProviderAccount, *, off_session: bool) -> None:
    if method.state != MethodState.ACTIVE:
        raise _unusable(f"The payment method is {method.state}.")
    if method.provider_account_id != account.pk:
        raise _unusable(
            "The payment method is kept at another provider account than payments go through now."
        )
    if off_session and not provider_for(account.provider).capabilities.off_session:
        raise FlorinError(
            ErrorCode.operation_unsupported,
            f"{account.provider} cannot charge without the payer.",
            param="off_session",
        )
    if method.kind == BANK_DEBIT:
        mandate = mandate_of(method)
        if mandate is None or mandate.status != Mandate.Status.ACTIVE:
            raise FlorinError(ErrorCode.mandate_missing, param="payment_method")


def _unusable(words: str) -> FlorinError:
    return FlorinError(ErrorCode.payment_method_unusable, words, param="payment_method")


def _no_method(named: str) -> FlorinError:
    return FlorinError(
        ErrorCode.not_found, f"No such payment method: {named!r}.", param="payment_method"
    )
