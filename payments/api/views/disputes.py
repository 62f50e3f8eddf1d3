"""Disputes over HTTP: list, retrieve, answer with words and files, accept."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import dispute_for
from payments.api import dispute_schema as schema
from payments.api.authentication import Caller, caller_of
from payments.api.fields import StrictSerializer, validated
from payments.api.once import answer_once
from payments.api.pagination import identifier, one_of, page_of, read_query, within
from payments.api.part_serializers import EvidenceFileBody, SubmitEvidenceBody
from payments.api.serializers import NoParametersBody
from payments.api.views.base import SecretKeyView
from payments.machines import DisputeState
from payments.models import Dispute
from payments.providers.objects import DisputeStage
from payments.representation import dispute_object, evidence_file_object

LIST_FILTERS = ("payment", "status", "stage", "evidence_due_from", "evidence_due_until")
# What a file tells of a payer's affairs: stored encrypted with the request, as the file is.
PERSONAL = frozenset({"filename", "content_base64"})


class DisputeList(SecretKeyView):
    """`/v1/disputes`"""

    resource = "disputes"

    @schema.list_disputes
    def get(self, request: Request) -> Response:
        """List disputes, newest first."""
        page, filters = read_query(request.query_params, filters=LIST_FILTERS)
        rows = _disputes_of(caller_of(request), filters)
        return Response(page_of(rows, page, represent=dispute_object))


class DisputeDetail(SecretKeyView):
    """`/v1/disputes/{id}`"""

    resource = "disputes"

    @schema.retrieve_dispute
    def get(self, request: Request, dispute_id: str) -> Response:
        """Retrieve a dispute with the files collected for its answer."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        dispute = dispute_for(caller.merchant, caller.livemode, dispute_id)
        files = dispute.files.defer("content_encrypted").order_by("pk")
        shown = [evidence_file_object(file) for file in files]
        return Response({**dispute_object(dispute), "evidence_files": shown})


class DisputeVerb(SecretKeyView):
    """A POST to `/v1/disputes/{id}/<verb>`: what the verbs have in common."""

    resource = "disputes"

    body: type[StrictSerializer]
    operation: str

    def _answer(self, request: Request, dispute_id: str) -> Response:
        caller = caller_of(request)
        values = validated(self.body, request.data)
        # Looked up before the key is claimed: an address without a dispute leaves no key behind.
        dispute_for(caller.merchant, caller.livemode, dispute_id)
        personal = {name: value for name, value in values.items() if name in PERSONAL}
        parameters: dict[str, Any] = {
            name: value for name, value in values.items() if name not in PERSONAL
        }
        return answer_once(
            request,
            operation=self.operation,
            parameters={**parameters, "dispute": dispute_id},
            personal=personal,
        )


class DisputeEvidence(DisputeVerb):
    """`/v1/disputes/{id}/evidence`"""

    body = SubmitEvidenceBody
    operation = "disputes.submit_evidence"

    @schema.submit_evidence
    def post(self, request: Request, dispute_id: str) -> Response:
        """Hand the evidence in: these words, and every file added before."""
        return self._answer(request, dispute_id)


class DisputeFiles(DisputeVerb):
    """`/v1/disputes/{id}/files`"""

    body = EvidenceFileBody
    operation = "disputes.add_file"

    @schema.add_evidence_file
    def post(self, request: Request, dispute_id: str) -> Response:
        """Keep a file for the answer; a second one of a kind takes the first one's place."""
        return self._answer(request, dispute_id)


class DisputeAccept(DisputeVerb):
    """`/v1/disputes/{id}/accept`"""

    body = NoParametersBody
    operation = "disputes.accept"

    @schema.accept_dispute
    def post(self, request: Request, dispute_id: str) -> Response:
        """Give a dispute up: the payer keeps the money."""
        return self._answer(request, dispute_id)


def _disputes_of(caller: Caller, filters: dict[str, str]) -> QuerySet[Dispute]:
    rows = Dispute.objects.filter(
        payment__merchant=caller.merchant, payment__livemode=caller.livemode
    )
    if "payment" in filters:
        rows = rows.filter(payment_id=identifier("payment", filters["payment"]))
    status = one_of(filters, "status", (state.value for state in DisputeState))
    if status is not None:
        rows = rows.filter(state=status)
    stage = one_of(filters, "stage", (stage.value for stage in DisputeStage))
    if stage is not None:
        rows = rows.filter(stage=stage)
    return within(rows, filters, prefix="evidence_due", column="evidence_due_at")
