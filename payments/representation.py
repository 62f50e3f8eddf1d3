"""What the outside world sees of us: one shape for the API, the events and stored answers.

Mental model: `payment_object` is a pure function of the committed row, so an event's payload is a
snapshot of what was true, and an answer replayed a week later is the answer first given. Nothing
secret is in it; `client_secrets` is added to a living answer only, by the API.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any

from audit import encryption
from payments.models import Attempt, Capture, Dispute, EvidenceFile, Payment, Refund, ReviewCase
from webhooks.endpoints import EndpointView

_PURPOSE = "client_secret"


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, or None."""
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def payment_object(payment: Payment, attempt: Attempt | None) -> dict[str, Any]:
    """The payment in the API's words. Amounts in minor units, times in UTC."""
    return {
        "id": payment.pk,
        "object": "payment",
        "livemode": payment.livemode,
        "merchant": payment.merchant_id,
        "customer": payment.customer_id,
        "status": payment.state,
        "outcome": payment.outcome or None,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "amount_authorized_minor": payment.amount_authorized_minor,
        "amount_capturable_minor": payment.amount_capturable_minor,
        "amount_captured_minor": payment.amount_captured_minor,
        "amount_refund_pending_minor": payment.amount_refund_pending_minor,
        "amount_refunded_minor": payment.amount_refunded_minor,
        "amount_refundable_minor": refundable_minor(payment),
        "amount_disputed_minor": payment.amount_disputed_minor,
        "amount_reversed_minor": payment.amount_reversed_minor,
        "amount_settled_minor": payment.amount_settled_minor,
        "platform_fee_minor": payment.platform_fee_minor,
        "provider_fee_minor": payment.provider_fee_minor,
        "dispute_fee_minor": payment.dispute_fee_minor,
        "capture_method": payment.capture_method,
        "description": payment.description,
        "merchant_reference": payment.merchant_reference or None,
        "metadata": payment.metadata,
        "return_url": payment.return_url or None,
        "payment_method": payment.payment_method or None,
        "next_action": payment.next_action,
        "last_error": payment.last_error,
        "cancellation_reason": payment.cancellation_reason or None,
        "review_reason": payment.review_reason or None,
        "provider": {
            "name": payment.provider_account.provider,
            "reference": (attempt.provider_reference or None) if attempt else None,
            "publishable_key": payment.provider_account.publishable_key or None,
        },
        "version": payment.version,
        "created_at": timestamp(payment.created_at),
        "authorized_at": timestamp(payment.authorized_at),
        "captured_at": timestamp(payment.captured_at),
        "settled_at": timestamp(payment.settled_at),
        "canceled_at": timestamp(payment.canceled_at),
        "failed_at": timestamp(payment.failed_at),
        "expires_at": timestamp(payment.expires_at),
        "capture_before": timestamp(payment.capture_before),
    }


def refundable_minor(payment: Payment) -> int:
    """What can still be given back: captured, and neither given back, promised nor disputed."""
    gone = (
        payment.amount_refunded_minor
        + payment.amount_refund_pending_minor
        + payment.amount_disputed_minor
        + payment.amount_reversed_minor
    )
    return max(0, payment.amount_captured_minor - gone)


def refund_object(refund: Refund) -> dict[str, Any]:
    """The refund in the API's words."""
    return {
        "id": refund.pk,
        "object": "refund",
        "payment": refund.payment_id,
        "status": refund.state,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason or None,
        "source": refund.source,
        "metadata": refund.metadata,
        "platform_fee_returned_minor": refund.platform_fee_returned_minor,
        "provider_reference": refund.provider_reference or None,
        "last_error": refund.error,
        "created_at": timestamp(refund.created_at),
        "succeeded_at": timestamp(refund.succeeded_at),
        "failed_at": timestamp(refund.failed_at),
    }


