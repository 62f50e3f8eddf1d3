"""Every way in which a request can be refused, as one table.

Mental model: an error is data (`ErrorCode`) plus the words for this case (`FlorinError`). The API
renders it, the idempotency layer stores it, docs/errors.md lists it, and a test compares the two.
"""

from __future__ import annotations

import enum
from typing import Any

from django.conf import settings


class ErrorType(enum.StrEnum):
    """The family of an error: what kind of thing the caller has to do about it."""

    INVALID_REQUEST = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    PERMISSION = "permission_error"
    IDEMPOTENCY = "idempotency_error"
    PAYMENT = "payment_error"
    RATE_LIMIT = "rate_limit_error"
    API = "api_error"


class ErrorCode(enum.Enum):
    """code -> (HTTP status, type, what it means and what to do). Documented in docs/errors.md."""

    authentication_required = (401, ErrorType.AUTHENTICATION, "Send an API key as Bearer token.")
    api_key_invalid = (
        401,
        ErrorType.AUTHENTICATION,
        "The API key is unknown, revoked or expired.",
    )
    secret_key_required = (403, ErrorType.PERMISSION, "Use a secret key (sk_...) for this.")
    scope_missing = (
        403,
        ErrorType.PERMISSION,
        "This restricted key lacks required_scope.",
    )
    publishable_key_required = (403, ErrorType.PERMISSION, "Use a publishable key (pk_...).")
    merchant_suspended = (403, ErrorType.PERMISSION, "The merchant is suspended; ask support.")
    not_found = (404, ErrorType.INVALID_REQUEST, "No such object for this key and mode.")
    method_not_allowed = (405, ErrorType.INVALID_REQUEST, "This address has no such method.")
    unsupported_media_type = (415, ErrorType.INVALID_REQUEST, "Send application/json.")
    body_too_large = (413, ErrorType.INVALID_REQUEST, "The body may have one megabyte.")
    json_invalid = (400, ErrorType.INVALID_REQUEST, "The body is not the JSON object expected.")
    parameter_invalid = (400, ErrorType.INVALID_REQUEST, "A parameter is missing or wrong.")
    parameter_unknown = (400, ErrorType.INVALID_REQUEST, "There is no parameter of this name.")
    card_data_refused = (
        400,
        ErrorType.INVALID_REQUEST,
        "This looks like a card number. Card data never passes through here: send the provider's "
        "token instead.",
    )
    amount_invalid = (400, ErrorType.INVALID_REQUEST, "A whole number of minor units above 0.")
    currency_invalid = (400, ErrorType.INVALID_REQUEST, "An ISO 4217 code the provider takes.")
    merchant_reference_taken = (
        409,
        ErrorType.INVALID_REQUEST,
        "A payment with this merchant_reference exists; use it or another reference.",
    )
    provider_account_missing = (
        400,
        ErrorType.INVALID_REQUEST,
        "No provider account is set up for this merchant and mode.",
    )
    payment_state_conflict = (
        409,
        ErrorType.INVALID_REQUEST,
        "The payment is in a state that does not allow this; retrieve it.",
    )
    operation_in_flight = (
        409,
        ErrorType.INVALID_REQUEST,
        "Another operation of this payment waits for the provider; retry after a moment.",
    )
    capture_amount_invalid = (
        400,
        ErrorType.INVALID_REQUEST,
        "A capture takes 1 up to amount_capturable_minor; in parts only where the provider can.",
    )
    refund_amount_invalid = (
        400,
        ErrorType.INVALID_REQUEST,
        "A refund gives back 1 up to amount_refundable_minor.",
    )
    authorization_amount_invalid = (
        400,
        ErrorType.INVALID_REQUEST,
        "An authorization is raised to a total above what is held now.",
    )
    balance_insufficient = (
        409,
        ErrorType.INVALID_REQUEST,
        "The merchant's balance does not cover this; wait for settlements or refund less.",
    )
    payment_disputed = (
        409,
        ErrorType.INVALID_REQUEST,
        "The payment is disputed: a refund now would pay the payer twice. Answer or accept it.",
    )
    bank_debit_not_settled = (
        409,
        ErrorType.INVALID_REQUEST,
        "A bank debit is refunded once it is settled: before that the bank may still return it.",
    )
    operation_unsupported = (
        409,
        ErrorType.INVALID_REQUEST,
        "The payment's provider cannot do this; see the capability matrix.",
    )
    dispute_state_conflict = (
        409,
        ErrorType.INVALID_REQUEST,
        "The dispute is in a state that does not allow this; retrieve it.",
    )
    evidence_overdue = (
        409,
        ErrorType.INVALID_REQUEST,
        "The time for evidence is over; the dispute will be decided without it.",
    )
    evidence_invalid = (400, ErrorType.INVALID_REQUEST, "See docs/disputes.md for what it takes.")
    review_state_conflict = (
        409,
        ErrorType.INVALID_REQUEST,
        "What the provider says now does not allow this decision; see the message.",
    )
    idempotency_key_missing = (400, ErrorType.IDEMPOTENCY, "POST needs an Idempotency-Key.")
    idempotency_key_invalid = (
        400,
        ErrorType.IDEMPOTENCY,
        "An Idempotency-Key has 16 to 255 printable ASCII characters.",
    )
    idempotency_key_in_use = (
        409,
        ErrorType.IDEMPOTENCY,
        "The first request with this key is still running; retry after Retry-After seconds.",
    )
    idempotency_key_reused = (
        422,
        ErrorType.IDEMPOTENCY,
        "This key was used for another request; use a new key.",
    )
    payment_declined = (402, ErrorType.PAYMENT, "The payment was declined; see decline_code.")
    refund_declined = (402, ErrorType.PAYMENT, "The refund was declined; the amount is free again.")
    provider_rejected = (
        400,
        ErrorType.PAYMENT,
        "The provider does not take this request; see the message.",
    )
    payment_method_refused = (
        402,
        ErrorType.PAYMENT,
        "The provider did not save this payment method; see decline_code.",
    )
    payment_method_unusable = (
        409,
        ErrorType.INVALID_REQUEST,
        "This saved payment method cannot be charged here; see the message.",
    )
    mandate_missing = (
        409,
        ErrorType.INVALID_REQUEST,
        "A bank debit needs the payer's active mandate; save the method with one.",
    )
    endpoint_url_invalid = (400, ErrorType.INVALID_REQUEST, "This address may not get webhooks.")
    signature_invalid = (400, ErrorType.AUTHENTICATION, "The webhook's signature does not hold.")
    event_unreadable = (400, ErrorType.INVALID_REQUEST, "The webhook is not a readable event.")
    rate_limited = (
        429,
        ErrorType.RATE_LIMIT,
        "Too many requests of this key or merchant; retry after Retry-After seconds.",
    )
    too_busy = (
        429,
        ErrorType.RATE_LIMIT,
        "No new payments for a moment, nothing was done; retry after Retry-After seconds.",
    )
    internal_error = (500, ErrorType.API, "Our fault; retry with the same Idempotency-Key.")
    service_unavailable = (503, ErrorType.API, "We cannot answer now; retry after Retry-After.")

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def type(self) -> ErrorType:
        return self.value[1]

    @property
    def meaning(self) -> str:
        return self.value[2]


class FlorinError(Exception):
    """A refusal with its code, the words for this case and, where there is one, the field.

    `extra` holds further members of the error object (decline_code, advice_code, payment).
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str = "",
        *,
        param: str = "",
        retry_after_seconds: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message or code.meaning)
        self.code = code
        self.message = message or code.meaning
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.extra = extra

    @property
    def status(self) -> int:
        return self.code.status

    def body(self) -> dict[str, Any]:
        """The error object as the API shows it, without the request id."""
        error: dict[str, Any] = {
            "type": self.code.type.value,
            "code": self.code.name,
            "message": self.message,
            "param": self.param or None,
            "decline_code": None,
            "advice_code": None,
            "doc_url": f"{settings.FLORIN_BASE_URL}/docs/errors#{self.code.name}",
        }
        error.update(self.extra)
        return {"error": error}
