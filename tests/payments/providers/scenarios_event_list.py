"""Scenarios of the contract: the PSP's own list of events, with which lost webhooks are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from payments.providers.base import EventPage, ListedEvent, Outcome, Result
from tests.payments.providers.conformance import (
    IMPATIENT_SECONDS,
    PATIENT_SECONDS,
    Case,
    error_code,
    scenario,
    snapshot_of,
)
from tests.payments.providers.driver import GOOD_CARD, Driver

# More payments than one page of any PSP has events of.
_SEVERAL_PAGES = 110


def _list(
    driver: Driver,
    *,
    since: datetime,
    cursor: str = "",
    timeout_seconds: float = PATIENT_SECONDS,
    case: Case | None = None,
) -> Result:
    credentials = case.credentials if case is not None else None
    return driver.provider.list_events(
        credentials=credentials or driver.credentials(),
        timeout_seconds=timeout_seconds,
        since=since,
        cursor=cursor,
    )


def _page(result: Result) -> EventPage:
    assert result.outcome == Outcome.OK, result
    assert result.events is not None
    return result.events


def _ids(driver: Driver, events: list[ListedEvent]) -> list[str]:
    return [driver.provider.read_webhook(event.raw).event_id for event in events]


def _an_hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


@scenario
def the_list_of_events_has_every_event_as_its_webhook_had_it(driver: Driver) -> None:
    case = Case(driver)
    held = snapshot_of(case.pay(GOOD_CARD, capture_method="manual"))
    case.capture(held)
    listed = _page(_list(driver, since=_an_hour_ago()))
    assert listed.next_cursor == ""
    sent = driver.events()
    assert len(sent) >= 3
    told = [json.loads(event.raw) for event in listed.events]
    assert sorted(told, key=lambda event: str(event["id"])) == sorted(
        map(json.loads, sent), key=lambda event: str(event["id"])
    )
    times = [event.created_at for event in listed.events]
    assert times == sorted(times)
    for event in listed.events:
        observation = driver.provider.observe_webhook(event.raw)
        assert observation.provider_reference == held.provider_reference
        assert observation.occurred_at == event.created_at


@scenario
def the_list_of_events_begins_at_a_moment(driver: Driver) -> None:
    Case(driver).pay(GOOD_CARD)
    future = datetime.now(UTC) + timedelta(hours=1)
    assert _page(_list(driver, since=future)) == EventPage(events=())
    every = _page(_list(driver, since=_an_hour_ago())).events
    newest = max(event.created_at for event in every)
    latest = _page(_list(driver, since=newest)).events
    assert latest
    assert {event.created_at.replace(microsecond=0) for event in latest} == {
        newest.replace(microsecond=0)
    }


@scenario
def a_long_list_of_events_is_read_page_by_page_and_nothing_is_left_out(driver: Driver) -> None:
    for _ in range(_SEVERAL_PAGES):
        Case(driver).create()
    since, cursor, pages = _an_hour_ago(), "", 0
    found: list[str] = []
    while cursor or not pages:
        page = _page(_list(driver, since=since, cursor=cursor))
        found += _ids(driver, list(page.events))
        cursor, pages = page.next_cursor, pages + 1
        if pages == 1:
            Case(driver).create()  # what is made meanwhile moves nothing
    sent = {driver.provider.read_webhook(raw).event_id for raw in driver.events()}
    assert pages > 1
    assert len(found) == len(set(found))
    assert len(found) >= _SEVERAL_PAGES
    assert len(sent - set(found)) <= 1


@scenario
def a_list_of_events_that_cannot_be_had_is_not_an_empty_one(driver: Driver) -> None:
    Case(driver).create()
    driver.break_next("fail_event_lists")
    failed = _list(driver, since=_an_hour_ago())
    assert (failed.outcome, failed.events) == (Outcome.UNKNOWN, None)
    driver.break_next("hang_event_lists")
    late = _list(driver, since=_an_hour_ago(), timeout_seconds=IMPATIENT_SECONDS)
    assert (late.outcome, late.events) == (Outcome.UNKNOWN, None)
    assert error_code(late) == "provider_answer_lost"
    nobody = Case(driver)
    nobody.lose_the_way()
    unheard = _list(driver, since=_an_hour_ago(), case=nobody)
    assert (unheard.outcome, unheard.events) == (Outcome.NOT_SENT, None)
    assert _page(_list(driver, since=_an_hour_ago())).events
