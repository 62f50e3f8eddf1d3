"""PostgreSQL and Redis for whoever has none: `make run`, `make test`, and any `manage.py` command.

With DATABASE_URL and REDIS_URL set nothing here starts anything. Without them, the servers of a
data folder (`.florin/` in the clone) are shared by every process that needs them. A process is a
*user* of the servers as long as it holds a shared lock on `in-use.lock`, which the kernel drops
when the process ends, however it ends. One *keeper* process (config/server_keeper.py) is the
parent of the servers; when no user is left, it stops them cleanly and goes. So `make run` and a
`manage.py verify` beside it use the same servers, the last one out turns off the light, and a
`kill -9` leaves nothing running.

`private_servers` is the other way to have servers: throw-away ones for tests of faults.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from config.file_lock import AT_ONCE, EXCLUSIVE, SHARED, is_locked, lock, lock_soon, locked
from config.postgres_server import OWNER, SUPERUSER, PostgresServer
from config.redis_server import RedisServer
from config.server_process import (
    ServerFailed,
    last_lines,
    make_private_folder,
    open_private_log,
    read_if_there,
    server_home,
    start_time,
    temporary_home,
    write_private_file,
)

BASE_DIR = Path(__file__).resolve().parent.parent
# Held by the supervisor of `make run`, and what its processes have in their environment.
RUN_LOCK = "run.lock"
RUN_ENVIRONMENT_FILE = "run.json"
_STATE_FILE = "servers.json"
_ERROR_FILE = "servers.error"
_USE_LOCK = "in-use.lock"
_KEEPER_LOCK = "keeper.lock"
_START_TIMEOUT_SECONDS = 90
_KEEPER_POLL_SECONDS = 0.25
_PRIVATE_HOME = "florin-servers-"
_held_locks: dict[Path, int] = {}


@dataclass(frozen=True)
class Servers:
    """Addresses of running servers; `superuser_url` is empty for servers that are not ours."""

    database_url: str
    database_owner_url: str
    superuser_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        """The environment variables that point a process of Florin at these servers."""
        return {
            "DATABASE_URL": self.database_url,
            "DATABASE_OWNER_URL": self.database_owner_url,
            "REDIS_URL": self.redis_url,
        }


def data_folder() -> Path:
    """Where everything generated lies: FLORIN_DATA_DIR, else `.florin` in the clone."""
    return Path(os.environ.get("FLORIN_DATA_DIR") or BASE_DIR / ".florin").resolve()


def fill_environment(*, create_secrets: bool = False) -> None:
    """Set what the environment lacks so that settings can be read and servers be reached.

    Generated secrets come from `.florin/secrets.env`, which is made for embedded servers, or if
    `create_secrets` says so; without DATABASE_URL or REDIS_URL the
    embedded servers are used, and started for the life of this process if they do not run. Beside
    a `make run`, its addresses hold too.
    Raises ServerFailed with one sentence when they cannot be.
    """
    if (data_folder() / RUN_LOCK).exists() and is_locked(data_folder() / RUN_LOCK):
        run = json.loads(read_if_there(data_folder() / RUN_ENVIRONMENT_FILE) or "{}")
        for name, value in run.items():
            os.environ.setdefault(name, value)
    embedded = not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))
    for name, value in stored_secrets(data_folder(), create=embedded or create_secrets).items():
        os.environ.setdefault(name, value)
    if embedded:
        servers = ensure_servers(data_folder())
        if os.environ.get("DATABASE_URL"):
            os.environ.setdefault("REDIS_URL", servers.redis_url)
        else:
            os.environ["DATABASE_URL"] = servers.database_url
            os.environ["DATABASE_OWNER_URL"] = servers.database_owner_url
            os.environ.setdefault("REDIS_URL", servers.redis_url)


def stored_secrets(folder: Path, *, create: bool) -> dict[str, str]:
    """SECRET_KEY and FLORIN_ENCRYPTION_KEYS of this clone, from `folder/secrets.env` (mode 600).

    With `create`, they are made when missing. They protect demo data; a real installation sets
    its own in the environment, which always wins.
    """
    path = folder / "secrets.env"
    if not path.exists():
        if not create:
            return {}
        make_private_folder(folder, owned_by_server=False)
        with locked(folder / "secrets.lock"):
            if not path.exists():
                key = base64.b64encode(secrets.token_bytes(32)).decode()
                write_private_file(
                    path,
                    f"SECRET_KEY={secrets.token_urlsafe(50)}\nFLORIN_ENCRYPTION_KEYS=demo1:{key}\n",
                )
    try:
        lines = path.read_text().splitlines()
    except PermissionError:
        raise ServerFailed(
            f"{path} belongs to another user: start Florin as that user, or set SECRET_KEY and "
            "FLORIN_ENCRYPTION_KEYS."
        ) from None
    return dict(line.split("=", 1) for line in lines if "=" in line)


def ensure_servers(data_dir: Path) -> Servers:
    """Addresses of the running servers of a data folder, started now if nobody uses them yet.

    They run at least until this process ends or calls `release_servers`. Raises ServerFailed.
    """
    data_dir = data_dir.resolve()
    make_private_folder(data_dir, owned_by_server=False)
    if data_dir not in _held_locks:
        # Waits while a keeper is just stopping the servers.
        _held_locks[data_dir] = lock(data_dir / _USE_LOCK, SHARED)
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    try:
        while time.monotonic() < deadline:
            keeper = None
            if not is_locked(data_dir / _KEEPER_LOCK):
                (data_dir / _ERROR_FILE).unlink(missing_ok=True)
                keeper = _start_keeper(data_dir)
            if servers := _wait_for_keeper(data_dir, keeper, deadline):
                return servers
        raise ServerFailed(f"The embedded servers did not start in time: see {data_dir / 'log'}.")
    except BaseException:
        release_servers(data_dir)
        raise


def release_servers(data_dir: Path) -> None:
    """This process no longer needs the servers; the last one lets them stop."""
    descriptor = _held_locks.pop(data_dir.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def leave_servers(data_dir: Path, *, timeout_seconds: float = 20) -> None:
    """Release the servers and, if nobody else uses them, wait until they have stopped."""
    release_servers(data_dir)
    deadline = time.monotonic() + timeout_seconds
    looks_at_others = 0
    while is_locked(data_dir / _KEEPER_LOCK) and time.monotonic() < deadline:
        # Once is not enough: a keeper that stops holds the lock before it withdraws the addresses.
        in_use = is_locked(data_dir / _USE_LOCK, shared=True) and _published(data_dir)
        looks_at_others = looks_at_others + 1 if in_use else 0
        if looks_at_others > 5:
            return
        time.sleep(0.03)


def server_pair(
    home: Path, log_folder: Path, *, settings: Mapping[str, str] | None = None
) -> tuple[PostgresServer, RedisServer]:
    """The two embedded servers of one home, not started."""
    return (
        PostgresServer(home=home, log_path=log_folder / "postgresql.log", settings=settings),
        RedisServer(home=home, log_path=log_folder / "redis.log"),
    )


def addresses(postgres: PostgresServer, redis: RedisServer) -> Servers:
    """The addresses of two running embedded servers."""
    return Servers(
        database_url=postgres.url(),
        database_owner_url=postgres.url(OWNER),
        superuser_url=postgres.url(SUPERUSER),
        redis_url=redis.url(),
    )


@dataclass
class PrivateServers:
    """Throw-away servers: kill(), start(), stop(), restart() each at will; addresses stay.

    `servers` are the addresses; `environment()` is all a subprocess of Florin needs.
    """

    postgres: PostgresServer
    redis: RedisServer
    servers: Servers
    _secrets: dict[str, str] = field(repr=False)

    def environment(self) -> dict[str, str]:
        """The complete environment for a subprocess that works on these servers."""
        return {**os.environ, **self._secrets, **self.servers.environment()}

    def manage(self, *arguments: str, timeout_seconds: float = 600) -> str:
        """Run `manage.py` on these servers and return its output; raises on failure."""
        completed = subprocess.run(
            [sys.executable, str(BASE_DIR / "manage.py"), *arguments],
            cwd=BASE_DIR,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if completed.returncode != 0:
            raise ServerFailed(
                f"manage.py {' '.join(arguments)} ended with {completed.returncode}:\n"
                f"{completed.stdout}{completed.stderr}"
            )
        return completed.stdout


@contextlib.contextmanager
def private_servers(
    *,
    migrated: bool = False,
    copied_from: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[PrivateServers]:
    """A PostgreSQL and a Redis of one's own for the length of a `with`, then gone without trace.

    `migrated` runs `manage.py setup_database`. `copied_from` is the home of a PostgreSQL that was
    stopped, whose data and secrets are to begin with. `settings` are lines of postgresql.conf.
    Call it in the main thread: the servers are bound to the life of the calling thread.
    """
    home = temporary_home(f"{_PRIVATE_HOME}{os.getpid()}-")
    _remove_abandoned_homes(home.parent)
    try:
        if copied_from:
            subprocess.run(["cp", "--archive", f"{copied_from}/.", home], check=True)
        postgres, redis = server_pair(
            home, home, settings={"shared_buffers": "64MB", **(settings or {})}
        )
        try:
            postgres.start()
            redis.start()
            private = PrivateServers(
                postgres=postgres,
                redis=redis,
                servers=addresses(postgres, redis),
                _secrets=stored_secrets(home, create=True),
            )
            if migrated:
                private.manage("setup_database")
            yield private
        finally:
            # Nobody will read this data again: no need for an orderly end.
            postgres.kill()
            redis.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _remove_abandoned_homes(folder: Path) -> None:
    """Remove what killed processes could not: their servers ended with them, their data stayed."""
    for home in folder.glob(f"{_PRIVATE_HOME}*-*"):
        pid = home.name.removeprefix(_PRIVATE_HOME).partition("-")[0]
        with contextlib.suppress(OSError):
            if home.stat().st_uid == os.geteuid() and pid.isdigit() and not start_time(int(pid)):
                shutil.rmtree(home, ignore_errors=True)


def keep_servers(data_dir: Path, *, poll_seconds: float = _KEEPER_POLL_SECONDS) -> None:
    """The keeper's work: start the servers, publish their addresses, stop them when unused.

    A server that dies meanwhile is started again at the same address. Returns at once when
    another keeper is at work; raises ServerFailed when a server does not start.
    """
    keeper_lock = lock_soon(data_dir / _KEEPER_LOCK)
    if keeper_lock is None:
        return
    with contextlib.ExitStack() as keep_until_the_end, contextlib.ExitStack() as stack:
        keep_until_the_end.callback(os.close, keeper_lock)
        (data_dir / _STATE_FILE).unlink(missing_ok=True)
        log_folder = data_dir / "log"
        make_private_folder(log_folder, owned_by_server=False)
        postgres, redis = server_pair(server_home(data_dir), log_folder)
        stack.callback(postgres.stop)
        stack.callback(redis.stop)
        stack.callback((data_dir / _STATE_FILE).unlink, missing_ok=True)
        while True:
            for server in (postgres, redis):
                if server.process is None or server.process.poll() is not None:
                    server.start()
                    if postgres.process and redis.process:
                        _publish(data_dir, addresses(postgres, redis))
            time.sleep(poll_seconds)
            with contextlib.suppress(BlockingIOError):
                in_use = lock(data_dir / _USE_LOCK, EXCLUSIVE | AT_ONCE)
                # Given back last: who comes meanwhile waits, and then starts another keeper.
                keep_until_the_end.callback(os.close, in_use)
                return


def _publish(data_dir: Path, servers: Servers) -> None:
    """Let the users know the addresses, and by which keeper they are served."""
    keeper = {"keeper": os.getpid(), "keeper_started": start_time(os.getpid())}
    state = json.dumps(keeper | asdict(servers), indent=1)
    write_private_file(data_dir / _STATE_FILE, state)


def _published(data_dir: Path) -> Servers | None:
    """The addresses, unless the keeper that published them is gone."""
    state = json.loads(read_if_there(data_dir / _STATE_FILE) or "{}")
    keeper, started = state.pop("keeper", 0), state.pop("keeper_started", "")
    return Servers(**state) if started and start_time(keeper) == started else None


def _start_keeper(data_dir: Path) -> subprocess.Popen[bytes]:
    make_private_folder(data_dir / "log", owned_by_server=False)
    with open_private_log(data_dir / "log" / "servers.log") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "config.server_keeper", str(data_dir)],
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_for_keeper(
    data_dir: Path, keeper: subprocess.Popen[bytes] | None, deadline: float
) -> Servers | None:
    """The addresses once published; None when there is no keeper and one has to be started.

    `keeper` is the process just started, which may find that another one was faster.
    """
    while time.monotonic() < deadline:
        ended = keeper is None or keeper.poll() is not None
        if is_locked(data_dir / _KEEPER_LOCK):
            if servers := _published(data_dir):
                return servers
        elif (data_dir / _ERROR_FILE).exists():
            raise ServerFailed((data_dir / _ERROR_FILE).read_text())
        elif keeper and keeper.returncode:
            raise ServerFailed(
                "The process that keeps the embedded servers failed:\n"
                + last_lines(data_dir / "log" / "servers.log")
            )
        elif ended:
            return None
        time.sleep(0.03)
    return None
