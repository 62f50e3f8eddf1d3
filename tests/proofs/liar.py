"""Somebody between us and the sandbox provider who passes everything on, and lies when told to.

Mental model: an HTTP proxy in a thread. What the provider does is real and recorded in its books;
only the next answer to a call of ours is changed: another amount, another currency, a status that
nobody documented. It also counts our calls, so that a fault is known to have met one.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

LIES = ("amount", "currency", "status")


class Liar:
    """The proxy's address, the lie that waits for the next answer, and the count of changes."""

    def __init__(self, target_url: str) -> None:
        self.target_url = target_url
        self.url = ""
        self.lie = ""
        self.changes = 0
        self.http = urllib3.PoolManager(maxsize=32, retries=False)

    def twist(self, body: bytes) -> bytes:
        """The answer with the waiting lie in it, once; an answer about no object stays as it is."""
        document = json.loads(body)
        target = document
        if isinstance(document.get("data"), list) and document["data"]:
            target = document["data"][0]
        if target.get("object") not in ("payment", "refund", "dispute"):
            return body
        lie, self.lie = self.lie, ""
        if lie == "amount":
            target["amount_minor"] += 1
        elif lie == "currency":
            target["currency"] = "USD" if target["currency"] != "USD" else "EUR"
        else:
            target["status"] = "bewildered"
        return json.dumps(document).encode()


@contextlib.contextmanager
def lying(target_url: str) -> Iterator[Liar]:
    """A liar in front of `target_url` for the length of a `with`."""
    liar = Liar(target_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length) if length else None
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("connection", "content-length")
            }
            ours = "Idempotency-Key" in self.headers or (
                self.command == "GET" and self.path.startswith("/v1/payments")
            )
            liar.changes += "Idempotency-Key" in self.headers
            try:
                answer = liar.http.request(
                    self.command, liar.target_url + self.path, body=content, headers=headers
                )
            except urllib3.exceptions.HTTPError:
                self.close_connection = True
                return
            body = answer.data
            if ours and liar.lie and answer.status < 300:
                body = liar.twist(body)
            self._answer(answer, body)

        def _answer(self, answer: Any, body: bytes) -> None:
            with contextlib.suppress(OSError):
                self.send_response(answer.status)
                for name in ("Content-Type", "Location", "Idempotent-Replayed"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    liar.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()
