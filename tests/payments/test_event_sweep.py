"""Webhooks that never came are found in the PSP's own list of events, and applied."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.test import override_settings

from audit.timeline import timeline
from payments.actions.account_rounds import work_by_account
from payments.actions.lost_webhooks import MANY_IN_AN_HOUR, lost_within_a_day
from payments.actions.sweep_events import FIRST_LOOK_BACK, OVERLAP, SOURCE, pages_of, sweep_due
from payments.models import EventSweep, LostWebhooks, Payment, ProviderAccount
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.payments.providers.broken_server import broken_server
from tests.payments.shop import Shop
from tests.payments.test_provider_events import pay_as_payer
from tests.processes import RunningProcess
from webhooks.models import DomainEvent, InboxEvent


@pytest.fixture(scope="module", autouse=True)
def database(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[None]:
    """Time is moved far ahead here, and what others left would come due each time."""
    with own_database(databases):
        yield


@pytest.fixture
def deaf_shop(shop: Shop) -> Shop:
    """A shop to which the PSP sends webhooks that are all lost, and whose payments nobody polls."""
    shop.sandbox("POST", "/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/lost"})
    shop.settings(webhook_drop=1_000_000)
    return shop


def sweep(shop: Shop) -> int:
    """Work on all pages that the shop's account has due, and apply what was found."""
    with shop.acting():
        pages = [page() for page in pages_of(shop.account.pk, clock=shop.now)]
    shop.drain()
    return len(pages)


def pass_time(shop: Shop, **duration: float) -> None:
    """Move both clocks ahead; nobody tells us what the sandbox does meanwhile."""
    shop.ahead_by(**duration)
    shop.advance_sandbox(timedelta(**duration).total_seconds())


def found(shop: Shop) -> int:
    """How many events the sweep has found, by its own count."""
    row = EventSweep.objects.filter(pk=shop.account.pk).first()
    return row.found_count if row else 0


def inbox_of(shop: Shop) -> list[InboxEvent]:
    return list(InboxEvent.objects.filter(account_id=shop.account.pk).order_by("arrival"))


def paid_at_the_provider(shop: Shop) -> Payment:
    payment = shop.created(confirm=False, payment_method="")
    pay_as_payer(shop, payment, "tok_visa")
    return payment


def refunded_in_the_dashboard(shop: Shop) -> Payment:
    payment = shop.created()
    shop.stage(payment.pk, "refund")
    return payment


def disputed_after_it_was_settled(shop: Shop) -> Payment:
    payment = shop.created()
    pass_time(shop, minutes=2)
    sweep(shop)
    assert shop.payment(payment.pk).state == "settled"
    shop.stage(payment.pk, "dispute")
    return payment


def dispute_lost(shop: Shop) -> Payment:
    payment = disputed_after_it_was_settled(shop)
    pass_time(shop, minutes=2)
    sweep(shop)
    shop.stage_dispute(payment.disputes.get().pk, "lost")
    return payment


