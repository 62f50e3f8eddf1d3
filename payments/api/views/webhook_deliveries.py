"""Deliveries to an endpoint over HTTP: what became of each, and sending again.

Mental model: webhooks.redelivery does and audits everything; each POST takes an Idempotency-Key
and first looks the address up, so that one without an endpoint leaves no key behind.
"""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from payments.actions.webhook_deliveries import delivery_refusals
from payments.api import delivery_schema as schema
from payments.api.authentication import caller_of
from payments.api.delivery_serializers import RecoverDeliveriesBody
from payments.api.fields import validated
from payments.api.once import answer_once, clock
from payments.api.pagination import list_object, moment, one_of, read_query
from payments.api.serializers import NoParametersBody
from payments.api.views.base import SecretKeyView
from payments.delivery_representation import (
    webhook_delivery_object,
    webhook_delivery_with_attempts,
)
from webhooks import endpoints, redelivery


class WebhookDeliveryList(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/deliveries`"""

    resource = "webhook_endpoints"

    @schema.list_deliveries
    def get(self, request: Request, endpoint_id: str) -> Response:
        """List the deliveries to an endpoint, newest first."""
        page, filters = read_query(request.query_params, filters=("status",))
        with delivery_refusals():
            found = redelivery.list_for(
                **_owner(request),
                endpoint_id=endpoint_id,
                status=one_of(filters, "status", redelivery.Status.values) or "",
                limit=page.limit,
                starting_after=page.starting_after,
                ending_before=page.ending_before,
            )
        data = [webhook_delivery_object(row) for row in found.data]
        return Response(list_object(data, has_more=found.has_more))


class WebhookDeliveryDetail(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/deliveries/{id}`"""

    resource = "webhook_endpoints"

    @schema.retrieve_delivery
    def get(self, request: Request, endpoint_id: str, delivery_id: str) -> Response:
        """Retrieve a delivery with its attempts."""
        read_query(request.query_params, paged=False)
        with delivery_refusals():
            row, attempts = redelivery.get(
                **_owner(request), endpoint_id=endpoint_id, delivery_id=delivery_id
            )
        return Response(webhook_delivery_with_attempts(row, attempts))


class WebhookDeliveryResend(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/deliveries/{id}/resend`"""

    resource = "webhook_endpoints"

    @schema.resend_delivery
    def post(self, request: Request, endpoint_id: str, delivery_id: str) -> Response:
        """Send a delivery again, under the same webhook-id."""
        validated(NoParametersBody, request.data)
        with delivery_refusals():
            redelivery.get(**_owner(request), endpoint_id=endpoint_id, delivery_id=delivery_id)
        return answer_once(
            request,
            operation="webhook_endpoints.resend",
            parameters={"endpoint": endpoint_id, "delivery": delivery_id},
        )


class WebhookEndpointRecover(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/recover`"""

    resource = "webhook_endpoints"

    @schema.recover_deliveries
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send everything again that failed, or was never promised, since a moment."""
        values = validated(RecoverDeliveriesBody, request.data)
        since = moment("since", values["since"])
        with delivery_refusals():
            endpoints.get(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return answer_once(
            request,
            operation="webhook_endpoints.recover",
            parameters={
                "endpoint": endpoint_id,
                "since": since.isoformat(),
                "include": sorted(set(values["include"])),
            },
        )


class WebhookEndpointTest(SecretKeyView):
    """`/v1/webhook_endpoints/{id}/test`"""

    resource = "webhook_endpoints"

    @schema.send_test_event
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send a test event to this endpoint alone."""
        validated(NoParametersBody, request.data)
        with delivery_refusals():
            endpoints.get(**_owner(request), endpoint_id=endpoint_id, now=clock())
        return answer_once(
            request,
            operation="webhook_endpoints.test",
            parameters={"endpoint": endpoint_id},
        )


def _owner(request: Request) -> dict[str, Any]:
    caller = caller_of(request)
    return {"owner": caller.merchant.pk, "livemode": caller.livemode}
