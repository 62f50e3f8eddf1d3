"""What the OpenAPI document says about disputes and about what a person has to look at.

Mental model: as payments.api.operation_schema, whose building blocks these decorators are made of.
"""

from __future__ import annotations

from payments.api import operation_schema as schema
from payments.api import part_examples as examples
from payments.api import part_serializers as bodies
from payments.api import serializers
from payments.errors import ErrorCode
from payments.machines import DisputeState
from payments.models import ReviewCase
from payments.providers.objects import DisputeStage

_TAG = "Disputes"
_DISPUTE_ID = schema.identifier("dispute_id", "The dispute's id.", examples.DISPUTE_ID)
_CASE_ID = schema.identifier("case_id", "The case's id.", examples.CASE_ID)
_ANSWER = (
    ErrorCode.not_found,
    ErrorCode.dispute_state_conflict,
    ErrorCode.operation_in_flight,
    ErrorCode.operation_unsupported,
    ErrorCode.payment_declined,
)

list_disputes = schema.list_operation(
    operation_id="listDisputes",
    summary="List disputes",
    tag=_TAG,
    item=bodies.DisputeObject,
    name="DisputeList",
    example=examples.DISPUTE,
    parameters=[
        schema.OF_PAYMENT,
        schema.choice("status", "Only in this state.", [state.value for state in DisputeState]),
        schema.choice("stage", "Only in this stage.", [stage.value for stage in DisputeStage]),
        schema.query("evidence_due_from", "Evidence due at this moment or later.", schema.MOMENT),
        schema.query("evidence_due_until", "Evidence due before this moment.", schema.MOMENT),
    ],
)
retrieve_dispute = schema.operation(
    operation_id="retrieveDispute",
    summary="Retrieve a dispute",
    tag=_TAG,
    parameters=[_DISPUTE_ID],
    success={
        200: schema.success(
            bodies.DisputeWithFilesObject, examples.DISPUTE_WITH_FILES, "With its files' names."
        )
    },
    errors=(*schema.QUERY, ErrorCode.not_found),
)
submit_evidence = schema.money_operation(
    operation_id="submitEvidence",
    summary="Answer a dispute",
    tag=_TAG,
    schema=bodies.DisputeObject,
    request=bodies.SubmitEvidenceBody,
    requests={"Words": examples.SUBMIT_EVIDENCE},
    answer=examples.SUBMITTED_DISPUTE,
    unfinished=examples.DISPUTE,
    done="It is handed in, with the files added before. This happens once.",
    parameters=[_DISPUTE_ID],
    errors=(*_ANSWER, ErrorCode.evidence_overdue, ErrorCode.evidence_invalid),
)
add_evidence_file = schema.operation(
    operation_id="addEvidenceFile",
    summary="Add a file to a dispute's answer",
    tag=_TAG,
    request=bodies.EvidenceFileBody,
    requests={"A receipt": examples.ADD_FILE},
    parameters=[schema.IDEMPOTENCY_KEY, _DISPUTE_ID],
    success={
        201: schema.success(
            bodies.DisputeObject,
            examples.DISPUTE,
            "The file is kept, encrypted, until the evidence is handed in.",
        )
    },
    errors=(
        *schema.BODY,
        *schema.ONCE,
        ErrorCode.not_found,
        ErrorCode.dispute_state_conflict,
        ErrorCode.evidence_overdue,
        ErrorCode.evidence_invalid,
    ),
)
accept_dispute = schema.money_operation(
    operation_id="acceptDispute",
    summary="Accept a dispute",
    tag=_TAG,
    schema=bodies.DisputeObject,
    request=serializers.NoParametersBody,
    requests={"Accept": {}},
    answer=examples.ACCEPTED_DISPUTE,
    unfinished=examples.DISPUTE,
    done="It is given up: the payer keeps the money.",
    parameters=[_DISPUTE_ID],
    errors=_ANSWER,
)
list_review_cases = schema.list_operation(
    operation_id="listReviewCases",
    summary="List review cases",
    tag="Review cases",
    item=bodies.ReviewCaseObject,
    name="ReviewCaseList",
    example=examples.CASE,
    parameters=[
        schema.OF_PAYMENT,
        schema.choice("kind", "Only of this kind.", ReviewCase.Kind.values),
        schema.choice("resolved", "Only decided ones, or only open ones.", ("true", "false")),
    ],
)
retrieve_review_case = schema.operation(
    operation_id="retrieveReviewCase",
    summary="Retrieve a review case",
    tag="Review cases",
    parameters=[_CASE_ID],
    success={200: schema.success(bodies.ReviewCaseObject, examples.CASE, "The case.")},
    errors=(*schema.QUERY, ErrorCode.not_found),
)
