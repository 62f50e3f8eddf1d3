"""Customers and saved payment methods at Stripe: tokens in, references out.

A token is a PaymentMethod that the payer's browser made. Without a mandate it is attached to the
customer as it is: a first charge without the payer may be declined with `authentication_required`,
and the payer then confirms once. With a mandate (a bank debit has to have one) a SetupIntent
carries the payer's consent and is confirmed at once, which attaches the method and makes the
mandate (docs.stripe.com/payments/save-and-reuse,
docs.stripe.com/payments/ach-direct-debit/set-up-payment). A SetupIntent that asks the payer for a
step ends as ACTION: the method is not usable yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import Outcome, Result
from payments.providers.fields import UnreadableObject
from payments.providers.objects import MethodSnapshot, SaveMethod
from payments.providers.refusals import refusal
from payments.providers.stripe.call import Call, Refused
from payments.providers.stripe.errors import translate
from payments.providers.stripe.snapshots import expanded, kind_of, reference

# Where Stripe keeps our ids.
CUSTOMER_KEY, METHOD_KEY = "florin_customer", "florin_payment_method"

_MANDATES = frozenset({"active", "pending", "inactive"})
_SETUPS = {
    "succeeded": Outcome.OK,
    "processing": Outcome.PENDING,
    "requires_action": Outcome.ACTION,
    "requires_payment_method": Outcome.DECLINED,
    "canceled": Outcome.DECLINED,
}


def read_method(
    method: Mapping[str, Any],
    *,
    customer_reference: str = "",
    mandate: Mapping[str, Any] | None = None,
) -> MethodSnapshot:
    """The MethodSnapshot of a PaymentMethod object. Raises UnreadableObject."""
    if method.get("object") != "payment_method":
        raise UnreadableObject("the object is not a payment_method")
    kind = fields.required_text(method, "type")
    detail = fields.mapping(method, kind)
    mandate = mandate or {}
    status = fields.text(mandate, "status")
    return MethodSnapshot(
        customer_reference=reference(method, "customer") or customer_reference,
        provider_reference=fields.required_text(method, "id"),
        kind=kind_of(kind),
        brand=fields.text(detail, "brand") or fields.text(detail, "bank_name"),
        last4=fields.text(detail, "last4"),
        expiry_month=fields.optional_whole(detail, "exp_month"),
        expiry_year=fields.optional_whole(detail, "exp_year"),
        fingerprint=fields.text(detail, "fingerprint"),
        mandate_reference=fields.text(mandate, "id"),
        mandate_status=status if status in _MANDATES else "",
    )


def save(call: Call, request: SaveMethod) -> Result:
    """Save a token's payment method for a customer, who is made where there is none."""
    customer = request.customer_reference or _make_customer(call, request)
    if request.mandate_accepted_at is not None:
        return _set_up(call, request, customer)
    token = request.token
    attached = call.post(
        lambda v1, given, options: v1.payment_methods.attach(token, given, options),
        {"customer": customer},
    )
    return call.result(Outcome.OK, method=read_method(attached, customer_reference=customer))


def _make_customer(call: Call, request: SaveMethod) -> str:
    """A new customer's id at Stripe. Raises Ended, Refused."""
    params: dict[str, Any] = {"metadata": {CUSTOMER_KEY: request.customer}}
    if request.email:
        params["email"] = request.email
    if request.name:
        params["name"] = request.name
    made = call.post(
        lambda v1, given, options: v1.customers.create(given, options), params, step="customer"
    )
    return fields.required_text(made, "id")


def _set_up(call: Call, request: SaveMethod, customer: str) -> Result:
    """Confirm a SetupIntent with the payer's consent to debits without them."""
    assert request.mandate_accepted_at is not None, "Bug! a mandate that nobody accepted"
    online = {
        "ip_address": request.mandate_ip_address,
        "user_agent": request.mandate_user_agent,
    }
    params = {
        "confirm": True,
        "customer": customer,
        "payment_method": request.token,
        "usage": "off_session",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "mandate_data": {
            "customer_acceptance": {
                "type": "online",
                "accepted_at": int(request.mandate_accepted_at.timestamp()),
                "online": online,
            }
        },
        "metadata": {METHOD_KEY: request.reference},
        "expand": ["mandate", "payment_method"],
    }
    setup = call.post(lambda v1, given, options: v1.setup_intents.create(given, options), params)
    if setup.get("object") != "setup_intent":
        raise UnreadableObject("the object is not a setup_intent")
    status = fields.required_text(setup, "status")
    outcome = _SETUPS.get(status, Outcome.PENDING)
    if outcome == Outcome.DECLINED:
        refused = fields.mapping(setup, "last_setup_error")
        words = f"The method could not be saved: the SetupIntent is {status}."
        error = translate(refused) if refused else refusal("payment_method_invalid", words)
        return call.result(outcome, error=error)
    method = read_method(
        expanded(setup, "payment_method"),
        customer_reference=customer,
        mandate=expanded(setup, "mandate") or {"status": "pending"},
    )
    return call.result(outcome, method=method)


def remove(call: Call, provider_reference: str) -> Result:
    """Detach a saved method (docs.stripe.com/api/payment_methods/detach). One that is gone, or is
    nobody's any more, is removed.
    """
    try:
        call.post(
            lambda v1, given, options: v1.payment_methods.detach(
                provider_reference, given, options
            ),
            {},
        )
    except Refused as refused:
        if not refused.missing and _is_attached(call, provider_reference):
            return call.declined(refused)
        return Result(outcome=Outcome.OK, exchange=refused.exchange)
    return call.result(Outcome.OK)


def _is_attached(call: Call, provider_reference: str) -> bool:
    """Whether a payment method still belongs to a customer. Raises Ended, Refused."""
    method = call.get(
        lambda v1, given, options: v1.payment_methods.retrieve(provider_reference, given, options),
        {},
        step="payment_method",
    )
    return bool(reference(method, "customer"))
