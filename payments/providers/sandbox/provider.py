"""The sandbox PSP behind the provider contract: our words to its JSON and back.

The service is a separate process reached over HTTP (`payments.providers.sandbox.service`); this
module knows its wire format only. How its answers end a call:

    2xx          by the payment's status (`payments.providers.outcomes`)
    402          DECLINED, with the payment
    401 403 429  NOT_SENT: refused at the door; says nothing about an earlier try with this key
    409 key      UNKNOWN with `idempotency_conflict`: the same request is still under way
    409 state    what the payment's status means for the call, else DECLINED
    422 key      UNKNOWN: what the first request with this key did has to be learnt by asking
    other 4xx    DECLINED: the request is refused and did nothing
    5xx, none    UNKNOWN
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings

from payments.providers import fields
from payments.providers.base import (
    CancelPayment,
    Capabilities,
    CapturePayment,
    ConfirmPayment,
    CreatePayment,
    Credentials,
    Exchange,
    Notification,
    Observation,
    Outcome,
    ProviderError,
    Result,
)
from payments.providers.bulkhead import account_key
from payments.providers.fields import UnreadableObject
from payments.providers.outcomes import is_reached, outcome_of
from payments.providers.refusals import refusal
from payments.providers.sandbox import events
from payments.providers.sandbox.errors import request_error
from payments.providers.strict_json import read_object
from payments.providers.transport import Answer, AnswerLost, NotSent, send

CODE = "sandbox"

# What may be written into the audit trail of a request or an answer.
_SHOWN = frozenset(
    {
        "id", "version", "status", "amount_minor", "currency", "capture", "confirm", "reference",
        "attempt", "charge", "amount_capturable_minor", "amount_captured_minor", "fee_minor",
        "fee_currency", "settled", "available_at", "cancellation_reason", "decline", "reason",
    }
)  # fmt: skip


class SandboxProvider:
    """Fulfils `payments.providers.base.Provider`."""

    code = CODE
    capabilities = Capabilities(idempotency_key_lifetime_seconds=86_400)

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
        }
        operation = "create_and_confirm" if request.confirm else "create"
        call = _Call(operation, "POST", "/v1/payments", credentials, idempotency_key, body)
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
        path = f"{_path(request.provider_reference)}/confirm"
        call = _Call("confirm", "POST", path, credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def capture_payment(
        self,
        request: CapturePayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Capture in full; another amount than the held one is refused by the sandbox."""
        path = f"{_path(request.provider_reference)}/capture"
        body = {"amount_minor": request.amount_minor}
        call = _Call("capture", "POST", path, credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def cancel_payment(
        self,
        request: CancelPayment,
        *,
        credentials: Credentials,
        idempotency_key: str,
        timeout_seconds: float,
    ) -> Result:
        """Cancel; held money is released."""
        path = f"{_path(request.provider_reference)}/cancel"
        body = {"reason": request.reason}
        call = _Call("cancel", "POST", path, credentials, idempotency_key, body)
        return call.make(timeout_seconds)

    def fetch_payment(
        self,
        *,
        credentials: Credentials,
        timeout_seconds: float,
        provider_reference: str = "",
        our_reference: str = "",
    ) -> Result:
        """By the sandbox's id, else by ours; the sandbox's search does not lag."""
        if provider_reference:
            path = _path(provider_reference)
        else:
            path = f"/v1/payments?{urlencode({'reference': our_reference})}"
        return _Call("fetch", "GET", path, credentials, "", None).make(timeout_seconds)

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


def _path(provider_reference: str) -> str:
    return f"/v1/payments/{quote(provider_reference, safe='')}"


class _Call:
    """One request and the reading of its answer."""

    def __init__(
        self,
        operation: str,
        method: str,
        path: str,
        credentials: Credentials,
        idempotency_key: str,
        body: Mapping[str, Any] | None,
    ) -> None:
        self._operation = operation
        self._method = method
        self._base = (credentials.api_base or settings.FLORIN_SANDBOX_URL).rstrip("/")
        self._url = self._base + path
        self._credentials = credentials
        self._key = idempotency_key
        self._body = body

    def make(self, timeout_seconds: float) -> Result:
        """Send the request and say how it ended; never raises for anything the PSP does."""
        headers = {
            "Authorization": f"Bearer {self._credentials.secret_key}",
            "Content-Type": "application/json",
        }
        if self._key:
            headers["Idempotency-Key"] = self._key
        content = None if self._body is None else json.dumps(self._body).encode()
        try:
            answer = send(
                method=self._method,
                url=self._url,
                headers=headers,
                body=content,
                timeout_seconds=timeout_seconds,
                account_key=account_key(CODE, self._base, self._credentials.secret_key),
            )
        except NotSent as error:
            code = "provider_busy" if error.busy else "provider_unreachable"
            return self._no_answer(Outcome.NOT_SENT, code, str(error), None)
        except AnswerLost as error:
            status = error.http_status
            return self._no_answer(Outcome.UNKNOWN, "provider_answer_lost", str(error), status)
        try:
            document = read_object(answer.body)
            return self._read(answer, document)
        except ValueError as error:
            words = f"The answer with status {answer.status} is unreadable: {error}."
            return self._unreadable(answer, words)

    def _read(self, answer: Answer, document: Mapping[str, Any]) -> Result:
        exchange = self._exchange(answer.status, document, answer.duration_ms)
        if 200 <= answer.status < 300:
            return self._read_payment(document, exchange)
        error = fields.mapping(document, "error")
        code, status = fields.text(error, "code"), answer.status
        message = fields.text(error, "message")
        if status == 402 and error.get("payment"):
            snapshot = events.read_snapshot(fields.mapping(error, "payment"))
            return Result(
                outcome=Outcome.DECLINED, exchange=exchange, snapshot=snapshot, error=snapshot.error
            )
        if status in {401, 403, 429}:
            standard = "provider_rate_limited" if status == 429 else "provider_credentials_refused"
            refused = refusal(standard, message, provider_code=code)
            return Result(outcome=Outcome.NOT_SENT, exchange=exchange, error=refused)
        if code == "idempotency_key_in_use":
            in_use = refusal("provider_key_in_use", message, provider_code=code)
            return self._unknown(exchange, in_use, idempotency_conflict=True)
        if code == "idempotency_key_reused":
            reused = refusal("provider_key_reused", message, provider_code=code)
            return self._unknown(exchange, reused)
        if status >= 500 or not 400 <= status < 500 or not error:
            unclear = refusal("provider_error", message or f"HTTP {status}", provider_code=code)
            return self._unknown(exchange, unclear)
        return self._read_refusal(error, exchange)

    def _read_payment(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        if document.get("object") == "list":
            return self._read_search(document, exchange)
        snapshot = events.read_snapshot(document)
        if self._operation == "fetch":
            return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)
        outcome = outcome_of(self._operation, snapshot)
        error = snapshot.error if outcome == Outcome.DECLINED else None
        if error is None and outcome in {Outcome.DECLINED, Outcome.UNKNOWN}:
            words = f"The payment is {snapshot.raw_status} after {self._operation}."
            error = refusal("provider_state_conflict", words, provider_code=snapshot.raw_status)
        return Result(outcome=outcome, exchange=exchange, snapshot=snapshot, error=error)

    def _read_search(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        found = document.get("data")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UnreadableObject("data is not a list of payments")
        if not found:
            nothing = refusal("provider_not_found", "No payment has this reference.")
            return Result(
                outcome=Outcome.DECLINED, exchange=exchange, error=nothing, not_found=True
            )
        if len(found) > 1:
            words = f"{len(found)} payments have this reference; a person has to look."
            return self._unknown(exchange, refusal("provider_reference_ambiguous", words))
        snapshot = events.read_snapshot(found[0])
        return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)

    def _read_refusal(self, error: Mapping[str, Any], exchange: Exchange) -> Result:
        refused = request_error(error)
        payment = fields.mapping(error, "payment")
        snapshot = events.read_snapshot(payment) if payment else None
        if snapshot is not None and is_reached(self._operation, snapshot):
            outcome = outcome_of(self._operation, snapshot)
            return Result(outcome=outcome, exchange=exchange, snapshot=snapshot)
        return Result(
            outcome=Outcome.DECLINED,
            exchange=exchange,
            snapshot=snapshot,
            error=refused,
            not_found=self._operation == "fetch" and refused.code == "provider_not_found",
        )

    def _unknown(
        self, exchange: Exchange, error: ProviderError, *, idempotency_conflict: bool = False
    ) -> Result:
        return Result(
            outcome=Outcome.UNKNOWN,
            exchange=exchange,
            error=error,
            idempotency_conflict=idempotency_conflict,
        )

    def _no_answer(
        self, outcome: Outcome, code: str, words: str, http_status: int | None
    ) -> Result:
        exchange = self._exchange(http_status, {}, 0, failure=words)
        return Result(outcome=outcome, exchange=exchange, error=refusal(code, words))

    def _unreadable(self, answer: Answer, words: str) -> Result:
        exchange = self._exchange(answer.status, {}, answer.duration_ms, failure=words)
        return self._unknown(exchange, refusal("provider_answer_unreadable", words))

    def _exchange(
        self,
        http_status: int | None,
        document: Mapping[str, Any],
        duration_ms: int,
        *,
        failure: str = "",
    ) -> Exchange:
        error = fields.mapping(document, "error")
        response = _shown(document)
        if error:
            response = {name: error.get(name) for name in ("type", "code", "message", "param")}
            response["payment"] = _shown(fields.mapping(error, "payment"))
        return Exchange(
            operation=self._operation,
            method=self._method,
            url=self._url,
            request=_shown(self._body or {}),
            http_status=http_status,
            response=response,
            duration_ms=duration_ms,
            failure=failure,
        )


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name in _SHOWN}
