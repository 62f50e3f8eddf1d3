"""What the OpenAPI document says about events, the balance, provider accounts and endpoints.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from payments.api import examples, serializers
from payments.api import operation_schema as schema
from payments.errors import ErrorCode

_ACCOUNT_ID = schema.identifier("account_id", "The account's id.", examples.PROVIDER_ACCOUNT_ID)
_EVENT_ID = schema.identifier("event_id", "The event's id.", examples.EVENT_ID)
_ENDPOINT_ID = schema.identifier("endpoint_id", "The endpoint's id.", examples.ENDPOINT_ID)
_SHOWN_ONCE = (
    "A repeat with the same Idempotency-Key is answered without `secret`, which is stored nowhere "
    "in clear: rotate it if the first answer was lost."
)

list_events = schema.operation(
    operation_id="listEvents",
    summary="List events",
    tag="Events",
    parameters=[
        *schema.PAGE,
        schema.query("type", "Only of this type (`payment.confirmed`) or family (`payment.*`)."),
        schema.query("payment", "Only of this payment.", schema.IDENTIFIER),
    ],
    success={
        200: schema.success(
            schema.list_of(serializers.EventObject, "EventList"),
            examples.EVENT_LIST,
            "A page, newest first.",
        )
    },
    errors=schema.QUERY,
)
retrieve_event = schema.operation(
    operation_id="retrieveEvent",
    summary="Retrieve an event",
    tag="Events",
    parameters=[_EVENT_ID],
    success={200: schema.success(serializers.EventObject, examples.EVENT, "The event.")},
    errors=(*schema.QUERY, ErrorCode.not_found),
)
retrieve_balance = schema.operation(
    operation_id="retrieveBalance",
    summary="Retrieve your balance",
    tag="Balance",
    success={200: schema.success(serializers.BalanceObject, examples.BALANCE, "Per currency.")},
    errors=schema.QUERY,
)
list_provider_accounts = schema.operation(
    operation_id="listProviderAccounts",
    summary="List provider accounts",
    tag="Provider accounts",
    parameters=schema.PAGE,
    success={
        200: schema.success(
            schema.list_of(serializers.ProviderAccountObject, "ProviderAccountList"),
            examples.PROVIDER_ACCOUNT_LIST,
            "A page, newest first.",
        )
    },
    errors=schema.QUERY,
)
retrieve_provider_account = schema.operation(
    operation_id="retrieveProviderAccount",
    summary="Retrieve a provider account",
    tag="Provider accounts",
    parameters=[_ACCOUNT_ID],
    success={
        200: schema.success(
            serializers.ProviderAccountObject, examples.PROVIDER_ACCOUNT, "The account."
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
create_webhook_endpoint = schema.operation(
    operation_id="createWebhookEndpoint",
    summary="Add a webhook endpoint",
    tag="Webhook endpoints",
    request=serializers.CreateWebhookEndpointBody,
    requests={"All about payments": examples.CREATE_ENDPOINT},
    parameters=[schema.IDEMPOTENCY_KEY],
    success={
        201: schema.success(
            serializers.WebhookEndpointWithSecretObject,
            examples.ENDPOINT_WITH_SECRET,
            f"The endpoint with its signing secret, which is shown this once. {_SHOWN_ONCE}",
        )
    },
    errors=(*schema.BODY, *schema.ONCE, ErrorCode.endpoint_url_invalid),
)
list_webhook_endpoints = schema.operation(
    operation_id="listWebhookEndpoints",
    summary="List webhook endpoints",
    tag="Webhook endpoints",
    parameters=schema.PAGE,
    success={
        200: schema.success(
            schema.list_of(serializers.WebhookEndpointObject, "WebhookEndpointList"),
            examples.ENDPOINT_LIST,
            "A page, newest first.",
        )
    },
    errors=schema.QUERY,
)
retrieve_webhook_endpoint = schema.operation(
    operation_id="retrieveWebhookEndpoint",
    summary="Retrieve a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    success={
        200: schema.success(serializers.WebhookEndpointObject, examples.ENDPOINT, "The endpoint.")
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
update_webhook_endpoint = schema.operation(
    operation_id="updateWebhookEndpoint",
    summary="Change a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    request=serializers.UpdateWebhookEndpointBody,
    requests={"Pause": {"enabled": False}},
    success={
        200: schema.success(serializers.WebhookEndpointObject, examples.ENDPOINT, "As it is now.")
    },
    errors=(*schema.BODY, ErrorCode.not_found, ErrorCode.endpoint_url_invalid),
)
delete_webhook_endpoint = schema.operation(
    operation_id="deleteWebhookEndpoint",
    summary="Delete a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    success={
        200: schema.success(serializers.DeletedObject, examples.DELETED_ENDPOINT, "It is gone.")
    },
    errors=(ErrorCode.not_found,),
)
rotate_webhook_secret = schema.operation(
    operation_id="rotateWebhookEndpointSecret",
    summary="Rotate a webhook endpoint's secret",
    tag="Webhook endpoints",
    parameters=[schema.IDEMPOTENCY_KEY, _ENDPOINT_ID],
    request=serializers.RotateWebhookSecretBody,
    requests={"Rotate": {}, "The old one has leaked": {"overlap_hours": 0}},
    success={
        200: schema.success(
            serializers.WebhookEndpointWithSecretObject,
            examples.ENDPOINT_WITH_SECRET,
            f"The new secret, shown this once; until the overlap ends both sign. {_SHOWN_ONCE}",
        )
    },
    errors=(*schema.BODY, *schema.ONCE, ErrorCode.not_found),
)
