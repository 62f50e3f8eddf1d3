"""What real requests and answers look like, for the API's documentation.

Every example is complete and consistent: the same payment runs through all of them.
"""

from __future__ import annotations

from typing import Any

PAYMENT_ID = "pay_01kafr7xh8f0v9d3m2c5t6b7ne"
MERCHANT_ID = "mer_01kafr6q2ve4s8z1x9y0w3k5ha"
EVENT_ID = "evt_01kafr80a1f5fr9mqxkz1d2c3b"
ENDPOINT_ID = "we_01kafr8jt0e1s93wq4h6n7p8ra"
PROVIDER_ACCOUNT_ID = "pacc_01kafr6t9de2vtxbyc1m4z8w0q"
_CREATED_AT = "2026-11-20T12:00:00.000Z"
_CAPTURED_AT = "2026-11-20T12:00:00.412Z"

CREATE_AND_CONFIRM: dict[str, Any] = {
    "amount_minor": 4200,
    "currency": "EUR",
    "confirm": True,
    "payment_method": "tok_visa",
    "merchant_reference": "order-1001",
    "metadata": {"customer": "c-77"},
}

CREATE_FOR_THE_PAYER: dict[str, Any] = {
    "amount_minor": 4200,
    "currency": "EUR",
    "description": "Order 1001",
    "return_url": "https://shop.example/orders/1001",
}

PAYMENT: dict[str, Any] = {
    "id": PAYMENT_ID,
    "object": "payment",
    "livemode": False,
    "merchant": MERCHANT_ID,
    "customer": None,
    "status": "captured",
    "outcome": None,
    "amount_minor": 4200,
    "currency": "EUR",
    "amount_authorized_minor": 4200,
    "amount_capturable_minor": 0,
    "amount_captured_minor": 4200,
    "amount_refund_pending_minor": 0,
    "amount_refunded_minor": 0,
    "amount_refundable_minor": 4200,
    "amount_disputed_minor": 0,
    "amount_reversed_minor": 0,
    "amount_settled_minor": 0,
    "platform_fee_minor": 92,
    "provider_fee_minor": None,
    "dispute_fee_minor": 0,
    "capture_method": "automatic",
    "description": "",
    "merchant_reference": "order-1001",
    "metadata": {"customer": "c-77"},
    "return_url": None,
    "payment_method": {"brand": "visa", "last4": "4242"},
    "next_action": None,
    "last_error": None,
    "cancellation_reason": None,
    "review_reason": None,
    "provider": {
        "name": "sandbox",
        "reference": "pi_8Zr2mQ",
        "publishable_key": "pk_sandbox_demo",
    },
    "version": 3,
    "created_at": _CREATED_AT,
    "authorized_at": None,
    "captured_at": _CAPTURED_AT,
    "settled_at": None,
    "canceled_at": None,
    "failed_at": None,
    "expires_at": "2026-11-21T12:00:00.000Z",
    "capture_before": None,
}

PAYMENT_WITH_SECRETS: dict[str, Any] = {
    **PAYMENT,
    "client_secret": f"{PAYMENT_ID}_secret_9f2c41...",
    "provider_client_secret": "pi_8Zr2mQ_secret_h41k...",
}

PENDING_PAYMENT: dict[str, Any] = {
    **PAYMENT_WITH_SECRETS,
    "status": "processing",
    "outcome": "unknown",
    "amount_authorized_minor": 0,
    "amount_captured_minor": 0,
    "amount_refundable_minor": 0,
    "platform_fee_minor": 0,
    "captured_at": None,
    "version": 2,
}

AUTHORIZED_PAYMENT: dict[str, Any] = {
    **PAYMENT_WITH_SECRETS,
    "status": "authorized",
    "capture_method": "manual",
    "amount_capturable_minor": 4200,
    "amount_captured_minor": 0,
    "amount_refundable_minor": 0,
    "platform_fee_minor": 0,
    "authorized_at": _CAPTURED_AT,
    "captured_at": None,
    "capture_before": "2026-11-27T12:00:00.412Z",
}

