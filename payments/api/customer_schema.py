"""What the OpenAPI document says about customers and saved payment methods.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from payments.api import customer_examples as examples
from payments.api import customer_serializers as bodies
from payments.api import operation_schema as schema
from payments.api import serializers
from payments.errors import ErrorCode

_CUSTOMER_ID = schema.identifier("customer_id", "The customer's id.", examples.CUSTOMER_ID)
_METHOD_ID = schema.identifier(
    "payment_method_id", "The saved payment method's id.", examples.METHOD_ID
)
_ONCE = (*schema.BODY, *schema.ONCE)
_TAGS = ("Customers", "Payment methods")
_UNKNOWN = (
    "Nobody knows yet whether the provider has done it. The outcome comes by webhook; the same "
    "Idempotency-Key asks again."
)

create_customer = schema.operation(
    operation_id="createCustomer",
    summary="Create a customer",
    tag=_TAGS[0],
    request=bodies.CreateCustomerBody,
    requests={"With a reference of your own": examples.CREATE_CUSTOMER},
    parameters=[schema.IDEMPOTENCY_KEY],
    success={201: schema.success(bodies.CustomerObject, examples.CUSTOMER, "The customer.")},
    errors=(*_ONCE, ErrorCode.merchant_reference_taken),
)
list_customers = schema.operation(
    operation_id="listCustomers",
    summary="List customers",
    tag=_TAGS[0],
    parameters=[
        *schema.PAGE,
        schema.query("email", "Only with this address; case does not matter."),
        schema.query("name", "Only with this name, written out; case does not matter."),
        schema.query("merchant_reference", "Only with your reference."),
    ],
    success={
        200: schema.success(
            schema.list_of(bodies.CustomerObject, "CustomerList"),
            examples.CUSTOMER_LIST,
            "A page, newest first.",
        )
    },
    errors=schema.QUERY,
)
retrieve_customer = schema.operation(
    operation_id="retrieveCustomer",
    summary="Retrieve a customer",
    tag=_TAGS[0],
    parameters=[_CUSTOMER_ID],
    success={200: schema.success(bodies.CustomerObject, examples.CUSTOMER, "The customer.")},
    errors=(*schema.QUERY, ErrorCode.not_found),
)
update_customer = schema.operation(
    operation_id="updateCustomer",
    summary="Change a customer",
    tag=_TAGS[0],
    request=bodies.UpdateCustomerBody,
    requests={"New address": {"email": "dana@example.com"}},
    parameters=[schema.IDEMPOTENCY_KEY, _CUSTOMER_ID],
    success={200: schema.success(bodies.CustomerObject, examples.CUSTOMER, "As it is now.")},
    errors=(*_ONCE, ErrorCode.not_found, ErrorCode.merchant_reference_taken),
)
delete_customer = schema.operation(
    operation_id="deleteCustomer",
    summary="Delete a customer",
    tag=_TAGS[0],
    parameters=[_CUSTOMER_ID],
    success={
        200: schema.success(
            serializers.DeletedObject,
            examples.DELETED_CUSTOMER,
            "Personal data is erased, payment methods are removed.",
        )
    },
    errors=(ErrorCode.not_found,),
)
save_payment_method = schema.operation(
    operation_id="savePaymentMethod",
    summary="Save a payment method",
    tag=_TAGS[1],
    request=bodies.SavePaymentMethodBody,
    requests={"Card": examples.SAVE_CARD, "Bank debit": examples.SAVE_BANK_DEBIT},
    parameters=[schema.IDEMPOTENCY_KEY, _CUSTOMER_ID],
    success={
        201: schema.success(bodies.PaymentMethodObject, examples.METHOD, "It is saved."),
        202: schema.success(bodies.PaymentMethodObject, examples.PENDING_METHOD, _UNKNOWN),
    },
    errors=(
        *_ONCE,
        ErrorCode.not_found,
        ErrorCode.provider_account_missing,
        ErrorCode.operation_unsupported,
        ErrorCode.payment_method_refused,
        ErrorCode.provider_rejected,
    ),
)
list_payment_methods = schema.operation(
    operation_id="listPaymentMethods",
    summary="List a customer's payment methods",
    tag=_TAGS[1],
    parameters=[_CUSTOMER_ID, *schema.PAGE],
    success={
        200: schema.success(
            schema.list_of(bodies.PaymentMethodObject, "PaymentMethodList"),
            examples.METHOD_LIST,
            "A page, newest first.",
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
retrieve_payment_method = schema.operation(
    operation_id="retrievePaymentMethod",
    summary="Retrieve a saved payment method",
    tag=_TAGS[1],
    parameters=[_METHOD_ID],
    success={
        200: schema.success(bodies.PaymentMethodObject, examples.METHOD, "The payment method.")
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
remove_payment_method = schema.operation(
    operation_id="removePaymentMethod",
    summary="Remove a saved payment method",
    tag=_TAGS[1],
    request=serializers.NoParametersBody,
    requests={"Remove": {}},
    parameters=[schema.IDEMPOTENCY_KEY, _METHOD_ID],
    success={
        200: schema.success(
            bodies.PaymentMethodObject,
            examples.REMOVED_METHOD,
            "It is removed, and its mandate revoked.",
        ),
        202: schema.success(bodies.PaymentMethodObject, examples.REMOVED_METHOD, _UNKNOWN),
    },
    errors=(*_ONCE, ErrorCode.not_found, ErrorCode.operation_in_flight),
)