def debit_returned_late(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank_return_late")
    pass_time(shop, minutes=2)
    sweep(shop)
    assert shop.payment(payment.pk).state == "settled"
    pass_time(shop, days=46)
    return payment


LIVES: dict[str, tuple[Callable[[Shop], Payment], str]] = {
    "captured at the provider": (paid_at_the_provider, "settled"),
    "settled": (lambda shop: shop.created(), "settled"),
    "bank debit": (lambda shop: shop.created(payment_method="tok_bank"), "settled"),
    "refused bank debit": (lambda shop: shop.created(payment_method="tok_bank_refused"), "failed"),
    "refunded": (refunded_in_the_dashboard, "refunded"),
    "disputed": (disputed_after_it_was_settled, "disputed"),
    "dispute lost": (dispute_lost, "reversed"),
    "debit returned": (debit_returned_late, "reversed"),
}


@pytest.mark.parametrize("name", LIVES)
def test_a_payment_whose_webhooks_are_all_lost_ends_right_without_a_poll(
    deaf_shop: Shop, name: str
) -> None:
    live, state = LIVES[name]
    payment = live(deaf_shop)
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    assert deaf_shop.payment(payment.pk).state == state
    assert deaf_shop.sandbox("GET", "/v1/control/deliveries")["data"] == []
    assert found(deaf_shop) == len(inbox_of(deaf_shop)) > 0


def test_what_was_found_says_where_it_came_from_and_is_the_event_itself(deaf_shop: Shop) -> None:
    deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    events = deaf_shop.sandbox("GET", "/v1/events")["data"]
    stored = inbox_of(deaf_shop)
    assert all(row.headers == SOURCE for row in stored)
    told = [{name: value for name, value in event.items() if name != "seq"} for event in events]
    assert [json.loads(bytes(row.raw)) for row in stored] == told
    audited = timeline(stream_type="provider_account", stream_id=deaf_shop.account.pk)
    (record,) = [one for one in audited if one.event_type == "provider_account.webhooks_found"]
    assert record.body["events"] == [event["id"] for event in events]


def test_a_webhook_that_comes_after_all_is_a_duplicate(deaf_shop: Shop) -> None:
    payment = deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    edges, before = deaf_shop.edges(payment.pk), len(inbox_of(deaf_shop))
    deaf_shop.deliver_events()
    late = inbox_of(deaf_shop)[before:]
    assert {row.status for row in late} == {"duplicate"}
    assert deaf_shop.edges(payment.pk) == edges


def test_what_came_by_webhook_is_not_taken_in_again(shop: Shop) -> None:
    shop.created()
    pass_time(shop, minutes=2)
    shop.deliver_events()
    before = len(inbox_of(shop))
    assert sweep(shop) == 1
    assert (found(shop), len(inbox_of(shop))) == (0, before)


def test_a_webhook_gets_its_time_to_come(deaf_shop: Shop) -> None:
    deaf_shop.created()
    sweep(deaf_shop)
    assert found(deaf_shop) == 0
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    assert found(deaf_shop) > 0


def test_an_event_that_the_list_shows_late_is_found_by_the_overlap(deaf_shop: Shop) -> None:
    deaf_shop.settings(event_list_lag_seconds=OVERLAP.total_seconds() - 60)
    payment = deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    row = EventSweep.objects.get(pk=deaf_shop.account.pk)
    assert (found(deaf_shop), row.last_swept_at is not None) == (0, True)
    assert row.swept_until > deaf_shop.payment(payment.pk).created_at
    pass_time(deaf_shop, minutes=3)
    sweep(deaf_shop)
    assert deaf_shop.payment(payment.pk).state == "settled"


def test_an_event_of_a_clock_far_ahead_of_ours_is_not_left_for_ever(deaf_shop: Shop) -> None:
    deaf_shop.settings(settle_after_seconds=3600)
    payment = deaf_shop.created()
    deaf_shop.advance_sandbox(86_400)
    sweep(deaf_shop)
    assert deaf_shop.payment(payment.pk).state == "settled"


def test_a_sweep_that_died_goes_on_at_its_last_page(deaf_shop: Shop) -> None:
    for _ in range(60):  # a page has a hundred events
        deaf_shop.sandbox(
            "POST",
            "/v1/payments",
            {
                "amount_minor": 500,
                "currency": "EUR",
                "reference": f"elsewhere-{secrets.token_hex(8)}",
                "confirm": True,
                "token": "tok_visa",
            },
        )
    pass_time(deaf_shop, minutes=2)
    with deaf_shop.acting():
        next(pages_of(deaf_shop.account.pk, clock=deaf_shop.now))()
    row = EventSweep.objects.get(pk=deaf_shop.account.pk)
    assert row.cursor != ""
    assert (row.last_swept_at, found(deaf_shop)) == (None, 100)
    dead = next(pages_of(deaf_shop.account.pk, clock=deaf_shop.now))
    assert sweep(deaf_shop) == 0  # taken
    deaf_shop.ahead_by(minutes=2)
    assert sweep(deaf_shop) >= 1
    row.refresh_from_db()
    assert (row.cursor, row.window_since) == ("", None)
    events = deaf_shop.sandbox("GET", "/v1/events")["data"]
    assert {event["id"] for event in events} == {event.event_id for event in inbox_of(deaf_shop)}
    with deaf_shop.acting():
        dead()  # it was only slow, and changes nothing any more
    assert EventSweep.objects.get(pk=row.pk).due_at == row.due_at
    assert found(deaf_shop) == len(events)


def test_a_list_that_cannot_be_had_is_asked_for_again_and_nothing_is_left_out(
    deaf_shop: Shop,
) -> None:
    payment = deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    deaf_shop.settings(fail_event_lists=2)
    assert sweep(deaf_shop) == 1
    row = EventSweep.objects.get(pk=deaf_shop.account.pk)
    assert (row.failures, row.last_swept_at) == (1, None)
    assert "failed on purpose" in row.last_error
    assert sweep(deaf_shop) == 0
    pass_time(deaf_shop, seconds=61)
    assert sweep(deaf_shop) == 1
    pass_time(deaf_shop, seconds=61)
    assert sweep(deaf_shop) == 0  # twice the pause after the second failure
    pass_time(deaf_shop, seconds=61)
    assert sweep(deaf_shop) == 1
    row.refresh_from_db()
    assert (row.failures, row.last_error) == (0, "")
    assert deaf_shop.payment(payment.pk).state == "settled"


def test_a_cursor_that_the_provider_refuses_is_forgotten(deaf_shop: Shop) -> None:
    deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    now = deaf_shop.now()
    EventSweep.objects.create(
        provider_account=deaf_shop.account,
        due_at=now,
        swept_until=now,
        window_since=now - timedelta(hours=1),
        window_opened_at=now,
        cursor="no number",
    )
    sweep(deaf_shop)
    row = EventSweep.objects.get(pk=deaf_shop.account.pk)
    assert (row.cursor, row.failures) == ("", 1)
    pass_time(deaf_shop, seconds=61)
    sweep(deaf_shop)
    assert found(deaf_shop) > 0


def test_a_provider_that_hangs_keeps_no_other_account_waiting(
    deaf_shop: Shop, another_shop: Shop
) -> None:
    deaf_shop.settings(hang_event_lists=1, hang_seconds=2)
    payment = another_shop.created()
    pass_time(another_shop, minutes=2)
    with override_settings(FLORIN_PROVIDER_TIMEOUT_SECONDS=1.0):
        work_by_account(
            due={deaf_shop.account.pk: 1, another_shop.account.pk: 1},
            pieces=partial(pages_of, clock=another_shop.now),
            job="test",
        )
    another_shop.drain()
    assert another_shop.payment(payment.pk).state == "settled"
    assert EventSweep.objects.get(pk=deaf_shop.account.pk).failures == 1


def test_a_round_sweeps_every_account_that_is_due_and_closed_ones_rarely(deaf_shop: Shop) -> None:
    payment = deaf_shop.created()
    pass_time(deaf_shop, minutes=2)
    for account_id in ProviderAccount.objects.exclude(pk=deaf_shop.account.pk).values_list("pk"):
        later = deaf_shop.now() + timedelta(days=400)
        EventSweep.objects.update_or_create(
            pk=account_id[0], defaults={"due_at": later, "swept_until": later}
        )
    deaf_shop.change_account(active=False, is_default=False)
    deaf_shop.receive(deaf_shop.sandbox("GET", "/v1/events")["data"][0])
    with override_settings(FLORIN_WEBHOOK_BUSY_INBOX_SECONDS=0.0):
        deaf_shop.ahead_by(seconds=1)
        assert sweep_due(clock=deaf_shop.now) == 0  # webhooks are refused now, too
    with override_settings(FLORIN_WEBHOOK_BUSY_INBOX_SECONDS=1e9):
        assert sweep_due(clock=deaf_shop.now) == 1
        assert sweep_due(clock=deaf_shop.now) == 0
    deaf_shop.drain()
    assert deaf_shop.payment(payment.pk).state == "settled"
    row = EventSweep.objects.get(pk=deaf_shop.account.pk)
    assert row.due_at > deaf_shop.now() + timedelta(minutes=50)


def test_the_first_sweep_of_an_old_account_does_not_read_its_whole_past(shop: Shop) -> None:
    shop.ahead_by(days=40)
    assert sweep(shop) == 1
    row = EventSweep.objects.get(pk=shop.account.pk)
    assert row.swept_until > shop.now() - FIRST_LOOK_BACK


def test_many_lost_webhooks_within_an_hour_are_told_once(deaf_shop: Shop) -> None:
    shop, now = deaf_shop, datetime.now(UTC)
    shop.ahead = (now + timedelta(hours=2)).replace(minute=5) - now
    shop.advance_sandbox(shop.ahead.total_seconds())
    while len(shop.sandbox("GET", "/v1/events")["data"]) < MANY_IN_AN_HOUR:
        shop.created()
    for _ in range(2):
        pass_time(shop, minutes=2)
        sweep(shop)
        shop.created()
    told = DomainEvent.objects.filter(
        type="provider_account.webhooks_lost", aggregate_id=shop.account.pk
    )
    assert [event.owner for event in told] == [shop.merchant.pk]
    assert told[0].payload["lost_in_hour"] >= MANY_IN_AN_HOUR
    assert lost_within_a_day(shop.account.pk, now=shop.now()) == found(shop)
    assert LostWebhooks.objects.get(provider_account=shop.account).told


def test_a_card_number_in_a_listed_event_is_masked(deaf_shop: Shop) -> None:
    order = {"amount_minor": 500, "currency": "EUR", "reference": "elsewhere"}
    deaf_shop.sandbox("POST", "/v1/payments", {**order, "description": "card 4242 4242 4242 4242"})
    pass_time(deaf_shop, minutes=2)
    sweep(deaf_shop)
    (row,) = inbox_of(deaf_shop)
    assert b"card " in bytes(row.raw)
    assert b"4242 4242" not in bytes(row.raw)


def test_an_event_that_cannot_be_read_keeps_no_other_from_being_found(shop: Shop) -> None:
    shop.created()
    good, *_ = shop.sandbox("GET", "/v1/events")["data"]
    nameless = {name: value for name, value in good.items() if name != "id"}
    body = json.dumps({"object": "list", "data": [nameless, good], "has_more": False}).encode()

    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    pass_time(shop, minutes=2)
    with broken_server(answer) as url:
        shop.change_account(api_base=url)
        sweep(shop)
    assert [row.event_id for row in inbox_of(shop)] == [good["id"]]
