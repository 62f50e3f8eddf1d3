"""A server that is broken in one chosen way, for what no well-behaved stand-in can do.

Each way is about the wire alone, so every provider has to survive the same ones.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]

# How long a server hangs, or drips, for whoever lets it.
HANGING_SECONDS = 60
_DRIP_PAUSE_SECONDS = 0.1


def _answer(connection: socket.socket, status: str, body: bytes, *headers: str) -> None:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body)


def hang(connection: socket.socket) -> None:
    """Take the request and say nothing, until the caller has enough or the test ends it."""
    connection.settimeout(HANGING_SECONDS)
    connection.recv(1)


def drop(connection: socket.socket) -> None:
    """Take the request and close."""


def html_500(connection: socket.socket) -> None:
    """A proxy's error page."""
    _answer(connection, "500 Oops", b"<html>Oops</html>", "Content-Type: text/html")


def garbage(connection: socket.socket) -> None:
    """A success that is not JSON."""
    _answer(connection, "200 OK", b"\xff\xfe{]")


def truncated(connection: socket.socket) -> None:
    """A success whose end is missing."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"id": "x"')


def huge(connection: socket.socket) -> None:
    """A success without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n{")
    for _ in range(200):
        connection.sendall(b" " * 65_536)


def drip(connection: socket.socket) -> None:
    """A success that comes one byte at a time, each in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(int(HANGING_SECONDS / _DRIP_PAUSE_SECONDS)):
        connection.sendall(b" ")
        time.sleep(_DRIP_PAUSE_SECONDS)


def drip_head(connection: socket.socket) -> None:
    """A head that comes one byte at a time, each in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Patience: ")
    for _ in range(int(HANGING_SECONDS / _DRIP_PAUSE_SECONDS)):
        connection.sendall(b"x")
        time.sleep(_DRIP_PAUSE_SECONDS)


def redirect(connection: socket.socket) -> None:
    """Somebody else should answer."""
    _answer(connection, "302 Found", b"{}", "Location: http://127.0.0.1:9/elsewhere")


def wrong_types(connection: socket.socket) -> None:
    """JSON of another shape."""
    _answer(connection, "200 OK", b'{"object": "payment_intent", "id": 7, "status": []}')


def duplicate_names(connection: socket.socket) -> None:
    """JSON in which a name is there twice."""
    _answer(connection, "200 OK", b'{"object": "payment_intent", "id": "a", "id": "b"}')


def error_of_wrong_type(connection: socket.socket) -> None:
    """An error that is not an object."""
    _answer(connection, "402 Payment Required", b'{"error": "no"}')


UNKNOWABLE: tuple[Behaviour, ...] = (
    drop,
    html_500,
    garbage,
    truncated,
    huge,
    redirect,
    wrong_types,
    duplicate_names,
    error_of_wrong_type,
)


@contextlib.contextmanager
def broken_server(behaviour: Behaviour) -> Iterator[str]:
    """Run the server for the length of a `with`; its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=_serve, args=(listener, behaviour), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _serve(listener: socket.socket, behaviour: Behaviour) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve_one, args=(connection, behaviour), daemon=True).start()


def _serve_one(connection: socket.socket, behaviour: Behaviour) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(5)
        _read_request(connection)
        behaviour(connection)


def _read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if b"ontent-" in line[:9] and line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65_536)
