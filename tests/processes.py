"""Fixtures that run Florin's own processes against this test process's databases.

They are the same commands as in operation (config/processes.py), started on demand once per test
process, their output in the temporary folder of the run, stopped with their whole process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from config import processes
from config.server_process import bound_to_parent, last_lines
from tests.databases import TestDatabases

_START_TIMEOUT_SECONDS = 180


@dataclass
class RunningProcess:
    """A child process with its log; `url` is empty for one that serves nothing."""

    process: subprocess.Popen[bytes]
    log_path: Path
    url: str = ""

    def kill(self) -> None:
        """SIGKILL the process and all its children, as the system would when memory runs out."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    url: str = "",
    ready_path: str = "",
) -> Iterator[RunningProcess]:
    """Run a command for the length of a `with`; with `url`, wait until it answers over HTTP."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=processes.BASE_DIR,
            env=dict(environment or os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=bound_to_parent(signal.SIGKILL),
        )
    child = RunningProcess(process=process, log_path=log_path, url=url)
    try:
        if url:
            _wait_until_it_answers(child, url + ready_path)
        yield child
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        child.kill()


@pytest.fixture(scope="session")
def sandbox_psp(
    databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProcess]:
    """The sandbox payment provider at settings.FLORIN_SANDBOX_URL; `.url` is its address."""
    folder = tmp_path_factory.mktemp("sandbox")
    url = os.environ["FLORIN_SANDBOX_URL"]
    command = processes.sandbox_provider(port=urlsplit(url).port or 0, data_folder=folder)
    with running(command, log_path=folder / "sandbox.log", url=url) as child:
        yield child


@pytest.fixture(scope="session")
def web(
    databases: TestDatabases,
    sandbox_psp: RunningProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningProcess]:
    """The real web process on this test process's databases, the sandbox provider behind it."""
    folder = tmp_path_factory.mktemp("web")
    environment = {
        **os.environ,
        "FLORIN_DATA_DIR": str(folder),
        "FLORIN_DATABASE_POOL_SIZE": str(processes.WEB_THREADS_PER_WORKER),
    }
    subprocess.run(
        processes.manage("collectstatic", "--noinput", "--verbosity", "0"),
        env=environment,
        check=True,
    )
    url = os.environ["FLORIN_BASE_URL"]
    command = processes.web(
        port=urlsplit(url).port or 0, workers=1, static_folder=folder / "static"
    )
    with running(
        command,
        log_path=folder / "web.log",
        environment=environment,
        url=url,
        ready_path="/healthz",
    ) as child:
        yield child


@contextlib.contextmanager
def running_stream(
    url: str, *, log_path: Path, settings: Mapping[str, str]
) -> Iterator[RunningProcess]:
    """A stream process at a loopback URL, with `settings` over the environment of the tests."""
    with running(
        processes.stream(port=urlsplit(url).port or 0),
        log_path=log_path,
        environment={**os.environ, **settings},
        url=url,
        ready_path="/healthz",
    ) as child:
        yield child


@pytest.fixture(scope="session")
def stream(
    databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProcess]:
    """The stream process at settings.FLORIN_STREAM_URL, in a hurry: what takes it minutes in
    operation takes it seconds. PostgreSQL knows its connections by the name `florin-stream`.
    """
    settings = {
        "FLORIN_STREAM_HEARTBEAT_SECONDS": "0.5",
        "FLORIN_STREAM_GRACE_SECONDS": "1.5",
        "DATABASE_URL": named_connections(os.environ["DATABASE_URL"], "florin-stream"),
    }
    log_path = tmp_path_factory.mktemp("stream") / "stream.log"
    url = os.environ["FLORIN_STREAM_URL"]
    with running_stream(url, log_path=log_path, settings=settings) as child:
        yield child


def named_connections(database_url: str, name: str) -> str:
    """A database URL whose connections PostgreSQL shows under a name."""
    return f"{database_url}{'&' if '?' in database_url else '?'}application_name={name}"


@pytest.fixture(scope="session")
def sweeper(
    databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProcess]:
    """`manage.py sweep`, which completes whatever is due."""
    log_path = tmp_path_factory.mktemp("sweeper") / "sweeper.log"
    with running(processes.sweeper(), log_path=log_path) as child:
        yield child


@pytest.fixture(scope="session")
def worker(
    databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProcess]:
    """The Celery worker, which handles events as they are committed."""
    log_path = tmp_path_factory.mktemp("worker") / "worker.log"
    with running(processes.worker(concurrency=1), log_path=log_path) as child:
        yield child


def _wait_until_it_answers(child: RunningProcess, url: str) -> None:
    """Any HTTP answer will do: it listens and speaks."""
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if child.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(
                    f"{child.process.args!r} does not answer at {url}:\n"
                    f"{last_lines(child.log_path, 30)}"
                )
            time.sleep(0.05)
