"""Carry out one claimed client request and answer it, whoever brings it: the API or the completer.

Mental model: a claim names its operation; `ACTIONS` names the verb. A refusal that repeats would
meet again (a decline, a wrong state) is remembered with the key and in the audit trail, in a new
transaction after the rollback. A refusal for the moment forgets the key. Anything unexpected
leaves the key as it is: the same key resumes, and the completer does so by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from audit import log
from payments import idempotency
from payments.actions.answer_dispute import accept_dispute, add_evidence_file, submit_evidence
from payments.actions.cancel_payment import cancel_payment
from payments.actions.capture_payment import capture_payment
from payments.actions.change import Clock
from payments.actions.confirm_payment import confirm_payment
from payments.actions.create_payment import create_payment
from payments.actions.customers import create_customer, update_customer
from payments.actions.given_up_requests import give_up_hopeless
from payments.actions.increment_authorization import increment_authorization
from payments.actions.refund_payment import refund_payment
from payments.actions.remove_method import remove_payment_method
from payments.actions.save_method import save_payment_method
from payments.actions.update_payment import update_payment
from payments.actions.webhook_deliveries import (
    recover_deliveries,
    resend_delivery,
    send_test_event,
)
from payments.actions.webhook_endpoints import create_webhook_endpoint, rotate_webhook_secret
from payments.errors import FlorinError
from payments.idempotency import STAFF_PREFIX, STAFF_WORDS, Answer, Claim
from payments.models import IdempotencyKey

logger = structlog.get_logger(__name__)

# The answer while the provider's outcome is not known: not stored, the same key resumes.
UNFINISHED = 202

ACTIONS: dict[str, Callable[..., Answer]] = {
    "payments.create": create_payment,
    "payments.confirm": confirm_payment,
    "payments.capture": capture_payment,
    "payments.cancel": cancel_payment,
    "customers.create": create_customer,
    "customers.update": update_customer,
    "payment_methods.save": save_payment_method,
    "payment_methods.remove": remove_payment_method,
    "payments.update": update_payment,
    "payments.increment_authorization": increment_authorization,
    "refunds.create": refund_payment,
    "disputes.submit_evidence": submit_evidence,
    "disputes.accept": accept_dispute,
    "disputes.add_file": add_evidence_file,
    "webhook_endpoints.create": create_webhook_endpoint,
    "webhook_endpoints.rotate_secret": rotate_webhook_secret,
    "webhook_endpoints.resend": resend_delivery,
    "webhook_endpoints.recover": recover_deliveries,
    "webhook_endpoints.test": send_test_event,
}


def answer_request(*, claim: Claim, clock: Clock) -> Answer:
    """Do what `claim` asks and return its answer. Raises FlorinError for a refusal, after
    remembering it where a repeat must meet the same one.
    """
    try:
        answer = ACTIONS[claim.operation](claim=claim, clock=clock)
    except FlorinError as refusal:
        if refusal.retry_after_seconds is not None:
            claim.abandon()
        else:
            _remember_refusal(claim, refusal, now=clock())
        raise
    if answer.status == UNFINISHED:
        claim.release()
    return answer


def _remember_refusal(claim: Claim, refusal: FlorinError, *, now: datetime) -> None:
    payment_id = claim.payment_id or str(claim.parameters.get("payment", ""))
    with transaction.atomic(durable=True):
        claim.finish(Answer(status=refusal.status, body=refusal.body()), now=now)
        log.append(
            event_type="request.refused",
            stream_type="payment" if payment_id else "merchant",
            stream_id=payment_id or claim.merchant.pk,
            body={
                "operation": claim.operation,
                "code": refusal.code.name,
                "message": refusal.message,
                "request": claim.request_id,
            },
            occurred_at=now,
        )


def complete_requests(*, clock: Clock, limit: int = 20) -> int:
    """Finish requests whose process died before it wrote anything; returns how many it took on.
    Those that were taken on to no end are given up first.
    """
    give_up_hopeless(now=clock(), limit=limit)
    claims = idempotency.claim_unfinished(now=clock(), limit=limit)
    for claim in claims:
        row = IdempotencyKey.objects.get(pk=claim.row_id)
        reason = row.parameters.get(STAFF_WORDS) or "completer"
        with log.acting_as(_asker(row), request_id=claim.request_id, reason=reason):
            try:
                answer_request(claim=claim, clock=clock)
            except FlorinError as refusal:
                logger.info("request_refused", code=refusal.code.name, request=claim.request_id)
            except Exception as error:
                logger.exception("request_completion_failed", request=claim.request_id)
                row.completion_error = f"{type(error).__name__}: {error}"[:500]
                row.save(update_fields=["completion_error"])
    return len(claims)


def _asker(row: IdempotencyKey) -> log.Actor:
    """Who asked: a merchant's key, or a person of the staff."""
    if not row.actor_id.startswith(STAFF_PREFIX):
        return log.Actor(type="api_key", id=row.actor_id, display=row.merchant.name)
    user_id = row.actor_id.removeprefix(STAFF_PREFIX)
    name = get_user_model().objects.filter(pk=user_id).values_list("username", flat=True).first()
    return log.Actor(type="user", id=user_id, display=name or "")
