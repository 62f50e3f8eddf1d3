"""`manage.py serve_streams`: live status for payers' pages, until SIGTERM or Ctrl-C.

granian serves the application inside this process, on this event loop, so that a signal first ends
the streams in good order and then the server, which would otherwise wait for them for ever; and so
that there is one process to keep in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

# Requests at the door beside the open streams: refusals, preflights, health.
_REQUESTS_BESIDE = 256
# What one connection may keep of a reader that does not read; a frame has less than 2 kB.
_CONNECTION_BUFFER_BYTES = 16_384


class Command(BaseCommand):
    """Serves config.asgi.application."""

    help = "Serve live payment status to payers' pages (ASGI, one process) until SIGTERM."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8030, help="port to listen on")

    def handle(self, *args: Any, **options: Any) -> None:
        _allow_open_files()
        # granian's own messages hold nothing that the access lines do not.
        logging.getLogger("_granian").setLevel(logging.ERROR)
        asyncio.run(_serve(options["host"], options["port"]))
        # Everything has been put away. granian's own threads may still be about to call Python, and
        # abort the process when the interpreter is being taken down under them.
        sys.stdout.flush()
        os._exit(0)


async def _serve(host: str, port: int) -> None:
    from config.asgi import application

    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=_CONNECTION_BUFFER_BYTES),
        websockets=False,
        backlog=2048,
        backpressure=settings.FLORIN_STREAMS_MAX + _REQUESTS_BESIDE,
        log_access=False,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not serving.done():
        await application.stop()
        server.stop()
    await serving


def _allow_open_files() -> None:
    """Each stream is an open file; the usual limit of 1,024 would be the limit of streams."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
