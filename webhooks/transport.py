"""One HTTP request to a merchant: pinned, never redirected, over in time, answers kept short.

Mental model: `post` always returns an answer about the request, never an exception: a status, or
the words for why there is none. The connection goes to the address that was judged, while TLS
proves the name. A watchdog closes the socket at the total deadline, because a time-out per read
lets a server that sends one byte at a time hold us for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from webhooks import destinations

DEADLINE_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0
RESPONSE_BODY_CAP_BYTES = 16 * 1024
ERROR_CAP_CHARACTERS = 500


@dataclass(frozen=True)
class Answer:
    """How one request ended. `status` is None when no complete answer head came in time."""

    status: int | None
    body: str = ""
    retry_after: str = ""
    error: str = ""
    address: str = ""
    duration_ms: int = 0

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def post(
    *,
    url: str,
    livemode: bool,
    headers: Mapping[str, str],
    body: bytes,
    deadline_seconds: float = DEADLINE_SECONDS,
    resolver: destinations.Resolver | None = None,
    ca_file: str | None = None,
) -> Answer:
    """Send `body` to `url` once and say what came of it, within `deadline_seconds`.

    `resolver` stands in for DNS, `ca_file` for the system's certificate authorities.
    """
    started = time.monotonic()
    address = ""

    def after(**answer: Any) -> Answer:
        duration_ms = round((time.monotonic() - started) * 1000)
        return Answer(address=address, duration_ms=duration_ms, **answer)

    try:
        destination = destinations.parse(url, livemode=livemode)
        address = destinations.pin(destination, resolver=resolver)
    except destinations.DestinationRefused as refusal:
        return after(status=None, error=f"refused ({refusal.code}): {refusal}")
    remaining = deadline_seconds - (time.monotonic() - started)
    connection = _connection(destination, address, timeout_seconds=remaining, ca_file=ca_file)
    try:
        with _Watchdog(connection, remaining) as watchdog:
            try:
                status, retry_after, text = _exchange(
                    connection, destination, headers, body, watchdog
                )
            except Exception as failure:  # noqa: BLE001  a hostile server may provoke anything
                reason = (
                    f"no complete answer within {deadline_seconds:g} s"
                    if watchdog.barked
                    else f"{type(failure).__name__}: {failure}"
                )
                return after(status=None, error=_storable(reason)[:ERROR_CAP_CHARACTERS])
    finally:
        connection.close()
    error = "" if 200 <= status < 300 else f"status {status}"
    if 300 <= status < 400:
        error = f"status {status}: redirects are not followed"
    return after(status=status, body=text, retry_after=retry_after, error=error)


def _exchange(
    connection: _Connection,
    destination: destinations.Destination,
    headers: Mapping[str, str],
    body: bytes,
    watchdog: _Watchdog,
) -> tuple[int, str, str]:
    connection.connect()
    connection.timeout = DEADLINE_SECONDS  # per read; the watchdog keeps the total
    connection.request(
        "POST",
        destination.target,
        body=body,
        headers={**headers, "Host": _host_header(destination)},
        preload_content=False,
        decode_content=False,  # a compressed answer could grow without bound
    )
    response = connection.getresponse()
    if watchdog.barked:  # a head that was cut off parses as if it had ended
        raise TimeoutError
    with contextlib.closing(response):
        # The status decides; a body that breaks off afterwards does not change it.
        try:
            raw = response.read(RESPONSE_BODY_CAP_BYTES)
        except (OSError, urllib3.exceptions.HTTPError):
            raw = b""
        text = _storable(raw.decode("utf-8", "replace"))
        return response.status, response.headers.get("Retry-After", ""), text


def _storable(text: str) -> str:
    """What a server said, as PostgreSQL takes it: without NULs, which an error quotes too."""
    return text.replace("\x00", "\ufffd")


class _Watched:
    """Keeps a second handle on the socket, which TLS takes away from the connection for a while."""

    watched: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        opened: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.watched = socket.socket(fileno=os.dup(opened.fileno()))
        return opened


class _HTTPConnection(_Watched, HTTPConnection):
    pass


class _HTTPSConnection(_Watched, HTTPSConnection):
    pass


_Connection = _HTTPConnection | _HTTPSConnection


def _connection(
    destination: destinations.Destination,
    address: str,
    *,
    timeout_seconds: float,
    ca_file: str | None,
) -> _Connection:
    timeout = max(0.001, min(timeout_seconds, CONNECT_TIMEOUT_SECONDS))
    if destination.scheme == "http":
        return _HTTPConnection(address, destination.port, timeout=timeout)
    return _HTTPSConnection(
        address,
        destination.port,
        timeout=timeout,
        server_hostname=destination.host,
        assert_hostname=destination.host,
        ssl_context=_tls(ca_file),
    )


_tls_contexts: dict[str | None, ssl.SSLContext] = {}


def _tls(ca_file: str | None) -> ssl.SSLContext:
    """One context per set of authorities: building one reads every certificate."""
    if ca_file not in _tls_contexts:
        _tls_contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
    return _tls_contexts[ca_file]


class _Watchdog:
    """Shuts the connection's socket when time is up, whatever it is doing just then."""

    def __init__(self, connection: _Connection, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(max(0.0, seconds), self._bark)
        self._timer.daemon = True
        self.barked = False

    def __enter__(self) -> _Watchdog:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        if self._connection.watched is not None:
            self._connection.watched.close()

    def _bark(self) -> None:
        self.barked = True
        if self._connection.watched is not None:
            with contextlib.suppress(OSError):
                self._connection.watched.shutdown(socket.SHUT_RDWR)


def _host_header(destination: destinations.Destination) -> str:
    default = 443 if destination.scheme == "https" else 80
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    return host if destination.port == default else f"{host}:{destination.port}"
