"""What every operation of the OpenAPI document is made of: parameters, errors, answers.

Mental model: an operation is a decorator that a view wears. The decorators stand per kind of object
in the modules named `..._schema`, next to their siblings, so that one look shows whether they
agree: same headers, same errors, one example each way. Errors come from the table of error codes,
with one example per code, so that no status can be documented that cannot happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
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

EVERY_ROUTE = (
    ErrorCode.authentication_required,
    ErrorCode.api_key_invalid,
    ErrorCode.merchant_suspended,
    ErrorCode.rate_limited,
    ErrorCode.card_data_refused,
    ErrorCode.internal_error,
    ErrorCode.service_unavailable,
)
BODY = (
    ErrorCode.json_invalid,
    ErrorCode.parameter_invalid,
    ErrorCode.parameter_unknown,
    ErrorCode.unsupported_media_type,
    ErrorCode.body_too_large,
)
QUERY = (ErrorCode.parameter_invalid, ErrorCode.parameter_unknown)
ONCE = (
    ErrorCode.idempotency_key_missing,
    ErrorCode.idempotency_key_invalid,
    ErrorCode.idempotency_key_in_use,
    ErrorCode.idempotency_key_reused,
)
SAVED_METHOD = (
    ErrorCode.payment_method_unusable,
    ErrorCode.mandate_missing,
    ErrorCode.operation_unsupported,
)
VERB = (ErrorCode.not_found, ErrorCode.payment_state_conflict, ErrorCode.operation_in_flight)

IDEMPOTENCY_KEY = OpenApiParameter(
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
CLIENT_SECRET = OpenApiParameter(
    name="Client-Secret",
    type=OpenApiTypes.STR,
    location=OpenApiParameter.HEADER,
    required=True,
    description="The payment's `client_secret`. Never in the address.",
    examples=[OpenApiExample("Secret", value=f"{examples.PAYMENT_ID}_secret_9f2c41...")],
)
IDENTIFIER = {"type": "string", "pattern": "^[a-z]{1,8}_[0-9a-z]{1,30}$"}


def identifier(name: str, words: str, example: str) -> OpenApiParameter:
    """An id in the address."""
    return OpenApiParameter(
        name=name,
        type=IDENTIFIER,
        location=OpenApiParameter.PATH,
        description=words,
        examples=[OpenApiExample("Id", value=example)],
    )


PAYMENT_ID = identifier("payment_id", "The payment's id.", examples.PAYMENT_ID)


def query(name: str, words: str, schema: dict[str, Any] | None = None) -> OpenApiParameter:
    """A filter, or a place in a list."""
    return OpenApiParameter(
        name=name,
        type=schema or {"type": "string", "minLength": 1},
        location=OpenApiParameter.QUERY,
        description=words,
    )


PAGE = [
    query(
        "limit",
        f"How many, {LIMIT_DEFAULT} unless told.",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    query("starting_after", "The last id of the page before: older ones follow.", IDENTIFIER),
    query("ending_before", "The first id of the page after: newer ones.", IDENTIFIER),
]
MOMENT = {"type": "string", "format": "date-time"}
CREATED = [
    query("created_from", "Created at this moment or later.", MOMENT),
    query("created_until", "Created before this moment.", MOMENT),
]
OF_PAYMENT = query("payment", "Only of this payment.", IDENTIFIER)
UNKNOWN = (
    "The provider has not decided, or nobody knows yet whether it has. The outcome comes by "
    "webhook; the same Idempotency-Key asks again."
)


def choice(name: str, words: str, values: Iterable[str]) -> OpenApiParameter:
    """A filter that takes one of a few words."""
    return query(name, words, {"type": "string", "enum": list(values)})


@cache
def list_of(item: type[fields.Serializer[Any]], name: str) -> Any:
    """The list object of such items; the same one wherever it is named."""
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


def success(schema: Any, example: dict[str, Any], words: str) -> OpenApiResponse:
    """An answer with its example."""
    return OpenApiResponse(
        response=schema,
        description=words,
        examples=[OpenApiExample("Answer", value=example, response_only=True)],
    )


def operation(
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
    """The decorator of one operation; `errors` beside those that every route has."""
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
        responses={**success, **_errors((*EVERY_ROUTE, *key_errors, *errors))},
        examples=[
            OpenApiExample(name, value=value, request_only=True)
            for name, value in (requests or {}).items()
        ],
        auth=[{"publishableKey": []} if publishable else {"secretKey": []}],  # type: ignore[list-item]
    )
    return decorator


def money_operation(
    *,
    operation_id: str,
    summary: str,
    request: Any,
    requests: dict[str, dict[str, Any]],
    answer: dict[str, Any],
    unfinished: dict[str, Any],
    errors: Sequence[ErrorCode],
    schema: Any,
    tag: str,
    status: int = 200,
    done: str = "Done; `status` says where it stands.",
    parameters: Sequence[OpenApiParameter] = (),
) -> Callable[..., Any]:
    """An operation that asks a provider: with a key, and an answer while nobody knows."""
    return operation(
        operation_id=operation_id,
        summary=summary,
        tag=tag,
        request=request,
        requests=requests,
        parameters=[IDEMPOTENCY_KEY, *parameters],
        success={
            status: success(schema, answer, done),
            202: success(schema, unfinished, UNKNOWN),
        },
        errors=(*BODY, *ONCE, ErrorCode.provider_rejected, *errors),
    )


def list_operation(
    *,
    operation_id: str,
    summary: str,
    tag: str,
    item: type[fields.Serializer[Any]],
    name: str,
    example: dict[str, Any],
    parameters: Sequence[OpenApiParameter] = (),
    errors: Sequence[ErrorCode] = (),
) -> Callable[..., Any]:
    """A page of objects, newest first."""
    page = success(list_of(item, name), list_example(example), "A page, newest first.")
    return operation(
        operation_id=operation_id,
        summary=summary,
        tag=tag,
        parameters=[*parameters, *PAGE],
        success={200: page},
        errors=(*QUERY, *errors),
    )


def list_example(example: dict[str, Any]) -> dict[str, Any]:
    """A page with one object."""
    return {"object": "list", "data": [example], "has_more": False}
