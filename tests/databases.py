"""Where a test process finds its own PostgreSQL database and its own Redis database.

One pair of servers serves every test process: the embedded ones (data under `.florin/test`), or
those of DATABASE_URL and REDIS_URL. The first process of a run makes a *template*, a database
with all migrations applied, named after a hash of everything that shapes it, so it is made again
only when that changes. Each process that runs tests clones the template, which takes milliseconds,
and points DATABASE_URL at the clone *before* Django reads its settings; subprocesses inherit that.

Tests commit, as deferred constraints fire only then and a flush by TRUNCATE is refused by design;
so each test makes its own merchant and asserts about its own rows alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

from config.embedded import Servers, data_folder, ensure_servers, stored_secrets
from config.server_process import ServerFailed, make_private_folder

BASE_DIR = Path(__file__).resolve().parent.parent
_HANDOVER = "FLORIN_TEST_SERVERS"
_TEMPLATE_PREFIX = "florin_template_"
_CLONE_PREFIX = "florin_test_"
_TEMPLATE_LOCK = 4_617_232
_KEPT_TEMPLATES = 4


@dataclass(frozen=True)
class TestDatabases:
    """What one test process works with; `servers` are the addresses of its own databases."""

    __test__ = False

    server: Servers
    template: str
    name: str
    servers: Servers


def prepare() -> TestDatabases:
    """Servers, template and names for this process; fills os.environ. Creates no clone yet.

    Workers of pytest-xdist take servers and template over from the process that started them.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") and _HANDOVER in os.environ:
        handed_over = json.loads(os.environ[_HANDOVER])
        server, template = Servers(**handed_over["server"]), handed_over["template"]
    else:
        server = _servers()
        template = _ensure_template(server)
        os.environ[_HANDOVER] = json.dumps({"server": asdict(server), "template": template})
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    name = f"{_CLONE_PREFIX}{host}_{os.getpid()}_{secrets.token_hex(2)}"
    databases = TestDatabases(
        server=server,
        template=template,
        name=name,
        servers=_own_addresses(server, name, _own_redis_database(server.redis_url)),
    )
    receiver_port, web_port, sandbox_port, stream_port = free_ports(4)
    os.environ |= {
        **stored_secrets(folder(), create=True),
        **databases.servers.environment(),
        "FLORIN_BASE_URL": f"http://127.0.0.1:{web_port}",
        "FLORIN_SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        "FLORIN_STREAM_URL": f"http://127.0.0.1:{stream_port}",
        "FLORIN_WEBHOOK_ALLOWED_HOSTS": f"127.0.0.1:{receiver_port}",
        # Tests leave news unapplied on purpose; those of backpressure set their own limits.
        "FLORIN_TOO_BUSY_INBOX_SECONDS": "86400",
        "FLORIN_WEBHOOK_BUSY_INBOX_SECONDS": "86400",
    }
    return databases


