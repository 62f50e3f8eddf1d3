"""Customers and saved payment methods at the sandbox PSP.

A token is saved for a customer once and charged many times by the method's id. Saving shows the
card to its issuer, so a card that is always declined cannot be saved, except the one that exists
for it. A bank account is charged under a mandate: it is "active" once the payer has agreed,
"pending" before and "inactive" after they revoked it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service.behaviour import Instrument
from payments.providers.sandbox.service.desk import Desk, moment, new_id
from payments.providers.sandbox.service.instruments import BY_TOKEN
from payments.providers.sandbox.service.wire import Refusal

METHOD_PREFIX = "sbpm_"
MANDATE_STATUSES = ("active", "pending", "inactive")
_EXPIRY = (12, 2034)


def add_customer(desk: Desk, wish: Mapping[str, Any]) -> dict[str, Any]:
    """A new customer, under the merchant's own id where it gives one."""
    customer = {
        "object": "customer",
        "id": new_id("sbcus"),
        "reference": wish["reference"],
        "email": wish["email"],
        "name": wish["name"],
        "created_at": moment(desk.account.now()),
    }
    desk.books.save_document(desk.account.id, customer, found_by=wish["reference"])
    return customer


def save(desk: Desk, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Save a token for a customer, who is made when none is named. Raises Refusal 400, 402, 404."""
    instrument = _saveable(wish["token"])
    if wish["customer"]:
        customer = find(desk, "customer", wish["customer"])
    else:
        customer = add_customer(desk, {**wish, "reference": wish["customer_reference"]})
    is_debit = instrument.kind == "bank_debit"
    agreed = bool(wish["mandate"].get("accepted_at"))
    method = {
        "object": "method",
        "id": new_id(METHOD_PREFIX.rstrip("_")),
        "version": 1,
        "status": "active",
        "customer": customer["id"],
        "reference": wish["reference"],
        "instrument": instrument.name,
        "kind": instrument.kind,
        "brand": instrument.brand,
        "last4": instrument.last4,
        "expiry_month": None if is_debit else _EXPIRY[0],
        "expiry_year": None if is_debit else _EXPIRY[1],
        "fingerprint": hashlib.sha256(instrument.number.encode()).hexdigest()[:20],
        "mandate": new_id("sbman") if is_debit else None,
        "mandate_status": ("active" if agreed else "pending") if is_debit else None,
        "created_at": moment(desk.account.now()),
    }
    desk.books.save_document(desk.account.id, method, found_by=wish["reference"])
    return method


def remove(desk: Desk, method_id: str) -> dict[str, Any]:
    """Forget a saved method; it stays on record as removed. Raises Refusal 404."""
    return change(desk, method_id, status="removed")


def change(desk: Desk, method_id: str, **fields: Any) -> dict[str, Any]:
    """Set fields of a saved method, for example its mandate's status. Raises Refusal 404."""
    method = find(desk, "method", method_id)
    method.update(fields)
    method["version"] += 1
    desk.books.save_document(desk.account.id, method)
    return method


def find(desk: Desk, kind: str, document_id: str) -> dict[str, Any]:
    """A customer or a method. Raises Refusal 404."""
    found = desk.books.load_document(desk.account.id, kind, document_id)
    if found is None:
        message = f"There is no {kind} {document_id}."
        raise Refusal(404, "invalid_request", "not_found", message, param=kind)
    return found


def chargeable(desk: Desk, token: str, customer: str) -> tuple[Instrument, dict[str, Any] | None]:
    """What is behind a token, or behind a saved method of this customer. Raises Refusal 400."""
    if token in BY_TOKEN:
        return BY_TOKEN[token], None
    method = None
    if token.startswith(METHOD_PREFIX):
        method = desk.books.load_document(desk.account.id, "method", token)
    if method is None or method["status"] == "removed" or method["customer"] != customer:
        message = "Confirm with a token of the sandbox, for example tok_visa, or with a saved"
        message += " method of the payment's customer."
        code = "token_unknown" if token else "token_required"
        raise Refusal(400, "invalid_request", code, message, param="token")
    return BY_TOKEN[method["instrument"]], method


def _saveable(token: str) -> Instrument:
    instrument = BY_TOKEN.get(token)
    if instrument is None:
        message = "Save a token of the sandbox, for example tok_visa."
        raise Refusal(400, "invalid_request", "token_unknown", message, param="token")
    decline = instrument.decline
    refused = decline is not None and not instrument.asynchronous and not instrument.authentication
    if decline is not None and refused and not instrument.saves_well:
        raise Refusal(
            402, "declined", decline.code, decline.message, param="token", advice=decline.advice
        )
    return instrument
