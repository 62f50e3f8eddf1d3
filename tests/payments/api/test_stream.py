"""A payment's status on the payer's page, over real sockets from the real stream process."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import urllib3
from django.conf import settings

from audit.log import Actor
from payments.actions.api_keys import revoke_api_key
from payments.actions.merchant_status import set_merchant_status
from payments.api.stream_hub import Listener
from payments.api.stream_source import FINAL_STATES, Snapshot, read_payments
from payments.models import ApiKey, ApiKeyUse, Attempt, Merchant
from tests.databases import free_ports
from tests.payments.api.conftest import Api
from tests.payments.api.streams import DEADLINE_SECONDS, Frame, ask, opened
from tests.payments.shop import Shop, new_key
from tests.processes import RunningProcess, running_stream
from tests.proofs.stand import Stand, running_stand
from webhooks import backlog

WAITING = {"confirm": None, "payment_method": None}
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def waiting(api: Api) -> dict[str, Any]:
    """A payment that nobody has confirmed yet."""
    return api.create(**WAITING)


@pytest.fixture(scope="session")
def narrow(databases: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProcess]:
    """A stream process with room for three streams, two of one payment, and without any Redis."""
    (port,) = free_ports(1)
    narrow_settings = {
        "FLORIN_STREAMS_MAX": "3",
        "FLORIN_STREAMS_MAX_PER_PAYMENT": "2",
        "FLORIN_STREAM_SECONDS_MAX": "6",
        "REDIS_URL": NOBODY,
    }
    log_path = tmp_path_factory.mktemp("narrow") / "stream.log"
    url = f"http://127.0.0.1:{port}"
    with running_stream(url, log_path=log_path, settings=narrow_settings) as child:
        yield child


def wait_until_open(url: str, count: int) -> None:
    """Wait until the process holds exactly so many streams."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (
        found := json.loads(ask(url, "GET", "/readyz")[2])["checks"]["streams"]["open"]
    ) != count:
        assert time.monotonic() < deadline, f"{found} streams are open, not {count}"
        time.sleep(0.02)


def test_a_page_sees_a_payment_from_where_it_stands_to_its_end(
    stream: RunningProcess, api: Api, shop: Shop, waiting: dict[str, Any]
) -> None:
    client = Api(shop.publishable_key)
    with opened(stream.url, waiting, shop.publishable_key) as page:
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/event-stream")
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Accel-Buffering"] == "no"
        assert page.headers["Access-Control-Allow-Origin"] == "*"
        assert page.headers["Request-Id"].startswith("req_")
        first = page.next_event()
        now = client.get(
            f"/v1/client/payments/{waiting['id']}", **{"Client-Secret": waiting["client_secret"]}
        )
        assert (first.event, first.id, first.data) == ("payment.updated", "1", now.json())
        assert first.data["stream_url"] == f"{stream.url}/v1/client/payments/{waiting['id']}/stream"
        shop.confirm(waiting["id"])
        seen = [first, *page.events_to_the_end()]
    assert seen[0].status == "created"
    assert seen[-2].status == "captured"
    assert (seen[-1].event, seen[-1].data) == ("stream.ended", {"reason": "final"})
    ids = [int(frame.id) for frame in seen[:-1]]
    assert ids == sorted(set(ids)), "nothing twice, nothing backwards"
    hidden = {"merchant", "metadata", "platform_fee_minor", "provider_fee_minor", "client_secret"}
    assert not any(hidden & set(frame.data) for frame in seen)


