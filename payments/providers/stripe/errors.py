"""Stripe's codes, each with our standard one: the error table, as data.

Stripe says no on three levels: `type`, `code` and, for a bank's decline, `decline_code`
(docs.stripe.com/error-codes, docs.stripe.com/declines/codes). The finest one that the tables know
decides. Codes that are not here fall back by type: a card_error is a plain decline, anything else
a refused request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.providers import fields
from payments.providers.base import ProviderError
from payments.providers.refusals import refusal

# The bank's (or Stripe's) reason.
DECLINE_CODES = {
    "approve_with_id": "processing_error",
    "authentication_not_handled": "authentication_failed",
    "authentication_required": "authentication_required",
    "call_issuer": "card_declined",
    "card_not_supported": "card_not_supported",
    "card_velocity_exceeded": "limit_exceeded",
    "currency_not_supported": "currency_not_supported",
    "debit_not_authorized": "bank_debit_refused",
    "do_not_honor": "card_declined",
    "do_not_try_again": "do_not_try_again",
    "duplicate_transaction": "duplicate_payment",
    "expired_card": "expired_card",
    "fraudulent": "suspected_fraud",
    "generic_decline": "card_declined",
    "highest_risk_level": "suspected_fraud",
    "incorrect_address": "incorrect_address",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "incorrect_pin": "incorrect_pin",
    "incorrect_zip": "incorrect_address",
    "insufficient_funds": "insufficient_funds",
    "invalid_account": "payment_method_invalid",
    "invalid_amount": "limit_exceeded",
    "invalid_cvc": "incorrect_cvc",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "invalid_number": "incorrect_number",
    "invalid_pin": "incorrect_pin",
    "issuer_not_available": "processing_error",
    "lost_card": "lost_or_stolen_card",
    "merchant_blacklist": "suspected_fraud",
    "mobile_device_authentication_required": "authentication_required",
    "new_account_information_available": "payment_method_invalid",
    "no_action_taken": "card_declined",
    "not_permitted": "card_not_supported",
    "offline_pin_required": "incorrect_pin",
    "online_or_offline_pin_required": "incorrect_pin",
    "pickup_card": "lost_or_stolen_card",
    "pin_try_exceeded": "incorrect_pin",
    "processing_error": "processing_error",
    "reenter_transaction": "processing_error",
    "restricted_card": "lost_or_stolen_card",
    "revocation_of_all_authorizations": "do_not_try_again",
    "revocation_of_authorization": "do_not_try_again",
    "security_violation": "do_not_try_again",
    "service_not_allowed": "card_not_supported",
    "stolen_card": "lost_or_stolen_card",
    "stop_payment_order": "do_not_try_again",
    "testmode_decline": "card_declined",
    "transaction_not_allowed": "card_not_supported",
    "try_again_later": "processing_error",
    "withdrawal_count_limit_exceeded": "limit_exceeded",
}

# The API's code.
CODES = {
    "account_closed": "bank_debit_refused",
    "amount_too_large": "provider_amount_refused",
    "amount_too_small": "provider_amount_refused",
    "authentication_required": "authentication_required",
    "bank_account_declined": "bank_debit_refused",
    "bank_account_restricted": "bank_debit_refused",
    "bank_account_unusable": "bank_debit_refused",
    "bank_account_unverified": "bank_debit_refused",
    "capture_charge_authorization_expired": "authorization_gone",
    "card_decline_rate_limit_exceeded": "limit_exceeded",
    "card_declined": "card_declined",
    "charge_already_captured": "provider_state_conflict",
    "charge_already_refunded": "provider_state_conflict",
    "charge_disputed": "provider_payment_disputed",
    "charge_exceeds_source_limit": "limit_exceeded",
    "charge_exceeds_transaction_limit": "limit_exceeded",
    "charge_expired_for_capture": "authorization_gone",
    "charge_not_refundable": "provider_state_conflict",
    "debit_not_authorized": "bank_debit_refused",
    "dispute_evidence_page_limit_exceeded": "provider_evidence_refused",
    "expired_card": "expired_card",
    "expired_payment_method": "expired_card",
    "incorrect_address": "incorrect_address",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "incorrect_postal_code": "incorrect_address",
    "incorrect_zip": "incorrect_address",
    "insufficient_funds": "insufficient_funds",
    "intent_invalid_state": "provider_state_conflict",
    "invalid_card_type": "card_not_supported",
    "invalid_charge_amount": "provider_amount_refused",
    "invalid_cvc": "incorrect_cvc",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "invalid_number": "incorrect_number",
    "no_account": "bank_debit_refused",
    "payment_intent_action_required": "authentication_required",
    "payment_intent_authentication_failure": "authentication_failed",
    "payment_intent_incompatible_payment_method": "payment_method_invalid",
    "payment_intent_mandate_invalid": "mandate_inactive",
    "payment_intent_payment_attempt_expired": "authentication_failed",
    "payment_intent_payment_attempt_failed": "card_declined",
    "payment_intent_unexpected_state": "provider_state_conflict",
    "payment_method_bank_account_blocked": "bank_debit_refused",
    "payment_method_currency_mismatch": "currency_not_supported",
    "payment_method_customer_decline": "card_declined",
    "payment_method_invalid_parameter": "payment_method_invalid",
    "payment_method_not_available": "processing_error",
    "payment_method_provider_decline": "card_declined",
    "payment_method_provider_timeout": "processing_error",
    "payment_method_unactivated": "provider_request_refused",
    "payment_method_unexpected_state": "payment_method_invalid",
    "payment_method_unsupported_type": "payment_method_invalid",
    "postal_code_invalid": "incorrect_address",
    "processing_error": "processing_error",
    "refer_to_customer": "bank_debit_refused",
    "refund_disputed_payment": "provider_payment_disputed",
    "request_blocked": "suspected_fraud",
    "resource_missing": "provider_not_found",
    "setup_attempt_failed": "card_declined",
    "setup_intent_authentication_failure": "authentication_failed",
    "setup_intent_mandate_invalid": "payment_method_invalid",
    "setup_intent_unexpected_state": "provider_state_conflict",
    "token_already_used": "payment_method_invalid",
    "token_in_use": "payment_method_invalid",
}

# Why a refund failed (docs.stripe.com/refunds#failed-refunds). `insufficient_funds` is about our
# own balance at Stripe, not about the payer's account.
REFUND_FAILURES = {
    "charge_for_pending_refund_disputed": "provider_payment_disputed",
    "declined": "refund_refused",
    "expired_or_canceled_card": "refund_returned",
    "insufficient_funds": "refund_refused",
    "lost_or_stolen_card": "refund_returned",
    "merchant_request": "refund_refused",
    "unknown": "refund_returned",
}

# What a refused number is about: Stripe has no code for "more than there is".
_AMOUNTS = frozenset({"amount", "amount_to_capture"})


def refund_failure(reason: str) -> ProviderError:
    """Why a refund did not reach the payer."""
    return refusal(
        REFUND_FAILURES.get(reason, "refund_returned"),
        f"The refund failed: {reason or 'no reason was given'}.",
        decline_code=reason,
        provider_code=reason,
    )


def translate(
    error: Mapping[str, Any], *, otherwise: str = "provider_request_refused"
) -> ProviderError:
    """The ProviderError of Stripe's `error` or `last_payment_error` object.

    `otherwise` is the standard code of an error that the tables do not know and that is not about
    the card.

    Raises UnreadableObject when a member has the wrong type.
    """
    code, decline_code = fields.text(error, "code"), fields.text(error, "decline_code")
    standard = DECLINE_CODES.get(decline_code) or CODES.get(code)
    if code == "resource_missing" and fields.text(error, "param") == "payment_method":
        standard = "payment_method_invalid"
    if standard is None and not code and fields.text(error, "param") in _AMOUNTS:
        standard = "provider_amount_refused"
    if standard is None:
        declined = decline_code or error.get("type") == "card_error"
        standard = "card_declined" if declined else otherwise
    return refusal(
        standard,
        fields.text(error, "message"),
        decline_code=decline_code or code,
        advice_code=fields.text(error, "advice_code"),
        provider_code=code,
        param=fields.text(error, "param"),
    )
