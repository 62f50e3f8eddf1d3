"""One parent for all processes of `make run`: starts them, restarts them, stops every one.

Each program is the leader of its own process group, so that its helpers (granian's workers,
Celery's pool) can be ended with it. Should the supervisor itself be killed, the kernel sends each
program SIGTERM; what outlives even that is found by the next supervisor in `processes.json` and
ended. Output goes straight into one file per program, which therefore survives the supervisor.

A program may live and do nothing any more. Where there is a command that finds this out, it is run
from time to time beside the program, and what it finds silent is ended and started again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from config.server_process import (
    boot_id,
    bound_to_parent,
    last_lines,
    open_private_log,
    process_status,
    read_if_there,
    start_time,
    write_private_file,
)

_READY_TIMEOUT_SECONDS = 180
_STOP_TIMEOUT_SECONDS = 15
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_AFTER_SECONDS = 60.0
# Exit status of a liveness command: the program lives and does not work.
SILENT = 3
_FIRST_LOOK_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 60.0
_LOOK_TIMEOUT_SECONDS = 30.0


class SupervisorFailed(Exception):
    """Florin cannot be started here and now; the message is one clear sentence."""


@dataclass(frozen=True)
class Program:
    """A process to keep running. It is ready when its URL answers or its log holds the text; it is
    silent when `liveness_command` ends with SILENT.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    ready_url: str = ""
    ready_log_text: str = ""
    liveness_command: Sequence[str] = ()


@dataclass
class _Look:
    """One run of a liveness command, or the last one's end."""

    next_at: float
    process: subprocess.Popen[str] | None = None
    began_at: float = 0.0


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started_at: float
    log_start_bytes: int
    look: _Look
    pause_seconds: float = _FIRST_PAUSE_SECONDS
    restart_at: float | None = None


