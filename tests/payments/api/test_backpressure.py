"""An installation that does not keep up says so before it writes anything."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from payments.api.backpressure import WEBHOOK_RETRY_AFTER_SECONDS, Pressure
from payments.errors import ErrorCode, FlorinError
from payments.models import Payment, ProviderOperation
from tests.payments.api.conftest import Api, error_of, payment_body
from tests.payments.api.test_provider_webhooks_over_http import Sender
from tests.payments.ill_provider import recover
from tests.payments.shop import Shop
from webhooks import inbox
from webhooks.models import InboxEvent


def overdue_operation(shop: Shop) -> str:
    """A payment whose operation should have been tried again minutes ago."""
    shop.settings(fail_before_commit=1)
    payment_id = shop.create().payment_id
    ProviderOperation.objects.filter(payment_id=payment_id, finished_at=None).update(
        next_try_at=datetime.now(UTC) - timedelta(minutes=5)
    )
    return payment_id


def refused_after_a_look(ask: Callable[[], Any]) -> Any:
    """Ask until a look has found what is wrong: at most two looks, one each second."""
    return until((429, 503), ask)


def until(statuses: int | tuple[int, ...], ask: Callable[[], Any]) -> Any:
    """Ask until the answer has one of these statuses; the last answer after a minute."""
    wanted = (statuses,) if isinstance(statuses, int) else statuses
    deadline = time.monotonic() + 60
    while True:
        answer = ask()
        if answer.status_code in wanted or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def test_new_payments_wait_while_a_merchants_operations_are_overdue(
    api: Api, shop: Shop, another_shop: Shop
) -> None:
    overdue_operation(shop)
    with override_settings(FLORIN_TOO_BUSY_MERCHANT_OPERATIONS=0):
        answer = refused_after_a_look(lambda: api.post("/v1/payments", payment_body()))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_busy")
        assert int(answer["Retry-After"]) >= 1
        before = Payment.objects.filter(merchant=shop.merchant).count()
        assert api.post("/v1/payments", payment_body()).status_code == 429
        assert Payment.objects.filter(merchant=shop.merchant).count() == before
        assert api.get("/v1/payments").status_code == 200
        assert Api(another_shop.secret_key).create()["status"] == "captured"
    recover(shop)


def test_everybodys_payments_wait_while_too_many_operations_are_overdue(
    shop: Shop, another_shop: Shop
) -> None:
    overdue_operation(shop)
    with override_settings(FLORIN_TOO_BUSY_OPERATIONS=0):
        answer = refused_after_a_look(
            lambda: Api(another_shop.secret_key).post("/v1/payments", payment_body())
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_busy")
    recover(shop)


@pytest.fixture
def late_news(shop: Shop) -> Iterator[None]:
    """News from a provider that nobody has applied for an hour; gone again afterwards."""
    received = inbox.receive(
        provider="sandbox",
        account_id=shop.account.pk,
        event_id=f"evt_late_{shop.account.pk}",
        event_type="payment.created",
        subject=f"late_{shop.account.pk}",
        raw=b"{}",
        headers={},
        received_at=datetime.now(UTC) - timedelta(hours=1),
    )
    yield
    InboxEvent.objects.filter(pk=received.id).update(due_at=datetime.now(UTC))


def after_looks(
    pressure: Pressure, clock: list[float], ask: Callable[[], None]
) -> FlorinError | None:
    """The refusal after both kinds of look were made, if any."""
    for _ in range(2):
        clock[0] += 1
        try:
            ask()
        except FlorinError as error:
            return error
    return None


@pytest.mark.usefixtures("late_news")
@pytest.mark.parametrize(
    ("ask", "setting", "code"),
    [
        ("refuse_payment", "FLORIN_TOO_BUSY_INBOX_SECONDS", ErrorCode.too_busy),
        ("refuse_webhook", "FLORIN_WEBHOOK_BUSY_INBOX_SECONDS", ErrorCode.service_unavailable),
    ],
)
def test_news_that_waits_too_long_is_a_sign(ask: str, setting: str, code: ErrorCode) -> None:
    clock = [100.0]
    pressure = Pressure(clock=lambda: clock[0])
    arguments = ["mer_any"] if ask == "refuse_payment" else []
    for limit, expected in ((7200.0, None), (60.0, code)):
        with override_settings(**{setting: limit}):
            refusal = after_looks(pressure, clock, lambda: getattr(pressure, ask)(*arguments))
            assert (refusal.code if refusal else None) == expected
            assert refusal is None or refusal.retry_after_seconds


@override_settings(FLORIN_WEBHOOK_BUSY_INBOX_SECONDS=1800.0)
def test_a_webhook_gets_503_and_leaves_no_row_while_the_inbox_is_late_and_is_taken_when_repeated(
    shop: Shop, late_news: None
) -> None:
    sender = Sender(shop)
    raw = json.dumps(sender.event(shop.created().pk)).encode()
    before = sender.stored()
    refused = until(503, lambda: sender.post(raw, {}))  # without a signature none would be stored
    assert refused.status_code == 503
    answer = sender.post(raw)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "service_unavailable")
    assert answer["Retry-After"] == str(WEBHOOK_RETRY_AFTER_SECONDS)
    assert sender.stored() == before
    shop.drain()
    assert until(200, lambda: sender.post(raw)).content == b'{"received":true}'
    assert sender.stored() == before + 1


def test_it_looks_at_most_once_a_second_with_one_query() -> None:
    clock = [100.0]
    pressure = Pressure(clock=lambda: clock[0])
    queries = []
    for _ in range(6):
        clock[0] += 0.5
        with CaptureQueriesContext(
            connection,
        ) as captured:
            for _ in range(20):
                pressure.refuse_payment("mer_any")
                pressure.refuse_webhook()
        queries.append(len(captured))
    assert queries == [1, 0, 1, 0, 1, 0]


def test_what_was_seen_before_a_silence_refuses_nobody(late_news: None) -> None:
    clock = [100.0]
    pressure = Pressure(clock=lambda: clock[0])
    with override_settings(FLORIN_TOO_BUSY_INBOX_SECONDS=60.0):
        refusal = after_looks(pressure, clock, lambda: pressure.refuse_payment("mer_any"))
        assert refusal is not None
        clock[0] += 60
        # Its next look is at operations, so the inbox of a minute ago would still refuse here.
        while pressure._looks % 2 == 0:
            clock[0] += 1
            with contextlib.suppress(FlorinError):
                pressure.refuse_payment("mer_any")
        clock[0] += 60
        pressure.refuse_payment("mer_any")


def test_threads_that_queue_for_connections_for_a_while_are_a_sign() -> None:
    clock, waiting = [100.0], [50]
    pressure = Pressure(clock=lambda: clock[0], waiting_threads=lambda: waiting[0])
    pressure.refuse_payment("mer_any")
    clock[0] += 0.5
    pressure.refuse_payment("mer_any")
    clock[0] += 0.5
    with pytest.raises(FlorinError) as refused:
        pressure.refuse_payment("mer_any")
    assert refused.value.code is ErrorCode.too_busy
    with pytest.raises(FlorinError):
        pressure.refuse_webhook()
    waiting[0] = 0
    pressure.refuse_payment("mer_any")
