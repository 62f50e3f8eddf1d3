"""What Stripe's objects mean where no stand-in leads to: other currencies, odd ends and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from payments.providers.base import (
    CapturePayment,
    Credentials,
    ObservedStatus,
    Outcome,
    PaymentSnapshot,
    Result,
)
from payments.providers.objects import (
    EvidenceFile,
    IncrementAuthorization,
    RefundPayment,
    SubmitEvidence,
)
from payments.providers.stripe.call import files_base
from payments.providers.stripe.intents import CARD_FEATURES
from payments.providers.stripe.provider import StripeProvider
from payments.providers.stripe.snapshots import read_snapshot
from tests.payments.providers.broken_server import Behaviour, broken_server

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1_999,
    "amount_capturable": 0,
    "amount_received": 1_999,
    "capture_method": "manual",
    "currency": "usd",
    "latest_charge": None,
    "metadata": {},
    "status": "succeeded",
}
BALANCE = {
    "amount": 1_999,
    "fee": 88,
    "currency": "usd",
    "status": "available",
    "type": "charge",
    "available_on": 1_763_640_000,
}
PROVIDER = StripeProvider(card_features=CARD_FEATURES)


def _read(*balances: Mapping[str, Any], **members: Any) -> PaymentSnapshot:
    return read_snapshot(INTENT | members, balance_transactions=balances)


# --- fees and settlement -----------------------------------------------------------------------


def test_a_balance_in_another_currency_is_available_as_a_whole_or_not() -> None:
    here = BALANCE | {"currency": "eur", "amount": 1_700, "fee": 60}
    waiting = _read(here, here | {"status": "pending"})
    assert (waiting.amount_settled_minor, waiting.settled) == (0, False)
    available = _read(here, here)
    assert (available.amount_settled_minor, available.settled) == (1_999, True)
    assert (available.fee_minor, available.fee_currency) == (120, "EUR")


def test_balances_in_two_currencies_tell_no_fee() -> None:
    mixed = _read(BALANCE, BALANCE | {"currency": "eur"})
    assert (mixed.fee_minor, mixed.settled, mixed.amount_settled_minor) == (None, False, 0)


def test_a_capture_whose_balance_transaction_is_still_to_come_leaves_the_fee_open() -> None:
    part = BALANCE | {"amount": 700, "fee": 50}
    early = _read(part)
    assert (early.fee_minor, early.settled, early.amount_settled_minor) == (None, False, 700)


def test_what_takes_money_back_is_not_counted_as_a_capture() -> None:
    back = BALANCE | {"type": "payment_failure_refund", "amount": -1_999, "fee": 0}
    both = _read(BALANCE, back)
    assert (both.fee_minor, both.amount_settled_minor, both.settled) == (88, 1_999, True)


def test_money_of_a_payment_that_is_still_capturable_is_settled_in_part_only() -> None:
    part = BALANCE | {"amount": 700}
    held = _read(part, status="requires_capture", amount_received=700, amount_capturable=1_299)
    assert held.status == ObservedStatus.PARTIALLY_CAPTURED
    assert (held.settled, held.amount_settled_minor, held.fee_minor) == (False, 700, None)


# --- odd ends ----------------------------------------------------------------------------------


def test_what_was_taken_stands_when_the_payment_is_canceled_after() -> None:
    assert _read(status="canceled").status == ObservedStatus.CAPTURED
    assert _read(status="canceled", amount_received=0).status == ObservedStatus.CANCELED


def test_a_debit_that_failed_before_it_succeeded_is_a_decline_not_a_return() -> None:
    charge = {"id": "ch_1", "status": "failed", "failure_balance_transaction": "txn_2"}
    failed = read_snapshot(
        INTENT
        | {
            "status": "requires_payment_method",
            "amount_received": 0,
            "latest_charge": charge,
            "last_payment_error": {"code": "account_closed", "payment_method": 7},
        }
    )
    assert failed.status == ObservedStatus.DECLINED
    assert failed.amount_returned_minor == 0
    assert failed.payment_method_summary == {}


def test_what_a_bank_holds_is_told_where_it_is_not_the_amount() -> None:
    def held(amount: int) -> int | None:
        card = {"type": "card", "card": {"amount_authorized": amount}}
        charge = {"id": "ch_1", "payment_method_details": card}
        return read_snapshot(INTENT | {"latest_charge": charge}).amount_authorized_minor

    assert held(1_500) == 1_500
    assert held(1_999) is None


# --- answers that do not fit what was asked ----------------------------------------------------


def _answer(document: Mapping[str, Any], status: str = "200 OK", *headers: str) -> Behaviour:
    """A server that has this one answer."""
    body = json.dumps(document).encode()
    sizes = (f"Content-Length: {len(body)}", "Connection: close")
    head = "\r\n".join([f"HTTP/1.1 {status}", *sizes, *headers, "", ""]).encode()
    return lambda connection: connection.sendall(head + body)


def _answered(operation: str, request: Any, answer: Mapping[str, Any] | Behaviour) -> Result:
    if isinstance(answer, Mapping):
        answer = _answer(answer)

    with broken_server(answer) as url:
        return getattr(PROVIDER, operation)(
            request,
            credentials=Credentials(secret_key="sk_test_x", api_base=url),
            idempotency_key="k",
            timeout_seconds=5.0,
        )


def test_a_final_capture_that_leaves_something_held_is_unknown() -> None:
    request = CapturePayment(provider_reference="pi_1", amount_minor=700, currency="USD")
    part = {"status": "requires_capture", "amount_received": 700, "amount_capturable": 1_299}
    result = _answered("capture_payment", request, INTENT | part)
    assert result.outcome == Outcome.UNKNOWN


def test_a_raise_that_is_answered_with_less_is_unknown() -> None:
    request = IncrementAuthorization(provider_reference="pi_1", amount_minor=2_500, currency="USD")
    still = {"status": "requires_capture", "amount_received": 0, "amount_capturable": 1_999}
    result = _answered("increment_authorization", request, INTENT | still)
    assert result.outcome == Outcome.UNKNOWN


def test_a_reason_that_stripe_does_not_have_is_not_sent() -> None:
    refund = {"object": "refund", "id": "re_1", "amount": 5, "currency": "usd", "status": "pending"}
    for reason, sent in (("duplicate", True), ("changed_mind", False), ("", False)):
        request = RefundPayment(
            reference="re_ours",
            provider_reference="pi_1",
            charge_reference="ch_1",
            amount_minor=5,
            currency="USD",
            reason=reason,
        )
        result = _answered("refund_payment", request, refund)
        assert result.outcome == Outcome.PENDING
        assert ("reason" in result.exchange.request) is sent


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("refund_payment", INTENT),
        ("refund_payment", {"object": "refund", "id": "re_1", "amount": 1.5, "currency": "usd"}),
        ("capture_payment", {"object": "refund"}),
    ],
)
def test_an_answer_of_another_shape_is_unknown(operation: str, wrong: Mapping[str, Any]) -> None:
    request: Any = CapturePayment(provider_reference="pi_1", amount_minor=5, currency="USD")
    if operation == "refund_payment":
        request = RefundPayment(
            reference="re_ours",
            provider_reference="pi_1",
            charge_reference="",
            amount_minor=5,
            currency="USD",
        )
    result = _answered(operation, request, wrong)
    assert result.outcome == Outcome.UNKNOWN
    assert result.error is not None
    assert result.error.code == "provider_answer_unreadable"


def test_what_is_not_evidence_is_not_handed_in() -> None:
    dispute = {
        "object": "dispute",
        "id": "dp_1",
        "amount": 5,
        "currency": "usd",
        "status": "under_review",
    }
    file = EvidenceFile(kind="selfie", filename="a.png", content_type="image/png", content=b"x")
    request = SubmitEvidence(
        provider_reference="dp_1",
        texts={"customer_name": "Ada", "favourite_colour": "red"},
        files=(file,),
    )
    result = _answered("submit_evidence", request, dispute)
    assert result.outcome == Outcome.OK
    assert result.exchange.request["evidence"] == ["customer_name"]


def test_a_list_that_does_not_end_is_unknown() -> None:
    charge = {"id": "ch_1", "captured": True, "disputed": False, "refunds": None}
    page = {
        "object": "list",
        "has_more": True,
        "data": [{"object": "refund", "id": "re_1", "amount": 1, "currency": "usd"}],
    }
    everywhere = INTENT | {"latest_charge": charge} | page | {"object": "payment_intent"}
    with broken_server(_answer(everywhere)) as url:
        result = PROVIDER.fetch_payment(
            credentials=Credentials(secret_key="sk_test_x", api_base=url),
            provider_reference="pi_1",
            timeout_seconds=5.0,
        )
    assert result.outcome == Outcome.UNKNOWN
    assert result.error is not None
    assert "pages" in result.error.message


def test_stripes_wish_for_when_to_come_again_is_handed_on() -> None:
    request = CapturePayment(provider_reference="pi_1", amount_minor=5, currency="USD")
    error = {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "Slow."}}
    for headers, seconds in ((("Retry-After: 7",), 7.0), ((), None), (("Retry-After: x",), None)):
        limited = _answer(error, "429 Too Many Requests", *headers)
        result = _answered("capture_payment", request, limited)
        assert result.outcome == Outcome.NOT_SENT
        assert result.retry_after_seconds == seconds


def test_files_go_to_stripes_own_host_for_them() -> None:
    assert files_base("https://api.stripe.com") == "https://files.stripe.com"
    assert files_base("http://127.0.0.1:12111") == "http://127.0.0.1:12111"
