"""`make run`, from nothing: it serves, survives a kill, tells what is in its way, and cleans up.

The suite has it take its sample payment and end; that it is killed and comes back is a proof.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import processes
from config.server_process import process_status, read_if_there, temporary_home
from config.supervisor import answers
from tests.databases import free_ports

_DEADLINE_SECONDS = 300  # on a machine that does other work; a quiet one needs a tenth
_SET_BY_THE_TESTS = ("DATABASE_", "REDIS_", "FLORIN_", "SECRET_KEY", "PYTEST_", "DJANGO_")


@pytest.fixture
def home() -> Iterator[Path]:
    folder = temporary_home("florin-test-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def port() -> int:
    """A port whose neighbours, for the sandbox and the demo merchant, are free as well."""
    while True:
        (port,) = free_ports(1)
        if port < 65_000 and not any(_listens(port + offset) for offset in (10, 20, 30)):
            return port


def _environment(home: Path) -> dict[str, str]:
    """A person's environment: nothing about Florin but where the data shall lie."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_SET_BY_THE_TESTS)
    }
    return kept | {"FLORIN_DATA_DIR": str(home)}


def _listens(port: int) -> bool:
    wanted = f":{port:04X}"
    lines = read_if_there(Path("/proc/net/tcp")).splitlines()
    return any(line.split()[1].endswith(wanted) for line in lines[1:])


def _processes_of(home: Path) -> list[str]:
    """Command lines of living processes that name the data folder, or have it in their settings."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not process_status(int(entry.name)):
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(home).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def _nothing_runs(home: Path) -> bool:
    deadline = time.monotonic() + 30
    while _processes_of(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _run_once(home: Path, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        processes.manage("run_florin", "--port", str(port), "--once"),
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )


@pytest.mark.timeout(2 * _DEADLINE_SECONDS)
def test_from_nothing_it_takes_a_payment_and_leaves_nothing_running(home: Path, port: int) -> None:
    once = _run_once(home, port)
    assert once.returncode == 0, once.stdout + once.stderr
    assert "did NOT go as it should" not in once.stdout
    demo_file = home / "demo.json"
    assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
    assert json.loads(demo_file.read_text())["secret_key"] in once.stdout
    assert not _processes_of(home), "whoever sees the end of the command sees the end of it all"


@pytest.mark.prove
@pytest.mark.timeout(3 * _DEADLINE_SECONDS)
def test_it_serves_survives_a_kill_and_leaves_nothing_behind(home: Path, port: int) -> None:
    with subprocess.Popen(
        processes.manage("run_florin", "--port", str(port)),
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as served:
        assert served.stdout is not None
        printed = ""
        while "Ctrl-C stops it" not in printed:
            line = served.stdout.readline()
            assert line, f"it ended:\n{printed}"
            printed += line
        assert "did NOT go as it should" not in printed
        assert answers(f"http://127.0.0.1:{port}/readyz")
        assert answers(f"http://127.0.0.1:{port + 30}/readyz")
        demo_file = home / "demo.json"
        assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
        demo = json.loads(demo_file.read_text())
        assert demo["secret_key"] in printed

        second = _run_once(home, port)
        assert second.returncode == 1
        assert "Florin is already running" in second.stderr

        served.send_signal(signal.SIGKILL)
    assert _nothing_runs(home), _processes_of(home)

    again = _run_once(home, port)
    assert again.returncode == 0, again.stdout + again.stderr
    assert demo["secret_key"] in again.stdout, "the demo data was to be kept"
    assert not _processes_of(home), "whoever sees the end of the command sees the end of it all"


def test_ctrl_c_while_it_starts_stops_everything(home: Path, port: int) -> None:
    with subprocess.Popen(
        processes.manage("run_florin", "--port", str(port)),
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as starting:
        assert starting.stdout is not None
        assert starting.stdout.readline() == "Preparing the database\n"
        starting.send_signal(signal.SIGINT)
        output = starting.stdout.read()
        assert starting.wait(60) == 0, output
    assert output.endswith("Florin has stopped.\n")
    assert not _processes_of(home)


def test_it_ends_with_a_parent_that_is_killed(home: Path, port: int) -> None:
    """`kill -9` hits whichever process a person finds first; that may be make."""
    command = processes.manage("run_florin", "--with-parent", "--port", str(port))
    with subprocess.Popen(
        ["/bin/sh", "-c", '"$@"; exit', "sh", *command],
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "Preparing the database\n"
        parent.kill()
        assert parent.stdout.read().endswith("Florin has stopped.\n")
    assert _nothing_runs(home), _processes_of(home)
