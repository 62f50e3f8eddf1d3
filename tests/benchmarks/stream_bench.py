"""A thousand payers watch: what the stream process needs, and how soon they see a change.

Mental model: a thousand real sockets to one real stream process, four per payment. Then payments
are changed one after the other, on an otherwise idle system, by the action that the API calls, and
the time is taken from just before COMMIT is sent until the last of a payment's four pages has the
frame. A second stream process without any Redis shows what polling alone gives.
"""

from __future__ import annotations

import os
import re
import resource
import secrets
import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import django

from config import processes
from tests.databases import free_ports
from tests.processes import running
from tests.proofs.stand import Stand

if TYPE_CHECKING:
    from tests.payments.shop import Shop

STREAMS = 1000
PAGES_PER_PAYMENT = 4
MEMORY_BAR_MEGABYTES = 250
LATENCY_BAR_MS = 100
# A look a second, and the way from there to the page.
LATENCY_WITHOUT_REDIS_BAR_MS = 1200
_CHANGES = 300
_CHANGES_WITHOUT_REDIS = 60
_DEADLINE_SECONDS = 60.0
_NOBODY = "redis://127.0.0.1:1/0"
_ID = re.compile(rb"^id: (\d+)\n", re.MULTILINE)

Figures = list[dict[str, Any]]


@dataclass
class _Page:
    """One open stream: the number of its last event, and when that came."""

    payment: dict[str, str]
    connection: socket.socket
    seq: int = 0
    seen_at: float = 0.0
    tail: bytes = b""
    broken: bool = False


@dataclass
class _Pages:
    """All open streams, read by one thread."""

    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    pages: list[_Page] = field(default_factory=list)
    closing: bool = False

    def add(self, page: _Page) -> None:
        """Begin to read a stream."""
        self.pages.append(page)
        self.selector.register(page.connection, selectors.EVENT_READ, page)

    def read(self) -> None:
        """Read all of them until `closing`."""
        while not self.closing:
            for key, _ in self.selector.select(timeout=0.1):
                page: _Page = key.data
                received = page.connection.recv(65_536)
                now = time.perf_counter()
                if not received:
                    page.broken = True
                    self.selector.unregister(page.connection)
                    continue
                page.tail += received
                found = _ID.findall(page.tail)
                page.tail = page.tail[-64:] if not found else page.tail[-8:]
                if found and int(found[-1]) > page.seq:
                    page.seen_at, page.seq = now, int(found[-1])

    def close(self) -> None:
        """Close every socket."""
        self.closing = True
        for page in self.pages:
            page.connection.close()


