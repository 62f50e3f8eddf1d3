"""What the OpenAPI document says about refunds.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from functools import partial

from payments.api import operation_schema as schema
from payments.api import part_examples as examples
from payments.api import part_serializers as bodies
from payments.errors import ErrorCode
from payments.machines import RefundState

_TAG = "Refunds"
_REFUND_ID = schema.identifier("refund_id", "The refund's id.", examples.REFUND_ID)
_create = partial(
    schema.money_operation,
    tag=_TAG,
    schema=bodies.RefundObject,
    answer=examples.REFUND,
    unfinished=examples.PENDING_REFUND,
    status=201,
    done=(
        "The provider took it on; `status` says where it stands. `pending` becomes `succeeded` or "
        "`failed` later, and a bank may send a succeeded one back."
    ),
    errors=(
        *schema.VERB,
        ErrorCode.amount_invalid,
        ErrorCode.refund_amount_invalid,
        ErrorCode.refund_declined,
        ErrorCode.payment_disputed,
        ErrorCode.bank_debit_not_settled,
        ErrorCode.balance_insufficient,
        ErrorCode.operation_unsupported,
    ),
)

create_refund = _create(
    operation_id="createRefund",
    summary="Refund a payment",
    request=bodies.CreateRefundBody,
    requests={"All of it": examples.CREATE_REFUND, "A part": examples.CREATE_PARTIAL_REFUND},
)
create_payment_refund = _create(
    operation_id="createPaymentRefund",
    summary="Refund this payment",
    request=bodies.RefundBody,
    requests={"All of it": {}, "A part": {"amount_minor": 1200}},
    parameters=[schema.PAYMENT_ID],
)
list_refunds = schema.list_operation(
    operation_id="listRefunds",
    summary="List refunds",
    tag=_TAG,
    item=bodies.RefundObject,
    name="RefundList",
    example=examples.REFUND,
    parameters=[
        schema.OF_PAYMENT,
        schema.choice("status", "Only in this state.", [state.value for state in RefundState]),
        *schema.CREATED,
    ],
)
list_payment_refunds = schema.list_operation(
    operation_id="listPaymentRefunds",
    summary="List this payment's refunds",
    tag=_TAG,
    item=bodies.RefundObject,
    name="RefundList",
    example=examples.REFUND,
    parameters=[schema.PAYMENT_ID],
    errors=(ErrorCode.not_found,),
)
retrieve_refund = schema.operation(
    operation_id="retrieveRefund",
    summary="Retrieve a refund",
    tag=_TAG,
    parameters=[_REFUND_ID],
    success={200: schema.success(bodies.RefundObject, examples.REFUND, "The refund.")},
    errors=(*schema.QUERY, ErrorCode.not_found),
)
