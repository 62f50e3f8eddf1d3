"""What the OpenAPI document says about each operation; a decorator per operation, used by views.

Mental model: an operation is documented next to its siblings, so that one look shows whether they
agree: same headers, same errors, one example each way. Errors come from the table of error codes,
with one example per code, so that no status can be documented that cannot happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    inline_serializer,
)
from rest_framework import serializers as fields

from payments.api import examples, serializers
from payments.api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from payments.errors import ErrorCode, FlorinError
from payments.states import State

_EVERY_ROUTE = (
    ErrorCode.authentication_required,
    ErrorCode.api_key_invalid,
    ErrorCode.merchant_suspended,
    ErrorCode.rate_limited,
    ErrorCode.card_data_refused,
    ErrorCode.internal_error,
    ErrorCode.service_unavailable,
)
_BODY = (
    ErrorCode.json_invalid,
    ErrorCode.parameter_invalid,
    ErrorCode.parameter_unknown,
    ErrorCode.unsupported_media_type,
    ErrorCode.body_too_large,
)
_QUERY = (ErrorCode.parameter_invalid, ErrorCode.parameter_unknown)
_ONCE = (
    ErrorCode.idempotency_key_missing,
    ErrorCode.idempotency_key_invalid,
    ErrorCode.idempotency_key_in_use,
    ErrorCode.idempotency_key_reused,
)
_PROVIDER = (ErrorCode.payment_declined, ErrorCode.provider_rejected)
_SAVED_METHOD = (
    ErrorCode.payment_method_unusable,
    ErrorCode.mandate_missing,
    ErrorCode.operation_unsupported,
)
_VERB = (ErrorCode.not_found, ErrorCode.payment_state_conflict, ErrorCode.operation_in_flight)

_IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    type={"type": "string", "minLength": 16, "maxLength": 257, "pattern": "^[ -~]+$"},
    location=OpenApiParameter.HEADER,
    required=True,
    description=(
        "16 to 255 printable ASCII characters, one per intention: a UUID does. The same key with "
        "the same request is answered with the first answer and `Idempotent-Replayed: true`; it "
        "never moves money twice. Kept for seven days."
    ),
    examples=[OpenApiExample("A UUID", value="5b1c9d0e-7f6a-4a53-9d2f-0c7e1b2a3d4e")],
)
_CLIENT_SECRET = OpenApiParameter(
    name="Client-Secret",
    type=OpenApiTypes.STR,
    location=OpenApiParameter.HEADER,
    required=True,
    description="The payment's `client_secret`. Never in the address.",
    examples=[OpenApiExample("Secret", value=f"{examples.PAYMENT_ID}_secret_9f2c41...")],
)
_IDENTIFIER = {"type": "string", "pattern": "^[a-z]{1,8}_[0-9a-z]{1,30}$"}


def _identifier(name: str, words: str, example: str) -> OpenApiParameter:
    return OpenApiParameter(
        name=name,
        type=_IDENTIFIER,
        location=OpenApiParameter.PATH,
        description=words,
        examples=[OpenApiExample("Id", value=example)],
    )


_ACCOUNT_ID = _identifier("account_id", "The account's id.", examples.PROVIDER_ACCOUNT_ID)
_PAYMENT_ID = _identifier("payment_id", "The payment's id.", examples.PAYMENT_ID)
_EVENT_ID = _identifier("event_id", "The event's id.", examples.EVENT_ID)
_ENDPOINT_ID = _identifier("endpoint_id", "The endpoint's id.", examples.ENDPOINT_ID)


def _query(name: str, words: str, schema: dict[str, Any] | None = None) -> OpenApiParameter:
    return OpenApiParameter(
        name=name,
        type=schema or {"type": "string", "minLength": 1},
        location=OpenApiParameter.QUERY,
        description=words,
    )


_PAGE = [
    _query(
        "limit",
        f"How many, {LIMIT_DEFAULT} unless told.",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    _query("starting_after", "The last id of the page before: older ones follow.", _IDENTIFIER),
    _query("ending_before", "The first id of the page after: newer ones.", _IDENTIFIER),
]
_MOMENT = {"type": "string", "format": "date-time"}
_PAYMENT_FILTERS = [
    _query("status", "Only in this state.", {"type": "string", "enum": [s.value for s in State]}),
    _query("currency", "Only in this currency."),
    _query("merchant_reference", "Only with your reference."),
    _query("created_from", "Created at this moment or later.", _MOMENT),
    _query("created_until", "Created before this moment.", _MOMENT),
]


def _list_of(item: type[fields.Serializer[Any]], name: str) -> Any:
    return inline_serializer(
        name=name,
        fields={
            "object": fields.CharField(help_text="Always `list`."),
            "data": item(many=True),
            "has_more": fields.BooleanField(),
        },
    )


def _errors(codes: Sequence[ErrorCode]) -> dict[int, OpenApiResponse]:
    """One response per status, one example per code."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in codes:
        by_status.setdefault(code.status, []).append(code)
    return {
        status: OpenApiResponse(
            response=serializers.ErrorObject,
            description=" ".join(f"`{code.name}`: {code.meaning}" for code in found),
            examples=[_error_example(code) for code in found],
        )
        for status, found in sorted(by_status.items())
    }


