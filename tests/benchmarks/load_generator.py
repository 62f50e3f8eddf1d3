"""A small HTTP load generator: a process of its own, keep-alive connections, prepared requests.

Mental model: every request is bytes that were built before the clock started, so that the
generator costs the server as little of the machine as Python can. Each connection has one request
under way. Without a rate the next request goes out when an answer is complete: that finds the most
a server can do. With a rate requests arrive by the clock, whatever became of those before, and
latency counts from the moment a request was to arrive: a server that stalls is then charged for
everybody who came meanwhile. The same generator drives what is measured and what it is measured
against.

Run as `python -m tests.benchmarks.load_generator HOST PORT CONNECTIONS PER_SECOND` (0: no rate):
requests come on standard input, each after its length (4 bytes, big endian); the result goes out
as one JSON object.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_ANSWER_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run of the generator saw."""

    requests: int
    duration_seconds: float
    errors: int
    latencies_ms: list[float]

    @property
    def per_second(self) -> float:
        """Good answers per second."""
        return (self.requests - self.errors) / self.duration_seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the requests did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def request_bytes(
    method: str, path: str, body: bytes, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """One HTTP/1.1 request on a connection that stays open."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run_load(
    *, port: int, connections: int, requests: Sequence[bytes], per_second: float = 0.0
) -> Load:
    """Send all requests over `connections` connections from a process of its own, `per_second` of
    them by the clock, or as fast as they are answered.
    """
    packed = b"".join(len(request).to_bytes(4, "big") + request for request in requests)
    arguments = ["127.0.0.1", str(port), str(connections), str(per_second)]
    completed = subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        input=packed,
        capture_output=True,
        check=False,
    )
    if completed.returncode != 0:
        raise RuntimeError(f"the load generator failed: {completed.stderr.decode()[-2000:]}")
    return Load(**json.loads(completed.stdout))


class _Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=_ANSWER_TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """The status once the answer is complete, else None."""
        part = self.socket.recv(65_536)
        if not part:
            raise ConnectionError("the server closed the connection")
        self.received += part
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = 0
        for line in head.lower().split(b"\r\n")[1:]:
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return int(head.split(b" ", 2)[1]) if len(body) >= length else None


def generate(address: tuple[str, int], connections: int, requests: list[bytes]) -> dict[str, Any]:
    """Send everything and give what was seen."""
    waiting = list(reversed(requests))
    latencies_ms: list[float] = []
    errors = 0
    open_connections = [_Connection(address) for _ in range(min(connections, len(requests)))]
    with selectors.DefaultSelector() as selector:
        for connection in open_connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        began = time.perf_counter()
        for connection in open_connections:
            connection.send(waiting.pop())
        while len(latencies_ms) < len(requests):
            ready = selector.select(_ANSWER_TIMEOUT_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer within {_ANSWER_TIMEOUT_SECONDS:.0f} s")
            for key, _ in ready:
                connection = key.data
                status = connection.receive()
                if status is None:
                    continue
                latencies_ms.append((time.perf_counter() - connection.sent_at) * 1000)
                errors += not 200 <= status < 300
                if waiting:
                    connection.send(waiting.pop())
        duration = time.perf_counter() - began
    return {
        "requests": len(requests),
        "duration_seconds": duration,
        "errors": errors,
        "latencies_ms": [round(latency, 3) for latency in latencies_ms],
    }


def generate_by_the_clock(
    address: tuple[str, int], connections: int, requests: list[bytes], per_second: float
) -> dict[str, Any]:
    """Let request number n arrive n / per_second seconds after the first, and give what was seen.

    One that finds every connection in use waits for the next free one, and its clock runs.
    """
    free = [_Connection(address) for _ in range(connections)]
    arrivals: dict[socket.socket, float] = {}  # of the requests under way
    latencies_ms: list[float] = []
    errors = sent = 0
    with selectors.DefaultSelector() as selector:
        for connection in free:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        began = time.perf_counter()
        while len(latencies_ms) < len(requests):
            now = time.perf_counter()
            while free and sent < len(requests) and began + sent / per_second <= now:
                connection = free.pop()
                arrivals[connection.socket] = began + sent / per_second
                connection.send(requests[sent])
                sent += 1
            wait_seconds = _ANSWER_TIMEOUT_SECONDS
            if free and sent < len(requests):
                wait_seconds = max(0.0, began + sent / per_second - time.perf_counter())
            ready = selector.select(wait_seconds)
            if not ready and wait_seconds == _ANSWER_TIMEOUT_SECONDS:
                raise TimeoutError(f"no answer within {_ANSWER_TIMEOUT_SECONDS:.0f} s")
            for key, _ in ready:
                connection = key.data
                status = connection.receive()
                if status is None:
                    continue
                arrived = arrivals.pop(connection.socket)
                latencies_ms.append((time.perf_counter() - arrived) * 1000)
                errors += not 200 <= status < 300
                free.append(connection)
        duration = time.perf_counter() - began
    return {
        "requests": len(requests),
        "duration_seconds": duration,
        "errors": errors,
        "latencies_ms": [round(latency, 3) for latency in latencies_ms],
    }


def main() -> None:
    """Read the requests, send them, print the result."""
    host, port, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    per_second = float(sys.argv[4])
    packed = sys.stdin.buffer.read()
    requests, place = [], 0
    while place < len(packed):
        length = int.from_bytes(packed[place : place + 4], "big")
        requests.append(packed[place + 4 : place + 4 + length])
        place += 4 + length
    if per_second:
        seen = generate_by_the_clock((host, port), connections, requests, per_second)
    else:
        seen = generate((host, port), connections, requests)
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
