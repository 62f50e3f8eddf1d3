"""Payments over HTTP: create, list, retrieve, confirm, capture, cancel."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Subquery
from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import payment_for
from payments.api import schema
from payments.api.authentication import Caller, caller_of
from payments.api.fields import StrictSerializer, validated
from payments.api.once import answer_once, with_secrets
from payments.api.pagination import moment, page_of, read_query
from payments.api.serializers import (
    CancelPaymentBody,
    CapturePaymentBody,
    ConfirmPaymentBody,
    CreatePaymentBody,
)
from payments.api.views.base import SecretKeyView
from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, Payment
from payments.representation import payment_object
from payments.states import State

LIST_FILTERS = ("status", "currency", "merchant_reference", "created_from", "created_until")


class PaymentList(SecretKeyView):
    """`/v1/payments`"""

    resource = "payments"
    begins_payments = frozenset({"POST"})

    @schema.create_payment
    def post(self, request: Request) -> Response:
        """Create a payment."""
        parameters = validated(CreatePaymentBody, request.data)
        return answer_once(request, operation="payments.create", parameters=parameters)

    @schema.list_payments
    def get(self, request: Request) -> Response:
        """List payments, newest first."""
        page, filters = read_query(request.query_params, filters=LIST_FILTERS)
        rows = _payments_of(caller_of(request), filters)
        return Response(page_of(rows, page, represent=_represent))


class PaymentDetail(SecretKeyView):
    """`/v1/payments/{id}`"""

    resource = "payments"

    @schema.retrieve_payment
    def get(self, request: Request, payment_id: str) -> Response:
        """Retrieve a payment."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        payment = payment_for(caller.merchant, caller.livemode, payment_id)
        attempt = payment.attempts.order_by("-number").first()
        return Response(with_secrets(payment_object(payment, attempt), attempt))


class PaymentVerb(SecretKeyView):
    """A POST to `/v1/payments/{id}/<verb>`: what the verbs have in common."""

    resource = "payments"

    body: type[StrictSerializer]
    operation: str

    def _answer(self, request: Request, payment_id: str) -> Response:
        caller = caller_of(request)
        parameters = validated(self.body, request.data)
        # Looked up before the key is claimed: an address without a payment leaves no key behind.
        payment_for(caller.merchant, caller.livemode, payment_id)
        return answer_once(
            request,
            operation=self.operation,
            parameters={**parameters, "payment": payment_id},
        )


class PaymentConfirm(PaymentVerb):
    """`/v1/payments/{id}/confirm`"""

    body = ConfirmPaymentBody
    operation = "payments.confirm"

    @schema.confirm_payment
    def post(self, request: Request, payment_id: str) -> Response:
        """Confirm a payment from your server."""
        return self._answer(request, payment_id)


class PaymentCapture(PaymentVerb):
    """`/v1/payments/{id}/capture`"""

    body = CapturePaymentBody
    operation = "payments.capture"

    @schema.capture_payment
    def post(self, request: Request, payment_id: str) -> Response:
        """Capture an authorized payment, in full."""
        return self._answer(request, payment_id)


class PaymentCancel(PaymentVerb):
    """`/v1/payments/{id}/cancel`"""

    body = CancelPaymentBody
    operation = "payments.cancel"

    @schema.cancel_payment
    def post(self, request: Request, payment_id: str) -> Response:
        """Cancel a payment whose money is not taken."""
        return self._answer(request, payment_id)


def _payments_of(caller: Caller, filters: dict[str, str]) -> Any:
    rows = Payment.objects.select_related("provider_account").filter(
        merchant=caller.merchant, livemode=caller.livemode
    )
    status = filters.get("status")
    if status is not None:
        if status not in {state.value for state in State}:
            known = ", ".join(state.value for state in State)
            raise FlorinError(
                ErrorCode.parameter_invalid, f"status is one of: {known}.", param="status"
            )
        rows = rows.filter(state=status)
    if "currency" in filters:
        rows = rows.filter(currency=filters["currency"])
    if "merchant_reference" in filters:
        rows = rows.filter(merchant_reference=filters["merchant_reference"])
    if "created_from" in filters:
        rows = rows.filter(created_at__gte=moment("created_from", filters["created_from"]))
    if "created_until" in filters:
        rows = rows.filter(created_at__lt=moment("created_until", filters["created_until"]))
    latest = Attempt.objects.filter(payment=OuterRef("pk")).order_by("-number")
    return rows.annotate(latest_reference=Subquery(latest.values("provider_reference")[:1]))


def _represent(payment: Any) -> dict[str, Any]:
    # A list needs one column of the attempt, so it is joined instead of read row by row.
    attempt = Attempt(provider_reference=payment.latest_reference or "")
    return payment_object(payment, attempt)
