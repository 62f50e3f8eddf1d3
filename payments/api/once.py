"""One request, one effect: what every POST of a merchant goes through.

Mental model: a valid request claims its Idempotency-Key, has the claim answered by
`payments.actions.answer_request` and renders the answer. What that refuses is stored or forgotten
there; here only our own failures are handled: the key is given back unfinished, so that the same
key resumes at once. Secrets and personal data are merged into the answer while it is rendered, so
no stored answer ever holds any.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog
from django.db import DatabaseError
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response

from audit.log import current_context
from payments import idempotency
from payments.actions.answer_request import answer_request
from payments.api.authentication import caller_of
from payments.api.errors import with_request_id
from payments.customer_representation import with_personal_data
from payments.errors import ErrorCode, FlorinError
from payments.idempotency import Answer, Claim, LeaseLost
from payments.models import Attempt, Customer
from payments.representation import client_secrets

logger = structlog.get_logger(__name__)


def clock() -> datetime:
    """The time, read at the interface and handed down."""
    return datetime.now(UTC)


def answer_once(
    request: Request,
    *,
    operation: str,
    parameters: dict[str, Any],
    personal: dict[str, Any] | None = None,
) -> Response:
    """Do what a request asks, once per Idempotency-Key, and render the answer.

    `parameters` are validated; method and concrete path are part of the key's fingerprint.
    `personal` are more of them, which are stored encrypted. Raises FlorinError.
    """
    caller = caller_of(request)
    plain: HttpRequest = request._request
    key = idempotency.validate_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
    claimed = idempotency.claim(
        merchant=caller.merchant,
        livemode=caller.livemode,
        key=key,
        operation=operation,
        method=str(plain.method),
        path=plain.path,
        parameters=parameters,
        personal=personal,
        actor_id=caller.key_id,
        request_id=current_context().request_id,
        now=clock(),
    )
    return _render(claimed if isinstance(claimed, Answer) else _work(claimed))


def _work(claim: Claim) -> Answer:
    try:
        return answer_request(claim=claim, clock=clock)
    except FlorinError:
        raise
    except LeaseLost:
        raise FlorinError(
            ErrorCode.idempotency_key_in_use, param="Idempotency-Key", retry_after_seconds=1
        ) from None
    except BaseException:
        _give_back(claim)
        raise


def _give_back(claim: Claim) -> None:
    try:
        claim.release()
    except DatabaseError:
        # The lease runs out by itself; the first error is the one to tell.
        logger.warning("idempotency.release_failed", exc_info=True)


def _render(answer: Answer) -> Response:
    body = answer.body
    if "error" in body:
        body = with_request_id(body)
    elif body.get("object") == "payment":
        body = with_secrets(body, answer.attempt or _latest_attempt(body["id"]))
    elif body.get("object") == "customer":
        body = with_personal_data(body, Customer.objects.get(pk=body["id"]))
    response = Response({**body, **answer.shown_once}, status=answer.status)
    if answer.shown_once:
        response["Cache-Control"] = "no-store"
    if answer.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def _latest_attempt(payment_id: str) -> Attempt | None:
    return Attempt.objects.filter(payment_id=payment_id).order_by("-number").first()


def with_secrets(payment: dict[str, Any], attempt: Attempt | None) -> dict[str, Any]:
    """A payment object for its merchant's server: plus both client secrets, fresh each time."""
    return {**payment, **client_secrets(payment["id"], attempt)}
