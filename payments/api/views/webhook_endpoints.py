"""Webhook endpoints over HTTP: where a merchant wants to be told, and with which secret.

Mental model: webhooks.endpoints does and audits everything; here its refusals become error
objects. These requests move no money, so they take no Idempotency-Key, and could not: their
answers hold a secret that is shown once and stored nowhere in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.fields import validated
from payments.api.once import clock
from payments.api.pagination import list_object, read_query
from payments.api.serializers import (
    CreateWebhookEndpointBody,
    NoParametersBody,
    UpdateWebhookEndpointBody,
)
from payments.api.views.base import SecretKeyView
from payments.errors import ErrorCode, FlorinError
from payments.representation import timestamp
from webhooks import endpoints


class WebhookEndpointList(SecretKeyView):
    """`/v1/webhook_endpoints`"""

    resource = "webhook_endpoints"

    @schema.create_webhook_endpoint
    def post(self, request: Request) -> Response:
        """Add an endpoint; its secret is in this answer and in no other."""
        values = validated(CreateWebhookEndpointBody, request.data)
        with _refusals():
            endpoint, secret = endpoints.create(**_owner(request), **values, now=clock())
        return _once_only({**_represent(endpoint), "secret": secret}, status=201)

    @schema.list_webhook_endpoints
    def get(self, request: Request) -> Response:
        """List endpoints, newest first."""
        page, _ = read_query(request.query_params)
        found = endpoints.list_for(
            **_owner(request),
            limit=page.limit,
            starting_after=page.starting_after,
            ending_before=page.ending_before,
        )
        data = [_represent(endpoint) for endpoint in found.data]
        return Response(list_object(data, has_more=found.has_more))


class WebhookEndpointDetail(SecretKeyView):
    """`/v1/webhook_endpoints/{id}`"""

    resource = "webhook_endpoints"

    @schema.retrieve_webhook_endpoint
    def get(self, request: Request, endpoint_id: str) -> Response:
        """Retrieve an endpoint."""
        read_query(request.query_params, paged=False)
        with _refusals():
            endpoint = endpoints.get(**_owner(request), endpoint_id=endpoint_id)
        return Response(_represent(endpoint))

    @schema.update_webhook_endpoint
    def patch(self, request: Request, endpoint_id: str) -> Response:
        """Change an endpoint; what is left out stays."""
        values = validated(UpdateWebhookEndpointBody, request.data)
        with _refusals():
            endpoint = endpoints.update(
                **_owner(request), endpoint_id=endpoint_id, **values, now=clock()
            )
        return Response(_represent(endpoint))

    @schema.delete_webhook_endpoint
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Delete an endpoint; nothing more is sent there."""
        with _refusals():
            endpoints.delete(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return Response({"id": endpoint_id, "object": "webhook_endpoint", "deleted": True})


class WebhookEndpointSecret(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/rotate_secret`"""

    resource = "webhook_endpoints"

    @schema.rotate_webhook_secret
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Make a new secret; the old one signs too for 24 hours."""
        validated(NoParametersBody, request.data)
        owner = _owner(request)
        with _refusals():
            secret = endpoints.rotate_secret(**owner, endpoint_id=endpoint_id, now=clock())
            endpoint = endpoints.get(**owner, endpoint_id=endpoint_id)
        return _once_only({**_represent(endpoint), "secret": secret}, status=200)


def _owner(request: Request) -> dict[str, Any]:
    caller = caller_of(request)
    return {"owner": caller.merchant.pk, "livemode": caller.livemode}


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except endpoints.EndpointNotFound as error:
        raise FlorinError(ErrorCode.not_found, str(error), param="id") from None
    except endpoints.EndpointInvalid as error:
        of_url = error.field == "url"
        code = ErrorCode.endpoint_url_invalid if of_url else ErrorCode.parameter_invalid
        raise FlorinError(code, str(error), param=error.field) from None


def _once_only(body: dict[str, Any], *, status: int) -> Response:
    response = Response(body, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _represent(endpoint: endpoints.EndpointView) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "livemode": endpoint.livemode,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason or None,
        "api_version": endpoint.api_version,
        "consecutive_failures": endpoint.consecutive_failures,
        "last_success_at": timestamp(endpoint.last_success_at),
        "created_at": timestamp(endpoint.created_at),
        "updated_at": timestamp(endpoint.updated_at),
    }
