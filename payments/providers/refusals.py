"""The standard words for a provider's no, as data: one row per code, the same for every PSP.

A provider's own table (e.g. `payments.providers.stripe.errors`) leads from the PSP's codes to the
rows here; `refusal` joins the two into a `ProviderError`. Codes that begin with `provider_` are
about the request or the PSP, not about the payer's money; the others are declines.

`payer_message` never says why a card is distrusted: a thief must not learn that it was reported.
"""

from __future__ import annotations

from dataclasses import dataclass

from payments.providers.base import ProviderError

TRY_AGAIN_LATER = "try_again_later"
DO_NOT_TRY_AGAIN = "do_not_try_again"
CONFIRM_CARD_DATA = "confirm_card_data"

_ANOTHER_METHOD = "Your payment was declined. Please use another payment method."
_CHECK_DATA = "Please check your card details and try again."
_LATER = "Your payment could not be processed. Please try again in a moment."
_NOT_POSSIBLE = "This payment is not possible at the moment."


@dataclass(frozen=True)
class Standard:
    """One standard refusal: whether another try may succeed, and the words for the payer."""

    retryable: bool
    payer_message: str
    advice: str = ""


STANDARD: dict[str, Standard] = {
    # Declines: the payer's bank, or the PSP on its behalf, said no.
    "card_declined": Standard(True, _ANOTHER_METHOD),
    "insufficient_funds": Standard(
        True, "There is not enough money on this account.", TRY_AGAIN_LATER
    ),
    "limit_exceeded": Standard(True, "The limit of this card is reached.", TRY_AGAIN_LATER),
    "expired_card": Standard(True, "Your card has expired.", CONFIRM_CARD_DATA),
    "incorrect_number": Standard(True, _CHECK_DATA, CONFIRM_CARD_DATA),
    "incorrect_cvc": Standard(True, "The security code is not right.", CONFIRM_CARD_DATA),
    "incorrect_address": Standard(True, "The address is not right.", CONFIRM_CARD_DATA),
    "incorrect_pin": Standard(True, "The PIN is not right.", CONFIRM_CARD_DATA),
    "lost_or_stolen_card": Standard(False, _ANOTHER_METHOD, DO_NOT_TRY_AGAIN),
    "suspected_fraud": Standard(False, _ANOTHER_METHOD, DO_NOT_TRY_AGAIN),
    "do_not_try_again": Standard(False, _ANOTHER_METHOD, DO_NOT_TRY_AGAIN),
    "card_not_supported": Standard(
        True, "This card cannot be used here. Please use another one.", DO_NOT_TRY_AGAIN
    ),
    "currency_not_supported": Standard(
        True, "This card cannot pay in this currency.", DO_NOT_TRY_AGAIN
    ),
    "authentication_failed": Standard(
        True, "Your bank could not confirm that it is you. Please try again.", TRY_AGAIN_LATER
    ),
    "authentication_required": Standard(
        True, "Your bank asks you to confirm this payment.", TRY_AGAIN_LATER
    ),
    "payment_method_invalid": Standard(True, _ANOTHER_METHOD, CONFIRM_CARD_DATA),
    "bank_debit_refused": Standard(
        True, "Your bank refused the debit. Please use another account.", DO_NOT_TRY_AGAIN
    ),
    "mandate_inactive": Standard(
        False, "Your bank account may not be debited without your consent.", DO_NOT_TRY_AGAIN
    ),
    "increment_refused": Standard(True, _NOT_POSSIBLE, DO_NOT_TRY_AGAIN),
    "capture_refused": Standard(True, _NOT_POSSIBLE, TRY_AGAIN_LATER),
    "capture_failed": Standard(False, _NOT_POSSIBLE, DO_NOT_TRY_AGAIN),
    "authorization_gone": Standard(False, _NOT_POSSIBLE, DO_NOT_TRY_AGAIN),
    "refund_refused": Standard(True, "The refund could not be paid out.", TRY_AGAIN_LATER),
    "refund_returned": Standard(True, "The refund could not be paid out.", CONFIRM_CARD_DATA),
    "duplicate_payment": Standard(True, "This payment was made a moment ago.", DO_NOT_TRY_AGAIN),
    "processing_error": Standard(True, _LATER, TRY_AGAIN_LATER),
    # The request itself: the PSP does not take it as it is, or not now.
    "provider_request_refused": Standard(False, _NOT_POSSIBLE),
    "provider_amount_refused": Standard(False, _NOT_POSSIBLE),
    "provider_currency_refused": Standard(False, _NOT_POSSIBLE),
    "provider_state_conflict": Standard(False, _NOT_POSSIBLE),
    "provider_not_found": Standard(False, _NOT_POSSIBLE),
    "provider_payment_disputed": Standard(False, _NOT_POSSIBLE),
    "provider_evidence_overdue": Standard(False, _NOT_POSSIBLE),
    "provider_evidence_refused": Standard(False, _NOT_POSSIBLE),
    "provider_operation_unsupported": Standard(False, _NOT_POSSIBLE),
    # The way to the PSP: nothing is known about the payer's money.
    "provider_busy": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_unavailable": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_unreachable": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_rate_limited": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_credentials_refused": Standard(True, _NOT_POSSIBLE),
    "provider_key_in_use": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_key_reused": Standard(False, _NOT_POSSIBLE),
    "provider_answer_lost": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_answer_unreadable": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_error": Standard(True, _LATER, TRY_AGAIN_LATER),
    "provider_reference_ambiguous": Standard(False, _NOT_POSSIBLE),
}


def refusal(
    code: str,
    message: str,
    *,
    decline_code: str = "",
    advice_code: str = "",
    provider_code: str = "",
    param: str = "",
) -> ProviderError:
    """The ProviderError of a standard code. The PSP's own advice wins over ours, and its "do not
    try again" also means that trying again is of no use.

    Raises KeyError for a code that is not in the table.
    """
    standard = STANDARD[code]
    return ProviderError(
        code=code,
        message=message or standard.payer_message,
        decline_code=decline_code,
        advice_code=advice_code or standard.advice,
        retryable=standard.retryable,
        payer_message=standard.payer_message,
        provider_code=provider_code,
        param=param,
    )
