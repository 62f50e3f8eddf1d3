"""Review cases over HTTP, to read: what about a payment waits for a person, and what was decided.

Deciding is the back office's: it takes the provider's truth and a person's name (docs/review.md).
"""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from payments.access import case_for
from payments.api import dispute_schema as schema
from payments.api.authentication import Caller, caller_of
from payments.api.pagination import identifier, one_of, page_of, read_query
from payments.api.views.base import SecretKeyView
from payments.models import ReviewCase
from payments.representation import case_object

LIST_FILTERS = ("payment", "kind", "resolved")


class ReviewCaseList(SecretKeyView):
    """`/v1/review_cases`"""

    resource = "payments"

    @schema.list_review_cases
    def get(self, request: Request) -> Response:
        """List review cases, newest first."""
        page, filters = read_query(request.query_params, filters=LIST_FILTERS)
        rows = _cases_of(caller_of(request), filters)
        return Response(page_of(rows, page, represent=case_object))


class ReviewCaseDetail(SecretKeyView):
    """`/v1/review_cases/{id}`"""

    resource = "payments"

    @schema.retrieve_review_case
    def get(self, request: Request, case_id: str) -> Response:
        """Retrieve a review case."""
        read_query(request.query_params, paged=False)
        caller = caller_of(request)
        return Response(case_object(case_for(caller.merchant, caller.livemode, case_id)))


def _cases_of(caller: Caller, filters: dict[str, str]) -> QuerySet[ReviewCase]:
    rows = ReviewCase.objects.filter(
        payment__merchant=caller.merchant, payment__livemode=caller.livemode
    )
    if "payment" in filters:
        rows = rows.filter(payment_id=identifier("payment", filters["payment"]))
    kind = one_of(filters, "kind", ReviewCase.Kind.values)
    if kind is not None:
        rows = rows.filter(kind=kind)
    resolved = one_of(filters, "resolved", ("true", "false"))
    if resolved is not None:
        rows = rows.filter(resolved_at__isnull=resolved == "false")
    return rows
