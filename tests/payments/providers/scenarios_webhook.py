"""Scenarios of the contract: webhooks, forged, late, unreadable and good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from payments.providers.base import InvalidSignature, ObservedStatus, UnreadableEvent
from tests.payments.providers.conformance import Case, scenario, snapshot_of
from tests.payments.providers.driver import GOOD_CARD, Driver

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _signed(driver: Driver, raw: bytes, at: datetime) -> tuple[str, dict[str, str]]:
    secret = driver.new_webhook_secret()
    return secret, driver.sign(raw, secret, at)


def _refused(driver: Driver, raw: bytes, headers: dict[str, str], secrets_: list[str]) -> str:
    try:
        driver.provider.verify_webhook(raw, headers, secrets=secrets_, now=NOW)
    except InvalidSignature as error:
        return str(error)
    return ""


@scenario
def a_webhook_signed_with_any_current_secret_is_accepted(driver: Driver) -> None:
    raw = b'{"a": 1}'
    secret, headers = _signed(driver, raw, NOW)
    other = driver.new_webhook_secret()
    for known in ([secret], [other, secret], [secret, other], ["", "whsec_?", secret]):
        driver.provider.verify_webhook(raw, headers, secrets=known, now=NOW)


@scenario
def a_forged_webhook_is_refused(driver: Driver) -> None:
    raw = b'{"a": 1}'
    secret, headers = _signed(driver, raw, NOW)
    assert _refused(driver, raw, headers, [driver.new_webhook_secret()])
    assert _refused(driver, raw, headers, [])
    assert _refused(driver, raw, {}, [secret])
    assert _refused(driver, raw + b" ", headers, [secret])
    for name in headers:
        for value in ("", "nonsense", "\u00e9", "t=1,v1=" + "0" * 64):
            assert _refused(driver, raw, {**headers, name: value}, [secret])


@scenario
def a_webhook_too_old_or_from_the_future_is_refused(driver: Driver) -> None:
    raw = b"{}"
    for seconds, accepted in ((-290, True), (290, True), (-310, False), (310, False)):
        secret, headers = _signed(driver, raw, NOW + timedelta(seconds=seconds))
        words = _refused(driver, raw, headers, [secret])
        assert (words == "") is accepted, (seconds, words)


@scenario
def a_webhook_is_verified_on_its_raw_bytes(driver: Driver) -> None:
    raw = b'{ "caf\xc3\xa9" :\t"\xff\xfe" }\r\n'
    secret, headers = _signed(driver, raw, NOW)
    driver.provider.verify_webhook(raw, headers, secrets=[secret], now=NOW)


@scenario
def every_event_of_a_payment_can_be_read(driver: Driver) -> None:
    case = Case(driver)
    held = snapshot_of(case.pay(GOOD_CARD, capture_method="manual"))
    case.capture(held)
    events = driver.events()
    assert len(events) >= 3
    for raw in events:
        notification = driver.provider.read_webhook(raw)
        observation = driver.provider.observe_webhook(raw)
        assert notification.event_id == observation.event_id
        assert notification.subject == observation.provider_reference == held.provider_reference
        assert notification.our_reference == observation.our_reference == case.reference
        assert observation.relevant
        assert observation.snapshot is not None or observation.fetch_needed
        assert observation.livemode is False


@scenario
def events_lead_to_the_state_that_a_fetch_shows(driver: Driver) -> None:
    case = Case(driver)
    paid = snapshot_of(case.pay(GOOD_CARD))
    observations = [driver.provider.observe_webhook(raw) for raw in driver.events()]
    snapshots = [o.snapshot for o in observations if o.snapshot is not None]
    fetched = snapshot_of(case.fetch(paid))
    assert snapshots[-1].status == fetched.status == ObservedStatus.CAPTURED
    assert snapshots[-1].charge_reference == fetched.charge_reference
    learnt = snapshots[-1].fee_minor is not None
    assert learnt or any(observation.fetch_needed for observation in observations)


@scenario
def an_unreadable_event_is_named(driver: Driver) -> None:
    Case(driver).create()
    good = driver.events()[0]
    broken = (
        b"",
        b"[]",
        b"{}",
        b"\xff" + good,
        good[:-1],
        good[:-1] + b', "id": "twice"}',
        b'{"object": "event", "id": 1, "type": "payment.captured"}',
        b'{"object": "event", "id": "e", "type": [], "data": {}}',
        b'{"object": "event", "id": "e", "type": "x", "data": []}',
    )
    for raw in broken:
        for read in (driver.provider.read_webhook, driver.provider.observe_webhook):
            with pytest.raises(UnreadableEvent, match=r"."):
                read(raw)
