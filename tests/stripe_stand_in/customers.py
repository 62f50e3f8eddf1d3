"""Customers, payment methods and SetupIntents: POST /v1/customers, /v1/payment_methods/{id}/attach
and /detach, /v1/setup_intents.
"""

from __future__ import annotations

import hashlib
import time

from tests.stripe_stand_in.payment_methods import METHODS, NUMBERS, Method
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid


def create_customer(vault: Vault, params: Json) -> Json:
    """POST /v1/customers."""
    customer = vault.add(
        "cus",
        address=None,
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        description=params.get("description"),
        email=params.get("email"),
        metadata=params.get("metadata", {}),
        name=params.get("name"),
        phone=None,
        shipping=None,
    )
    vault.emit("customer.created", customer)
    return customer


def from_browser(vault: Vault, params: Json) -> Json:
    """POST /v1/payment_methods, as Stripe.js sends it."""
    number = params.get("card", {}).get("number", "")
    if number not in NUMBERS:
        raise Refused(402, "card_error", "incorrect_number", "Your card number is incorrect.")
    return resolve(vault, NUMBERS[number])


def resolve(vault: Vault, name: str) -> Json:
    """A payment method by id; a test name makes a new one. Raises Refused."""
    if name in METHODS:
        return _new(vault, METHODS[name])
    if name not in vault.objects["payment_method"]:
        words = f"No such PaymentMethod: '{name}'"
        raise invalid("resource_missing", words, "payment_method")
    if name in vault.detached:
        words = "The provided PaymentMethod was detached from a Customer; it may not be used again."
        raise invalid("", words, "payment_method")
    return vault.get(name)


def _new(vault: Vault, method: Method) -> Json:
    """A payment method that belongs to nobody yet."""
    fingerprint = hashlib.sha256(method.last4.encode()).hexdigest()[:16]
    if method.kind == "card":
        detail: Json = {
            "brand": method.brand,
            "checks": {"cvc_check": "pass"},
            "country": "US",
            "exp_month": 8,
            "exp_year": 2030,
            "fingerprint": fingerprint,
            "funding": "credit",
            "last4": method.last4,
        }
    else:
        detail = {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "fingerprint": fingerprint,
            "last4": method.last4,
            "routing_number": "110000000",
        }
    made = vault.add(
        "pm",
        allow_redisplay="unspecified",
        billing_details={"address": None, "email": None, "name": None, "phone": None},
        customer=None,
        metadata={},
        type=method.kind,
        **{method.kind: detail},
    )
    vault.behaviours[made["id"]] = method
    return made


def attach(vault: Vault, name: str, params: Json) -> Json:
    """POST /v1/payment_methods/{id}/attach."""
    method = resolve(vault, name)
    customer = vault.find("customer", params.get("customer", ""), "customer")
    behaviour = vault.behaviours[method["id"]]
    if method["type"] != "card":
        words = (
            "To use payment method type 'us_bank_account' it has to be attached with a SetupIntent."
        )
        raise invalid("payment_method_unverified", words, "")
    if behaviour.code:
        raise _declined(behaviour)
    if method["customer"] not in (None, customer["id"]):
        words = "The payment method you provided has already been attached to a customer."
        raise invalid("", words, "")
    method["customer"] = customer["id"]
    vault.emit("payment_method.attached", method)
    return method


def detach(vault: Vault, name: str) -> Json:
    """POST /v1/payment_methods/{id}/detach."""
    method = vault.find("payment_method", name, "payment_method")
    if method["customer"] is None:
        words = (
            "The payment method you provided is not attached to a customer so detachment is"
            " impossible."
        )
        raise invalid("", words, "")
    method["customer"] = None
    vault.detached.add(name)
    vault.emit("payment_method.detached", method)
    return method


def create_setup(vault: Vault, params: Json) -> Json:
    """POST /v1/setup_intents with confirm=true: the payer agreed to later charges."""
    customer = vault.find("customer", params.get("customer", ""), "customer")
    method = resolve(vault, params.get("payment_method", ""))
    behaviour = vault.behaviours[method["id"]]
    bank = method["type"] == "us_bank_account"
    acceptance = params.get("mandate_data", {}).get("customer_acceptance", {})
    if bank and not acceptance:
        words = "This SetupIntent requires a mandate, but no existing mandate was found."
        raise invalid("setup_intent_mandate_invalid", words, "mandate_data")
    if behaviour.code:
        raise _declined(behaviour)
    setup = vault.add(
        "seti",
        cancellation_reason=None,
        client_secret="seti_secret",
        customer=customer["id"],
        last_setup_error=None,
        mandate=None,
        metadata=params.get("metadata", {}),
        next_action=None,
        payment_method=method["id"],
        payment_method_types=[method["type"]],
        status="succeeded",
        usage=params.get("usage", "off_session"),
    )
    vault.emit("setup_intent.created", setup)
    if behaviour.unverified or behaviour.authentication:
        kind = "verify_with_microdeposits" if bank else "use_stripe_sdk"
        url = "https://payments.stripe.example/microdeposit"
        detail = {"hosted_verification_url": url} if bank else {"type": "three_d_secure_redirect"}
        setup.update(status="requires_action", next_action={"type": kind, kind: detail})
        vault.emit("setup_intent.requires_action", setup)
        return setup
    method["customer"] = customer["id"]
    vault.emit("payment_method.attached", method)
    if acceptance:
        setup["mandate"] = _mandate(vault, method, acceptance)["id"]
    vault.emit("setup_intent.succeeded", setup)
    return setup


def _mandate(vault: Vault, method: Json, acceptance: Json) -> Json:
    return vault.add(
        "mandate",
        customer_acceptance={
            "accepted_at": int(acceptance.get("accepted_at", time.time())),
            "online": acceptance.get("online", {}),
            "type": acceptance.get("type", "online"),
        },
        multi_use={},
        payment_method=method["id"],
        payment_method_details={"type": method["type"], method["type"]: {}},
        status="active",
        type="multi_use",
    )


def _declined(method: Method) -> Refused:
    more = {"decline_code": method.decline_code}
    return Refused(402, "card_error", method.code, "Your card was declined.", **more)
