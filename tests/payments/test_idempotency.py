"""The life of an idempotency key: claimed, leased, taken over, finished, replayed, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connections, transaction

from payments import idempotency
from payments.errors import FlorinError
from payments.idempotency import Answer, Claim, LeaseLost
from payments.models import IdempotencyKey, Payment, ProviderOperation
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.payments.shop import Shop, new_key, open_shop
from tests.processes import RunningProcess

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANSWER = Answer(status=200, body={"object": "payment", "id": "pay_1"})
Point = IdempotencyKey.RecoveryPoint


@pytest.fixture
def alone(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[Shop]:
    """A shop in a database where no other test's keys are due."""
    with own_database(databases):
        yield open_shop()


def claim(shop: Shop, key: str, *, now: datetime = NOW, **changes: Any) -> Claim | Answer:
    request: dict[str, Any] = {
        "merchant": shop.merchant,
        "livemode": False,
        "key": key,
        "operation": "payments.create",
        "method": "POST",
        "path": "/v1/payments",
        "parameters": {"amount_minor": 1, "words": "é"},
        "actor_id": "key_1",
        "request_id": "req_1",
        "now": now,
    }
    return idempotency.claim(**(request | changes))


def claimed(shop: Shop, key: str, **changes: Any) -> Claim:
    result = claim(shop, key, **changes)
    assert isinstance(result, Claim)
    return result


def row_of(claim: Claim) -> IdempotencyKey:
    return IdempotencyKey.objects.get(pk=claim.row_id)


def after(**duration: float) -> datetime:
    return NOW + timedelta(**duration)


