"""What the OpenAPI document says about deliveries to merchants' endpoints.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from typing import Any

from payments.api import delivery_serializers as serializers
from payments.api import examples
from payments.api import operation_schema as schema
from payments.api.serializers import NoParametersBody
from payments.errors import ErrorCode

_TAG = "Webhook endpoints"
_DELIVERY = "whd_01kafr9cz7e5tvpy0a2h4m6n8q"
_AT = "2026-11-20T12:00:00.000Z"
_PENDING: dict[str, Any] = {
    "id": _DELIVERY,
    "object": "webhook_delivery",
    "endpoint": examples.ENDPOINT_ID,
    "event": examples.EVENT_ID,
    "event_type": "payment.confirmed",
    "status": "pending",
    "attempts": 0,
    "reason": None,
    "next_attempt_at": _AT,
    "created_at": _AT,
    "finished_at": None,
}
_FAILED: dict[str, Any] = {
    **_PENDING,
    "status": "retrying",
    "attempts": 1,
    "reason": "status 500",
    "attempt_log": [
        {
            "number": 1,
            "started_at": _AT,
            "outcome": "failed",
            "response_status": 500,
            "duration_ms": 48,
            "response_body": "out of order",
            "error": "status 500",
        }
    ],
}
_RECOVERED: dict[str, Any] = {
    "object": "webhook_recovery",
    "endpoint": examples.ENDPOINT_ID,
    "recovered": 17,
    "missing": 3,
    "has_more": False,
}
_ENDPOINT_ID = schema.identifier("endpoint_id", "The endpoint's id.", examples.ENDPOINT_ID)
_DELIVERY_ID = schema.identifier("delivery_id", "The delivery's id.", _DELIVERY)

list_deliveries = schema.operation(
    operation_id="listWebhookDeliveries",
    summary="List deliveries",
    tag=_TAG,
    parameters=[
        _ENDPOINT_ID,
        *schema.PAGE,
        schema.query("status", "`pending`, `retrying`, `delivered`, `dead` or `discarded`."),
    ],
    success={
        200: schema.success(
            schema.list_of(serializers.WebhookDeliveryObject, "WebhookDeliveryList"),
            {"object": "list", "data": [_PENDING], "has_more": False},
            "A page, newest first.",
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
retrieve_delivery = schema.operation(
    operation_id="retrieveWebhookDelivery",
    summary="Retrieve a delivery with its attempts",
    tag=_TAG,
    parameters=[_ENDPOINT_ID, _DELIVERY_ID],
    success={
        200: schema.success(
            serializers.WebhookDeliveryWithAttemptsObject, _FAILED, "What became of it."
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
resend_delivery = schema.operation(
    operation_id="resendWebhookDelivery",
    summary="Send a delivery again",
    tag=_TAG,
    parameters=[schema.IDEMPOTENCY_KEY, _ENDPOINT_ID, _DELIVERY_ID],
    request=NoParametersBody,
    requests={"Resend": {}},
    success={
        200: schema.success(
            serializers.WebhookDeliveryObject,
            _PENDING,
            "It is sent now under the same `webhook-id`, also when it was delivered before.",
        )
    },
    errors=(*schema.BODY, *schema.ONCE, ErrorCode.not_found),
)
recover_deliveries = schema.operation(
    operation_id="recoverWebhookDeliveries",
    summary="Send what failed or is missing since a moment",
    tag=_TAG,
    parameters=[schema.IDEMPOTENCY_KEY, _ENDPOINT_ID],
    request=serializers.RecoverDeliveriesBody,
    requests={
        "After an outage": {"since": "2026-11-20T12:00:00Z"},
        "After it was disabled": {
            "since": "2026-11-20T12:00:00Z",
            "include": ["failed", "missing"],
        },
    },
    success={
        200: schema.success(
            serializers.WebhookRecoveryObject,
            _RECOVERED,
            "What failed since then, or is missing, is sent now, the oldest first.",
        )
    },
    errors=(*schema.BODY, *schema.ONCE, ErrorCode.not_found),
)
send_test_event = schema.operation(
    operation_id="testWebhookEndpoint",
    summary="Send a test event",
    tag=_TAG,
    parameters=[schema.IDEMPOTENCY_KEY, _ENDPOINT_ID],
    request=NoParametersBody,
    requests={"Test": {}},
    success={
        201: schema.success(
            serializers.WebhookDeliveryObject,
            {**_PENDING, "event_type": "endpoint.test"},
            "A signed `endpoint.test` event is on its way; retrieve the delivery for its answer.",
        )
    },
    errors=(*schema.BODY, *schema.ONCE, ErrorCode.not_found),
)
