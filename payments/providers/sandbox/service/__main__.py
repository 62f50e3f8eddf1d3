"""Run the sandbox PSP: `python -m payments.providers.sandbox.service --port 8010 --data DIR`.

One server process (granian, WSGI) over one data folder. Many threads, because a request that
hangs on purpose keeps its thread; the work itself is serial. Prints one line when it listens, and
answers `GET /healthz`. Stops on SIGTERM and SIGINT, and when its parent process is gone.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
import socket
import sys
from pathlib import Path
from typing import IO

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from payments.providers.sandbox.service import server_process

THREADS = 64
STOP_SECONDS = 1


def main() -> None:
    """Parse the command line and serve until told to stop. Exits 1 when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m payments.providers.sandbox.service")
    parser.add_argument("--port", type=int, required=True, help="TCP port (0: any free one)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the durable record")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    options = parser.parse_args()
    try:
        port = _free_port(options.host, options.port)
    except OSError as error:
        problem = f"The sandbox cannot listen on {options.host}:{options.port}: {error.strerror}."
        parser.exit(1, f"{problem} Stop what uses the port, or choose another.\n")
    options.data.mkdir(parents=True, exist_ok=True)
    lock = (options.data / "lock").open("w")
    if not _only_one(lock):
        parser.exit(1, f"Another sandbox is already running on {options.data}.\n")
    server = Granian(
        target="sandbox",
        address=options.host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        backpressure=THREADS,
        backlog=1024,
        websockets=False,
        # A request that hangs on purpose must not hold up a stop; the record survives a kill.
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.critical,
    )
    sys.stdout.write(f"The sandbox PSP listens on http://{options.host}:{port}\n")
    sys.stdout.flush()
    load = functools.partial(server_process.load, options.data, os.getpid())
    server.serve(target_loader=load, wrap_loader=False)


def _free_port(host: str, port: int) -> int:
    """The port to use. Raises OSError when it is taken (the server itself would share it)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
        return int(probe.getsockname()[1])


def _only_one(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
