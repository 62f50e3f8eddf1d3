"""The merchant's page with Florin's script, in a real browser, from another origin than Florin."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request

from config.processes import BASE_DIR
from payments.api.stream_source import FINAL_STATES
from tests.databases import free_ports
from tests.payments.api.conftest import Api
from tests.payments.api.streams import wait_until_answering
from tests.payments.api.test_client_routes import returned
from tests.payments.shop import Shop
from tests.processes import RunningProcess, running_stream

SCRIPT = BASE_DIR / "payments/static/florin/live-status.js"
# What the snippet of the documents shows, and a record of everything it was told.
RECORDING = """
<script>
  window.seen = []; window.errors = [];
  const watch = florin.watchPayment;
  florin.watchPayment = (options) => watch(Object.assign({}, options, {
    heartbeatSeconds: 0.5,
    onStatus(payment) { seen.push(payment.status); options.onStatus(payment); },
    onError(error) { errors.push(error); options.onError(error); },
  }));
</script>
"""


@dataclass
class MerchantSite:
    """A web server of a merchant; `html` is its one page."""

    url: str
    html: str = ""


@pytest.fixture
def site() -> Iterator[MerchantSite]:
    """The merchant's own web server, on a port and so an origin of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = merchant.html.encode() if self.path == "/" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test's output is the test's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    merchant = MerchantSite(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield merchant
    server.shutdown()
    server.server_close()


@dataclass
class Line:
    """A way to the stream process that can be cut, and that may swallow what comes back."""

    url: str
    target: tuple[str, int]
    listening: socket.socket
    swallows: bool = False
    opened: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def serve(self) -> None:
        """Carry every connection until the listening socket is closed."""
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            self.opened += 1
            self.sockets += [near, far]
            for one, other, back in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._carry, args=(one, other, back), daemon=True).start()

    def cut(self) -> None:
        """Cut every connection, as a lost network does."""
        for carried in self.sockets:
            with contextlib.suppress(OSError):  # its other end may have gone by itself
                carried.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()

    def _carry(self, one: socket.socket, other: socket.socket, back: bool) -> None:
        try:
            while data := one.recv(65_536):
                if not (back and self.swallows):
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


@pytest.fixture
def line(stream: RunningProcess) -> Iterator[Line]:
    """A line to the stream process that the test may cut."""
    address = urlsplit(stream.url)
    listening = socket.create_server(("127.0.0.1", 0))
    carried = Line(
        url=f"http://127.0.0.1:{listening.getsockname()[1]}",
        target=(str(address.hostname), int(address.port or 0)),
        listening=listening,
    )
    threading.Thread(target=carried.serve, daemon=True).start()
    yield carried
    listening.close()
    carried.cut()


@dataclass
class Watching:
    """A browser's page that watches a payment, and every request it made."""

    page: Page
    requests: list[Request] = field(default_factory=list)

    def note(self, request: Request) -> None:
        """Remember a request that the page makes."""
        self.requests.append(request)

    def wait_for(self, *statuses: str) -> None:
        """Until the page has been told exactly these, in this order."""
        wanted = list(statuses)
        self.page.wait_for_function(
            "wanted => JSON.stringify(window.seen) === JSON.stringify(wanted)",
            arg=wanted,
            timeout=30_000,
        )

    def asked(self, ending: str) -> int:
        """How many requests (no preflights) went to addresses that end like this."""
        return sum(request.url.endswith(ending) for request in self.requests)


def watch(
    page: Page,
    site: MerchantSite,
    *,
    web: str,
    stream: str,
    key: str,
    payment: dict[str, Any],
) -> Watching:
    """Open the page of the documents' snippet, filled in."""
    snippet = snippet_of_the_documents()
    for example, real in (
        ('url: "https://florin.example"', f'url: "{web}"'),
        ('streamUrl: "https://florin.example"', f'streamUrl: "{stream}"'),
        ("https://florin.example/static", f"{web}/static"),
        ("pk_test_0123456789", key),
        ("pay_0123456789_secret_0123456789", payment["client_secret"]),
        ('"pay_0123456789"', f'"{payment["id"]}"'),
        ("</script>\n<script>", f"</script>{RECORDING}<script>"),
    ):
        assert snippet.count(example) == 1, example
        snippet = snippet.replace(example, real)
    site.html = snippet
    watching = Watching(page)
    page.on("request", watching.note)
    page.goto(site.url)
    return watching


def snippet_of_the_documents() -> str:
    found = re.search(r"```html\n(.*?)```", (BASE_DIR / "docs/live-status.md").read_text(), re.S)
    assert found is not None
    return found[1]


def waiting(api: Api, **changes: Any) -> dict[str, Any]:
    return api.create(confirm=None, payment_method=None, **changes)