@contextlib.contextmanager
def cloned_database(databases: TestDatabases) -> Iterator[None]:
    """This process's database, made from the template and dropped at the end."""
    with _maintenance(databases.server) as connection:
        _drop_abandoned_clones(connection)
        # A template cannot be copied while another process is just copying or checking it.
        connection.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(databases.name), sql.Identifier(databases.template)
            )
        )
        # Nothing here survives a crash on purpose; tests of crashes have private servers.
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(
                sql.Identifier(databases.name)
            )
        )
    try:
        yield
    finally:
        with _maintenance(databases.server) as connection:
            _drop(connection, databases.name)


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a database with whoever is in it. Only a superuser may force autovacuum out; a drop
    without force asks it to go and waits for it.
    """
    database = sql.Identifier(name)
    try:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
    except psycopg.errors.InsufficientPrivilege:
        connection.execute(sql.SQL("DROP DATABASE {}").format(database))


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now; all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def folder() -> Path:
    """Where the data of the servers of all test runs lies."""
    found = data_folder() / "test"
    make_private_folder(data_folder(), owned_by_server=False)
    make_private_folder(found, owned_by_server=False)
    return found


def _servers() -> Servers:
    """The servers of the environment where given, else the embedded ones."""
    given = (os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", ""))
    embedded = None if all(given) else ensure_servers(folder())
    if not given[0]:
        assert embedded is not None
        return Servers(**{**asdict(embedded), "redis_url": given[1] or embedded.redis_url})
    return Servers(
        database_url=given[0],
        database_owner_url=os.environ.get("DATABASE_OWNER_URL") or given[0],
        superuser_url="",
        redis_url=embedded.redis_url if embedded else given[1],
    )


def _ensure_template(server: Servers) -> str:
    name = _TEMPLATE_PREFIX + shape(owner=urlsplit(server.database_owner_url).username or "")
    with _maintenance(server) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        if _databases(connection, name):
            return name
        unfinished = f"{name}_unfinished"
        for statement in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(unfinished)))
        _migrate(_own_addresses(server, unfinished, server.redis_url))
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(unfinished), sql.Identifier(name)
            )
        )
        for outdated in _databases(connection, f"{_TEMPLATE_PREFIX}%")[:-_KEPT_TEMPLATES]:
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(outdated)))
    return name


def _migrate(servers: Servers) -> None:
    completed = subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), "setup_database", "--verbosity", "0"],
        cwd=BASE_DIR,
        env={**os.environ, **stored_secrets(folder(), create=True), **servers.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode != 0:
        end = "\n".join(completed.stderr.strip().splitlines()[-12:])
        raise ServerFailed(f"manage.py setup_database failed:\n{end}")


def shape(*, owner: str) -> str:
    """A hash of all that decides how a migrated database looks; migrations make partitions from
    the current month on.
    """
    digest = hashlib.sha256(f"{owner} {datetime.now(UTC):%Y-%m}".encode())
    migrations = BASE_DIR.glob("*/migrations/*")
    own = [path for path in migrations if path.suffix in (".py", ".sql")]
    others = [BASE_DIR / name for name in ("requirements.lock", "config/database_setup.py")]
    for path in sorted([*own, *others]):
        digest.update(str(path.relative_to(BASE_DIR)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _own_addresses(server: Servers, database: str, redis_url: str) -> Servers:
    def at(url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(path=f"/{database}")) if url else ""

    return Servers(
        database_url=at(server.database_url),
        database_owner_url=at(server.database_owner_url),
        superuser_url=at(server.superuser_url),
        redis_url=redis_url,
    )


def _own_redis_database(redis_url: str) -> str:
    """The address of a Redis database that no other test process uses now, emptied.

    A lock file per number, held until this process ends, keeps the others away; number 0 is left
    to whoever works on the server by hand.
    """
    client = redis.Redis.from_url(redis_url)
    count = int(client.config_get("databases")["databases"] or 16)
    client.close()
    for number in range(1, count):
        descriptor = os.open(folder() / f"redis-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        url = urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))
        client = redis.Redis.from_url(url)
        client.flushdb()
        client.close()
        return url
    raise ServerFailed(f"All {count - 1} Redis databases for tests are in use: end other runs.")


@contextlib.contextmanager
def _maintenance(server: Servers) -> Iterator[psycopg.Connection]:
    """A connection as owner to the server's ordinary database, to create and drop others."""
    with psycopg.connect(server.database_owner_url, autocommit=True) as connection:
        yield connection


def _databases(connection: psycopg.Connection, pattern: str) -> list[str]:
    """Names of databases like `pattern`, oldest first."""
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE %s AND datname NOT LIKE %s "
        "ORDER BY oid",
        [pattern, "%unfinished"],
    ).fetchall()
    return [name for (name,) in rows]


def _drop_abandoned_clones(connection: psycopg.Connection) -> None:
    """Drop what killed test processes of this machine left behind."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    for name in _databases(connection, f"{_CLONE_PREFIX}{host}%"):
        process = re.fullmatch(rf"{_CLONE_PREFIX}{host}_(\d+)_\w+", name)
        if process and not Path(f"/proc/{process[1]}").exists():
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
