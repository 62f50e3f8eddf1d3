"""One call to the sandbox PSP and the reading of its answer. How an answer ends a call:

2xx          by the status of the object in it (`payments.providers.outcomes`)
402          DECLINED, with the payment, and the refund or capture where one was refused
401 403 429  NOT_SENT: refused at the door; says nothing about an earlier try with this key
409 key      UNKNOWN with `idempotency_conflict`: the same request is still under way
409 state    what the payment's status means for the call, else DECLINED
422 key      UNKNOWN: what the first request with this key did has to be learnt by asking
other 4xx    DECLINED: the request is refused and did nothing
5xx, none    UNKNOWN
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from payments.providers import fields
from payments.providers.base import (
    Credentials,
    Exchange,
    Outcome,
    PaymentSnapshot,
    ProviderError,
    Result,
)
from payments.providers.bulkhead import account_key
from payments.providers.fields import UnreadableObject
from payments.providers.outcomes import (
    is_reached,
    outcome_of,
    outcome_of_dispute,
    outcome_of_refund,
)
from payments.providers.refusals import refusal
from payments.providers.sandbox.errors import decline_error, request_error
from payments.providers.sandbox.event_list import read_event_page
from payments.providers.sandbox.snapshots import (
    read_dispute,
    read_method,
    read_refund,
    read_snapshot,
)
from payments.providers.strict_json import read_object
from payments.providers.transport import (
    MAXIMUM_ANSWER_BYTES,
    Answer,
    AnswerLost,
    NotSent,
    send,
)

CODE = "sandbox"

# What may be written into the audit trail of a request or an answer.
_SHOWN = frozenset(
    {
        "id", "object", "version", "status", "amount_minor", "currency", "capture", "confirm",
        "reference", "attempt", "charge", "amount_authorized_minor", "amount_capturable_minor",
        "amount_captured_minor", "amount_settled_minor", "amount_refunded_minor",
        "amount_returned_minor", "return_code", "fee_minor", "fee_currency", "settled",
        "available_at", "expires_at", "cancellation_reason", "decline", "capture_error", "failure",
        "reason", "final", "off_session", "customer", "source", "stage", "funds_withdrawn_minor",
        "evidence_due_at", "evidence_submitted", "kind", "brand", "last4", "mandate_status",
    }
)  # fmt: skip
_PARTS = ("refund", "dispute", "payment")


def _always(document: Mapping[str, Any]) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `conflict_counts` looks at the payment document that came with "it is in
    another state" and says whether a status that is where the call leads is this call's doing.
    """

    operation: str
    method: str
    path: str
    credentials: Credentials
    idempotency_key: str = ""
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    conflict_counts: Callable[[Mapping[str, Any]], bool] = _always
    maximum_bytes: int = MAXIMUM_ANSWER_BYTES

    @property
    def base(self) -> str:
        """The address of the service."""
        return (self.credentials.api_base or settings.FLORIN_SANDBOX_URL).rstrip("/")

    def make(self, timeout_seconds: float) -> Result:
        """Send the request and say how it ended; never raises for anything the PSP does."""
        headers = {
            "Authorization": f"Bearer {self.credentials.secret_key}",
            "Content-Type": "application/json",
        }
        if self.idempotency_key:
            headers["Idempotency-Key"] = self.idempotency_key
        content = None if self.body is None else json.dumps(self.body).encode()
        try:
            answer = send(
                method=self.method,
                url=self.base + self.path,
                headers=headers,
                body=content,
                timeout_seconds=timeout_seconds,
                account_key=account_key(CODE, self.base, self.credentials.secret_key),
                maximum_bytes=self.maximum_bytes,
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
            return self._read_object(document, exchange)
        error = fields.mapping(document, "error")
        code, status = fields.text(error, "code"), answer.status
        message = fields.text(error, "message")
        if status == 402 and error:
            return self._declined(error, exchange)
        if status in {401, 403, 429}:
            standard = "provider_rate_limited" if status == 429 else "provider_credentials_refused"
            refused = refusal(standard, message, provider_code=code)
            return Result(
                outcome=Outcome.NOT_SENT,
                exchange=exchange,
                error=refused,
                retry_after_seconds=_retry_after_seconds(answer),
            )
        if code == "idempotency_key_in_use":
            in_use = refusal("provider_key_in_use", message, provider_code=code)
            return _unknown(exchange, in_use, idempotency_conflict=True)
        if code == "idempotency_key_reused":
            reused = refusal("provider_key_reused", message, provider_code=code)
            return _unknown(exchange, reused)
        if status >= 500 or not 400 <= status < 500 or not error:
            unclear = refusal("provider_error", message or f"HTTP {status}", provider_code=code)
            return _unknown(exchange, unclear)
        return self._read_refusal(error, exchange)

    # --- what was done ----------------------------------------------------------------------

    def _read_object(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        kind = document.get("object")
        if self.operation == "list_events":
            listed = read_event_page(document)
            return Result(outcome=Outcome.OK, exchange=exchange, events=listed)
        if kind == "list":
            return self._read_search(document, exchange)
        if kind == "refund":
            return _with_refund(document, exchange)
        if kind == "dispute":
            return self._with_dispute(document, exchange)
        if kind == "method":
            method = read_method(document)
            return Result(outcome=Outcome.OK, exchange=exchange, method=method)
        snapshot = read_snapshot(document)
        if self.operation == "fetch":
            return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)
        outcome = outcome_of(self.operation, snapshot)
        error = snapshot.error if outcome == Outcome.DECLINED else None
        if error is None and outcome in {Outcome.DECLINED, Outcome.UNKNOWN}:
            words = f"The payment is {snapshot.raw_status} after {self.operation}."
            error = refusal("provider_state_conflict", words, provider_code=snapshot.raw_status)
        return Result(outcome=outcome, exchange=exchange, snapshot=snapshot, error=error)

    def _with_dispute(self, document: Mapping[str, Any], exchange: Exchange) -> Result:
        dispute = read_dispute(document)
        outcome = outcome_of_dispute(self.operation, dispute)
        error = None
        if outcome == Outcome.UNKNOWN:
            words = f"The dispute is {dispute.raw_status} after {self.operation}."
            error = refusal("provider_state_conflict", words, provider_code=dispute.raw_status)
        snapshot = _payment_in(document)
        return Result(
            outcome=outcome, exchange=exchange, snapshot=snapshot, dispute=dispute, error=error
        )

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
            return _unknown(exchange, refusal("provider_reference_ambiguous", words))
        snapshot = read_snapshot(found[0])
        return Result(outcome=Outcome.OK, exchange=exchange, snapshot=snapshot)

    # --- what was refused -------------------------------------------------------------------

    def _declined(self, error: Mapping[str, Any], exchange: Exchange) -> Result:
        refund = fields.mapping(error, "refund")
        return Result(
            outcome=Outcome.DECLINED,
            exchange=exchange,
            snapshot=_payment_in(error),
            refund=read_refund(refund) if refund else None,
            error=decline_error(error),
        )

    def _read_refusal(self, error: Mapping[str, Any], exchange: Exchange) -> Result:
        refused = request_error(error)
        snapshot, dispute = _payment_in(error), fields.mapping(error, "dispute")
        not_found = refused.code == "provider_not_found"
        if self.operation == "remove_method" and not_found:
            return Result(outcome=Outcome.OK, exchange=exchange)
        if (
            snapshot is not None
            and refused.code == "provider_state_conflict"
            and self.operation in {"create", "create_and_confirm", "confirm", "capture", "cancel"}
            and is_reached(self.operation, snapshot)
            and self.conflict_counts(fields.mapping(error, "payment"))
        ):
            outcome = outcome_of(self.operation, snapshot)
            return Result(outcome=outcome, exchange=exchange, snapshot=snapshot)
        return Result(
            outcome=Outcome.DECLINED,
            exchange=exchange,
            snapshot=snapshot,
            dispute=read_dispute(dispute) if dispute else None,
            error=refused,
            not_found=self.operation == "fetch" and not_found,
        )

    def _no_answer(
        self, outcome: Outcome, code: str, words: str, http_status: int | None
    ) -> Result:
        exchange = self._exchange(http_status, {}, 0, failure=words)
        return Result(outcome=outcome, exchange=exchange, error=refusal(code, words))

    def _unreadable(self, answer: Answer, words: str) -> Result:
        exchange = self._exchange(answer.status, {}, answer.duration_ms, failure=words)
        return _unknown(exchange, refusal("provider_answer_unreadable", words))

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
        for name in _PARTS:
            part = (error or document).get(name)
            if isinstance(part, Mapping):
                response[name] = _shown(part)
        return Exchange(
            operation=self.operation,
            method=self.method,
            url=self.base + self.path,
            request=_shown(self.body or {}),
            http_status=http_status,
            response=response,
            duration_ms=duration_ms,
            failure=failure,
        )


def _with_refund(document: Mapping[str, Any], exchange: Exchange) -> Result:
    refund = read_refund(document)
    outcome = outcome_of_refund(refund)
    error = None
    if outcome == Outcome.DECLINED:
        error = refund.error or refusal("refund_refused", f"The refund is {refund.raw_status}.")
    return Result(
        outcome=outcome,
        exchange=exchange,
        snapshot=_payment_in(document),
        refund=refund,
        error=error,
    )


def _payment_in(document: Mapping[str, Any]) -> PaymentSnapshot | None:
    """The whole payment that an answer about a part of it, or a refusal, carries."""
    payment = fields.mapping(document, "payment")
    return read_snapshot(payment) if payment else None


def _unknown(
    exchange: Exchange, error: ProviderError, *, idempotency_conflict: bool = False
) -> Result:
    return Result(
        outcome=Outcome.UNKNOWN,
        exchange=exchange,
        error=error,
        idempotency_conflict=idempotency_conflict,
    )


def _retry_after_seconds(answer: Answer) -> float | None:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 6 else None


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name in _SHOWN}
