"""`manage.py run_florin`: everything Florin consists of, under one supervisor (`make run`).

Prepares the database, the static files and the demo data, starts the processes, takes one sample
payment as a merchant would, says where everything is, and serves until Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import processes
from config.embedded import (
    RUN_ENVIRONMENT_FILE,
    RUN_LOCK,
    data_folder,
    leave_servers,
    stored_secrets,
)
from config.file_lock import lock_soon
from config.server_process import end_with_parent, make_private_folder, write_private_file
from config.supervisor import Program, Supervisor, SupervisorFailed, require_free_port

_WATCH_SECONDS = 0.2
_OTHER_RUN_STOPS_SECONDS = 40
_SANDBOX_PORT_OFFSET = 10
_RECEIVER_PORT_OFFSET = 20
_STREAM_PORT_OFFSET = 30
_SHOWN = (
    "base_url",
    "stream_url",
    "secret_key",
    "publishable_key",
    "admin_url",
    "admin_user",
    "admin_password",
)


class Command(BaseCommand):
    """Reads the arguments; the steps stand in `_run` in their order."""

    help = "Run Florin with all its processes until Ctrl-C (`make run`)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port of the web process")
        parser.add_argument("--once", action="store_true", help="end after the sample payment")
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="end when the process that started this one ends, be it killed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # SIGINT by name: a shell that starts this in the background has it ignored from birth.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks for
            signal.signal(signal.SIGHUP, _interrupt)
        if options["with_parent"]:
            end_with_parent(signal.SIGTERM)
        folder = data_folder()
        make_private_folder(folder / "log", owned_by_server=False)
        try:
            with _the_only_run(folder):
                self._run(folder, port=options["port"], once=options["once"])
        except SupervisorFailed as failure:
            raise CommandError(str(failure)) from failure
        except KeyboardInterrupt:
            self._say("Florin has stopped.")
        finally:
            leave_servers(folder)

    def _run(self, folder: Path, *, port: int, once: bool) -> None:
        with (
            Supervisor(folder=folder, log_folder=folder / "log", say=self._say) as supervisor,
            _marked_as_running(folder),
        ):
            _require_ports(port)
            environment = _environment(folder, port)
            self._say("Preparing the database")
            call_command("setup_database", verbosity=0)
            call_command("collectstatic", interactive=False, verbosity=0)
            if _manage("load_demo", environment) != 0:
                raise SupervisorFailed("The demo data could not be loaded; the reason is above.")
            self._say(f"Starting the processes; their output goes to {folder / 'log'}")
            for program in _programs(folder, port, environment):
                supervisor.start(program)
            supervisor.wait_until_ready()
            status = _manage("sample_payment", environment)
            if status != 0:
                self._say("The sample payment did NOT go as it should; the reason is above.")
            if _manage("load_demo", environment, "--payments") != 0:
                self._say("The demo payments could not be made; the reason is above.")
                status = status or 1
            self._show_addresses(folder)
            if once:
                raise SystemExit(status)
            self._say("Florin is serving; Ctrl-C stops it.")
            while True:
                supervisor.end_the_silent(monotonic_seconds=time.monotonic())
                supervisor.restart_the_dead(monotonic_seconds=time.monotonic())
                time.sleep(_WATCH_SECONDS)

    def _show_addresses(self, folder: Path) -> None:
        path = folder / "demo.json"
        demo: dict[str, str] = json.loads(path.read_text())
        self._say(f"\nAddresses, the admin login and the test keys (also in {path}):")
        for name in _SHOWN:
            self._say(f"  {name.ljust(max(map(len, _SHOWN)))}  {demo[name]}")

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def _programs(folder: Path, port: int, environment: Mapping[str, str]) -> list[Program]:
    """What a running Florin consists of, in starting order."""
    sandbox_data = folder / "sandbox"
    make_private_folder(sandbox_data, owned_by_server=False)
    sandbox_port = port + _SANDBOX_PORT_OFFSET
    return [
        Program(
            name="sandbox",
            command=processes.sandbox_provider(port=sandbox_port, data_folder=sandbox_data),
            environment=environment,
            ready_url=f"http://127.0.0.1:{sandbox_port}/",
        ),
        Program(
            name="web",
            command=processes.web(port=port, workers=2, static_folder=Path(settings.STATIC_ROOT)),
            environment={
                **environment,
                "FLORIN_DATABASE_POOL_SIZE": str(processes.WEB_THREADS_PER_WORKER),
            },
            ready_url=f"http://127.0.0.1:{port}/readyz",
        ),
        Program(
            name="stream",
            command=processes.stream(port=port + _STREAM_PORT_OFFSET),
            environment=environment,
            ready_url=f"http://127.0.0.1:{port + _STREAM_PORT_OFFSET}/readyz",
            liveness_command=processes.manage("check_liveness", "stream"),
        ),
        Program(
            name="worker",
            command=processes.worker(),
            environment=environment,
            ready_log_text=" ready.",
            liveness_command=processes.manage("check_liveness", "worker"),
        ),
        Program(
            name="beat",
            command=processes.beat(schedule_file=folder / "beat-schedule"),
            environment=environment,
            liveness_command=processes.manage("check_liveness", "beat"),
        ),
        Program(
            name="sweeper",
            command=processes.sweeper(),
            environment=environment,
            liveness_command=processes.manage("check_liveness", "sweeper"),
        ),
    ]


def _environment(folder: Path, port: int) -> dict[str, str]:
    """The environment of every process; what the caller has set already stays.

    The part that depends on the port is written down, so that a `manage.py` command beside this
    run finds the same provider.
    """
    ports = {
        "FLORIN_BASE_URL": f"http://localhost:{port}",
        "FLORIN_STREAM_URL": f"http://localhost:{port + _STREAM_PORT_OFFSET}",
        "FLORIN_SANDBOX_URL": f"http://127.0.0.1:{port + _SANDBOX_PORT_OFFSET}",
        # Where the sample payment's merchant listens for its webhooks.
        "FLORIN_WEBHOOK_ALLOWED_HOSTS": f"127.0.0.1:{port + _RECEIVER_PORT_OFFSET}",
    }
    ports = {name: os.environ.get(name, value) for name, value in ports.items()}
    write_private_file(folder / RUN_ENVIRONMENT_FILE, json.dumps(ports, indent=1))
    return {**stored_secrets(folder, create=True), **os.environ, **ports}


def _require_ports(port: int) -> None:
    for number, purpose in (
        (port, "the web process"),
        (port + _SANDBOX_PORT_OFFSET, "the sandbox payment provider"),
        (port + _RECEIVER_PORT_OFFSET, "the demo merchant's webhooks"),
        (port + _STREAM_PORT_OFFSET, "live status"),
    ):
        require_free_port(
            number,
            purpose=purpose,
            way_out="end what uses it, or choose others with `make run PORT=8100` (web on 8100, "
            "the others on 8110, 8120 and 8130).",
        )


def _manage(command: str, environment: Mapping[str, str], *arguments: str) -> int:
    """Run a management command in a process of its own, its output here; its exit code."""
    run = processes.manage(command, *arguments)
    return subprocess.run(run, env=dict(environment), check=False).returncode


@contextmanager
def _the_only_run(folder: Path) -> Iterator[None]:
    descriptor = None
    deadline = time.monotonic() + _OTHER_RUN_STOPS_SECONDS
    # The file is there from the start of a run to the beginning of its end: without it, another
    # run that still holds the lock is just stopping.
    while descriptor is None and time.monotonic() < deadline:
        descriptor = lock_soon(folder / RUN_LOCK)
        if (folder / RUN_ENVIRONMENT_FILE).exists():
            break
    if descriptor is None:
        raise SupervisorFailed(
            f"Florin is already running on {folder}: stop it with Ctrl-C there, or use another "
            "clone."
        )
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _marked_as_running(folder: Path) -> Iterator[None]:
    write_private_file(folder / RUN_ENVIRONMENT_FILE, "{}")
    try:
        yield
    finally:
        (folder / RUN_ENVIRONMENT_FILE).unlink(missing_ok=True)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGTERM, signal.SIGHUP):  # must not interrupt the stopping
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt
