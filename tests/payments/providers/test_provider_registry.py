"""What the providers share: registry, refusals, outcomes, bulkhead, transport."""

from __future__ import annotations

import threading

import pytest
from django.conf import settings

from payments.providers import UnknownProvider, provider_for, transport
from payments.providers.base import ObservedStatus, Outcome, PaymentSnapshot
from payments.providers.bulkhead import Bulkhead, BulkheadFull, account_key
from payments.providers.objects import (
    DisputeSnapshot,
    DisputeStage,
    DisputeStatus,
    RefundSnapshot,
    RefundStatus,
)
from payments.providers.outcomes import (
    is_reached,
    outcome_of,
    outcome_of_dispute,
    outcome_of_refund,
)
from payments.providers.refusals import STANDARD, refusal
from payments.providers.sandbox import errors as sandbox_errors
from payments.providers.strict_json import read_object
from payments.providers.transport import AnswerLost, NotSent
from tests.payments.providers.broken_server import Behaviour, broken_server, drip, huge


def test_a_provider_is_found_by_its_code_and_made_once() -> None:
    for code in settings.FLORIN_PROVIDERS:
        assert provider_for(code) is provider_for(code)
        assert provider_for(code).code == code


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownProvider, match="sandbox, stripe"):
        provider_for("nobody")


def test_every_refusal_has_words_for_the_payer_that_accuse_nobody() -> None:
    for code, standard in STANDARD.items():
        error = refusal(code, "")
        assert error.payer_message
        words = error.payer_message.lower()
        assert not any(word in words for word in ("fraud", "stolen", "lost", "risk")), code
        if not code.startswith("provider_") and not standard.retryable:
            assert standard.advice == "do_not_try_again"


def test_the_providers_tables_use_standard_codes_only() -> None:
    used = {*sandbox_errors.DECLINES.values(), *sandbox_errors.REQUESTS.values()}
    assert used <= set(STANDARD)


def test_the_psps_own_advice_wins() -> None:
    assert refusal("insufficient_funds", "").advice_code == "try_again_later"
    own = refusal("insufficient_funds", "", advice_code="do_not_try_again")
    assert own.advice_code == "do_not_try_again"


def _snapshot(status: ObservedStatus) -> PaymentSnapshot:
    return PaymentSnapshot(provider_reference="x", status=status, amount_minor=1, currency="EUR")


@pytest.mark.parametrize(
    "operation", ["create", "create_and_confirm", "confirm", "capture", "cancel", "increment"]
)
@pytest.mark.parametrize("status", ObservedStatus)
def test_every_status_has_an_outcome_for_every_operation(
    operation: str, status: ObservedStatus
) -> None:
    outcome = outcome_of(operation, _snapshot(status))
    assert outcome != Outcome.NOT_SENT
    if status == ObservedStatus.UNRECOGNISED:
        assert outcome == Outcome.PENDING
        assert not is_reached(operation, _snapshot(status))
    elif operation == "cancel":
        assert is_reached(operation, _snapshot(status)) is (status == ObservedStatus.CANCELED)
    else:
        reached = {Outcome.OK, Outcome.PENDING, Outcome.ACTION}
        assert is_reached(operation, _snapshot(status)) is (outcome in reached)


@pytest.mark.parametrize("status", RefundStatus)
def test_every_status_of_a_refund_has_an_outcome(status: RefundStatus) -> None:
    refund = RefundSnapshot(
        provider_reference="x",
        payment_reference="y",
        status=status,
        amount_minor=1,
        currency="EUR",
    )
    assert outcome_of_refund(refund) not in {Outcome.NOT_SENT, Outcome.UNKNOWN}


@pytest.mark.parametrize("operation", ["submit_evidence", "accept_dispute"])
@pytest.mark.parametrize("submitted", [True, False])
@pytest.mark.parametrize("status", DisputeStatus)
def test_every_status_of_a_dispute_has_an_outcome(
    operation: str, submitted: bool, status: DisputeStatus
) -> None:
    dispute = DisputeSnapshot(
        provider_reference="x",
        payment_reference="y",
        stage=DisputeStage.CHARGEBACK,
        status=status,
        amount_minor=1,
        currency="EUR",
        evidence_submitted=submitted,
    )
    outcome = outcome_of_dispute(operation, dispute)
    if status == DisputeStatus.UNRECOGNISED:
        assert outcome == Outcome.PENDING
    elif status == DisputeStatus.NEEDS_RESPONSE:
        answered = operation == "submit_evidence" and submitted
        assert outcome == (Outcome.OK if answered else Outcome.UNKNOWN)
    elif status == DisputeStatus.UNDER_REVIEW:
        assert (outcome == Outcome.OK) is (operation == "submit_evidence")
    else:
        assert outcome == Outcome.OK


def test_the_bulkhead_counts_per_account_and_gives_places_back() -> None:
    bulkhead = Bulkhead(limit=2)
    with bulkhead.place("a"), bulkhead.place("a"):
        with pytest.raises(BulkheadFull), bulkhead.place("a"):
            pass
        with bulkhead.place("b"):
            pass
    with pytest.raises(KeyError), bulkhead.place("a"):
        raise KeyError
    with bulkhead.place("a"), bulkhead.place("a"):
        pass


def test_the_bulkhead_never_lets_more_through_than_its_limit() -> None:
    bulkhead, lock = Bulkhead(limit=3), threading.Lock()
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            try:
                with bulkhead.place("a"):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    with lock:
                        inside -= 1
            except BulkheadFull:
                continue

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3


def test_the_key_of_an_account_does_not_hold_its_secret() -> None:
    key = account_key("stripe", "https://api.stripe.com", "sk_live_secret")
    assert "secret" not in key
    assert key != account_key("stripe", "https://other.example", "sk_live_secret")


def test_a_request_that_cannot_be_formed_is_not_sent() -> None:
    for url, headers in (
        ("http://127.0.0.1:9", {"Authorization": "Bearer a\nb"}),
        ("http://[::1", {}),
        ("gopher://127.0.0.1", {}),
    ):
        with pytest.raises(NotSent):
            transport.send(
                method="GET",
                url=url,
                headers=headers,
                body=None,
                timeout_seconds=1.0,
                account_key="x",
            )


@pytest.mark.parametrize(("behaviour", "words"), [(drip, "timed out"), (huge, "larger")])
def test_an_answer_too_slow_or_too_large_is_lost_with_its_status(
    behaviour: Behaviour, words: str
) -> None:
    with broken_server(behaviour) as url, pytest.raises(AnswerLost, match=words) as lost:
        transport.send(
            method="GET", url=url, headers={}, body=None, timeout_seconds=0.5, account_key="x"
        )
    assert lost.value.http_status == 200


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"1", b"\xff", b'{"a":1,"a":1}', b'{"a":Infinity}', b"{}x", b"[" * 9999],
)
def test_json_that_is_not_one_clean_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_object(raw)
