"""The supervisor: what it starts stays up, and nothing of it outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.supervisor import Program, Supervisor, SupervisorFailed, answers, require_free_port
from tests.databases import free_ports

# A program with a helper process of its own, like a web server with its workers.
_WITH_HELPER = """
import subprocess, sys
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("helper", helper.pid, "ready", flush=True)
helper.wait()
"""
# A program that does not end when it is asked to.
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
# A supervisor in a process of its own, so that it can be killed.
_SUPERVISOR = """
import os, sys, time
from pathlib import Path
from config.supervisor import Program, Supervisor
folder = Path(sys.argv[1])
with Supervisor(folder=folder, log_folder=folder, say=print) as supervisor:
    for name, code in zip(("helper", "stubborn"), sys.argv[2:]):
        command = [sys.executable, "-c", code]
        supervisor.start(Program(name, command, os.environ, ready_log_text="ready"))
    supervisor.wait_until_ready()
    print("up", flush=True)
    time.sleep(600)
"""


def _program(code: str, name: str = "program") -> Program:
    command = [sys.executable, "-c", code]
    return Program(name=name, command=command, environment=os.environ, ready_log_text="ready")


def _eventually(condition: Callable[[], bool], *, timeout_seconds: float = 30) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _pids(folder: Path) -> list[int]:
    return [int(pid) for pid in json.loads((folder / "processes.json").read_text())]


def _helper(folder: Path, name: str = "program") -> int:
    return int((folder / f"{name}.log").read_text().split()[-2])


def _look_once(supervisor: Supervisor) -> None:
    """Let the liveness command of the only program run to its end and be judged."""
    (child,) = supervisor._children
    supervisor.end_the_silent(monotonic_seconds=time.monotonic() + 61)
    assert child.look.process is not None
    child.look.process.wait(60)
    supervisor.end_the_silent(monotonic_seconds=time.monotonic() + 61)


def test_leaving_stops_the_programs_and_their_helpers(tmp_path: Path) -> None:
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=print) as supervisor:
        supervisor.start(_program(_WITH_HELPER))
        supervisor.wait_until_ready()
        pids = [*_pids(tmp_path), _helper(tmp_path)]
        assert all(_runs(pid) for pid in pids)
    assert _eventually(lambda: not any(_runs(pid) for pid in pids))


def test_a_program_that_dies_is_started_again_and_its_helpers_are_ended(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=said.append) as supervisor:
        supervisor.start(_program(_WITH_HELPER))
        supervisor.wait_until_ready()
        (first,), first_helper = _pids(tmp_path), _helper(tmp_path)
        os.kill(first, signal.SIGKILL)

        def is_back() -> bool:
            supervisor.restart_the_dead(monotonic_seconds=time.monotonic())
            return _pids(tmp_path) != [first] and _runs(_pids(tmp_path)[0])

        assert _eventually(is_back)
        assert not _runs(first_helper)
    assert len(said) == 1
    assert said[0].startswith("program ended (killed by SIGKILL); starting it again in 1 s.")


def test_a_program_that_keeps_dying_is_started_ever_more_rarely(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=said.append) as supervisor:
        supervisor.start(_program("raise SystemExit(3)"))
        clock = time.monotonic()

        def died_often() -> bool:
            nonlocal clock
            clock += 5  # the supervisor is told the time; nobody has to wait for the pauses
            supervisor.restart_the_dead(monotonic_seconds=clock)
            return len(said) == 3

        assert _eventually(died_often)
    pauses = [sentence.split("again in ")[1].split(" s.")[0] for sentence in said]
    assert pauses == ["1", "2", "4"]
    assert "exit code 3" in said[0]


def test_a_program_that_lives_and_does_not_work_is_ended_and_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    program = replace(
        _program(_STUBBORN),
        liveness_command=[sys.executable, "-c", "print('It dreams.'); raise SystemExit(3)"],
    )
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=said.append) as supervisor:
        supervisor.start(program)
        supervisor.wait_until_ready()
        (first,) = _pids(tmp_path)
        supervisor.end_the_silent(monotonic_seconds=time.monotonic())
        assert _runs(first), "it was looked at before it had time to start"
        _look_once(supervisor)
        assert _eventually(lambda: not _runs(first))

        def is_back() -> bool:
            supervisor.restart_the_dead(monotonic_seconds=time.monotonic())
            return _pids(tmp_path) != [first]

        assert _eventually(is_back)
    assert said[0] == "program lives and does not work. It dreams."


@pytest.mark.parametrize("status", [0, 1])
def test_a_program_of_which_nothing_bad_is_known_is_left_alone(tmp_path: Path, status: int) -> None:
    code = f"raise SystemExit({status})"
    program = replace(_program(_STUBBORN), liveness_command=[sys.executable, "-c", code])
    said: list[str] = []
    with Supervisor(
        folder=tmp_path, log_folder=tmp_path, say=said.append, stop_timeout_seconds=0.1
    ) as supervisor:
        supervisor.start(program)
        supervisor.wait_until_ready()
        _look_once(supervisor)
        assert not said


def test_a_program_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=print) as supervisor:
        supervisor.start(_program("raise SystemExit('no coffee')"))
        with pytest.raises(SupervisorFailed, match="no coffee"):
            supervisor.wait_until_ready()


def test_nothing_outlives_a_killed_supervisor_and_its_successor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SUPERVISOR, str(tmp_path), _WITH_HELPER, _STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        with_helper, stubborn = _pids(tmp_path)
        helper = _helper(tmp_path, "helper")
        killed.kill()
    assert _eventually(lambda: not _runs(with_helper)), "the kernel was to end it"
    assert _runs(stubborn)
    said: list[str] = []
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=said.append, stop_timeout_seconds=1):
        assert not _runs(stubborn)
        assert not _runs(helper)
    assert said == ["A run that was killed left processes behind; they are ended now."]


def test_a_stranger_with_a_recorded_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as stranger:
        record = {str(stranger.pid): "another-boot:1"}
        (tmp_path / "processes.json").write_text(json.dumps(record))
        with Supervisor(folder=tmp_path, log_folder=tmp_path, say=print):
            assert _runs(stranger.pid)
        stranger.communicate(b"\n")
        assert stranger.returncode == 0


def test_a_taken_port_is_told_in_one_sentence_with_a_way_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SupervisorFailed, match=rf"^Port {port}, for tea, .*: drink water$"):
            require_free_port(port, purpose="tea", way_out="drink water")


def test_a_program_with_a_url_is_ready_when_it_answers(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with Supervisor(folder=tmp_path, log_folder=tmp_path, say=print) as supervisor:
        supervisor.start(Program("server", command, os.environ, ready_url=url))
        supervisor.wait_until_ready()
        assert answers(url)
    assert not answers(url)
