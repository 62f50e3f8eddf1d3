"""Merchants' servers for a measurement, one process for all of them, behaviour by path.

`python -m tests.benchmarks.merchants PORT`: `/quick/...` answers at once, `/slow/...` after ten
seconds, `/broken/...` with 500. `GET /arrivals` answers a JSON object from webhook-id to the list
of moments (seconds since 1970) in which it arrived.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

SLOW_SECONDS = 10.0
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_BROKEN = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

_arrivals: dict[str, list[float]] = {}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        await reader.readexactly(int(headers.get("content-length", 0)))
        writer.write(await _answer(request.split(" ")[1], headers))
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _answer(path: str, headers: dict[str, str]) -> bytes:
    if path == "/arrivals":
        body = json.dumps(_arrivals).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    _arrivals.setdefault(headers.get("webhook-id", ""), []).append(time.time())
    if path.startswith("/slow"):
        await asyncio.sleep(SLOW_SECONDS)
    return _BROKEN if path.startswith("/broken") else _OK


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
