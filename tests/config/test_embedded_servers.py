"""The embedded servers: private, recovering from every kind of end, shared and switched off."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.embedded import (
    BASE_DIR,
    PrivateServers,
    Servers,
    ensure_servers,
    leave_servers,
    private_servers,
    release_servers,
)
from config.server_process import process_status, server_account, temporary_home

# Another user of the same servers: says that it has them, then waits to be ended.
_OTHER_USER = """
import sys, time
from pathlib import Path
from config.embedded import ensure_servers
print(ensure_servers(Path(sys.argv[1])).redis_url, flush=True)
time.sleep(600)
"""
# Says where its private servers have their data, then waits to be killed.
_OTHER_PRIVATE = """
from config.embedded import private_servers
with private_servers() as private:
    print(private.postgres.home, flush=True)
    input()
"""


def _eventually(condition: Callable[[], bool], *, timeout_seconds: float = 20) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _answer(servers: Servers) -> bool:
    try:
        with psycopg.connect(servers.database_url, connect_timeout=2):
            return bool(redis.Redis.from_url(servers.redis_url).ping())
    except (psycopg.OperationalError, redis.RedisError):
        return False


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder of its own, without servers when the test is over."""
    folder = temporary_home("florin-test-")
    yield folder
    leave_servers(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateServers]:
    with private_servers() as servers:
        yield servers


def test_a_committed_row_survives_a_kill_of_postgresql(private: PrivateServers) -> None:
    address = private.servers.database_owner_url
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE survivor AS SELECT 42 AS answer")
    private.postgres.kill()
    private.postgres.start()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT answer FROM survivor").fetchone() == (42,)


def test_postgresql_starts_over_lock_files_that_name_a_living_stranger(
    private: PrivateServers,
) -> None:
    """After a reboot, the id in postmaster.pid often belongs to another program."""
    private.postgres.kill()
    lock_file = private.postgres.data / "postmaster.pid"
    lines = lock_file.read_text().splitlines()
    lock_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    private.postgres.start()
    assert _answer(private.servers)


def test_an_orphaned_postgresql_is_ended_before_another_one_starts(
    private: PrivateServers,
) -> None:
    orphan = private.postgres.process
    assert orphan is not None
    private.postgres.start()
    assert orphan.wait(10) == 0
    assert _answer(private.servers)


def test_redis_keeps_its_address_and_what_it_wrote_over_a_restart(
    private: PrivateServers,
) -> None:
    client = redis.Redis.from_url(private.servers.redis_url)
    client.set("kept", "yes")
    private.redis.restart()
    assert private.redis.url() == private.servers.redis_url
    assert client.get("kept") == b"yes"


def test_redis_puts_a_file_aside_that_it_cannot_read(private: PrivateServers) -> None:
    private.redis.kill()
    (private.redis.data / "appendonly.aof").write_bytes(b"not a log of commands\n" * 100)
    private.redis.start()
    assert _answer(private.servers)
    assert list(private.redis.data.glob("appendonly.aof.*"))


def test_nothing_secret_is_readable_for_others(private: PrivateServers) -> None:
    for path in private.postgres.home.rglob("*"):
        others = stat.S_IRWXG | stat.S_IRWXO
        if path.is_file() and not path.is_symlink():
            assert not path.stat().st_mode & others, path
    for folder in (private.postgres.data, private.redis.data):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_wrong_password_does_not_open_the_servers(private: PrivateServers) -> None:
    right = private.servers.database_url
    wrong = right.replace(right.split(":")[2].split("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    stranger = redis.Redis(host="127.0.0.1", port=private.redis.port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_the_database_promises_durability_and_sorts_by_code_point(
    private: PrivateServers,
) -> None:
    with psycopg.connect(private.servers.superuser_url) as connection:
        settings: dict[str, str] = dict(
            connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN "
                "('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses')"
            ).fetchall()
        )
        locale = connection.execute(
            "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = 'florin'"
        ).fetchone()
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
    }
    assert locale == ("b", "C.UTF-8")


def test_redis_refuses_writes_rather_than_forgetting(private: PrivateServers) -> None:
    client = redis.Redis.from_url(private.servers.redis_url)
    assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert client.config_get("appendfsync")["appendfsync"] == "everysec"


def test_servers_do_not_run_as_root(private: PrivateServers) -> None:
    account = server_account()
    expected = account.user_id if account else os.getuid()
    assert expected != 0
    for server in (private.postgres, private.redis):
        assert server.process is not None
        owner = Path(f"/proc/{server.process.pid}").stat().st_uid
        assert owner == expected


def test_the_last_user_out_turns_off_the_servers(home: Path) -> None:
    servers = ensure_servers(home)
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER_USER, str(home)], cwd=BASE_DIR, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().decode().strip() == servers.redis_url
        release_servers(home)
        gone = _eventually(lambda: not _answer(servers), timeout_seconds=0.7)
        assert not gone, "the keeper looked twice, and did not see the other user"
        other.send_signal(signal.SIGKILL)
    assert _eventually(lambda: not (home / "servers.json").exists())
    assert _eventually(lambda: not _answer(servers))


def test_a_killed_keeper_takes_its_servers_along_and_is_replaced(home: Path) -> None:
    ensure_servers(home)
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    keeper = int(process_status(postmaster)[1])
    os.kill(keeper, signal.SIGKILL)
    assert _eventually(lambda: not process_status(postmaster))
    second = ensure_servers(home)
    assert _answer(second)
    leave_servers(home)
    assert not _answer(second)


def test_a_killed_postgresql_is_started_again_by_its_keeper(home: Path) -> None:
    servers = ensure_servers(home)
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    assert _eventually(lambda: _answer(servers))


def test_a_data_folder_with_a_long_path_works(home: Path) -> None:
    """A unix socket's path ends at 107 bytes; a clone may lie deeper than that."""
    deep = home / ("long-" * 20) / ("path-" * 20)
    servers = ensure_servers(deep)
    assert _answer(servers)
    leave_servers(deep)
    shutil.rmtree(Path((deep / "socket_folder").read_text()).parent)


def test_private_servers_of_a_killed_process_leave_no_data_for_long() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER_PRIVATE],
        cwd=BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as killed:
        assert killed.stdout is not None
        left_behind = Path(killed.stdout.readline().decode().strip())
        killed.kill()
    assert left_behind.exists()
    with private_servers():
        assert not left_behind.exists()
