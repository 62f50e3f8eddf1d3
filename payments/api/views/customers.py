"""Customers and their saved payment methods over HTTP."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from audit import encryption
from audit.log import current_context
from payments.access import customer_for, method_for
from payments.actions.customers import delete_customer
from payments.api import customer_schema as schema
from payments.api.authentication import Caller, caller_of
from payments.api.customer_serializers import (
    PERSONAL,
    CreateCustomerBody,
    SavePaymentMethodBody,
    UpdateCustomerBody,
)
from payments.api.fields import validated
from payments.api.once import answer_once, clock
from payments.api.pagination import page_of, read_query
from payments.api.serializers import NoParametersBody
from payments.api.views.base import SecretKeyView
from payments.customer_representation import (
    customer_object,
    mandate_of,
    payment_method_object,
    with_personal_data,
)
from payments.models import Customer, PaymentMethod

LIST_FILTERS = ("email", "name", "merchant_reference")


class CustomerList(SecretKeyView):
    """`/v1/customers`"""

    resource = "customers"

    @schema.create_customer
    def post(self, request: Request) -> Response:
        """Create a customer."""
        values = validated(CreateCustomerBody, request.data)
        return _answer(request, "customers.create", values)

    @schema.list_customers
    def get(self, request: Request) -> Response:
        """List customers, newest first; deleted ones are not in it."""
        page, filters = read_query(request.query_params, filters=LIST_FILTERS)
        rows = _customers_of(caller_of(request), filters)
        return Response(page_of(rows, page, represent=_represent))


class CustomerDetail(SecretKeyView):
    """`/v1/customers/{id}`"""

    resource = "customers"

    @schema.retrieve_customer
    def get(self, request: Request, customer_id: str) -> Response:
        """Retrieve a customer."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        return Response(_represent(customer_for(caller.merchant, caller.livemode, customer_id)))

    @schema.update_customer
    def post(self, request: Request, customer_id: str) -> Response:
        """Change a customer; what is left out stays."""
        values = validated(UpdateCustomerBody, request.data)
        _check_customer(request, customer_id)
        return _answer(request, "customers.update", {**values, "customer": customer_id})

    @schema.delete_customer
    def delete(self, request: Request, customer_id: str) -> Response:
        """Erase a customer's personal data and remove their payment methods."""
        caller = caller_of(request)
        delete_customer(
            merchant=caller.merchant,
            livemode=caller.livemode,
            customer_id=customer_id,
            request_id=current_context().request_id,
            now=clock(),
        )
        return Response({"id": customer_id, "object": "customer", "deleted": True})


class CustomerPaymentMethodList(SecretKeyView):
    """`/v1/customers/{id}/payment_methods`"""

    resource = "payment_methods"

    @schema.save_payment_method
    def post(self, request: Request, customer_id: str) -> Response:
        """Save a provider's token for later payments."""
        values = validated(SavePaymentMethodBody, request.data)
        _check_customer(request, customer_id)
        return _answer(request, "payment_methods.save", {**values, "customer": customer_id})

    @schema.list_payment_methods
    def get(self, request: Request, customer_id: str) -> Response:
        """List a customer's payment methods, newest first."""
        page, _ = read_query(request.query_params)
        caller = caller_of(request)
        customer = customer_for(caller.merchant, caller.livemode, customer_id)
        rows = customer.methods.select_related("customer", "provider_account", "mandate")
        return Response(page_of(rows, page, represent=_represent_method))


class PaymentMethodDetail(SecretKeyView):
    """`/v1/payment_methods/{id}`"""

    resource = "payment_methods"

    @schema.retrieve_payment_method
    def get(self, request: Request, payment_method_id: str) -> Response:
        """Retrieve a saved payment method."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        method = method_for(caller.merchant, caller.livemode, payment_method_id)
        return Response(payment_method_object(method, mandate_of(method)))


class PaymentMethodRemove(SecretKeyView):
    """`/v1/payment_methods/{id}/remove`"""

    resource = "payment_methods"

    @schema.remove_payment_method
    def post(self, request: Request, payment_method_id: str) -> Response:
        """Remove a saved payment method, here and at the provider."""
        validated(NoParametersBody, request.data)
        caller = caller_of(request)
        # Looked up before the key is claimed: an address without a method leaves no key behind.
        method_for(caller.merchant, caller.livemode, payment_method_id)
        return _answer(request, "payment_methods.remove", {"payment_method": payment_method_id})


def _answer(request: Request, operation: str, values: dict[str, Any]) -> Response:
    personal = {name: value for name, value in values.items() if name in PERSONAL}
    parameters = {name: value for name, value in values.items() if name not in PERSONAL}
    return answer_once(request, operation=operation, parameters=parameters, personal=personal)


def _check_customer(request: Request, customer_id: str) -> None:
    """Looked up before the key is claimed: an address without a customer leaves no key behind."""
    caller = caller_of(request)
    customer_for(caller.merchant, caller.livemode, customer_id)


def _customers_of(caller: Caller, filters: dict[str, str]) -> QuerySet[Customer]:
    rows = Customer.objects.filter(
        merchant=caller.merchant, livemode=caller.livemode, deleted_at__isnull=True
    )
    if "email" in filters:
        form = Customer.email_form(filters["email"])
        rows = rows.filter(
            email_index__in=encryption.blind_index_candidates(form, purpose=Customer.EMAIL_PURPOSE)
        )
    if "name" in filters:
        form = Customer.name_form(filters["name"])
        rows = rows.filter(
            name_index__in=encryption.blind_index_candidates(form, purpose=Customer.NAME_PURPOSE)
        )
    if "merchant_reference" in filters:
        rows = rows.filter(merchant_reference=filters["merchant_reference"])
    return rows


def _represent(customer: Customer) -> dict[str, Any]:
    return with_personal_data(customer_object(customer), customer)


def _represent_method(method: PaymentMethod) -> dict[str, Any]:
    return payment_method_object(method, getattr(method, "mandate", None))
