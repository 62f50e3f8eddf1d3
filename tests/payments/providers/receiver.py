"""A merchant's side of webhooks: an HTTP server that keeps what it got and answers as told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it came; header names in lower case."""

    raw: bytes
    headers: dict[str, str]
    at: float


@dataclass
class Receiver:
    """What has arrived so far. `statuses` are answered first, one each, then 200."""

    url: str
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def wait_for(self, count: int, *, timeout_seconds: float = 60.0) -> list[Received]:
        """The requests, once there are `count` of them."""
        eventually(lambda: len(self.received) >= count, timeout_seconds=timeout_seconds)
        return list(self.received)


def eventually(condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.02)


@contextlib.contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """Run a receiver for the length of a `with`."""
    receiver = Receiver(url="")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            """Keep the request, answer."""
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            receiver.received.append(Received(raw, headers, time.monotonic()))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