def _error_example(code: ErrorCode) -> OpenApiExample:
    body = FlorinError(code).body()
    body["error"]["request_id"] = "req_01kafr7xh8f0v9d3m2c5t6b7ne"
    body["error"]["doc_url"] = f"https://florin.example/docs/errors#{code.name}"
    return OpenApiExample(code.name, value=body, response_only=True, status_codes=[code.status])


def _success(schema: Any, example: dict[str, Any], words: str) -> OpenApiResponse:
    return OpenApiResponse(
        response=schema,
        description=words,
        examples=[OpenApiExample("Answer", value=example, response_only=True)],
    )


def _operation(
    *,
    operation_id: str,
    summary: str,
    tag: str,
    success: dict[int, OpenApiResponse],
    errors: Sequence[ErrorCode],
    request: Any = None,
    requests: dict[str, dict[str, Any]] | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    publishable: bool = False,
) -> Callable[..., Any]:
    key_errors = (
        (ErrorCode.publishable_key_required,)
        if publishable
        else (ErrorCode.secret_key_required, ErrorCode.scope_missing)
    )
    decorator: Callable[..., Any] = extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=[tag],
        parameters=list(parameters),
        request=request,
        responses={**success, **_errors((*_EVERY_ROUTE, *key_errors, *errors))},
        examples=[
            OpenApiExample(name, value=value, request_only=True)
            for name, value in (requests or {}).items()
        ],
        auth=[{"publishableKey": []} if publishable else {"secretKey": []}],  # type: ignore[list-item]
    )
    return decorator


def _money_operation(
    *,
    operation_id: str,
    summary: str,
    request: Any,
    requests: dict[str, dict[str, Any]],
    answer: dict[str, Any],
    errors: Sequence[ErrorCode],
    status: int = 200,
    parameters: Sequence[OpenApiParameter] = (),
) -> Callable[..., Any]:
    schema = serializers.PaymentWithSecretsObject
    return _operation(
        operation_id=operation_id,
        summary=summary,
        tag="Payments",
        request=request,
        requests=requests,
        parameters=[_IDEMPOTENCY_KEY, *parameters],
        success={
            status: _success(schema, answer, "Done; `status` says where the payment stands."),
            202: _success(
                schema,
                examples.PENDING_PAYMENT,
                "The provider has not decided, or nobody knows yet whether it has. The outcome "
                "comes by webhook; the same Idempotency-Key asks again.",
            ),
        },
        errors=(*_BODY, *_ONCE, *_PROVIDER, *errors),
    )


