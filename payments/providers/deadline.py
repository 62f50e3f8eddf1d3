"""Connections whose answers have to be complete by a point in time, however they are dripped.

A socket's time-out starts anew with every byte it gets. A PSP that sends one byte of its header
each second would hold a thread for hours under a time-out of twenty seconds. Here each read from
the socket may last only as long as is left of the whole call, head and body alike.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_SHORTEST_SECONDS = 0.001
_call = threading.local()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Answers read by this thread inside the `with` must be complete at `at` (monotonic time)."""
    _call.deadline = at
    try:
        yield
    finally:
        _call.deadline = None


class _TimedReader(io.RawIOBase):
    """A socket's raw stream that gives each read what is left of the time."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, at: float) -> None:
        self._raw = raw
        self._socket = sock
        self._at = at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_seconds = self._at - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError("The deadline of the call has passed.")
        self._socket.settimeout(max(_SHORTEST_SECONDS, left_seconds))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """http.client's response, reading through a _TimedReader while a deadline is set."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        at = getattr(_call, "deadline", None)
        if at is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_TimedReader(raw, sock, at))


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse


class _TimedTlsConnection(HTTPSConnection):
    response_class = _TimedResponse


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TimedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


def pool_manager(*, hosts: int, connections_per_host: int) -> urllib3.PoolManager:
    """A PoolManager that keeps deadlines; it neither retries nor holds credentials."""
    manager = urllib3.PoolManager(num_pools=hosts, maxsize=connections_per_host, retries=False)
    manager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedTlsPool}
    return manager
