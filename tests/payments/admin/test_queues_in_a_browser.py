"""A bad day in a real Chromium: queues in pictures, a dead letter in full, a run with progress."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import expect
from pytest_django import Settings

from audit import log
from tests.databases import TestDatabases
from tests.payments.admin.visiting import Visit
from tests.webhooks import effects
from tests.webhooks.conftest import ACTOR, HANDLERS, emit
from webhooks import dead_letter_runs, endpoints, outbox, retries, samples
from webhooks.models import (
    DeadLetterRun,
    EndpointHealth,
    EventDelivery,
    FailedAttempt,
    FlowMinute,
    QueueSample,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def bad_day(databases: TestDatabases, settings: Settings) -> str:
    """An hour in which a handler failed, an endpoint was away and the queues fell behind; the id
    of one of its dead letters.
    """
    settings.FLORIN_EVENT_HANDLERS = HANDLERS
    with psycopg.connect(databases.servers.database_owner_url, autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS test_effect (id bigserial, handler text, aggregate text,"
            " seq bigint, pid int DEFAULT pg_backend_pid())"
        )
    aggregate = f"ord_{secrets.token_hex(8)}"
    now = datetime.now(UTC)
    _plant_samples(now)
    with log.acting_as(ACTOR):
        endpoint, _ = endpoints.create(
            owner=f"mer_{aggregate}",
            livemode=False,
            url="http://93.184.216.34/hooks/florin",
            event_types=["*"],
            now=now,
        )
    EndpointHealth.objects.filter(endpoint_id=endpoint.id).update(
        consecutive_failures=17, failing_since=now - timedelta(hours=5), last_failure_at=now
    )
    effects.trouble[aggregate] = ValueError("no stock: whsec_c2VjcmV0IG9mIGEgc2hvcA==")
    for _ in range(4):
        emit(aggregate, now, token_secret="very private", trouble_at=1)
    moment = now
    for _ in range(retries.FAILURE_LIMIT):
        while outbox.drain(now=moment).total:
            pass
        moment += timedelta(hours=2)
    effects.trouble.clear()
    dead = EventDelivery.objects.get(lane=f"outbox:order:{aggregate}", handler="blocking", seq=1)
    EventDelivery.objects.filter(pk=dead.pk).update(finished_at=now)
    return f"handler:{dead.pk}"


def _plant_samples(now: datetime) -> None:
    QueueSample.objects.all().delete()
    FlowMinute.objects.all().delete()
    start = samples.stretches_start(step=MINUTE, count=60, now=now)
    for number in range(60):
        if 25 <= number < 28:
            continue  # the sweeper was down
        trouble = max(0, 20 - abs(number - 38))
        for place, queue in enumerate(samples.FLOWS):
            QueueSample.objects.create(
                queue=queue,
                sampled_at=start + MINUTE * number,
                waiting=trouble * 40 // (place + 1),
                late_seconds=trouble * 15 / (place + 1),
                dead=trouble // 6,
                arrived=200 + 20 * place,
                handled=210 - trouble * 5 + 20 * place,
            )
    for number in range(50):
        for flow, good, bad in (
            ("inbox", "processed", "dead"),
            ("outbox", "done", "dead"),
            ("merchant_webhooks", "delivered", "retrying"),
        ):
            trouble = max(0, 20 - abs(number - 38))
            for status, count in ((good, 120 + number % 9 * 4), (bad, trouble)):
                FlowMinute.objects.create(
                    flow=flow, minute=start + MINUTE * number, status=status, count=count
                )
    for number in range(30):
        FailedAttempt.objects.create(
            kind="inbox" if number % 3 else "handler",
            row_id=str(number),
            source="sandbox" if number % 3 else "merchant_webhooks",
            number=1,
            outcome="interrupted" if number % 10 == 0 else "failed",
            recorded_at=now - MINUTE * number,
            worker="here/1",
            reason="ValueError: planted",
        )


def test_the_queues_are_drawn_with_everything_that_failed(visit: Visit, bad_day: str) -> None:
    visit.go("/admin/payments/payment/queues/")
    text = visit.text()
    for words in (
        "Longest due row: how late",
        "Handled per minute",
        "Came in: news from providers",
        "Came in: webhooks to merchants",
        "Failed tries by handler",
        "merchant_webhooks",
        "Failing endpoints",
        "http://93.184.216.34/hooks/florin",
        "Dead letters",
        "Signs of life",
    ):
        assert words in text, words
    charts = visit.page.locator("svg.florin-chart[role=img]")
    assert charts.count() >= 5
    assert all(charts.nth(index).get_attribute("aria-label") for index in range(charts.count()))
    # A gap in the samples is a gap in each of the three lines.
    lateness = visit.page.locator("section[aria-label=Lateness] polyline")
    assert lateness.count() == 6
    visit.assert_that_texts_stand_out()
    visit.picture("60-queues")
    for window in ("Last day", "Last week"):
        visit.follow(visit.page.get_by_role("link", name=window))
        assert "Samples as figures" in visit.text()
    visit.picture("61-queues-week")


def test_a_dead_letter_says_why_what_waits_and_hides_what_is_secret(
    visit: Visit, bad_day: str
) -> None:
    visit.go(f"/admin/webhooks/deadletter/{bad_day}/change/")
    text = visit.text()
    assert "ValueError: no stock" in text
    assert "only after this one" in text
    assert "c2VjcmV0IG9mIGEgc2hvcA" not in visit.page.content()
    assert "very private" not in visit.page.content()
    assert visit.page.locator("section[aria-label=Tries] tbody tr").count() == 3
    assert visit.page.locator("section[aria-label='What it holds up'] tbody tr").count() == 3
    assert not visit.page.get_by_text("Traceback (most recent call last)").first.is_visible()
    visit.page.get_by_text("The last traceback").click()
    assert visit.page.get_by_text("Traceback (most recent call last)").first.is_visible()
    visit.assert_that_texts_stand_out()
    visit.picture("62-dead-letter")
    visit.page.get_by_role("button", name="Discard").click()  # the browser asks for the words
    assert EventDelivery.objects.get(pk=bad_day.partition(":")[2]).status == "dead"
    visit.press("Replay")
    assert "Queued again" in visit.text()


def test_many_are_counted_replayed_and_followed_without_reloading(
    visit: Visit, bad_day: str
) -> None:
    now = datetime.now(UTC)
    row = EventDelivery.objects.get(pk=bad_day.partition(":")[2])
    visit.go("/admin/webhooks/deadletter/")
    visit.picture("63-dead-letters")
    visit.follow(visit.page.get_by_role("link", name="Many at once"))
    visit.page.get_by_label("Reason contains").fill("no stock")
    visit.page.get_by_label("Died since").fill((now - MINUTE * 10).strftime("%Y-%m-%dT%H:%M:%S"))
    visit.press("Count them")
    visit.picture("64-many-counted")
    visit.follow(visit.page.locator("button[value=replay]"))
    run = DeadLetterRun.objects.latest("created_at")
    bar = visit.page.get_by_label("How far the run has come")
    expect(bar).to_have_js_property("value", 0)
    visit.picture("65-run-running")
    while run.status == DeadLetterRun.Status.RUNNING:
        dead_letter_runs.work(now=datetime.now(UTC))
        run.refresh_from_db()
    expect(visit.page.get_by_text("finished")).to_be_visible(timeout=10_000)
    expect(bar).to_have_js_property("value", 100)
    visit.picture("66-run-finished")
    row.refresh_from_db()
    assert row.status != "dead"
    assert run.actor_display == visit.user_name
