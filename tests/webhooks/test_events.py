"""Merchants read their own events, page by page, and nobody else's."""

from __future__ import annotations

import secrets
from datetime import datetime

import pytest

from tests.webhooks.conftest import emit
from webhooks import events


@pytest.fixture
def owner() -> str:
    return f"mer_{secrets.token_hex(8)}"


def listed(owner: str, **filters: object) -> tuple[list[str], bool]:
    page = events.list_events(owner=owner, livemode=False, **filters)  # type: ignore[arg-type]
    return [event.id for event in page.data], page.has_more


def test_pages_run_newest_first_in_both_directions(
    owner: str, aggregate: str, now: datetime
) -> None:
    ids = [emit(aggregate, now, owner=owner).id for _ in range(5)]
    ids.sort(reverse=True)
    assert listed(owner, limit=2) == (ids[:2], True)
    assert listed(owner, limit=3, starting_after=ids[1]) == (ids[2:], False)
    assert listed(owner, limit=2, ending_before=ids[3]) == (ids[1:3], True)
    assert listed(owner, limit=5, ending_before=ids[0]) == ([], False)


def test_events_are_filtered_by_type_family_and_object(
    owner: str, aggregate: str, now: datetime
) -> None:
    changed = emit(aggregate, now, owner=owner).id
    placed = emit(aggregate, now, owner=owner, type="order.placed").id
    refund = emit(f"{aggregate}x", now, owner=owner, type="refund.created").id
    assert listed(owner, type="order.placed")[0] == [placed]
    assert set(listed(owner, type="order.*")[0]) == {changed, placed}
    assert set(listed(owner, type="*")[0]) == {changed, placed, refund}
    assert listed(owner, aggregate_id=f"{aggregate}x")[0] == [refund]
    assert [event.id for event in events.of_aggregates([aggregate])] == [changed, placed]


def test_an_event_is_read_by_its_owner_in_its_mode_only(
    owner: str, aggregate: str, now: datetime
) -> None:
    event = emit(aggregate, now, owner=owner)
    assert events.get_event(owner=owner, livemode=False, event_id=event.id).seq == 1
    for other, livemode in ((owner, True), ("mer_other", False)):
        with pytest.raises(events.EventNotFound):
            events.get_event(owner=other, livemode=livemode, event_id=event.id)
