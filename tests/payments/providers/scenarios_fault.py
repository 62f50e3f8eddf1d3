"""Scenarios of the contract: lost answers, used keys, and everything that breaks on the way."""

from __future__ import annotations

import socket
import threading
import time

from payments.providers.base import Credentials, ObservedStatus, Outcome
from payments.providers.bulkhead import MAXIMUM_CONCURRENT_CALLS
from tests.payments.providers.broken_server import (
    HANGING_SECONDS,
    UNKNOWABLE,
    broken_server,
    drip,
    drip_head,
    hang,
)
from tests.payments.providers.conformance import (
    AMOUNT_MINOR,
    IMPATIENT_SECONDS,
    Case,
    expect,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import GOOD_CARD, Driver

# --- once, whatever happens to the answer ------------------------------------------------------


@scenario
def the_same_key_gives_the_same_object(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    first = case.create(GOOD_CARD, confirm=True, key=key)
    second = case.create(GOOD_CARD, confirm=True, key=key)
    assert second.outcome == first.outcome == Outcome.OK
    assert snapshot_of(second).provider_reference == snapshot_of(first).provider_reference
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_key_with_another_request_is_unknown_never_declined(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.OK)
    reused = case.create(GOOD_CARD, confirm=True, key=key, amount_minor=AMOUNT_MINOR + 1)
    expect(reused, Outcome.UNKNOWN)
    assert reused.error is not None
    assert reused.error.code == "provider_key_reused"
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_key_that_is_under_way_is_a_conflict(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    driver.break_next("hang_before_commit")
    expect(
        case.create(GOOD_CARD, confirm=True, key=key, timeout_seconds=IMPATIENT_SECONDS),
        Outcome.UNKNOWN,
    )
    again = case.create(GOOD_CARD, confirm=True, key=key)
    expect(again, Outcome.UNKNOWN)
    assert again.idempotency_conflict


@scenario
def a_time_out_after_the_work_is_replayed_into_one_movement(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    driver.break_next("hang_after_commit")
    expect(
        case.create(GOOD_CARD, confirm=True, key=key, timeout_seconds=IMPATIENT_SECONDS),
        Outcome.UNKNOWN,
    )
    assert case.captured() == [AMOUNT_MINOR]
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_connection_lost_after_the_work_is_replayed_into_one_movement(driver: Driver) -> None:
    case = Case(driver)
    held = snapshot_of(case.pay(GOOD_CARD, capture_method="manual"))
    key = case.key()
    driver.break_next("drop_after_commit")
    expect(case.capture(held, key=key), Outcome.UNKNOWN)
    expect(case.capture(held, key=key), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_time_out_before_the_work_moves_nothing(driver: Driver) -> None:
    case = Case(driver)
    driver.break_next("hang_before_commit")
    expect(case.create(GOOD_CARD, confirm=True, timeout_seconds=IMPATIENT_SECONDS), Outcome.UNKNOWN)
    assert case.captured() == []


@scenario
def a_500_before_the_work_leaves_the_key_usable(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    driver.break_next("fail_before_commit")
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.UNKNOWN)
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def a_stored_500_is_learnt_by_fetching(driver: Driver) -> None:
    case = Case(driver)
    key = case.key()
    driver.break_next("fail_after_commit")
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.UNKNOWN)
    expect(case.create(GOOD_CARD, confirm=True, key=key), Outcome.UNKNOWN)
    expect(case.fetch(), Outcome.OK, ObservedStatus.CAPTURED)
    assert case.captured() == [AMOUNT_MINOR]


@scenario
def an_operation_in_the_wrong_state_is_refused(driver: Driver) -> None:
    case = Case(driver)
    refused = case.capture(snapshot_of(case.create()))
    expect(refused, Outcome.DECLINED)
    assert refused.error is not None
    assert refused.error.code == "provider_state_conflict"
    paid = snapshot_of(Case(driver).pay(GOOD_CARD))
    driver.settle()
    refused = case.cancel(paid)
    expect(refused, Outcome.DECLINED, ObservedStatus.CAPTURED)


@scenario
def canceling_what_is_canceled_already_is_done(driver: Driver) -> None:
    case = Case(driver)
    created = snapshot_of(case.create())
    case.cancel(created)
    expect(case.cancel(created), Outcome.OK, ObservedStatus.CANCELED)


# --- the way to the PSP ------------------------------------------------------------------------


@scenario
def a_refused_connection_is_not_sent(driver: Driver) -> None:
    nobody = Credentials(secret_key=driver.credentials().secret_key, api_base="http://127.0.0.1:9")
    refused = Case(driver).create(credentials=nobody)
    expect(refused, Outcome.NOT_SENT)
    assert refused.error is not None
    assert refused.error.code == "provider_unreachable"


@scenario
def an_unknown_host_is_not_sent(driver: Driver) -> None:
    nobody = Credentials(
        secret_key=driver.credentials().secret_key, api_base="http://no-such-host.invalid"
    )
    expect(Case(driver).create(credentials=nobody), Outcome.NOT_SENT)


@scenario
def refused_credentials_are_not_sent(driver: Driver) -> None:
    stranger = Credentials(secret_key="nonsense", api_base=driver.url)
    refused = Case(driver).create(credentials=stranger)
    expect(refused, Outcome.NOT_SENT)
    assert refused.error is not None
    assert refused.error.code == "provider_credentials_refused"


@scenario
def a_rate_limit_is_not_sent(driver: Driver) -> None:
    driver.break_next("rate_limit")
    limited = Case(driver).create()
    expect(limited, Outcome.NOT_SENT)
    assert limited.error is not None
    assert limited.error.code == "provider_rate_limited"


@scenario
def a_hanging_psp_is_unknown_within_the_deadline(driver: Driver) -> None:
    for behaviour in (hang, drip, drip_head):
        with broken_server(behaviour) as address:
            credentials = Credentials(secret_key=driver.credentials().secret_key, api_base=address)
            started = time.monotonic()
            result = Case(driver, timeout_seconds=IMPATIENT_SECONDS).create(credentials=credentials)
            expect(result, Outcome.UNKNOWN)
            assert time.monotonic() - started < HANGING_SECONDS / 2


@scenario
def an_answer_that_cannot_be_read_is_unknown(driver: Driver) -> None:
    for behaviour in UNKNOWABLE:
        with broken_server(behaviour) as address:
            credentials = Credentials(secret_key=driver.credentials().secret_key, api_base=address)
            result = Case(driver).create(credentials=credentials)
            assert result.outcome == Outcome.UNKNOWN, (behaviour.__name__, result)
            assert result.error is not None


@scenario
def the_ninth_call_of_an_account_is_not_sent_and_does_not_wait(driver: Driver) -> None:
    arrived: list[socket.socket] = []
    enough = threading.Event()

    def keep(connection: socket.socket) -> None:
        arrived.append(connection)
        if len(arrived) == MAXIMUM_CONCURRENT_CALLS:
            enough.set()
        hang(connection)

    with broken_server(keep) as address:
        credentials = Credentials(secret_key=driver.credentials().secret_key, api_base=address)
        case = Case(driver, timeout_seconds=HANGING_SECONDS)
        threads = [
            threading.Thread(target=case.create, kwargs={"credentials": credentials})
            for _ in range(MAXIMUM_CONCURRENT_CALLS)
        ]
        for thread in threads:
            thread.start()
        assert enough.wait(HANGING_SECONDS)
        result = case.create(credentials=credentials)
        assert all(thread.is_alive() for thread in threads), "it waited for one of the eight"
        for connection in arrived:
            connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    expect(result, Outcome.NOT_SENT)
    assert result.error is not None
    assert result.error.code == "provider_busy"
    expect(Case(driver).create(), Outcome.OK)


@scenario
def the_audit_record_of_a_call_holds_no_secret(driver: Driver) -> None:
    case = Case(driver)
    created = case.create()
    record = repr(created.exchange)
    assert created.exchange.http_status == 200
    assert snapshot_of(created).provider_reference in record
    assert driver.credentials().secret_key not in record
    assert snapshot_of(created).client_secret not in record
    assert snapshot_of(created).client_secret not in repr(created)
