"""Refunds over HTTP: give money back, list, retrieve."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import payment_for, refund_for
from payments.api import refund_schema as schema
from payments.api.authentication import Caller, caller_of
from payments.api.fields import validated
from payments.api.once import answer_once
from payments.api.pagination import identifier, one_of, page_of, read_query, within
from payments.api.part_serializers import CreateRefundBody, RefundBody
from payments.api.views.base import SecretKeyView
from payments.api.views.payments import answer_for_payment
from payments.errors import FlorinError
from payments.idempotency import validate_key
from payments.machines import RefundState
from payments.models import Refund
from payments.representation import refund_object

LIST_FILTERS = ("payment", "status", "created_from", "created_until")


class RefundList(SecretKeyView):
    """`/v1/refunds`"""

    resource = "refunds"

    @schema.create_refund
    def post(self, request: Request) -> Response:
        """Refund a payment, in full or in part."""
        parameters = validated(CreateRefundBody, request.data)
        caller = caller_of(request)
        validate_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        # Looked up before the key is claimed: a refund of nothing leaves no key behind.
        try:
            payment_for(caller.merchant, caller.livemode, parameters["payment"])
        except FlorinError as absent:
            absent.param = "payment"
            raise
        return answer_once(request, operation="refunds.create", parameters=parameters)

    @schema.list_refunds
    def get(self, request: Request) -> Response:
        """List refunds, newest first."""
        page, filters = read_query(request.query_params, filters=LIST_FILTERS)
        rows = _refunds_of(caller_of(request), filters)
        return Response(page_of(rows, page, represent=refund_object))


class RefundDetail(SecretKeyView):
    """`/v1/refunds/{id}`"""

    resource = "refunds"

    @schema.retrieve_refund
    def get(self, request: Request, refund_id: str) -> Response:
        """Retrieve a refund."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        return Response(refund_object(refund_for(caller.merchant, caller.livemode, refund_id)))


class PaymentRefunds(SecretKeyView):
    """`/v1/payments/{id}/refunds`"""

    resource = "refunds"

    @schema.create_payment_refund
    def post(self, request: Request, payment_id: str) -> Response:
        """Refund this payment, in full or in part."""
        return answer_for_payment(request, payment_id, body=RefundBody, operation="refunds.create")

    @schema.list_payment_refunds
    def get(self, request: Request, payment_id: str) -> Response:
        """List this payment's refunds, newest first."""
        page, _ = read_query(request.query_params)
        caller = caller_of(request)
        payment = payment_for(caller.merchant, caller.livemode, payment_id)
        return Response(page_of(payment.refunds.all(), page, represent=refund_object))


def _refunds_of(caller: Caller, filters: dict[str, str]) -> QuerySet[Refund]:
    rows = Refund.objects.filter(
        payment__merchant=caller.merchant, payment__livemode=caller.livemode
    )
    if "payment" in filters:
        rows = rows.filter(payment_id=identifier("payment", filters["payment"]))
    status = one_of(filters, "status", (state.value for state in RefundState))
    if status is not None:
        rows = rows.filter(state=status)
    return within(rows, filters, prefix="created", column="created_at")
