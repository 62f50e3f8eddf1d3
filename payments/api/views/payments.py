"""Payments over HTTP: create, list, retrieve, change, confirm, capture, increment, cancel."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery, prefetch_related_objects
from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import payment_for
from payments.api import expansion
from payments.api import payment_schema as schema
from payments.api.authentication import Caller, caller_of
from payments.api.fields import StrictSerializer, validated
from payments.api.once import answer_once, with_secrets
from payments.api.pagination import one_of, page_of, read_query, within
from payments.api.part_serializers import (
    CapturePaymentBody,
    IncrementAuthorizationBody,
    UpdatePaymentBody,
)
from payments.api.serializers import CancelPaymentBody, ConfirmPaymentBody, CreatePaymentBody
from payments.api.views.base import SecretKeyView
from payments.models import Attempt, Payment
from payments.representation import capture_object, payment_object
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
        caller, query = caller_of(request), request.query_params
        page, filters = read_query(query, filters=LIST_FILTERS, elsewhere=(expansion.PARAMETER,))
        names = expansion.names_to_expand(query, caller)
        rows = _payments_of(caller, filters).prefetch_related(*expansion.lookups(names))

        def represent(payment: Payment) -> dict[str, Any]:
            return expansion.expanded(_represent(payment), payment, names)

        return Response(page_of(rows, page, represent=represent))


class PaymentDetail(SecretKeyView):
    """`/v1/payments/{id}`"""

    resource = "payments"

    @schema.retrieve_payment
    def get(self, request: Request, payment_id: str) -> Response:
        """Retrieve a payment."""
        caller, query = caller_of(request), request.query_params
        read_query(query, paged=False, elsewhere=(expansion.PARAMETER,))
        names = expansion.names_to_expand(query, caller)
        payment = payment_for(caller.merchant, caller.livemode, payment_id)
        prefetch_related_objects([payment], *expansion.lookups(names))
        attempt = payment.attempts.order_by("-number").first()
        shown = expansion.expanded(payment_object(payment, attempt), payment, names)
        return Response(with_secrets(shown, attempt))

    @schema.update_payment
    def post(self, request: Request, payment_id: str) -> Response:
        """Change a payment before it is sent; what is left out stays."""
        return answer_for_payment(
            request, payment_id, body=UpdatePaymentBody, operation="payments.update"
        )


class PaymentCaptures(SecretKeyView):
    """`/v1/payments/{id}/captures`"""

    resource = "payments"

    @schema.list_captures
    def get(self, request: Request, payment_id: str) -> Response:
        """List a payment's captures, newest first."""
        page, _ = read_query(request.query_params)
        caller = caller_of(request)
        payment = payment_for(caller.merchant, caller.livemode, payment_id)
        return Response(page_of(payment.captures.all(), page, represent=capture_object))


def answer_for_payment(
    request: Request, payment_id: str, *, body: type[StrictSerializer], operation: str
) -> Response:
    """Do what a POST asks of one payment: its values, and the payment's id beside them."""
    caller = caller_of(request)
    parameters = validated(body, request.data)
    # Looked up before the key is claimed: an address without a payment leaves no key behind.
    payment_for(caller.merchant, caller.livemode, payment_id)
    return answer_once(
        request, operation=operation, parameters={**parameters, "payment": payment_id}
    )


class PaymentVerb(SecretKeyView):
    """A POST to `/v1/payments/{id}/<verb>`: what the verbs have in common."""

    resource = "payments"

    body: type[StrictSerializer]
    operation: str

    def _answer(self, request: Request, payment_id: str) -> Response:
        return answer_for_payment(request, payment_id, body=self.body, operation=self.operation)


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
        """Capture an authorized payment, in full or in part."""
        return self._answer(request, payment_id)


class PaymentIncrement(PaymentVerb):
    """`/v1/payments/{id}/increment_authorization`"""

    body = IncrementAuthorizationBody
    operation = "payments.increment_authorization"

    @schema.increment_authorization
    def post(self, request: Request, payment_id: str) -> Response:
        """Raise the held amount to a new total, where the provider can."""
        return self._answer(request, payment_id)


class PaymentCancel(PaymentVerb):
    """`/v1/payments/{id}/cancel`"""

    body = CancelPaymentBody
    operation = "payments.cancel"

    @schema.cancel_payment
    def post(self, request: Request, payment_id: str) -> Response:
        """Cancel a payment: release what is held, or take an unsettled capture back where the
        provider can.
        """
        return self._answer(request, payment_id)


def _payments_of(caller: Caller, filters: dict[str, str]) -> QuerySet[Payment]:
    rows = Payment.objects.select_related("provider_account").filter(
        merchant=caller.merchant, livemode=caller.livemode
    )
    status = one_of(filters, "status", (state.value for state in State))
    if status is not None:
        rows = rows.filter(state=status)
    for name in ("currency", "merchant_reference"):
        if name in filters:
            rows = rows.filter(**{name: filters[name]})
    rows = within(rows, filters, prefix="created", column="created_at")
    latest = Attempt.objects.filter(payment=OuterRef("pk")).order_by("-number")
    return rows.annotate(latest_reference=Subquery(latest.values("provider_reference")[:1]))


def _represent(payment: Any) -> dict[str, Any]:
    # A list needs one column of the attempt, so it is joined instead of read row by row.
    attempt = Attempt(provider_reference=payment.latest_reference or "")
    return payment_object(payment, attempt)
