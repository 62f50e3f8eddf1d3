"""Webhook endpoints over HTTP: where a merchant wants to be told, and with which secret.

Mental model: webhooks.endpoints does and audits everything. The two requests that make a secret
take an Idempotency-Key; the secret is in the first answer alone, see
payments.actions.webhook_endpoints.
"""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from payments.actions.webhook_endpoints import refusals
from payments.api import schema
from payments.api.authentication import caller_of
from payments.api.fields import validated
from payments.api.once import answer_once, clock
from payments.api.pagination import list_object, read_query
from payments.api.serializers import (
    CreateWebhookEndpointBody,
    RotateWebhookSecretBody,
    UpdateWebhookEndpointBody,
)
from payments.api.views.base import SecretKeyView
from payments.representation import webhook_endpoint_object
from webhooks import endpoints


class WebhookEndpointList(SecretKeyView):
    """`/v1/webhook_endpoints`"""

    resource = "webhook_endpoints"

    @schema.create_webhook_endpoint
    def post(self, request: Request) -> Response:
        """Add an endpoint; its secret is in this answer and in no other."""
        values = validated(CreateWebhookEndpointBody, request.data)
        return answer_once(request, operation="webhook_endpoints.create", parameters=values)

    @schema.list_webhook_endpoints
    def get(self, request: Request) -> Response:
        """List endpoints, newest first."""
        page, _ = read_query(request.query_params)
        found = endpoints.list_for(
            **_owner(request),
            limit=page.limit,
            starting_after=page.starting_after,
            ending_before=page.ending_before,
            now=clock(),
        )
        data = [webhook_endpoint_object(endpoint) for endpoint in found.data]
        return Response(list_object(data, has_more=found.has_more))


class WebhookEndpointDetail(SecretKeyView):
    """`/v1/webhook_endpoints/{id}`"""

    resource = "webhook_endpoints"

    @schema.retrieve_webhook_endpoint
    def get(self, request: Request, endpoint_id: str) -> Response:
        """Retrieve an endpoint."""
        read_query(request.query_params, paged=False)
        with refusals():
            endpoint = endpoints.get(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return Response(webhook_endpoint_object(endpoint))

    @schema.update_webhook_endpoint
    def patch(self, request: Request, endpoint_id: str) -> Response:
        """Change an endpoint; what is left out stays."""
        values = validated(UpdateWebhookEndpointBody, request.data)
        with refusals():
            endpoint = endpoints.update(
                **_owner(request), endpoint_id=endpoint_id, **values, now=clock()
            )
        return Response(webhook_endpoint_object(endpoint))

    @schema.delete_webhook_endpoint
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Delete an endpoint; nothing more is sent there."""
        with refusals():
            endpoints.delete(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return Response({"id": endpoint_id, "object": "webhook_endpoint", "deleted": True})


class WebhookEndpointSecret(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/rotate_secret`"""

    resource = "webhook_endpoints"

    @schema.rotate_webhook_secret
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Make a new secret; the old one signs too until the overlap ends."""
        values = validated(RotateWebhookSecretBody, request.data)
        # Looked up before the key is claimed: an address without an endpoint leaves no key behind.
        with refusals():
            endpoints.get(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return answer_once(
            request,
            operation="webhook_endpoints.rotate_secret",
            parameters={"endpoint": endpoint_id, **values},
        )


def _owner(request: Request) -> dict[str, Any]:
    caller = caller_of(request)
    return {"owner": caller.merchant.pk, "livemode": caller.livemode}