def capture_object(capture: Capture) -> dict[str, Any]:
    """The capture in the API's words."""
    return {
        "id": capture.pk,
        "object": "capture",
        "payment": capture.payment_id,
        "number": capture.number,
        "status": capture.state,
        "amount_minor": capture.amount_minor,
        "final": capture.final,
        "platform_fee_minor": capture.platform_fee_minor,
        "last_error": capture.error,
        "created_at": timestamp(capture.created_at),
        "finished_at": timestamp(capture.finished_at),
    }


def dispute_object(dispute: Dispute) -> dict[str, Any]:
    """The dispute in the API's words. Evidence is told by its fields' names only: what a payer
    did is not repeated in events.
    """
    return {
        "id": dispute.pk,
        "object": "dispute",
        "payment": dispute.payment_id,
        "stage": dispute.stage,
        "status": dispute.state,
        "amount_minor": dispute.amount_minor,
        "currency": dispute.currency,
        "reason": dispute.reason or None,
        "withdrawn_minor": dispute.withdrawn_minor,
        "lost_minor": dispute.lost_minor,
        "fee_minor": dispute.fee_minor,
        "evidence_fields": sorted(dispute.evidence),
        "evidence_due_at": timestamp(dispute.evidence_due_at),
        "submitted_at": timestamp(dispute.submitted_at),
        "provider_reference": dispute.provider_reference,
        "created_at": timestamp(dispute.created_at),
        "closed_at": timestamp(dispute.closed_at),
    }


def evidence_file_object(file: EvidenceFile) -> dict[str, Any]:
    """A file collected for a dispute's answer, without its content."""
    return {
        "id": file.pk,
        "kind": file.kind,
        "filename": file.filename,
        "content_type": file.content_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "created_at": timestamp(file.created_at),
    }


def case_object(case: ReviewCase) -> dict[str, Any]:
    """The review case in the API's words."""
    return {
        "id": case.pk,
        "object": "review_case",
        "payment": case.payment_id,
        "kind": str(case.kind),
        "words": case.words,
        "opened_at": timestamp(case.opened_at),
        "resolved_at": timestamp(case.resolved_at),
        "resolution": case.resolution or None,
    }


def webhook_endpoint_object(endpoint: EndpointView) -> dict[str, Any]:
    """The webhook endpoint in the API's words, without its secret."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "livemode": endpoint.livemode,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason or None,
        "api_version": endpoint.api_version,
        "consecutive_failures": endpoint.consecutive_failures,
        "failing_since": timestamp(endpoint.failing_since),
        "last_success_at": timestamp(endpoint.last_success_at),
        "success_ratio": None
        if endpoint.success_ratio is None
        else round(endpoint.success_ratio, 4),
        "created_at": timestamp(endpoint.created_at),
        "updated_at": timestamp(endpoint.updated_at),
    }


def client_secret(payment_id: str) -> str:
    """The secret a front end reads this payment with: derived, so it is stored nowhere."""
    return _secret_of(payment_id, encryption.blind_index(payment_id, purpose=_PURPOSE))


def client_secret_matches(payment_id: str, presented: str) -> bool:
    """Constant-time comparison of a presented client secret with the payment's own, under every
    key of the ring: a secret given out before a key rotation stays good.
    """
    candidates = encryption.blind_index_candidates(payment_id, purpose=_PURPOSE)
    matches = [
        hmac.compare_digest(_secret_of(payment_id, candidate).encode(), presented.encode())
        for candidate in candidates
    ]
    return any(matches)


def _secret_of(payment_id: str, fingerprint: str) -> str:
    return f"{payment_id}_secret_{fingerprint}"


def client_secrets(payment_id: str, attempt: Attempt | None) -> dict[str, Any]:
    """Members added to an answer for the merchant or the payer, never to a stored one."""
    return {
        "client_secret": client_secret(payment_id),
        "provider_client_secret": (attempt.reveal_client_secret() if attempt else "") or None,
    }