def test_a_page_of_another_origin_sees_each_state_as_it_comes_and_then_stops(
    page: Page,
    site: MerchantSite,
    web: RunningProcess,
    stream: RunningProcess,
    api: Api,
    shop: Shop,
) -> None:
    payment = waiting(api)
    client = Api(shop.publishable_key)
    seen = watch(
        page, site, web=web.url, stream=stream.url, key=shop.publishable_key, payment=payment
    )
    seen.wait_for("created")
    shop.confirm(payment["id"], "tok_3ds")
    seen.page.wait_for_function("seen[seen.length - 1] === 'requires_action'")
    shop.authenticate(payment["id"], "succeed")
    assert returned(client, payment).json()["status"] == "processing"
    seen.page.wait_for_function("seen[seen.length - 1] === 'processing'")
    shop.poll(payment["id"])
    seen.page.wait_for_function("seen[seen.length - 1] === 'captured'")
    told = seen.page.evaluate("seen")
    in_order = ["created", "processing", "requires_action", "processing", "captured"]
    assert told in (in_order, [in_order[0], *in_order[2:]]), told
    assert page.locator("#status").inner_text() == "captured"
    assert seen.asked("/stream") == 1
    assert seen.asked(payment["id"]) == 0, "where a stream gets through nobody polls"
    secret_part = payment["client_secret"].partition("_secret_")[2]
    for request in seen.requests:
        assert secret_part not in request.url
        assert shop.publishable_key not in request.url
    (streaming,) = [request for request in seen.requests if request.url.endswith("/stream")]
    assert streaming.headers["client-secret"] == payment["client_secret"]


def test_a_cut_line_goes_on_where_it_was(
    page: Page, site: MerchantSite, web: RunningProcess, line: Line, api: Api, shop: Shop
) -> None:
    payment = waiting(api)
    seen = watch(
        page, site, web=web.url, stream=line.url, key=shop.publishable_key, payment=payment
    )
    seen.wait_for("created")
    with page.expect_request(
        lambda request: (
            request.url.endswith("/stream") and request.headers.get("last-event-id") == "1"
        )
    ):
        line.cut()
    shop.confirm(payment["id"], "tok_3ds")
    page.wait_for_function("seen[seen.length - 1] === 'requires_action'")
    line.cut()
    shop.cancel(payment["id"])
    page.wait_for_function("seen[seen.length - 1] === 'canceled'")
    told = page.evaluate("seen")
    assert told[0] == "created"
    assert told[-2:] == ["requires_action", "canceled"]
    assert len(told) == len(set(told)), "nothing twice"


def test_a_silent_line_is_noticed_by_its_missing_heartbeats(
    page: Page, site: MerchantSite, web: RunningProcess, line: Line, api: Api, shop: Shop
) -> None:
    payment = waiting(api)
    seen = watch(
        page, site, web=web.url, stream=line.url, key=shop.publishable_key, payment=payment
    )
    seen.wait_for("created")
    line.swallows = True  # as a proxy that gathers the answer, or a network that forgot us
    shop.confirm(payment["id"])
    page.wait_for_function("seen[seen.length - 1] === 'captured'")
    assert seen.asked(payment["id"]) >= 1, "no stream got through, so it was polled"


@pytest.mark.prove
def test_a_killed_stream_process_means_polling_and_then_a_stream_again(
    page: Page,
    site: MerchantSite,
    web: RunningProcess,
    api: Api,
    shop: Shop,
    tmp_path: Path,
) -> None:
    payment = waiting(api)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    log_path = tmp_path / "stream.log"
    often = {"FLORIN_STREAM_HEARTBEAT_SECONDS": "0.5"}
    with running_stream(url, log_path=log_path, settings=often) as killed:
        seen = watch(page, site, web=web.url, stream=url, key=shop.publishable_key, payment=payment)
        seen.wait_for("created")
        killed.kill()
        shop.confirm(payment["id"], "tok_3ds")
        page.wait_for_function("seen[seen.length - 1] === 'requires_action'")
        assert seen.asked(payment["id"]) >= 1, "polled"
    with running_stream(url, log_path=log_path, settings=often):
        wait_until_answering(url)
        with page.expect_response(
            lambda got: got.url.endswith("/stream") and got.status == 200, timeout=60_000
        ):
            pass
        shop.cancel(payment["id"])
        page.wait_for_function("seen[seen.length - 1] === 'canceled'")
        told = page.evaluate("seen")
        assert told[-2:] == ["requires_action", "canceled"]
        assert len(told) == len(set(told)), "nothing twice"


def test_without_a_stream_process_a_page_polls(
    page: Page, site: MerchantSite, web: RunningProcess, api: Api, shop: Shop
) -> None:
    payment = waiting(api)
    seen = watch(page, site, web=web.url, stream=web.url, key=shop.publishable_key, payment=payment)
    seen.wait_for("created")
    shop.confirm(payment["id"])
    page.wait_for_function("seen[seen.length - 1] === 'captured'")
    assert seen.asked("/stream") == 1
    assert page.evaluate("errors") == []


def test_a_wrong_secret_is_told_once_and_ends_it(
    page: Page,
    site: MerchantSite,
    web: RunningProcess,
    stream: RunningProcess,
    api: Api,
    shop: Shop,
) -> None:
    payment, other = waiting(api), waiting(api)
    wrong = {**payment, "client_secret": other["client_secret"]}
    seen = watch(
        page, site, web=web.url, stream=stream.url, key=shop.publishable_key, payment=wrong
    )
    page.wait_for_function("errors.length === 1")
    assert page.evaluate("errors[0].code") == "not_found"
    watch(page, site, web=web.url, stream=stream.url, key="pk_test_nobody", payment=payment)
    page.wait_for_function("errors.length === 1")
    assert page.evaluate("errors[0].code") == "api_key_invalid"
    assert page.evaluate("seen") == []
    assert seen.asked("/stream") == 2


def test_the_script_is_small_depends_on_nothing_and_knows_the_final_states() -> None:
    words = SCRIPT.read_text(encoding="utf-8")
    assert len(words.encode()) < 4000
    assert not re.search(r"\b(import|require)\b", words)
    listed = re.search(r"FINAL = \[(.*?)\]", words, re.S)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == {state.value for state in FINAL_STATES}
