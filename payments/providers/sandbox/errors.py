"""The sandbox PSP's codes, each with our standard one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import ProviderError
from payments.providers.refusals import refusal

# Why a payment was declined: the sandbox's code -> our standard code.
DECLINES = {
    "insufficient_funds": "insufficient_funds",
    "lost_card": "lost_or_stolen_card",
    "expired_card": "expired_card",
    "do_not_honor": "card_declined",
    "incorrect_cvc": "incorrect_cvc",
    "processing_error": "processing_error",
    "fraudulent": "suspected_fraud",
    "authentication_failed": "authentication_failed",
    "bank_account_refused": "bank_debit_refused",
    "authentication_required": "authentication_required",
    "mandate_inactive": "mandate_inactive",
    "increment_refused": "increment_refused",
    "capture_refused": "capture_refused",
    "hold_lost": "authorization_gone",
    "capture_failed": "capture_failed",
    "refund_refused": "refund_refused",
    "refund_returned": "refund_returned",
    "refund_canceled": "refund_refused",
}

# Why a request was not taken.
REQUESTS = {
    "token_unknown": "payment_method_invalid",
    "token_required": "payment_method_invalid",
    "amount_not_capturable": "provider_amount_refused",
    "amount_not_refundable": "provider_amount_refused",
    "amount_not_higher": "provider_amount_refused",
    "payment_disputed": "provider_payment_disputed",
    "evidence_overdue": "provider_evidence_overdue",
    "dispute_not_open": "provider_state_conflict",
    "dispute_is_inquiry": "provider_state_conflict",
    "unexpected_status": "provider_state_conflict",
    "not_found": "provider_not_found",
}


def decline_error(decline: Mapping[str, Any]) -> ProviderError:
    """The ProviderError of an object that says why (`decline`, `failure`, the `error` of a 402);
    an unknown code is a plain decline.
    """
    code = fields.required_text(decline, "code")
    return refusal(
        DECLINES.get(code, "card_declined"),
        fields.text(decline, "message"),
        decline_code=code,
        advice_code=fields.text(decline, "advice"),
        provider_code=code,
    )


def request_error(error: Mapping[str, Any]) -> ProviderError:
    """The ProviderError of an `error` object that is about the request."""
    code = fields.text(error, "code")
    return refusal(
        REQUESTS.get(code, "provider_request_refused"),
        fields.text(error, "message"),
        provider_code=code,
        param=fields.text(error, "param"),
    )
