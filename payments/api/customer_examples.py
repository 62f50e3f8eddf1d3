"""What requests and answers about customers and saved payment methods look like."""

from __future__ import annotations

from typing import Any

CUSTOMER_ID = "cus_01kafr9c2be2prw8h6s1t0k4mz"
METHOD_ID = "pm_01kafr9f5se0jv7n3q8d6x2y1b"
MANDATE_ID = "mandate_01kafr9f5tf4ja9w0r5c7z3k8e"
_CREATED_AT = "2026-11-20T12:00:00.000Z"
_AGREED = {
    "accepted_at": _CREATED_AT,
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
}

CREATE_CUSTOMER: dict[str, Any] = {
    "email": "dana@example.com",
    "name": "Dana Reyes",
    "merchant_reference": "c-77",
}
CUSTOMER: dict[str, Any] = {
    "id": CUSTOMER_ID,
    "object": "customer",
    "livemode": False,
    "merchant_reference": "c-77",
    "metadata": {},
    "deleted": False,
    "created_at": _CREATED_AT,
    "updated_at": _CREATED_AT,
    "email": "dana@example.com",
    "name": "Dana Reyes",
}
CUSTOMER_LIST: dict[str, Any] = {"object": "list", "data": [CUSTOMER], "has_more": False}
DELETED_CUSTOMER: dict[str, Any] = {"id": CUSTOMER_ID, "object": "customer", "deleted": True}

SAVE_CARD: dict[str, Any] = {"token": "tok_visa"}
SAVE_BANK_DEBIT: dict[str, Any] = {"token": "tok_bank_debit", "mandate": _AGREED}
MANDATE: dict[str, Any] = {
    "id": MANDATE_ID,
    "object": "mandate",
    "payment_method": METHOD_ID,
    "status": "active",
    "accepted_at": _CREATED_AT,
    "revoked_at": None,
}
METHOD: dict[str, Any] = {
    "id": METHOD_ID,
    "object": "payment_method",
    "livemode": False,
    "customer": CUSTOMER_ID,
    "status": "active",
    "kind": "card",
    "brand": "visa",
    "last4": "4242",
    "expiry_month": 12,
    "expiry_year": 2034,
    "fingerprint": "9d5ed678fe57bcca6101",
    "mandate": MANDATE,
    "provider": "sandbox",
    "last_error": None,
    "created_at": _CREATED_AT,
    "saved_at": _CREATED_AT,
    "failed_at": None,
    "removed_at": None,
}
PENDING_METHOD: dict[str, Any] = {
    **METHOD,
    "status": "pending",
    "kind": None,
    "brand": None,
    "last4": None,
    "expiry_month": None,
    "expiry_year": None,
    "fingerprint": None,
    "mandate": {**MANDATE, "status": "pending"},
    "saved_at": None,
}
REMOVED_METHOD: dict[str, Any] = {
    **METHOD,
    "status": "removed",
    "mandate": {**MANDATE, "status": "revoked", "revoked_at": _CREATED_AT},
    "removed_at": _CREATED_AT,
}
METHOD_LIST: dict[str, Any] = {"object": "list", "data": [METHOD], "has_more": False}
