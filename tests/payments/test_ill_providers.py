"""A PSP that hangs, dies or answers 500 is left alone for a while; nobody else notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import connection

from audit.timeline import timeline
from payments.actions.resume_rounds import resume_due
from payments.actions.tell_breakers import tell_change, tell_what_nobody_told
from payments.actions.through_breaker import breaker
from payments.models import ToldBreaker
from payments.providers.breaker import Breaker, Verdict
from payments.quick_redis import QuickRedis
from tests.payments.ill_provider import (
    MINIMUM_CALLS,
    OPEN_SECONDS,
    forget_breaker,
    name_of,
    quick_breakers,
    recover,
    recovered,
    state_of,
    told_of,
    until,
)
from tests.payments.shop import Shop
from webhooks.models import DomainEvent

# What a call to a hanging provider takes; whoever does not wait for one is done before.
HANGING_SECONDS = 4.0
SLOWEST_SECONDS = 3.5


@pytest.fixture(autouse=True)
def quick(shop: Shop, another_shop: Shop) -> Iterator[None]:
    """Quick breakers; afterwards the provider is well and nothing is left open."""
    with quick_breakers():
        yield
        for ill in (shop, another_shop):
            recover(ill)


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    result = act()
    return time.monotonic() - started, result


def fall_ill(shop: Shop, **knobs: Any) -> None:
    """Create payments that end badly until the breaker opens."""
    shop.settings(**(knobs or {"outage": True}))
    for _ in range(MINIMUM_CALLS):
        assert shop.create().status == 202
    assert state_of(shop).state == "open"


def test_an_open_breaker_answers_202_not_sent_and_the_payment_completes_later(shop: Shop) -> None:
    fall_ill(shop)
    seconds, answer = timed(shop.create)
    assert (answer.status, answer.body["outcome"]) == (202, "not_sent")
    assert seconds < SLOWEST_SECONDS
    payment = shop.payment(answer.payment_id)
    operation = payment.operations.get()
    assert (operation.error or {})["code"] == "provider_unavailable"
    waits = (operation.next_try_at - operation.created_at).total_seconds()
    assert waits < OPEN_SECONDS + 5, "it waits longer than the breaker"
    shop.settings(outage=False)
    until(lambda: recovered(shop))
    for payment in shop.merchant.payments.all():
        moves = [move for move in shop.movements(payment.pk) if move["kind"] == "capture"]
        assert [move["amount_minor"] for move in moves] == [4200]
    assert state_of(shop).state == "closed"
    assert told_of(shop) == ["breaker.opened", "breaker.closed"]


def test_tries_that_an_open_breaker_refused_do_not_count(shop: Shop) -> None:
    fall_ill(shop)
    payment_id = shop.create().payment_id
    operation = shop.payment(payment_id).operations.get()
    for _ in range(3):
        shop.ahead_by(minutes=2)
        fall_ill_again = state_of(shop).state == "open"
        answer = shop.resume(payment_id)
        assert answer.status == 202
        if not fall_ill_again:
            break
    operation.refresh_from_db()
    assert operation.try_count <= 2


def test_declines_never_open_a_breaker(shop: Shop) -> None:
    for _ in range(3 * MINIMUM_CALLS):
        assert shop.create(payment_method="tok_do_not_honor").status == 402
    assert state_of(shop).state == "closed"
    assert shop.create().status == 201


def test_a_provider_that_died_is_left_alone_and_found_again(shop: Shop) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    shop.change_account(api_base=nobody)
    for _ in range(MINIMUM_CALLS):
        assert shop.create().body["outcome"] == "not_sent"
    assert state_of(shop).state == "open"
    shop.change_account(api_base="")
    until(lambda: recovered(shop))
    assert told_of(shop) == ["breaker.opened", "breaker.closed"]


def test_a_provider_that_commits_and_then_hangs_moves_the_money_once(shop: Shop) -> None:
    with quick_breakers(FLORIN_PROVIDER_TIMEOUT_SECONDS=0.5):
        fall_ill(shop, hang_after_commit=MINIMUM_CALLS, hang_seconds=3)
        until(lambda: recovered(shop))
    for payment in shop.merchant.payments.all():
        moves = [move for move in shop.movements(payment.pk) if move["kind"] == "capture"]
        assert [move["amount_minor"] for move in moves] == [4200]


def test_a_hanging_account_does_not_slow_another_merchants_payments(
    shop: Shop, another_shop: Shop
) -> None:
    def ask(of: Shop) -> float:
        try:
            return timed(of.create)[0]
        finally:
            connection.close()

    with quick_breakers(
        FLORIN_PROVIDER_TIMEOUT_SECONDS=HANGING_SECONDS, FLORIN_BREAKER_OPEN_SECONDS=60.0
    ):
        shop.settings(hang_before_commit=1000, hang_seconds=HANGING_SECONDS + 0.5)
        with ThreadPoolExecutor(max_workers=12) as pool:
            hanging = [pool.submit(ask, shop) for _ in range(10)]
            beside = [ask(another_shop) for _ in range(10)]
            assert max(beside) < SLOWEST_SECONDS
            slowest = max(future.result() for future in hanging)
            assert slowest < 2 * HANGING_SECONDS, "it waited for others, and then for its own"
        assert state_of(shop).state == "open"
        assert state_of(another_shop).state == "closed"
        # Now nobody waits any more, not even the merchant itself.
        assert ask(shop) < SLOWEST_SECONDS
        shop.settings(hang_before_commit=0)


def test_a_hanging_account_does_not_delay_the_recovery_of_others(
    shop: Shop, another_shop: Shop
) -> None:
    with quick_breakers(FLORIN_PROVIDER_TIMEOUT_SECONDS=8.0, FLORIN_BREAKER_MINIMUM_CALLS=1000):
        for of in (shop, another_shop):
            of.settings(fail_before_commit=6)
            for _ in range(6):
                assert of.create().status == 202
        shop.settings(hang_before_commit=1000, hang_reads=1000, hang_seconds=8)
        shop.ahead_by(seconds=60)
        seconds, worked = timed(lambda: resume_due(clock=shop.now))
        assert seconds < 7.5, "the round waited for the hanging account"
        assert worked >= 6
        states = {payment.state for payment in another_shop.merchant.payments.all()}
        assert states <= {"captured", "settled"}
        shop.settings(hang_before_commit=0, hang_reads=0)
    until(lambda: not [t for t in threading.enumerate() if t.name == "resume"], seconds=30)


def test_asking_has_a_breaker_of_its_own(shop: Shop) -> None:
    waiting = shop.created(payment_method="tok_bank")
    fall_ill(shop)
    shop.settings(outage=False)
    shop.advance_sandbox(10)
    assert shop.poll(waiting.pk).state in ("captured", "settled")


# --- what is told -------------------------------------------------------------------------------


def test_a_change_is_told_once_to_its_merchant_and_to_the_audit_log(shop: Shop) -> None:
    fall_ill(shop)
    shop.create()
    event = DomainEvent.objects.get(aggregate_id=name_of(shop))
    assert (event.type, event.owner) == ("breaker.opened", shop.merchant.pk)
    assert event.payload["operation_class"] == "create"
    assert event.payload["failures"] == MINIMUM_CALLS
    records = timeline(stream_type="breaker", stream_id=name_of(shop))
    assert [record.event_type for record in records] == ["breaker.opened"]


def open_without_telling(shop: Shop) -> None:
    """As a process does that dies right after Redis handed it the change."""
    breakers = breaker()
    for _ in range(MINIMUM_CALLS):
        breakers.record(breakers.admit(name_of(shop)), Verdict(failed=True))
    assert state_of(shop).state == "open"


def test_what_a_dead_process_did_not_tell_is_told_by_the_job(shop: Shop) -> None:
    open_without_telling(shop)
    assert told_of(shop) == []
    for _ in range(2):
        tell_what_nobody_told([state_of(shop)], now=datetime.now(UTC))
    assert told_of(shop) == ["breaker.opened"]


def test_a_breaker_that_redis_lost_is_told_as_closed(shop: Shop) -> None:
    fall_ill(shop)
    forget_breaker(shop)
    others = {row.pk for row in ToldBreaker.objects.filter(state="open").exclude(pk=name_of(shop))}
    known = [state for state in breaker().states() or [] if state.name in others]
    tell_what_nobody_told([*known, state_of(shop)], now=datetime.now(UTC))
    assert told_of(shop) == ["breaker.opened", "breaker.closed"]


def test_without_redis_each_process_sees_a_change_and_one_tells_it(shop: Shop) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    told = 0
    for _ in range(3):
        alone = Breaker(shared=QuickRedis(nowhere), rules=breaker().rules)
        changes = [
            alone.record(alone.admit(name_of(shop)), Verdict(failed=True))
            for _ in range(MINIMUM_CALLS)
        ]
        assert changes[-1] == "opened"
        told += tell_change(name_of(shop), "opened", state=None, now=datetime.now(UTC))
    assert told == 1
    assert told_of(shop) == ["breaker.opened"]


def test_older_news_is_no_news(shop: Shop) -> None:
    fall_ill(shop)
    was_open = state_of(shop)
    shop.settings(outage=False)
    until(lambda: recovered(shop))
    tell_what_nobody_told([was_open], now=datetime.now(UTC))
    assert told_of(shop) == ["breaker.opened", "breaker.closed"]


def test_a_breaker_of_no_account_is_nobodys_news() -> None:
    assert not tell_change("pacc_unknown:create", "opened", state=None, now=datetime.now(UTC))


def test_without_redis_the_job_tells_nothing() -> None:
    assert tell_what_nobody_told(None, now=datetime.now(UTC)) == 0


def test_news_that_cannot_be_written_fails_no_payment(
    shop: Shop, second_connection: psycopg.Connection
) -> None:
    shop.settings(outage=True)
    for _ in range(MINIMUM_CALLS - 1):
        shop.create()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '200ms'")
    try:
        with second_connection.transaction(force_rollback=True):
            second_connection.execute(
                "INSERT INTO payments_toldbreaker (id, provider_account_id, operation_class, "
                "state, since, calls, failures, slow) VALUES (%s, %s, 'create', 'closed', "
                "now(), 0, 0, 0)",
                [name_of(shop), shop.account.pk],
            )
            assert shop.create().status == 202
            assert state_of(shop).state == "open"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert told_of(shop) == []
    tell_what_nobody_told([state_of(shop)], now=datetime.now(UTC))
    assert told_of(shop) == ["breaker.opened"]
