"""The sandbox PSP behind the provider contract: our words to its JSON and back.

The service is a separate process reached over HTTP (`payments.providers.sandbox.service`). This
module says which request each operation is; `connection` sends it and says how it ended,
`snapshots` reads the documents, `events` the webhooks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from payments.providers.base import (
    CancelPayment,
    Capabilities,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Credentials,
    Notification,
    Observation,
    Result,
)
from payments.providers.objects import (
    IncrementAuthorization,
    RefundPayment,
    SaveMethod,
    SubmitEvidence,
)
from payments.providers.sandbox import events
from payments.providers.sandbox.connection import CODE, Call
from payments.providers.transport import MAXIMUM_LIST_BYTES

# Events that one answer brings.
_PAGE = 100


class SandboxProvider:
    """Fulfils `payments.providers.base.Provider`."""

    code = CODE
    capabilities = Capabilities(
        partial_capture=True,
        multiple_captures=True,
        void_after_capture=True,
        incremental_authorization=True,
        asynchronous_capture=True,
        refunds=True,
        partial_refund=True,
        asynchronous_refund=True,
        disputes=True,
        dispute_evidence=True,
        dispute_acceptance=True,
        saved_methods=True,
        off_session=True,
        bank_debits=True,
        fraud_review=True,
        event_list=True,
        idempotency_key_lifetime_seconds=86_400,
    )

    def create_payment(
        self,
        request: CreatePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Create, and confirm when asked to."""
        body = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "capture": request.capture_method,
            "confirm": request.confirm,
            "token": request.payment_method,
            "return_url": request.return_url,
            "description": request.description,
            "customer": request.customer_reference,
            "off_session": request.off_session,
        }
        operation = "create_and_confirm" if request.confirm else "create"
        call = _post(operation, "/v1/payments", credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def confirm_payment(
        self,
        request: ConfirmPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Confirm with a token, or with the one given at creation."""
        body = {"token": request.payment_method, "return_url": request.return_url}
        path = _path("payments", request.provider_reference, "confirm")
        return _post("confirm", path, credentials, idempotency_key, body).make(timeout_seconds)

    def capture_payment(
        self,
        request: CapturePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Capture all that is held, or a part; the rest is released when the capture is final."""
        body = {
            "amount_minor": request.amount_minor,
            "final": request.final,
            "reference": request.reference,
        }
        call = Call(
            operation="capture",
            method="POST",
            path=_path("payments", request.provider_reference, "capture"),
            credentials=credentials,
            idempotency_key=idempotency_key,
            body=body,
            conflict_counts=lambda payment: _has_this_capture(payment, request),
        )
        return call.make(timeout_seconds)

    def cancel_payment(
        self,
        request: CancelPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Cancel; held money is released, captured money that is not settled taken back."""
        path = _path("payments", request.provider_reference, "cancel")
        body = {"reason": request.reason}
        return _post("cancel", path, credentials, idempotency_key, body).make(timeout_seconds)

    def increment_authorization(
        self,
        request: IncrementAuthorization,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Hold more; the payment's own amount stays, `amount_authorized_minor` is the new total."""
        path = _path("payments", request.provider_reference, "increment")
        body = {"amount_minor": request.amount_minor}
        return _post("increment", path, credentials, idempotency_key, body).make(timeout_seconds)

    def refund_payment(
        self,
        request: RefundPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Give money back; the answer brings the refund and its whole payment."""
        path = _path("payments", request.provider_reference, "refunds")
        body = {
            "amount_minor": request.amount_minor,
            "reference": request.reference,
            "reason": request.reason,
        }
        return _post("refund", path, credentials, idempotency_key, body).make(timeout_seconds)

    def submit_evidence(
        self,
        request: SubmitEvidence,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Answer a dispute, texts and files in one request."""
        path = _path("disputes", request.provider_reference, "evidence")
        files = [
            {
                "kind": file.kind,
                "filename": file.filename,
                "content_type": file.content_type,
                "content_base64": base64.b64encode(file.content).decode(),
            }
            for file in request.files
        ]
        body = {"texts": dict(request.texts), "files": files}
        call = _post("submit_evidence", path, credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def accept_dispute(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Give a dispute up: it is lost."""
        path = _path("disputes", provider_reference, "accept")
        call = _post("accept_dispute", path, credentials, idempotency_key, {})
        return call.make(timeout_seconds)

    def save_method(
        self,
        request: SaveMethod,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Save a token; the customer is made in the same request when there is none yet."""
        accepted_at = request.mandate_accepted_at
        body = {
            "reference": request.reference,
            "customer": request.customer_reference,
            "customer_reference": request.customer,
            "token": request.token,
            "email": request.email,
            "name": request.name,
            "mandate": {
                "accepted_at": accepted_at.isoformat() if accepted_at else "",
                "ip_address": request.mandate_ip_address,
                "user_agent": request.mandate_user_agent,
            },
        }
        call = _post("save_method", "/v1/methods", credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def remove_method(
        self,
        provider_reference: str,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Forget a saved method; one that is gone already is OK."""
        call = Call(
            operation="remove_method",
            method="DELETE",
            path=_path("methods", provider_reference),
            credentials=credentials,
            idempotency_key=idempotency_key,
        )
        return call.make(timeout_seconds)

    def fetch_payment(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        provider_reference: str = "",
        our_reference: str = "",
    ) -> Result:
        """By the sandbox's id, else by ours: of the payment, or of a capture or refund of it. The
        sandbox's search does not lag.
        """
        if provider_reference:
            path = _path("payments", provider_reference)
        else:
            path = f"/v1/payments?{urlencode({'reference': our_reference})}"
        call = Call(operation="fetch", method="GET", path=path, credentials=credentials)
        return call.make(timeout_seconds)

    def list_events(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        since: datetime,
        cursor: str = "",
    ) -> Result:
        """The oldest first; the cursor is the number of the last event of a page."""
        query = urlencode({"since": since.isoformat(), "after": cursor or "0", "limit": _PAGE})
        call = Call(
            operation="list_events",
            method="GET",
            path=f"/v1/events?{query}",
            credentials=credentials,
            maximum_bytes=MAXIMUM_LIST_BYTES,
        )
        return call.make(timeout_seconds)

    def verify_webhook(
        self, raw: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime
    ) -> None:
        """See `events.verify`."""
        events.verify(raw, headers, secrets=secrets, now=now)

    def read_webhook(self, raw: bytes) -> Notification:
        """See `events.read_notification`."""
        return events.read_notification(raw)

    def observe_webhook(self, raw: bytes) -> Observation:
        """See `events.read_observation`."""
        return events.read_observation(raw)


def _path(kind: str, reference: str, verb: str = "") -> str:
    path = f"/v1/{kind}/{quote(reference, safe='')}"
    return f"{path}/{verb}" if verb else path


def _post(
    operation: str,
    path: str,
    credentials: Credentials,
    idempotency_key: str,
    body: Mapping[str, Any],
) -> Call:
    return Call(
        operation=operation,
        method="POST",
        path=path,
        credentials=credentials,
        idempotency_key=idempotency_key,
        body=body,
    )


def _has_this_capture(payment: Mapping[str, Any], request: CapturePayment) -> bool:
    """Whether a payment that refuses a capture for its state has this very capture already: ours
    by reference, or one that a person made in the PSP's dashboard over the same amount.
    """
    captures = payment.get("captures")
    return isinstance(captures, list) and any(
        isinstance(one, Mapping)
        and one.get("status") in {"pending", "succeeded"}
        and one.get("amount_minor") == request.amount_minor
        and one.get("reference") in {"", request.reference}
        for one in captures
    )