create_payment = _money_operation(
    operation_id="createPayment",
    summary="Create a payment",
    request=serializers.CreatePaymentBody,
    requests={
        "Create and confirm": examples.CREATE_AND_CONFIRM,
        "Let the payer confirm": examples.CREATE_FOR_THE_PAYER,
    },
    answer=examples.PAYMENT_WITH_SECRETS,
    status=201,
    errors=(
        ErrorCode.too_busy,
        ErrorCode.amount_invalid,
        ErrorCode.currency_invalid,
        ErrorCode.merchant_reference_taken,
        ErrorCode.provider_account_missing,
        ErrorCode.not_found,
        *_SAVED_METHOD,
    ),
)
confirm_payment = _money_operation(
    operation_id="confirmPayment",
    summary="Confirm a payment from your server",
    request=serializers.ConfirmPaymentBody,
    requests={"Confirm": {"payment_method": "tok_visa"}},
    answer=examples.PAYMENT_WITH_SECRETS,
    parameters=[_PAYMENT_ID],
    errors=(*_VERB, *_SAVED_METHOD),
)
capture_payment = _money_operation(
    operation_id="capturePayment",
    summary="Capture an authorized payment",
    request=serializers.CapturePaymentBody,
    requests={"Capture all": {}},
    answer=examples.PAYMENT_WITH_SECRETS,
    parameters=[_PAYMENT_ID],
    errors=(*_VERB, ErrorCode.amount_invalid, ErrorCode.capture_amount_invalid),
)
cancel_payment = _money_operation(
    operation_id="cancelPayment",
    summary="Cancel a payment",
    request=serializers.CancelPaymentBody,
    requests={"Cancel": {"reason": "requested_by_customer"}},
    answer=examples.CANCELED_PAYMENT,
    parameters=[_PAYMENT_ID],
    errors=_VERB,
)
list_payments = _operation(
    operation_id="listPayments",
    summary="List payments",
    tag="Payments",
    parameters=[*_PAGE, *_PAYMENT_FILTERS],
    success={
        200: _success(
            _list_of(serializers.PaymentObject, "PaymentList"),
            examples.PAYMENT_LIST,
            "A page, newest first.",
        )
    },
    errors=_QUERY,
)
retrieve_payment = _operation(
    operation_id="retrievePayment",
    summary="Retrieve a payment",
    tag="Payments",
    parameters=[_PAYMENT_ID],
    success={
        200: _success(
            serializers.PaymentWithSecretsObject, examples.PAYMENT_WITH_SECRETS, "The payment."
        )
    },
    errors=(*_QUERY, ErrorCode.not_found),
)
retrieve_client_payment = _operation(
    operation_id="retrieveClientPayment",
    summary="Retrieve a payment from the payer's browser",
    tag="Client",
    parameters=[_PAYMENT_ID, _CLIENT_SECRET],
    success={
        200: _success(
            serializers.ClientPaymentObject,
            examples.CLIENT_PAYMENT,
            "What the payer's page needs, and no more.",
        )
    },
    errors=(*_QUERY, ErrorCode.not_found),
    publishable=True,
)
list_events = _operation(
    operation_id="listEvents",
    summary="List events",
    tag="Events",
    parameters=[
        *_PAGE,
        _query("type", "Only of this type (`payment.confirmed`) or family (`payment.*`)."),
        _query("payment", "Only of this payment.", _IDENTIFIER),
    ],
    success={
        200: _success(
            _list_of(serializers.EventObject, "EventList"),
            examples.EVENT_LIST,
            "A page, newest first.",
        )
    },
    errors=_QUERY,
)
retrieve_event = _operation(
    operation_id="retrieveEvent",
    summary="Retrieve an event",
    tag="Events",
    parameters=[_EVENT_ID],
    success={200: _success(serializers.EventObject, examples.EVENT, "The event.")},
    errors=(*_QUERY, ErrorCode.not_found),
)
retrieve_balance = _operation(
    operation_id="retrieveBalance",
    summary="Retrieve your balance",
    tag="Balance",
    success={200: _success(serializers.BalanceObject, examples.BALANCE, "Per currency.")},
    errors=_QUERY,
)
list_provider_accounts = _operation(
    operation_id="listProviderAccounts",
    summary="List provider accounts",
    tag="Provider accounts",
    parameters=_PAGE,
    success={
        200: _success(
            _list_of(serializers.ProviderAccountObject, "ProviderAccountList"),
            examples.PROVIDER_ACCOUNT_LIST,
            "A page, newest first.",
        )
    },
    errors=_QUERY,
)
retrieve_provider_account = _operation(
    operation_id="retrieveProviderAccount",
    summary="Retrieve a provider account",
    tag="Provider accounts",
    parameters=[_ACCOUNT_ID],
    success={
        200: _success(serializers.ProviderAccountObject, examples.PROVIDER_ACCOUNT, "The account.")
    },
    errors=(*_QUERY, ErrorCode.not_found),
)
create_webhook_endpoint = _operation(
    operation_id="createWebhookEndpoint",
    summary="Add a webhook endpoint",
    tag="Webhook endpoints",
    request=serializers.CreateWebhookEndpointBody,
    requests={"All about payments": examples.CREATE_ENDPOINT},
    success={
        201: _success(
            serializers.WebhookEndpointWithSecretObject,
            examples.ENDPOINT_WITH_SECRET,
            "The endpoint with its signing secret, which is shown this once.",
        )
    },
    errors=(*_BODY, ErrorCode.endpoint_url_invalid),
)
list_webhook_endpoints = _operation(
    operation_id="listWebhookEndpoints",
    summary="List webhook endpoints",
    tag="Webhook endpoints",
    parameters=_PAGE,
    success={
        200: _success(
            _list_of(serializers.WebhookEndpointObject, "WebhookEndpointList"),
            examples.ENDPOINT_LIST,
            "A page, newest first.",
        )
    },
    errors=_QUERY,
)
retrieve_webhook_endpoint = _operation(
    operation_id="retrieveWebhookEndpoint",
    summary="Retrieve a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    success={200: _success(serializers.WebhookEndpointObject, examples.ENDPOINT, "The endpoint.")},
    errors=(*_QUERY, ErrorCode.not_found),
)
update_webhook_endpoint = _operation(
    operation_id="updateWebhookEndpoint",
    summary="Change a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    request=serializers.UpdateWebhookEndpointBody,
    requests={"Pause": {"enabled": False}},
    success={200: _success(serializers.WebhookEndpointObject, examples.ENDPOINT, "As it is now.")},
    errors=(*_BODY, ErrorCode.not_found, ErrorCode.endpoint_url_invalid),
)
delete_webhook_endpoint = _operation(
    operation_id="deleteWebhookEndpoint",
    summary="Delete a webhook endpoint",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    success={200: _success(serializers.DeletedObject, examples.DELETED_ENDPOINT, "It is gone.")},
    errors=(ErrorCode.not_found,),
)
rotate_webhook_secret = _operation(
    operation_id="rotateWebhookEndpointSecret",
    summary="Rotate a webhook endpoint's secret",
    tag="Webhook endpoints",
    parameters=[_ENDPOINT_ID],
    request=serializers.NoParametersBody,
    requests={"Rotate": {}},
    success={
        200: _success(
            serializers.WebhookEndpointWithSecretObject,
            examples.ENDPOINT_WITH_SECRET,
            "The new secret, shown this once. For 24 hours events carry both signatures.",
        )
    },
    errors=(*_BODY, ErrorCode.not_found),
)