RAISED_PAYMENT: dict[str, Any] = {
    **AUTHORIZED_PAYMENT,
    "amount_authorized_minor": 5200,
    "amount_capturable_minor": 5200,
    "version": 4,
}

WAITING_PAYMENT: dict[str, Any] = {
    **PENDING_PAYMENT,
    "status": "created",
    "outcome": None,
    "payment_method": None,
    "version": 2,
}

CANCELED_PAYMENT: dict[str, Any] = {
    **AUTHORIZED_PAYMENT,
    "status": "canceled",
    "amount_capturable_minor": 0,
    "cancellation_reason": "requested_by_customer",
    "canceled_at": "2026-11-20T12:05:00.000Z",
    "version": 4,
}

PAYMENT_LIST: dict[str, Any] = {"object": "list", "data": [PAYMENT], "has_more": False}

CLIENT_PAYMENT: dict[str, Any] = {
    "id": PAYMENT_ID,
    "object": "payment",
    "livemode": False,
    "status": "created",
    "amount_minor": 4200,
    "currency": "EUR",
    "capture_method": "automatic",
    "description": "Order 1001",
    "return_url": "https://shop.example/orders/1001",
    "next_action": None,
    "last_error": None,
    "provider": PAYMENT["provider"],
    "provider_client_secret": "pi_8Zr2mQ_secret_h41k...",
    "stream_url": f"https://florin.example/v1/client/payments/{PAYMENT_ID}/stream",
}

RETURNED_CLIENT_PAYMENT: dict[str, Any] = {**CLIENT_PAYMENT, "status": "processing"}

EVENT: dict[str, Any] = {
    "id": EVENT_ID,
    "object": "event",
    "type": "payment.confirmed",
    "api_version": "2026-11-20",
    "created": _CAPTURED_AT,
    "livemode": False,
    "data": {"object": PAYMENT},
}
EVENT_LIST: dict[str, Any] = {"object": "list", "data": [EVENT], "has_more": False}

BALANCE: dict[str, Any] = {
    "object": "balance",
    "livemode": False,
    "balances": [
        {"currency": "EUR", "pending_minor": 4108, "available_minor": 0, "reserve_minor": 0}
    ],
}

PROVIDER_ACCOUNT: dict[str, Any] = {
    "id": PROVIDER_ACCOUNT_ID,
    "object": "provider_account",
    "livemode": False,
    "provider": "sandbox",
    "name": "Sandbox",
    "owner": "platform",
    "active": True,
    "is_default": True,
    "publishable_key": "pk_sandbox_demo",
    "created_at": _CREATED_AT,
}
PROVIDER_ACCOUNT_LIST: dict[str, Any] = {
    "object": "list",
    "data": [PROVIDER_ACCOUNT],
    "has_more": False,
}

CREATE_ENDPOINT: dict[str, Any] = {
    "url": "https://shop.example/florin-events",
    "event_types": ["payment.*"],
}
ENDPOINT: dict[str, Any] = {
    "id": ENDPOINT_ID,
    "object": "webhook_endpoint",
    "livemode": False,
    "url": "https://shop.example/florin-events",
    "event_types": ["payment.*"],
    "description": "",
    "status": "enabled",
    "disabled_reason": None,
    "api_version": "2026-11-20",
    "consecutive_failures": 0,
    "failing_since": None,
    "last_success_at": None,
    "success_ratio": None,
    "created_at": _CREATED_AT,
    "updated_at": _CREATED_AT,
}
ENDPOINT_WITH_SECRET: dict[str, Any] = {**ENDPOINT, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8I..."}
ENDPOINT_LIST: dict[str, Any] = {"object": "list", "data": [ENDPOINT], "has_more": False}
DELETED_ENDPOINT: dict[str, Any] = {
    "id": ENDPOINT_ID,
    "object": "webhook_endpoint",
    "deleted": True,
}