def test_a_new_key_is_claimed_with_everything_that_a_completer_needs(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    assert first.recovery_point == Point.STARTED
    assert (first.merchant, first.livemode) == (shop.merchant, False)
    assert (first.operation, first.request_id) == ("payments.create", "req_1")
    assert first.parameters == {"amount_minor": 1, "words": "é"}
    assert (first.payment_id, first.provider_operation_id) == ("", "")
    row = row_of(first)
    assert (row.key, row.operation, row.method, row.path) == (
        key,
        "payments.create",
        "POST",
        "/v1/payments",
    )
    assert (row.parameters, row.actor_id) == (first.parameters, "key_1")
    assert (row.merchant, row.livemode, row.request_id) == (shop.merchant, False, "req_1")
    assert (row.recovery_point, row.lock_token) == (Point.STARTED, first.lock_token)
    assert len(first.lock_token) == 32
    assert row.locked_until == after(seconds=60)
    assert row.completion_due_at == after(seconds=120)
    assert (row.completion_count, row.completion_error, row.created_at) == (0, "", NOW)
    assert row.fingerprint == idempotency.fingerprint(
        method="POST", path="/v1/payments", body={"words": "é", "amount_minor": 1}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/v1/payments/pay_1/confirm"},
        {"parameters": {"amount_minor": 2, "words": "é"}},
        {"parameters": {"amount_minor": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_under_the_key_is_refused_at_any_time(
    shop: Shop, change: dict[str, Any]
) -> None:
    key = new_key()
    first = claimed(shop, key)
    with pytest.raises(FlorinError) as running:
        claim(shop, key, **change)
    first.finish(ANSWER, now=NOW)
    with pytest.raises(FlorinError) as finished:
        claim(shop, key, **change)
    for refusal in (running.value, finished.value):
        assert (refusal.code.name, refusal.param) == ("idempotency_key_reused", "Idempotency-Key")
        assert refusal.status == 422


def test_a_key_is_its_merchants_and_its_modes_own(shop: Shop, another_shop: Shop) -> None:
    key = new_key()
    rows = {
        claimed(shop, key).row_id,
        claimed(another_shop, key).row_id,
        claimed(shop, key, livemode=True).row_id,
    }
    assert len(rows) == 3
    assert claimed(shop, key, livemode=True, now=after(minutes=2)).livemode is True


def test_a_running_request_is_not_overtaken_until_its_lease_ends(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    with pytest.raises(FlorinError) as refused:
        claim(shop, key, now=after(seconds=59.9))
    assert (refused.value.code.name, refused.value.status) == ("idempotency_key_in_use", 409)
    assert (refused.value.param, refused.value.retry_after_seconds) == ("Idempotency-Key", 1)
    second = claimed(shop, key, now=after(seconds=60))
    assert second.row_id == first.row_id
    assert second.lock_token != first.lock_token
    assert row_of(second).lock_token == second.lock_token
    assert row_of(second).locked_until == after(seconds=120)
    assert row_of(second).completion_count == 0


def test_who_lost_the_lease_writes_nothing_any_more(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    second = claimed(shop, key, now=after(seconds=61))
    with pytest.raises(LeaseLost, match=str(first.row_id)):
        first.finish(ANSWER, now=NOW)
    first.release()
    first.abandon()
    row = row_of(second)
    assert (row.recovery_point, row.locked_until) == (Point.STARTED, after(seconds=121))


def test_a_finished_key_gives_its_answer_for_seven_days(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    payment = shop.created()
    answer = Answer(status=402, body={"error": {"code": "é"}}, payment_id=payment.pk)
    first.finish(answer, now=after(seconds=5))
    row = row_of(first)
    assert (row.locked_until, row.completion_due_at) == (None, None)
    assert row.expires_at == after(days=7, seconds=5)
    repeat = claim(shop, key, now=after(days=6))
    assert repeat == Answer(
        status=402, body={"error": {"code": "é"}}, payment_id=payment.pk, replayed=True
    )


def test_an_answer_without_a_payment_has_none(shop: Shop) -> None:
    key = new_key()
    claimed(shop, key).finish(ANSWER, now=NOW)
    repeat = claim(shop, key)
    assert isinstance(repeat, Answer)
    assert repeat.payment_id == ""
    assert IdempotencyKey.objects.get(merchant=shop.merchant, key=key).payment is None


@pytest.mark.parametrize("status", [500, 503])
def test_our_own_failure_is_never_stored(shop: Shop, status: int) -> None:
    first = claimed(shop, new_key())
    with pytest.raises(AssertionError, match="must not be stored"):
        first.finish(Answer(status=status, body={}), now=NOW)
    first.finish(Answer(status=499, body={}), now=NOW)


def submitted(shop: Shop, first: Claim) -> tuple[Payment, ProviderOperation]:
    payment = shop.created(payment_method="tok_drop_after_commit")
    operation = payment.operations.get()
    with transaction.atomic():
        first.submitting(payment=payment, operation=operation)
    return payment, operation


def test_a_submitted_request_is_taken_over_with_its_operation(shop: Shop) -> None:
    key = new_key()
    payment, operation = submitted(shop, claimed(shop, key))
    second = claimed(shop, key, now=after(minutes=2))
    assert second.recovery_point == Point.SUBMITTING
    assert (second.payment_id, second.provider_operation_id) == (payment.pk, operation.pk)
    assert (second.operation, second.request_id) == ("payments.create", "req_1")
    assert second.parameters == {"amount_minor": 1, "words": "é"}
    second.finish(ANSWER, now=NOW)
    assert row_of(second).payment_id == payment.pk


def test_a_submitted_request_is_never_forgotten(shop: Shop) -> None:
    first = claimed(shop, new_key())
    submitted(shop, first)
    first.abandon()
    assert row_of(first).recovery_point == Point.SUBMITTING


def test_the_operations_end_finishes_the_key_once(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    payment, operation = submitted(shop, first)
    idempotency.finish_for_operation(operation, ANSWER, now=after(seconds=9))
    row = row_of(first)
    assert (row.recovery_point, row.response_status) == (Point.FINISHED, 200)
    assert row.response_body == ANSWER.body
    assert (row.locked_until, row.completion_due_at) == (None, None)
    assert row.expires_at == after(days=7, seconds=9)
    other = Answer(status=402, body={"other": True})
    idempotency.finish_for_operation(operation, other, now=NOW)
    repeat = claim(shop, key)
    assert isinstance(repeat, Answer)
    assert (repeat.status, repeat.body) == (200, ANSWER.body)
    assert repeat.payment_id == payment.pk


def test_only_the_key_of_that_operation_is_finished(shop: Shop) -> None:
    first, second = claimed(shop, new_key()), claimed(shop, new_key())
    _, operation = submitted(shop, first)
    submitted(shop, second)
    idempotency.finish_for_operation(operation, ANSWER, now=NOW)
    assert row_of(second).recovery_point == Point.SUBMITTING


def test_a_key_that_is_given_back_is_free_at_once(shop: Shop) -> None:
    key = new_key()
    first = claimed(shop, key)
    first.release()
    assert row_of(first).locked_until is None
    second = claimed(shop, key, now=after(seconds=1))
    second.finish(ANSWER, now=NOW)
    second.release()
    assert claim(shop, key) == Answer(status=200, body=ANSWER.body, replayed=True)


def test_a_key_that_is_given_back_leaves_others_alone(shop: Shop) -> None:
    first, other = claimed(shop, new_key()), claimed(shop, new_key())
    first.release()
    assert row_of(other).locked_until == after(seconds=60)


def test_a_refusal_for_the_moment_forgets_the_key(shop: Shop) -> None:
    key = new_key()
    first, other = claimed(shop, key), claimed(shop, new_key())
    first.abandon()
    assert not IdempotencyKey.objects.filter(pk=first.row_id).exists()
    assert IdempotencyKey.objects.filter(pk=other.row_id).exists()
    assert claimed(shop, key, now=after(seconds=1)).row_id != first.row_id


def test_the_completer_takes_dead_requests_oldest_first_three_times(alone: Shop) -> None:
    old, older, running = (
        claimed(alone, new_key(), now=after(seconds=seconds)) for seconds in (10, 0, 100)
    )
    submitted(alone, claimed(alone, new_key(), now=NOW))
    assert idempotency.claim_unfinished(now=after(seconds=119), limit=10) == []
    taken = idempotency.claim_unfinished(now=after(seconds=140), limit=10)
    assert [claim.row_id for claim in taken] == [older.row_id, old.row_id]
    assert taken[0].lock_token not in (older.lock_token, taken[1].lock_token)
    assert len(taken[0].lock_token) == 32
    row = row_of(older)
    assert (row.lock_token, row.completion_count) == (taken[0].lock_token, 1)
    assert row.locked_until == after(seconds=200)
    assert row.completion_due_at == after(seconds=200)
    # Leased, so nobody takes it up at its due moment; right after it.
    assert idempotency.claim_unfinished(now=after(seconds=200), limit=10) == []
    again = idempotency.claim_unfinished(now=after(seconds=201), limit=10)
    assert {claim.row_id for claim in again} == {older.row_id, old.row_id}
    third = idempotency.claim_unfinished(now=after(seconds=300), limit=10)
    assert {claim.row_id for claim in third} == {older.row_id, old.row_id, running.row_id}
    assert row_of(older).completion_count == 3
    last = idempotency.claim_unfinished(now=after(hours=1), limit=10)
    assert [claim.row_id for claim in last] == [running.row_id]


def test_the_completer_takes_no_more_than_it_is_told(alone: Shop) -> None:
    for _ in range(3):
        claimed(alone, new_key())
    assert len(idempotency.claim_unfinished(now=after(minutes=3), limit=2)) == 2
    assert len(idempotency.claim_unfinished(now=after(minutes=3), limit=2)) == 1


def test_a_key_that_was_given_back_is_completed_when_it_is_due(alone: Shop) -> None:
    first = claimed(alone, new_key())
    first.release()
    assert idempotency.claim_unfinished(now=after(seconds=119), limit=5) == []
    (taken,) = idempotency.claim_unfinished(now=after(seconds=120), limit=5)
    assert taken.row_id == first.row_id


def test_finished_keys_are_forgotten_after_their_time_and_others_never(alone: Shop) -> None:
    for seconds in range(3):
        claimed(alone, new_key()).finish(ANSWER, now=after(seconds=seconds))
    unfinished = claimed(alone, new_key())
    assert idempotency.reap(now=after(days=7)) == 0
    assert idempotency.reap(now=after(days=7, seconds=1)) == 1
    assert idempotency.reap(now=after(days=8), limit=1) == 1
    assert idempotency.reap(now=after(days=8)) == 1
    assert list(IdempotencyKey.objects.all()) == [row_of(unfinished)]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("a" * 16, "a" * 16),
        ("a" * 255, "a" * 255),
        (f'"{"a" * 16}"', "a" * 16),
        (f'"{"a" * 16}', f'"{"a" * 16}'),
        ("a b-c_d:e/f.g~h|i", "a b-c_d:e/f.g~h|i"),
    ],
)
def test_a_key_is_printable_text_of_a_sensible_length(given: str, stored: str) -> None:
    assert idempotency.validate_key(given) == stored


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, "idempotency_key_missing"),
        ("", "idempotency_key_missing"),
        ("a" * 15, "idempotency_key_invalid"),
        (f'"{"a" * 15}"', "idempotency_key_invalid"),
        ("a" * 256, "idempotency_key_invalid"),
        ("é" * 20, "idempotency_key_invalid"),
        ("a" * 20 + "\n", "idempotency_key_invalid"),
        ('"', "idempotency_key_invalid"),
        ('""', "idempotency_key_invalid"),
    ],
)
def test_what_is_no_key_is_refused(given: str | None, code: str) -> None:
    with pytest.raises(FlorinError) as refused:
        idempotency.validate_key(given)
    assert (refused.value.code.name, refused.value.param) == (code, "Idempotency-Key")


def test_of_two_merchants_with_one_key_each_gets_its_own_again(
    shop: Shop, another_shop: Shop
) -> None:
    key = new_key()
    claimed(shop, key)
    second = claimed(another_shop, key)
    assert claimed(another_shop, key, now=after(minutes=2)).row_id == second.row_id


def test_a_claim_is_never_part_of_a_larger_transaction(shop: Shop) -> None:
    key = new_key()
    claimed(shop, key)

    def claim_inside() -> None:
        with transaction.atomic():
            claim(shop, key, now=after(minutes=2))

    def complete_inside() -> None:
        with transaction.atomic():
            idempotency.claim_unfinished(now=NOW, limit=1)

    for inside in (claim_inside, complete_inside):
        with pytest.raises(RuntimeError, match="durable"):
            inside()


def test_the_completer_does_not_wait_for_a_request_that_somebody_holds(
    alone: Shop, databases: TestDatabases
) -> None:
    held, free = claimed(alone, new_key()), claimed(alone, new_key())
    url = urlsplit(databases.servers.database_owner_url)
    name = connections["default"].settings_dict["NAME"]
    with psycopg.connect(urlunsplit(url._replace(path=f"/{name}"))) as holder:
        holder.execute(
            "SELECT FROM payments_idempotencykey WHERE id = %s FOR UPDATE", [held.row_id]
        )
        (taken,) = idempotency.claim_unfinished(now=after(minutes=3), limit=5)
    assert taken.row_id == free.row_id