def test_a_page_that_comes_back_gets_only_what_is_newer(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    with opened(stream.url, waiting, shop.publishable_key) as page:
        first = page.next_event()
    resuming = {"Last-Event-ID": first.id}
    with opened(stream.url, waiting, shop.publishable_key, **resuming) as page:
        opening = page.next_comment()
        assert int(opening.retry) > 0
        assert page.next_comment().comment == "alive", "what the page has is not sent again"
    shop.confirm(waiting["id"])
    with opened(stream.url, waiting, shop.publishable_key, **resuming) as page:
        assert page.next_event().status == "captured"
    with opened(stream.url, waiting, shop.publishable_key, **{"Last-Event-ID": "999999"}) as page:
        assert page.next_event().status == "captured", "a number that no event has is not believed"


def test_silence_is_filled_with_heartbeats(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    began = time.monotonic()
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
        assert [page.next_comment().comment for _ in range(3)] == ["alive"] * 3
        assert time.monotonic() - began > 1.0


def test_what_opens_no_payment_opens_no_stream_and_is_refused_in_the_same_words(
    stream: RunningProcess,
    api: Api,
    shop: Shop,
    another_shop: Shop,
    waiting: dict[str, Any],
) -> None:
    other = api.create(**WAITING)
    absent = "pay_" + "0" * 26
    address = f"/v1/client/payments/{waiting['id']}"
    cases: list[tuple[str, str, dict[str, str]]] = [
        (shop.publishable_key, address, {"Client-Secret": other["client_secret"]}),
        (shop.publishable_key, address, {"Client-Secret": f"{waiting['id']}_secret_x"}),
        (shop.publishable_key, f"/v1/client/payments/{absent}", {}),
        (another_shop.publishable_key, address, {}),
        (shop.publishable_key, address, {"Client-Secret": ""}),
        (shop.publishable_key, f"{address}?client_secret=x", {}),
        (shop.secret_key, address, {}),
        ("pk_test_nobody", address, {}),
        ("", address, {"Authorization": ""}),
    ]
    statuses = []
    for key, path, headers in cases:
        bare, _, query = path.partition("?")
        in_stream = f"{bare}/stream{'?' if query else ''}{query}"
        with opened(stream.url, waiting, key, path=in_stream, **headers) as page:
            refused = page.error()
        sent = {"Client-Secret": waiting["client_secret"], **headers}
        expected = Api(key).get(path, **{name: value for name, value in sent.items() if value})
        told = json.loads(expected.content)["error"]
        assert (page.status, page.headers["Content-Type"]) == (
            expected.status_code,
            "application/json",
        )
        assert page.headers["Request-Id"] == refused.pop("request_id")
        assert page.headers["Access-Control-Allow-Origin"] == "*"
        told.pop("request_id")
        assert refused == told
        statuses.append(page.status)
    assert statuses == [404, 404, 404, 404, 400, 400, 403, 401, 401]


def test_bad_input_is_told_with_its_field(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    for wrong in ("x", "-1", "1.5", "٣", "9" * 19):
        headers = {"Last-Event-ID": wrong.encode().decode("latin-1")}
        with opened(stream.url, waiting, shop.publishable_key, **headers) as page:
            error = page.error()
        assert (page.status, error["code"], error["param"]) == (
            400,
            "parameter_invalid",
            "Last-Event-ID",
        )
    path = f"/v1/client/payments/{waiting['id']}/stream"
    status, headers, _ = ask(stream.url, "POST", path)
    assert (status, headers["allow"]) == (405, "GET, OPTIONS")
    for elsewhere in ("/v1/client/payments/stream", "/v1/payments", "/admin/", "/"):
        assert ask(stream.url, "GET", elsewhere)[0] == 404


def test_a_browser_may_ask_beforehand(stream: RunningProcess) -> None:
    status, headers, body = ask(
        stream.url,
        "OPTIONS",
        "/v1/client/payments/pay_0/stream",
        **{
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,client-secret,last-event-id",
        },
    )
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == "*"
    allowed = headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "client-secret", "last-event-id"} <= set(allowed)
    assert "GET" in headers["access-control-allow-methods"]
    assert "Retry-After" in headers["access-control-expose-headers"]


def test_a_revoked_key_ends_its_streams_within_seconds_and_no_other(
    stream: RunningProcess, shop: Shop, another_shop: Shop, waiting: dict[str, Any]
) -> None:
    others = Api(another_shop.secret_key).create(**WAITING)
    key = ApiKey.objects.get(hashed_key=ApiKey.digest(shop.publishable_key))
    with (
        opened(stream.url, waiting, shop.publishable_key) as page,
        opened(stream.url, others, another_shop.publishable_key) as other_page,
    ):
        page.next_event()
        other_page.next_event()
        revoke_api_key(key=key, actor=Actor(type="system", id="test"), now=datetime.now(UTC))
        began = time.monotonic()
        (ending,) = page.events_to_the_end()
        assert (ending.event, ending.data) == ("stream.ended", {"reason": "key"})
        assert time.monotonic() - began < 60  # by itself it would last half an hour
        assert other_page.next_comment().comment == "alive"


def test_a_suspended_merchants_streams_end(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
        set_merchant_status(
            merchant=shop.merchant,
            status=Merchant.Status.SUSPENDED,
            reason="a test",
            actor=Actor(type="system", id="test"),
            now=datetime.now(UTC),
        )
        assert page.events_to_the_end()[-1].data == {"reason": "key"}


def test_full_is_503_and_too_many_of_one_payment_429(
    narrow: RunningProcess, api: Api, shop: Shop
) -> None:
    first, second, third = (api.create(**WAITING) for _ in range(3))
    wait_until_open(narrow.url, 0)
    with ExitStack() as pages:
        for payment in (first, first):
            page = pages.enter_context(opened(narrow.url, payment, shop.publishable_key))
            assert page.next_event().status == "created"
        with opened(narrow.url, first, shop.publishable_key) as refused:
            assert (refused.status, refused.error()["code"]) == (429, "rate_limited")
        pages.enter_context(opened(narrow.url, second, shop.publishable_key))
        wait_until_open(narrow.url, 3)
        with opened(narrow.url, third, shop.publishable_key) as refused:
            assert (refused.status, refused.error()["code"]) == (503, "service_unavailable")
            assert int(refused.headers["Retry-After"]) > 0
    wait_until_open(narrow.url, 0)
    with opened(narrow.url, third, shop.publishable_key) as page:
        assert page.next_event().status == "created"
    refusals = ask(narrow.url, "GET", "/metrics")[2].decode()
    assert 'florin_streams_refused_total{code="service_unavailable"} 1.0' in refusals


def test_without_redis_a_change_is_found_within_a_second_or_so(
    narrow: RunningProcess, api: Api, shop: Shop, waiting: dict[str, Any]
) -> None:
    assert json.loads(ask(narrow.url, "GET", "/readyz")[2])["checks"]["redis"] == {
        "status": "degraded"
    }
    with opened(narrow.url, waiting, shop.publishable_key) as page:
        page.next_event()
        shop.confirm(waiting["id"])
        # The page is told before its stream ends by itself, six seconds after it was opened.
        while page.next_event().status != "captured":
            pass


def test_a_flood_of_strangers_keeps_no_page_waiting(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    address = urlsplit(stream.url)
    head = f"GET /v1/client/payments/{waiting['id']}/stream HTTP/1.1\r\nHost: florin\r\n"
    asked = f"{head}Authorization: Bearer pk_test_nobody\r\nClient-Secret: guessed\r\n\r\n"
    with ExitStack() as stack:
        flood = [
            stack.enter_context(
                socket.create_connection((address.hostname, address.port), DEADLINE_SECONDS)
            )
            for _ in range(300)
        ]
        for stranger in flood:
            stranger.sendall(asked.encode())
        with opened(stream.url, waiting, shop.publishable_key) as page:
            assert page.next_event().status == "created"
        statuses = {stranger.recv(12)[-3:] for stranger in flood}
    assert statuses == {b"401", b"503"}


def test_a_stream_ends_by_itself_in_good_time(
    narrow: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    began = time.monotonic()
    with opened(narrow.url, waiting, shop.publishable_key) as page:
        ending = page.events_to_the_end()[-1]
        assert (ending.event, ending.data) == ("stream.ended", {"reason": "time"})
    assert 4 < time.monotonic() - began < 60  # the ordinary limit is half an hour


def test_lost_database_connections_cost_a_page_nothing(
    stream: RunningProcess,
    shop: Shop,
    waiting: dict[str, Any],
    superuser_connection: psycopg.Connection,
) -> None:
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
        killed = superuser_connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'florin-stream'"
        ).fetchone()
        assert killed is not None
        assert killed[0] >= 1
        shop.confirm(waiting["id"])
        statuses = [frame.status for frame in page.events_to_the_end()]
        assert "captured" in statuses


def test_who_reads_slowly_gets_the_last_state_and_costs_nothing(
    stream: RunningProcess, api: Api, shop: Shop, waiting: dict[str, Any]
) -> None:
    """A page whose machine sleeps: its socket takes nothing while the payment changes often."""
    address = urlsplit(stream.url)
    with socket.socket() as sleeping:
        sleeping.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeping.settimeout(DEADLINE_SECONDS)
        sleeping.connect((address.hostname, address.port))
        sleeping.sendall(
            f"GET /v1/client/payments/{waiting['id']}/stream HTTP/1.1\r\nHost: florin\r\n"
            f"Authorization: Bearer {shop.publishable_key}\r\n"
            f"Client-Secret: {waiting['client_secret']}\r\n\r\n".encode()
        )
        for number in range(20):
            answer = api.post(f"/v1/payments/{waiting['id']}", {"description": f"Order {number}"})
            assert answer.status_code == 200, answer.content
        with opened(stream.url, waiting, shop.publishable_key) as page:
            assert page.next_event().data["description"] == "Order 19"
        received = b""
        while b'"Order 19"' not in received:
            more = sleeping.recv(4096)
            assert more, received
            received += more
        assert received.count(b"event: payment.updated") <= 21


@pytest.mark.prove
def test_a_restart_of_postgresql_and_a_dead_redis_cost_an_open_stream_nothing(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (
        running_stand(tmp_path, web_workers=1, with_background=False) as stand,
        running_stream(url, log_path=tmp_path / "stream.log", settings=stand.environment),
    ):
        payment = stand_answer(stand, "/v1/payments", {"amount_minor": 4200, "currency": "EUR"})
        with opened(url, payment, stand.shop["publishable_key"]) as page:
            assert page.next_event().status == "created"
            stand.servers.redis.kill()
            stand.servers.postgres.restart()
            path = f"/v1/payments/{payment['id']}/confirm"
            confirmed = stand_answer(stand, path, {"payment_method": "tok_visa"})
            assert confirmed["status"] == "captured"
            while page.next_event().status != "captured":
                pass
            stand.servers.redis.start()
            wait_for_redis(url)


def stand_answer(stand: Stand, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of the stand's API, asked again with the same key until it has one."""
    headers = {
        "Authorization": f"Bearer {stand.shop['secret_key']}",
        "Idempotency-Key": new_key(),
    }
    deadline = time.monotonic() + 4 * DEADLINE_SECONDS
    while True:
        answer = urllib3.request(
            "POST", stand.base_url + path, json=body, headers=headers, retries=False, timeout=30
        )
        if answer.status < 300:
            told: dict[str, Any] = answer.json()
            return told
        assert time.monotonic() < deadline, answer.data
        time.sleep(0.2)


def wait_for_redis(url: str) -> None:
    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    while json.loads(ask(url, "GET", "/readyz")[2])["status"] != "ok":
        assert time.monotonic() < deadline, "Redis is back, and nobody listens to it"
        time.sleep(0.1)


def test_a_listener_keeps_the_newest_state_alone() -> None:
    async def shown() -> list[int | None]:
        listener = Listener(payment_id="pay_1", key_digest="")
        seen: list[int | None] = []
        for numbers in ([1, 2, 5], [5, 3], [6]):
            for seq in numbers:
                listener.show(snapshot(seq))
            news = await listener.news(seconds=0)
            seen.append(listener.newest.seq if news and listener.newest else None)
        return seen

    # In a thread of its own: a browser of other tests may keep a loop running in this one.
    with ThreadPoolExecutor(1) as beside:
        assert beside.submit(asyncio.run, shown()).result(10) == [5, None, 6]


def snapshot(seq: int) -> Snapshot:
    return Snapshot(
        payment_id="pay_1", merchant_id="", livemode=False, seq=seq, final=False, frame=b""
    )


def test_no_secret_stands_in_the_log(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
        request_id = page.headers["Request-Id"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while request_id not in (log := stream.log_path.read_text()):
        assert time.monotonic() < deadline, "the page's request is not in the log"
        time.sleep(0.05)
    line = json.loads(next(line for line in log.splitlines() if request_id in line))
    assert (line["route"], line["status"]) == ("/v1/client/payments/{id}/stream", 200)
    assert (line["ended"], line["frames"]) == ("client", 1)
    assert shop.publishable_key not in log
    assert waiting["client_secret"] not in log
    assert waiting["client_secret"].partition("_secret_")[2] not in log


def test_the_process_says_how_it_is(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    assert ask(stream.url, "GET", "/healthz")[0] == 200
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
        status, _, body = ask(stream.url, "GET", "/metrics")
        told = body.decode()
        assert status == 200
        assert float(told.split("\nflorin_streams_open ")[1].split("\n")[0]) >= 1
        assert 'florin_stream_frames_total{kind="state"}' in told
    assert ask(stream.url, "GET", "/metrics", **{"X-Forwarded-For": "192.0.2.1"})[0] == 404
    assert "stream" in backlog.last_heartbeats()


def test_a_stop_ends_the_streams_in_good_order(
    databases: object, tmp_path: Path, shop: Shop, waiting: dict[str, Any]
) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with running_stream(url, log_path=tmp_path / "stream.log", settings={}) as stopped:
        with opened(url, waiting, shop.publishable_key) as page:
            page.next_event()
            stopped.process.terminate()
            ending: list[Frame] = page.events_to_the_end()
        assert [frame.data for frame in ending] == [{"reason": "shutdown"}]
        assert stopped.process.wait(15) == 0


def test_a_payment_that_cannot_be_shown_hides_no_other(
    stream: RunningProcess, api: Api, shop: Shop, waiting: dict[str, Any]
) -> None:
    unreadable = api.create(**WAITING)
    Attempt.objects.filter(payment_id=unreadable["id"]).update(client_secret_encrypted=b"torn")
    read = read_payments([unreadable["id"], waiting["id"]])
    assert isinstance(read[unreadable["id"]], Exception)
    assert isinstance(read[waiting["id"]], Snapshot)
    with opened(stream.url, unreadable, shop.publishable_key) as page:
        assert (page.status, page.error()["code"]) == (500, "internal_error")
    with opened(stream.url, waiting, shop.publishable_key) as page:
        assert page.next_event().status == "created"


def test_the_key_counts_as_used(
    stream: RunningProcess, shop: Shop, waiting: dict[str, Any]
) -> None:
    with opened(stream.url, waiting, shop.publishable_key) as page:
        page.next_event()
    assert ApiKeyUse.objects.filter(
        key__hashed_key=ApiKey.digest(shop.publishable_key), last_used_at__isnull=False
    ).exists()


def test_the_final_states_are_those_after_which_a_payer_waits_for_nothing() -> None:
    assert {state.value for state in FINAL_STATES} == {
        *("captured", "partially_captured", "settled", "disputed"),
        *("refunded", "reversed", "canceled", "failed"),
    }
    assert settings.FLORIN_STREAM_HEARTBEAT_SECONDS == 15
