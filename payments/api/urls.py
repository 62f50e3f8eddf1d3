"""The addresses of the merchant API, the providers' webhooks, health and the documentation.

Identifiers in addresses are matched strictly: what cannot be an id is the same 404 as an id that
does not exist, and never reaches the database.
"""

from __future__ import annotations

from django.urls import path, register_converter

from payments.api import errors, health, metrics, openapi, provider_events, reference
from payments.api.views.balance import BalanceDetail
from payments.api.views.client import ClientPayment, ClientPaymentReturn
from payments.api.views.customers import (
    CustomerDetail,
    CustomerList,
    CustomerPaymentMethodList,
    PaymentMethodDetail,
    PaymentMethodRemove,
)
from payments.api.views.disputes import (
    DisputeAccept,
    DisputeDetail,
    DisputeEvidence,
    DisputeFiles,
    DisputeList,
)
from payments.api.views.events import EventDetail, EventList
from payments.api.views.payments import (
    PaymentCancel,
    PaymentCapture,
    PaymentCaptures,
    PaymentConfirm,
    PaymentDetail,
    PaymentIncrement,
    PaymentList,
)
from payments.api.views.provider_accounts import ProviderAccountDetail, ProviderAccountList
from payments.api.views.refunds import PaymentRefunds, RefundDetail, RefundList
from payments.api.views.review_cases import ReviewCaseDetail, ReviewCaseList
from payments.api.views.webhook_deliveries import (
    WebhookDeliveryDetail,
    WebhookDeliveryList,
    WebhookDeliveryResend,
    WebhookEndpointRecover,
    WebhookEndpointTest,
)
from payments.api.views.webhook_endpoints import (
    WebhookEndpointDetail,
    WebhookEndpointList,
    WebhookEndpointSecret,
)


class IdentifierConverter:
    """A prefixed id as Florin makes them."""

    regex = "[a-z]{1,8}_[0-9a-z]{1,30}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class ProviderConverter(IdentifierConverter):
    """The code of a payment provider."""

    regex = "[a-z0-9_]{1,32}"


class TokenConverter(IdentifierConverter):
    """The unguessable part of the address a provider sends its webhooks to."""

    regex = "[A-Za-z0-9_-]{1,64}"


register_converter(IdentifierConverter, "id")
register_converter(ProviderConverter, "provider")
register_converter(TokenConverter, "token")

urlpatterns = [
    # First, because it is asked most.
    path(
        "webhooks/<provider:provider_code>/<token:endpoint_token>",
        provider_events.receive_provider_event,
        name="provider-events",
    ),
    path("v1/payments", PaymentList.as_view(), name="payments"),
    path("v1/payments/<id:payment_id>", PaymentDetail.as_view(), name="payment"),
    path("v1/payments/<id:payment_id>/confirm", PaymentConfirm.as_view()),
    path("v1/payments/<id:payment_id>/capture", PaymentCapture.as_view()),
    path("v1/payments/<id:payment_id>/captures", PaymentCaptures.as_view()),
    path("v1/payments/<id:payment_id>/increment_authorization", PaymentIncrement.as_view()),
    path("v1/payments/<id:payment_id>/cancel", PaymentCancel.as_view()),
    path("v1/payments/<id:payment_id>/refunds", PaymentRefunds.as_view()),
    path("v1/refunds", RefundList.as_view()),
    path("v1/refunds/<id:refund_id>", RefundDetail.as_view()),
    path("v1/disputes", DisputeList.as_view()),
    path("v1/disputes/<id:dispute_id>", DisputeDetail.as_view()),
    path("v1/disputes/<id:dispute_id>/evidence", DisputeEvidence.as_view()),
    path("v1/disputes/<id:dispute_id>/files", DisputeFiles.as_view()),
    path("v1/disputes/<id:dispute_id>/accept", DisputeAccept.as_view()),
    path("v1/review_cases", ReviewCaseList.as_view()),
    path("v1/review_cases/<id:case_id>", ReviewCaseDetail.as_view()),
    path("v1/customers", CustomerList.as_view(), name="customers"),
    path("v1/customers/<id:customer_id>", CustomerDetail.as_view(), name="customer"),
    path("v1/customers/<id:customer_id>/payment_methods", CustomerPaymentMethodList.as_view()),
    path("v1/payment_methods/<id:payment_method_id>", PaymentMethodDetail.as_view()),
    path("v1/payment_methods/<id:payment_method_id>/remove", PaymentMethodRemove.as_view()),
    path("v1/client/payments/<id:payment_id>", ClientPayment.as_view()),
    path("v1/client/payments/<id:payment_id>/return", ClientPaymentReturn.as_view()),
    path("v1/events", EventList.as_view()),
    path("v1/events/<id:event_id>", EventDetail.as_view()),
    path("v1/balance", BalanceDetail.as_view()),
    path("v1/provider_accounts", ProviderAccountList.as_view()),
    path("v1/provider_accounts/<id:account_id>", ProviderAccountDetail.as_view()),
    path("v1/webhook_endpoints", WebhookEndpointList.as_view()),
    path("v1/webhook_endpoints/<id:endpoint_id>", WebhookEndpointDetail.as_view()),
    path("v1/webhook_endpoints/<id:endpoint_id>/rotate_secret", WebhookEndpointSecret.as_view()),
    path("v1/webhook_endpoints/<id:endpoint_id>/test", WebhookEndpointTest.as_view()),
    path("v1/webhook_endpoints/<id:endpoint_id>/recover", WebhookEndpointRecover.as_view()),
    path("v1/webhook_endpoints/<id:endpoint_id>/deliveries", WebhookDeliveryList.as_view()),
    path(
        "v1/webhook_endpoints/<id:endpoint_id>/deliveries/<id:delivery_id>",
        WebhookDeliveryDetail.as_view(),
    ),
    path(
        "v1/webhook_endpoints/<id:endpoint_id>/deliveries/<id:delivery_id>/resend",
        WebhookDeliveryResend.as_view(),
    ),
    path("v1/openapi.json", openapi.document, name="openapi"),
    path("docs/api", reference.reference, name="api-reference"),
    path("docs/errors", errors.errors_page, name="errors"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