def run(stand: Stand) -> Figures:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ.update(stand.environment)
    django.setup()
    from tests.payments.shop import open_shop

    shop = open_shop()
    payments = [_payment(shop) for _ in range(STREAMS // PAGES_PER_PAYMENT)]
    with tempfile.TemporaryDirectory(prefix="florin-stream-bench-") as folder:
        return [
            *_with_redis(stand, shop, Path(folder), payments),
            *_without_redis(stand, shop, Path(folder), payments[:10]),
        ]


def _payment(shop: Shop) -> dict[str, str]:
    """A payment that nobody has confirmed, with its client secret."""
    from payments.representation import client_secret

    payment_id = shop.created(confirm=False, payment_method="").pk
    return {"id": payment_id, "client_secret": client_secret(payment_id)}


def _with_redis(
    stand: Stand, shop: Shop, folder: Path, payments: Sequence[dict[str, str]]
) -> Figures:
    def measure(url: str, process_id: int, pages: _Pages) -> Figures:
        idle_megabytes, _ = _memory(process_id)
        began = time.perf_counter()
        for payment in payments:
            for _ in range(PAGES_PER_PAYMENT):
                pages.add(_open(url, shop, payment))
        _wait_for(lambda: all(page.seq for page in pages.pages))
        connecting_seconds = time.perf_counter() - began
        before = {page.connection: page.seq for page in pages.pages}
        for payment in payments:
            _change(shop, payment["id"])
        began = time.perf_counter()
        reached = _wait_for(lambda: all(p.seq > before[p.connection] for p in pages.pages))
        behind_seconds = time.perf_counter() - began
        latencies, missed = _one_after_the_other(
            shop, pages.pages, payments, _CHANGES, pause_seconds=0.1
        )
        rss, pss = _memory(process_id)
        broken = sum(page.broken for page in pages.pages) + missed + (not reached)
        return [
            _figure(
                f"stream process: RSS in MB with {len(pages.pages)} streams "
                f"(PSS {pss:.0f}, {idle_megabytes:.0f} before)",
                rss,
                bar=MEMORY_BAR_MEGABYTES,
                errors=broken,
            ),
            _figure(
                "streams: opened per second, one after the other, first state seen",
                len(pages.pages) / connecting_seconds,
                errors=broken,
            ),
            _figure(
                f"streams: ms by which {len(pages.pages)} pages are behind {len(payments)} changes "
                "without a pause",
                behind_seconds * 1000,
                errors=broken,
            ),
            *_latency_figures("with Redis", latencies, bar=LATENCY_BAR_MS, errors=broken),
        ]

    return _measured(stand, folder / "with-redis.log", {}, measure)


def _without_redis(
    stand: Stand, shop: Shop, folder: Path, payments: Sequence[dict[str, str]]
) -> Figures:
    def measure(url: str, process_id: int, pages: _Pages) -> Figures:
        for payment in payments:
            pages.add(_open(url, shop, payment))
        _wait_for(lambda: all(page.seq for page in pages.pages))
        latencies, missed = _one_after_the_other(
            # Not in step with the looks of the stream process, one a second.
            shop,
            pages.pages,
            payments,
            _CHANGES_WITHOUT_REDIS,
            pause_seconds=1.0,
        )
        return _latency_figures(
            "without Redis", latencies, bar=LATENCY_WITHOUT_REDIS_BAR_MS, errors=missed
        )

    return _measured(stand, folder / "without-redis.log", {"REDIS_URL": _NOBODY}, measure)


def _measured(
    stand: Stand,
    log_path: Path,
    settings: dict[str, str],
    measure: Callable[[str, int, _Pages], Figures],
) -> Figures:
    """Run a stream process and a thread that reads its streams, and measure."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    pages = _Pages()
    with running(
        processes.stream(port=port),
        log_path=log_path,
        environment={**stand.environment, **settings},
        url=url,
        ready_path="/readyz",
    ) as child:
        reader = threading.Thread(target=pages.read, name="pages", daemon=True)
        reader.start()
        try:
            return measure(url, child.process.pid, pages)
        finally:
            pages.closing = True
            reader.join()
            pages.close()


def _one_after_the_other(
    shop: Shop,
    pages: Sequence[_Page],
    payments: Sequence[dict[str, str]],
    count: int,
    *,
    pause_seconds: float,
) -> tuple[list[float], int]:
    """Milliseconds from each COMMIT to the last of its pages, and how many never came.

    Between two changes passes a random time up to `pause_seconds`.
    """
    of_payment: dict[str, list[_Page]] = {}
    for page in pages:
        of_payment.setdefault(page.payment["id"], []).append(page)
    latencies, missed = [], 0
    for number in range(count):
        payment = payments[number % len(payments)]
        watching = of_payment[payment["id"]]
        before = {page.connection: page.seq for page in watching}
        began = _change(shop, payment["id"])
        if not _wait_for(lambda w=watching, b=before: all(p.seq > b[p.connection] for p in w)):  # type: ignore[misc]
            missed += 1
            continue
        latencies.append((max(page.seen_at for page in watching) - began) * 1000)
        time.sleep(pause_seconds * secrets.randbelow(1000) / 1000)
    return latencies, missed


def _open(url: str, shop: Shop, payment: dict[str, str]) -> _Page:
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(
        f"GET /v1/client/payments/{payment['id']}/stream HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\n"
        f"Authorization: Bearer {shop.publishable_key}\r\n"
        f"Client-Secret: {payment['client_secret']}\r\n\r\n".encode()
    )
    head = connection.recv(65_536)
    assert head.startswith(b"HTTP/1.1 200"), head
    page = _Page(payment=payment, connection=connection)
    found = _ID.findall(head)
    if found:
        page.seq, page.seen_at = int(found[-1]), time.perf_counter()
    return page


def _change(shop: Shop, payment_id: str) -> float:
    """Change what the payer sees; when the COMMIT of that was sent."""
    from django.db import connection

    sent_at = 0.0
    commit = connection._commit  # type: ignore[attr-defined]

    def stamped() -> None:
        nonlocal sent_at
        sent_at = time.perf_counter()
        commit()

    words = {
        "payment": payment_id,
        "description": f"Order {secrets.token_hex(4)}",
        "metadata": None,
        "payment_method": None,
    }
    connection._commit = stamped  # type: ignore[attr-defined]
    try:
        shop.ask("payments.update", words)
    finally:
        connection._commit = commit  # type: ignore[attr-defined]
    return sent_at  # of the last transaction, which is the change's


def _wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.perf_counter() + _DEADLINE_SECONDS
    while not condition():
        if time.perf_counter() > deadline:
            return False
        time.sleep(0.002)
    return True


def _memory(process_id: int) -> tuple[float, float]:
    """Resident and proportional memory of a process, in MB of 10^6 bytes."""
    text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE))
    return int(sizes["Rss"]) * 1024 / 1e6, int(sizes["Pss"]) * 1024 / 1e6


def _latency_figures(name: str, latencies: list[float], *, bar: int, errors: int) -> Figures:
    ordered = sorted(latencies)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return [
        _figure(
            f"streams: commit to frame, {name}, p50 ms (reported)",
            statistics.median(ordered),
            errors=errors,
        ),
        _figure(f"streams: commit to frame, {name}, p99 ms", p99, bar=bar, errors=errors),
    ]


def _figure(name: str, value: float, *, errors: int, bar: int | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 1),
        "limit": None,
        "ratio": None,
        "bar": None if bar is None else f"<= {bar}",
        "errors": errors,
        "holds": errors == 0 and (bar is None or value <= bar),
    }
