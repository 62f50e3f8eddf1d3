"""What the OpenAPI document says about payments, their captures, and the payer's page.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from functools import partial

from drf_spectacular.utils import OpenApiParameter

from payments.api import examples, part_examples, part_serializers, serializers
from payments.api import operation_schema as schema
from payments.api.expansion import EXPANDABLE
from payments.errors import ErrorCode
from payments.states import State

_TAG = "Payments"
_PROVIDER = (ErrorCode.payment_declined,)
_EXPAND = OpenApiParameter(
    name="expand[]",
    type=str,
    location=OpenApiParameter.QUERY,
    many=True,
    enum=tuple(EXPANDABLE),
    description=(
        "Show these too: a list object with the newest ten of each, or the customer in place of "
        "its id. A restricted key needs the scope to read them."
    ),
)
_FILTERS = [
    schema.choice("status", "Only in this state.", [state.value for state in State]),
    schema.query("currency", "Only in this currency."),
    schema.query("merchant_reference", "Only with your reference."),
    *schema.CREATED,
]
_operation = partial(
    schema.money_operation,
    tag=_TAG,
    schema=serializers.PaymentWithSecretsObject,
    unfinished=examples.PENDING_PAYMENT,
)

create_payment = _operation(
    operation_id="createPayment",
    summary="Create a payment",
    request=serializers.CreatePaymentBody,
    requests={
        "Create and confirm": examples.CREATE_AND_CONFIRM,
        "Let the payer confirm": examples.CREATE_FOR_THE_PAYER,
    },
    answer=examples.PAYMENT_WITH_SECRETS,
    status=201,
    errors=(
        *_PROVIDER,
        ErrorCode.too_busy,
        ErrorCode.amount_invalid,
        ErrorCode.currency_invalid,
        ErrorCode.merchant_reference_taken,
        ErrorCode.provider_account_missing,
        ErrorCode.not_found,
        *schema.SAVED_METHOD,
    ),
)
update_payment = schema.operation(
    operation_id="updatePayment",
    summary="Change a payment before it is sent",
    tag=_TAG,
    request=part_serializers.UpdatePaymentBody,
    requests={"Another card": {"payment_method": "tok_mastercard"}},
    parameters=[schema.IDEMPOTENCY_KEY, schema.PAYMENT_ID],
    success={
        200: schema.success(
            serializers.PaymentWithSecretsObject, examples.WAITING_PAYMENT, "As it is now."
        )
    },
    errors=(*schema.BODY, *schema.ONCE, *schema.VERB),
)
confirm_payment = _operation(
    operation_id="confirmPayment",
    summary="Confirm a payment from your server",
    request=serializers.ConfirmPaymentBody,
    requests={"Confirm": {"payment_method": "tok_visa"}},
    answer=examples.PAYMENT_WITH_SECRETS,
    parameters=[schema.PAYMENT_ID],
    errors=(*_PROVIDER, *schema.VERB, *schema.SAVED_METHOD),
)
capture_payment = _operation(
    operation_id="capturePayment",
    summary="Capture an authorized payment",
    request=part_serializers.CapturePaymentBody,
    requests={
        "Capture all": {},
        "Capture a part, release the rest": {"amount_minor": 1200},
        "Capture a part, keep the rest": {"amount_minor": 1200, "final_capture": False},
    },
    answer=examples.PAYMENT_WITH_SECRETS,
    parameters=[schema.PAYMENT_ID],
    errors=(
        *_PROVIDER,
        *schema.VERB,
        ErrorCode.amount_invalid,
        ErrorCode.capture_amount_invalid,
        ErrorCode.operation_unsupported,
    ),
)
increment_authorization = _operation(
    operation_id="incrementAuthorization",
    summary="Raise the held amount",
    request=part_serializers.IncrementAuthorizationBody,
    requests={"Hold more": {"amount_minor": 5200}},
    answer=examples.RAISED_PAYMENT,
    parameters=[schema.PAYMENT_ID],
    errors=(
        *_PROVIDER,
        *schema.VERB,
        ErrorCode.amount_invalid,
        ErrorCode.authorization_amount_invalid,
        ErrorCode.operation_unsupported,
    ),
)
cancel_payment = _operation(
    operation_id="cancelPayment",
    summary="Cancel a payment",
    request=serializers.CancelPaymentBody,
    requests={"Cancel": {"reason": "requested_by_customer"}},
    answer=examples.CANCELED_PAYMENT,
    parameters=[schema.PAYMENT_ID],
    errors=(*_PROVIDER, *schema.VERB, ErrorCode.operation_unsupported),
)
list_payments = schema.list_operation(
    operation_id="listPayments",
    summary="List payments",
    tag=_TAG,
    item=serializers.PaymentObject,
    name="PaymentList",
    example=examples.PAYMENT,
    parameters=[*_FILTERS, _EXPAND],
    errors=(ErrorCode.scope_missing,),
)
retrieve_payment = schema.operation(
    operation_id="retrievePayment",
    summary="Retrieve a payment",
    tag=_TAG,
    parameters=[schema.PAYMENT_ID, _EXPAND],
    success={
        200: schema.success(
            serializers.PaymentWithSecretsObject, examples.PAYMENT_WITH_SECRETS, "The payment."
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
list_captures = schema.list_operation(
    operation_id="listCaptures",
    summary="List a payment's captures",
    tag=_TAG,
    item=part_serializers.CaptureObject,
    name="CaptureList",
    example=part_examples.CAPTURE,
    parameters=[schema.PAYMENT_ID],
    errors=(ErrorCode.not_found,),
)
retrieve_client_payment = schema.operation(
    operation_id="retrieveClientPayment",
    summary="Retrieve a payment from the payer's browser",
    tag="Client",
    parameters=[schema.PAYMENT_ID, schema.CLIENT_SECRET],
    success={
        200: schema.success(
            serializers.ClientPaymentObject,
            examples.CLIENT_PAYMENT,
            "What the payer's page needs, and no more.",
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
    publishable=True,
)
note_client_return = schema.operation(
    operation_id="noteClientReturn",
    summary="Tell that the payer is back from the provider's step",
    tag="Client",
    request=serializers.NoParametersBody,
    requests={"Back": {}},
    parameters=[schema.PAYMENT_ID, schema.CLIENT_SECRET],
    success={
        200: schema.success(
            serializers.ClientPaymentObject,
            examples.RETURNED_CLIENT_PAYMENT,
            "The provider is asked at once; until it has answered the payment is `processing`. "
            "Moves no money and needs no Idempotency-Key: telling it twice changes nothing.",
        )
    },
    errors=(*schema.BODY, ErrorCode.not_found),
    publishable=True,
)
