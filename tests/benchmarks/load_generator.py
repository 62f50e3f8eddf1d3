"""A small HTTP load generator: a process of its own, keep-alive connections, prepared requests.

Mental model: every request is bytes that were built before the clock started, so that the
generator costs the server as little of the machine as Python can. Each connection has one request
under way; when its answer is complete, the next one is sent. The same generator drives what is
measured and what it is measured against.

Run as `python -m tests.benchmarks.load_generator HOST PORT CONNECTIONS`: requests come on standard
input, each after its length (4 bytes, big endian); the result goes out as one JSON object.
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


def run_load(*, port: int, connections: int, requests: Sequence[bytes]) -> Load:
    """Send all requests over `connections` connections from a process of its own."""
    packed = b"".join(len(request).to_bytes(4, "big") + request for request in requests)
    completed = subprocess.run(
        [sys.executable, "-m", __name__, "127.0.0.1", str(port), str(connections)],
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


def main() -> None:
    """Read the requests, send them, print the result."""
    host, port, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    packed = sys.stdin.buffer.read()
    requests, place = [], 0
    while place < len(packed):
        length = int.from_bytes(packed[place : place + 4], "big")
        requests.append(packed[place + 4 : place + 4 + length])
        place += 4 + length
    json.dump(generate((host, port), connections, requests), sys.stdout)


if __name__ == "__main__":
    main()
