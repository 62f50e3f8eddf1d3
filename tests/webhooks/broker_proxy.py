"""A Redis that can stop answering: a TCP proxy that goes on accepting and forwards nothing more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class BrokerProxy:
    """`url` leads to the real server as long as `open` is set; clear it for a black hole."""

    url: str
    open: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def proxied(redis_url: str) -> Iterator[BrokerProxy]:
    """A proxy before the Redis of `redis_url` for the length of a `with`."""
    target = urlsplit(redis_url)
    address = (target.hostname or "127.0.0.1", target.port or 6379)
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        place = target.netloc.rpartition("@")[0]
        host = f"{place}@" if place else ""
        netloc = f"{host}127.0.0.1:{listener.getsockname()[1]}"
        proxy = BrokerProxy(url=urlunsplit(target._replace(netloc=netloc)))
        proxy.open.set()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    try:
                        server = socket.create_connection(address)
                    except OSError:  # refused there, so refused here
                        client.close()
                        continue
                    connections.extend((client, server))
                    for one, other in ((client, server), (server, client)):
                        threading.Thread(
                            target=_pump, args=(proxy, one, other), daemon=True
                        ).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


def _pump(proxy: BrokerProxy, source: socket.socket, sink: socket.socket) -> None:
    """What comes in a dark time is swallowed for ever, as by a middle box that has forgotten."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if proxy.open.is_set():
                sink.sendall(data)
    if proxy.open.is_set():  # in the dark, not even an end is told
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
