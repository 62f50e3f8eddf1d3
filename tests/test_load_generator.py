"""The generator behind `make bench` tells what callers would have seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.benchmarks.load_generator import generate_by_the_clock, request_bytes

STALL_SECONDS = 0.4
PER_SECOND = 100
ANSWER = b'{"stored":true}'


class _Stalling(BaseHTTPRequestHandler):
    """Answers one request at a time, and keeps the first one waiting."""

    protocol_version = "HTTP/1.1"
    one_at_a_time = threading.Lock()
    served = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.one_at_a_time:
            _Stalling.served += 1
            if _Stalling.served == 1:
                threading.Event().wait(STALL_SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def stalling_server() -> Iterator[tuple[str, int]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Stalling)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()


def test_a_stall_is_charged_for_everybody_who_came_meanwhile(
    stalling_server: tuple[str, int],
) -> None:
    requests = [request_bytes("POST", "/", b"{}")] * 60
    seen = generate_by_the_clock(stalling_server, 2, requests, PER_SECOND)
    assert seen["requests"] == len(seen["latencies_ms"]) == 60
    # Two connections: a generator that waits for answers would call two requests slow.
    slow = [latency for latency in seen["latencies_ms"] if latency > STALL_SECONDS * 1000 / 2]
    assert len(slow) >= PER_SECOND * STALL_SECONDS / 2 - 1
    assert seen["duration_seconds"] >= 59 / PER_SECOND
