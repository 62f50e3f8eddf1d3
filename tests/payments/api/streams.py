"""A payer's page without a browser: opens a payment's stream over a real socket and reads it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

DEADLINE_SECONDS = 15.0


@dataclass(frozen=True)
class Frame:
    """One event of a stream, or one comment; `data` is parsed."""

    id: str = ""
    event: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    retry: str = ""

    @property
    def status(self) -> str:
        """The payment's status in it."""
        return str(self.data.get("status", ""))


class OpenStream:
    """An answered stream. Every wait ends with the test's failure after DEADLINE_SECONDS."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers
        self.received = b""
        self._rest = b""

    def body(self) -> dict[str, Any]:
        """The JSON of a refusal."""
        parsed: dict[str, Any] = json.loads(self._response.read())
        return parsed

    def error(self) -> dict[str, Any]:
        """The error object of a refusal."""
        error: dict[str, Any] = self.body()["error"]
        return error

    def frames(self) -> Iterator[Frame]:
        """Everything that comes, until the stream ends."""
        while True:
            while b"\n\n" in self._rest:
                block, _, self._rest = self._rest.partition(b"\n\n")
                yield _parsed(block.decode())
            more = self._response.read1(65_536)
            if not more:
                assert not self._rest, f"cut off in the middle of {self._rest!r}"
                return
            self.received += more
            self._rest += more

    def next_event(self) -> Frame:
        """The next event, comments passed over."""
        return next(frame for frame in self.frames() if frame.event)

    def next_comment(self) -> Frame:
        """The next comment, when it comes before any event."""
        frame = next(self.frames())
        assert not frame.event, frame
        return frame

    def events_to_the_end(self) -> list[Frame]:
        """All further events, once the stream has ended."""
        return [frame for frame in self.frames() if frame.event]


@contextlib.contextmanager
def opened(
    url: str, payment: dict[str, Any], key: str, *, path: str = "", **headers: str
) -> Iterator[OpenStream]:
    """The answer to a request for a payment's stream; `None`-like empty headers are left out."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=DEADLINE_SECONDS
    )
    sent = {
        "Authorization": f"Bearer {key}",
        "Client-Secret": payment["client_secret"],
        "Origin": "https://shop.example",
        **headers,
    }
    connection.request(
        "GET",
        path or f"/v1/client/payments/{payment['id']}/stream",
        headers={name: value for name, value in sent.items() if value},
    )
    try:
        yield OpenStream(connection)
    finally:
        connection.close()


def ask(url: str, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and body of any other request to the stream process."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=DEADLINE_SECONDS
    )
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read()


def wait_until_answering(url: str) -> None:
    """Wait until the stream process is ready to serve."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException, socket.timeout):
            if ask(url, "GET", "/readyz")[0] == 200:
                return
        assert time.monotonic() < deadline, "the stream process does not answer"
        time.sleep(0.05)


def _parsed(block: str) -> Frame:
    fields: dict[str, str] = {"": ""}
    for line in block.splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    return Frame(
        id=fields.get("id", ""),
        event=fields.get("event", ""),
        data=json.loads(fields.get("data", "{}")),
        comment=fields[""],
        retry=fields.get("retry", ""),
    )
