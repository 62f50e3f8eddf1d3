"""What captures, refunds, disputes and review cases look like, for the API's documentation."""

from __future__ import annotations

from typing import Any

from payments.api.examples import PAYMENT_ID

CAPTURE_ID = "cap_01kafr7y1c2d3e4f5g6h7j8k9m"
REFUND_ID = "re_01kafs0q8n7v6w5x4y3z2a1b0c"
DISPUTE_ID = "dp_01kafv2m4n5p6q7r8s9t0v1w2x"
CASE_ID = "case_01kafw7b8c9d0e1f2g3h4j5k6m"
FILE_ID = "file_01kafv5d6e7f8g9h0j1k2m3n4p"
_PAID_AT = "2026-11-20T12:00:00.412Z"
_REFUNDED_AT = "2026-11-21T09:30:00.118Z"
_DISPUTED_AT = "2026-12-03T08:00:00.000Z"

CAPTURE: dict[str, Any] = {
    "id": CAPTURE_ID,
    "object": "capture",
    "payment": PAYMENT_ID,
    "number": 1,
    "status": "succeeded",
    "amount_minor": 4200,
    "final": True,
    "platform_fee_minor": 83,
    "last_error": None,
    "created_at": _PAID_AT,
    "finished_at": _PAID_AT,
}

CREATE_REFUND: dict[str, Any] = {"payment": PAYMENT_ID, "reason": "requested_by_customer"}
CREATE_PARTIAL_REFUND: dict[str, Any] = {
    "payment": PAYMENT_ID,
    "amount_minor": 1200,
    "metadata": {"return": "r-9"},
    "refund_platform_fee": True,
}
REFUND: dict[str, Any] = {
    "id": REFUND_ID,
    "object": "refund",
    "payment": PAYMENT_ID,
    "status": "succeeded",
    "amount_minor": 1200,
    "currency": "EUR",
    "reason": "requested_by_customer",
    "source": "api",
    "metadata": {"return": "r-9"},
    "platform_fee_returned_minor": 23,
    "provider_reference": "sbr_8Zr2mQ",
    "last_error": None,
    "created_at": _REFUNDED_AT,
    "succeeded_at": _REFUNDED_AT,
    "failed_at": None,
}
PENDING_REFUND: dict[str, Any] = {
    **REFUND,
    "status": "requested",
    "provider_reference": None,
    "succeeded_at": None,
}

SUBMIT_EVIDENCE: dict[str, Any] = {
    "evidence": {
        "product_description": "A bicycle, delivered to the address of the order.",
        "shipping_tracking_number": "RB 12-34 DE",
    }
}
ADD_FILE: dict[str, Any] = {
    "kind": "receipt",
    "filename": "receipt.pdf",
    "content_type": "application/pdf",
    "content_base64": "JVBERi0xLjcKJeLjz9MK",
}
DISPUTE: dict[str, Any] = {
    "id": DISPUTE_ID,
    "object": "dispute",
    "payment": PAYMENT_ID,
    "stage": "chargeback",
    "status": "needs_response",
    "amount_minor": 4200,
    "currency": "EUR",
    "reason": "product_not_received",
    "withdrawn_minor": 4200,
    "lost_minor": 0,
    "fee_minor": 1500,
    "evidence_fields": [],
    "evidence_due_at": "2026-12-10T08:00:00.000Z",
    "submitted_at": None,
    "provider_reference": "sbd_4Kq9xT",
    "created_at": _DISPUTED_AT,
    "closed_at": None,
}
DISPUTE_WITH_FILES: dict[str, Any] = {
    **DISPUTE,
    "evidence_files": [
        {
            "id": FILE_ID,
            "kind": "receipt",
            "filename": "receipt.pdf",
            "content_type": "application/pdf",
            "size_bytes": 15,
            "sha256": "a3c1f0de5b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70",
            "created_at": "2026-12-04T10:00:00.000Z",
        }
    ],
}
SUBMITTED_DISPUTE: dict[str, Any] = {
    **DISPUTE,
    "status": "submitted",
    "evidence_fields": ["product_description", "shipping_tracking_number"],
    "submitted_at": "2026-12-04T10:05:00.000Z",
}
ACCEPTED_DISPUTE: dict[str, Any] = {
    **DISPUTE,
    "status": "accepted",
    "withdrawn_minor": 0,
    "lost_minor": 4200,
    "submitted_at": "2026-12-04T10:05:00.000Z",
    "closed_at": "2026-12-04T10:05:00.000Z",
}

CASE: dict[str, Any] = {
    "id": CASE_ID,
    "object": "review_case",
    "payment": PAYMENT_ID,
    "kind": "integrity_mismatch",
    "words": "4201 EUR were taken, 4200 EUR were asked for.",
    "opened_at": _PAID_AT,
    "resolved_at": None,
    "resolution": None,
}