class Supervisor:
    """Runs programs for the length of a `with`; leaving it stops every process it started."""

    def __init__(
        self,
        *,
        folder: Path,
        log_folder: Path,
        say: Callable[[str], None],
        stop_timeout_seconds: float = _STOP_TIMEOUT_SECONDS,
    ) -> None:
        self._record = folder / "processes.json"
        self._log_folder = log_folder
        self._say = say
        self._stop_timeout_seconds = stop_timeout_seconds
        self._children: list[_Child] = []

    def __enter__(self) -> Supervisor:
        """End what a killed supervisor left running."""
        record: dict[str, str] = json.loads(read_if_there(self._record) or "{}")
        if processes := _left_over(record):
            self._say("A run that was killed left processes behind; they are ended now.")
        deadline = time.monotonic() + self._stop_timeout_seconds
        for pid in processes:
            _signal(pid, signal.SIGTERM)
        while (processes := _left_over(record)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        while _left_over(record):
            time.sleep(0.01)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start a program; see `wait_until_ready`."""
        self._children.append(self._spawn(program))
        self._write_record()

    def wait_until_ready(self) -> None:
        """Wait for every started program; raises SupervisorFailed with the end of its log."""
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        for child in self._children:
            while not self._is_ready(child):
                if child.process.poll() is not None or time.monotonic() > deadline:
                    log_path = self._log_path(child.program)
                    raise SupervisorFailed(
                        f"{child.program.name} does not start; the end of {log_path} says:\n"
                        f"{last_lines(log_path, 12)}"
                    )
                time.sleep(0.05)

    def restart_the_dead(self, *, monotonic_seconds: float) -> None:
        """Start again what has ended: after a pause that doubles while it keeps ending early."""
        for child in self._children:
            if child.process.poll() is None:
                continue
            if child.restart_at is None:
                _signal_group(child.process.pid, signal.SIGKILL)  # its helpers, if any are left
                if monotonic_seconds - child.started_at > _STEADY_AFTER_SECONDS:
                    child.pause_seconds = _FIRST_PAUSE_SECONDS
                child.restart_at = monotonic_seconds + child.pause_seconds
                self._say(
                    f"{child.program.name} ended ({_reason(child.process.returncode)}); starting "
                    f"it again in {child.pause_seconds:.0f} s. "
                    f"Its log: {self._log_path(child.program)}"
                )
            elif monotonic_seconds >= child.restart_at:
                again = self._spawn(child.program)
                child.process, child.started_at = again.process, again.started_at
                child.log_start_bytes, child.look = again.log_start_bytes, again.look
                child.pause_seconds = min(2 * child.pause_seconds, _LONGEST_PAUSE_SECONDS)
                child.restart_at = None
                self._write_record()

    def end_the_silent(self, *, monotonic_seconds: float) -> None:
        """Look after programs that have a liveness command, and end those that live and do not
        work, for `restart_the_dead` to start again. Never waits for a look.
        """
        for child in self._children:
            look = child.look
            if not child.program.liveness_command or child.process.poll() is not None:
                _forget(look)
            elif look.process is None:
                if monotonic_seconds >= look.next_at:
                    look.process, look.began_at = _look_at(child.program), monotonic_seconds
            elif look.process.poll() is not None:
                words, _ = look.process.communicate()
                if look.process.returncode == SILENT:
                    self._say(f"{child.program.name} lives and does not work. {words.strip()}")
                    _signal_group(child.process.pid, signal.SIGKILL)
                look.process, look.next_at = None, monotonic_seconds + _LOOK_EVERY_SECONDS
            elif monotonic_seconds - look.began_at > _LOOK_TIMEOUT_SECONDS:
                _forget(look)
                look.next_at = monotonic_seconds + _LOOK_EVERY_SECONDS

    def stop(self) -> None:
        """Ask all programs to end, in the reverse of the starting order; then make them end."""
        for child in reversed(self._children):
            _forget(child.look)
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + self._stop_timeout_seconds
        for child in reversed(self._children):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
        self._children.clear()
        self._record.unlink(missing_ok=True)

    def _spawn(self, program: Program) -> _Child:
        log_path = self._log_path(program)
        with open_private_log(log_path) as log:
            start = log_path.stat().st_size
            process = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=bound_to_parent(signal.SIGTERM),
            )
        now = time.monotonic()
        return _Child(program, process, now, start, _Look(next_at=now + _FIRST_LOOK_SECONDS))

    def _is_ready(self, child: _Child) -> bool:
        if child.program.ready_url:
            return answers(child.program.ready_url)
        with self._log_path(child.program).open("rb") as log:
            log.seek(child.log_start_bytes)
            return child.program.ready_log_text.encode() in log.read()

    def _log_path(self, program: Program) -> Path:
        return self._log_folder / f"{program.name}.log"

    def _write_record(self) -> None:
        """Process ids with their start times: an id alone may belong to another process later."""
        pids = [child.process.pid for child in self._children]
        write_private_file(self._record, json.dumps({pid: start_time(pid) for pid in pids}))


def require_free_port(port: int, *, purpose: str, way_out: str) -> None:
    """Raises SupervisorFailed when something listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SupervisorFailed(
                f"Port {port}, for {purpose}, cannot be used ({error.strerror}): {way_out}"
            ) from None


def answers(url: str) -> bool:
    """Whether a URL answers, with no server error."""
    try:
        return urllib3.request("GET", url, timeout=5, retries=False).status < 500
    except urllib3.exceptions.HTTPError:
        return False


def _look_at(program: Program) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program.liveness_command,
        env=dict(program.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=bound_to_parent(signal.SIGKILL),
    )


def _forget(look: _Look) -> None:
    """End a look that has become pointless."""
    if look.process is not None:
        look.process.kill()
        look.process.communicate()
        look.process = None


def _signal_group(group: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal_number)


def _signal(pid: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _left_over(record: Mapping[str, str]) -> list[int]:
    """Processes of recorded sessions that still run.

    While a session has members, the kernel gives its number to no other process; so a member of a
    session whose leader is gone, or is the very process we recorded, is ours.
    """
    left_over = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := process_status(int(entry.name))):
            session = status[3]
            started = record.get(session)
            leader = start_time(int(session)) if started else ""
            if started and leader in ("", started) and boot_id() == started.partition(":")[0]:
                left_over.append(int(entry.name))
    return left_over


def _reason(returncode: int) -> str:
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"
