"""What the embedded PostgreSQL and the embedded Redis have in common: account, place, process.

A server is one child process, bound to the life of the process that started it: when that one
dies, even by SIGKILL, the kernel sends the server its own clean stop signal. Started as root, a
server runs as `nobody`, and everything it reads or writes has to lie where `nobody` may go
without anybody's folder being opened for it: where the clone lies in a closed folder, data and a
copy of the program lie under /var/lib/florin instead. Linux only: processes are found in /proc.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PLACE_OUTSIDE_CLOSED_FOLDERS = Path("/var/lib/florin")
# sockaddr_un.sun_path holds 108 bytes, the last one is the terminator.
UNIX_SOCKET_PATH_LIMIT_BYTES = 107
_LOG_LIMIT_BYTES = 20_000_000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class ServerFailed(Exception):
    """An embedded server cannot run; the message says in one sentence why, and the way out."""


@dataclass(frozen=True)
class Account:
    """The unprivileged account of the servers when we ourselves are root."""

    name: str
    user_id: int
    group_id: int


@functools.cache
def server_account() -> Account | None:
    """`nobody` when this process is root (PostgreSQL refuses to run as root), else None."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerFailed(
            "Started as root, the embedded servers run as the account `nobody`, which this "
            "system does not have: start Florin as an ordinary user."
        ) from None
    return Account(name=entry.pw_name, user_id=entry.pw_uid, group_id=entry.pw_gid)


def make_private_folder(path: Path, *, owned_by_server: bool) -> None:
    """Create `path` for one party alone (mode 700).

    As root, a folder that is not the server's own gets mode 711: the server has to walk through
    it, and can neither list nor write it. Raises ServerFailed when another user owns the folder.
    """
    account = server_account()
    path.mkdir(parents=True, exist_ok=True)
    try:
        if account and owned_by_server:
            os.chown(path, account.user_id, account.group_id)
        path.chmod(0o711 if account and not owned_by_server else 0o700)
    except PermissionError:
        raise ServerFailed(
            f"The folder {path} belongs to another user: start Florin as that user, or remove "
            "the folder to begin anew."
        ) from None


def server_home(preferred: Path) -> Path:
    """The folder that holds the servers' data for the data folder `preferred`.

    It is `preferred` itself unless we are root and `nobody` cannot reach it; then it is a folder
    of its own under /var/lib/florin, whose name is kept in `preferred/elsewhere`.
    """
    make_private_folder(preferred, owned_by_server=False)
    account = server_account()
    if account is None or _can_walk_into(preferred, account):
        return preferred
    note = preferred / "elsewhere"
    if not note.exists():
        write_private_file(note, secrets.token_hex(8))
    make_private_folder(PLACE_OUTSIDE_CLOSED_FOLDERS, owned_by_server=False)
    home = PLACE_OUTSIDE_CLOSED_FOLDERS / note.read_text().strip()
    make_private_folder(home, owned_by_server=False)
    return home


def temporary_home(prefix: str) -> Path:
    """A new private folder for servers that are thrown away, where their account can reach it."""
    account = server_account()
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        if account is None or _can_walk_into(Path(parent), account):
            home = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            make_private_folder(home, owned_by_server=False)
            return home
    raise ServerFailed(
        "The embedded servers need a temporary folder that `nobody` can reach: set TMPDIR to one."
    )


def socket_folder(home: Path, *, longest_socket_name: str) -> Path:
    """A folder for unix sockets whose paths stay below the limit of 107 bytes.

    It lies beside the data where that is short enough, else in the temporary folder; then its
    name is kept in `home/socket_folder`, so that the address survives a restart.
    """
    folder = home / "socket"
    if len(os.fsencode(folder / longest_socket_name)) > UNIX_SOCKET_PATH_LIMIT_BYTES:
        note = home / "socket_folder"
        if not (note.exists() and Path(note.read_text()).is_dir()):
            write_private_file(note, str(temporary_home("florin-socket-") / "socket"))
        folder = Path(note.read_text())
        if folder.parent.exists() and folder.parent.stat().st_uid != os.geteuid():
            raise ServerFailed(f"{folder.parent} belongs to another user: remove {note}.")
    make_private_folder(folder, owned_by_server=True)
    return folder


def runnable_copy(
    package_folder: Path, program: Path, *, also: Sequence[Path] = (), without: Sequence[str] = ()
) -> Path:
    """The path of `program` (inside `package_folder`) that the servers' account can execute.

    That is the installed program wherever possible. Where it lies in a closed folder, the package
    and the folders in `also` are copied once to /var/lib/florin/programs, owned by root; entries
    named in `without` stay behind.
    """
    account = server_account()
    ignored = shutil.ignore_patterns(*without)
    if account is None or can_run(program):
        return program
    version = f"{package_folder.name}-{int(program.stat().st_mtime)}-{program.stat().st_size}"
    programs = PLACE_OUTSIDE_CLOSED_FOLDERS / "programs"
    make_private_folder(PLACE_OUTSIDE_CLOSED_FOLDERS, owned_by_server=False)
    make_private_folder(programs, owned_by_server=False)
    target = programs / version
    if not target.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=programs))
        for folder in (package_folder, *also):
            shutil.copytree(folder, unfinished / folder.name, symlinks=True, ignore=ignored)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:  # another process was faster: its copy is the same
            shutil.rmtree(unfinished)
    copy = target / package_folder.name / program.relative_to(package_folder)
    if not can_run(copy):
        raise ServerFailed(
            f"{copy} cannot be executed by `{account.name}` (is {PLACE_OUTSIDE_CLOSED_FOLDERS} "
            "mounted noexec?): start Florin as an ordinary user."
        )
    return copy


def can_run(program: Path) -> bool:
    """Whether the servers' account can execute a program."""
    account = server_account()
    return account is None or _run_as([str(program), "--version"], account)


def write_private_file(path: Path, content: str, *, owned_by_server: bool = False) -> None:
    """Write a file of mode 600 atomically: readers see the old content or the new one."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    account = server_account()
    if account and owned_by_server:
        os.chown(unfinished, account.user_id, account.group_id)
    unfinished.replace(path)


def open_private_log(path: Path) -> BinaryIO:
    """A file of mode 600, opened to append the output of a process to it.

    A large one is put aside first, in place of the one put aside before.
    """
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def stored_passwords(home: Path, names: Sequence[str]) -> dict[str, str]:
    """One generated password per name, kept in `home/passwords.json` (mode 600)."""
    path = home / "passwords.json"
    passwords: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if missing := [name for name in names if name not in passwords]:
        passwords |= {name: secrets.token_urlsafe(24) for name in missing}
        write_private_file(path, json.dumps(passwords, indent=1))
    return passwords


def start_process(
    arguments: Sequence[str | Path], *, folder: Path, log_path: Path, stop_signal: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start a server as its account in its own session, its output appended to `log_path`.

    It receives `stop_signal` when the calling *thread* ends: call this from the main thread.
    """
    account = server_account()
    with open_private_log(log_path) as log:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": "C"},
            user=account.user_id if account else None,
            group=account.group_id if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
            preexec_fn=bound_to_parent(stop_signal),
        )


def bound_to_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    """A function for the child side of a fork: let the kernel send `stop_signal` if we die."""
    parent = os.getpid()

    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # we died between fork and prctl
            os._exit(1)

    return bind


def end_with_parent(stop_signal: signal.Signals) -> None:
    """Let the kernel send this process `stop_signal` when its parent dies."""
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), stop_signal)


def stop_process(
    process: subprocess.Popen[bytes], stop_signal: signal.Signals, *, timeout_seconds: float = 30
) -> None:
    """Ask a server to stop cleanly; kill it when it has not within the time."""
    if process.poll() is not None:
        return
    process.send_signal(stop_signal)
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_orphans(
    program: str, folder: Path, stop_signal: signal.Signals, *, timeout_seconds: float = 20
) -> None:
    """Stop servers that an earlier, killed starter left running on the data in `folder`.

    Raises ServerFailed when one does not go.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while orphans := _processes_in(program, folder):
        for pid in orphans - asked:
            os.kill(pid, stop_signal)
        asked |= orphans
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"{program} (process {min(orphans)}) still runs on {folder} and does not stop: "
                f"end it with `kill -9 {min(orphans)}` and start again."
            )
        time.sleep(0.05)


def last_lines(log_path: Path, count: int = 6) -> str:
    """The end of a log, for a message that says why a server did not come up."""
    if not log_path.exists():
        return ""
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-count:])


def process_status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone or dead."""
    status = read_if_there(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return [] if not status or status[0] in "ZX" else status


def boot_id() -> str:
    """Names this boot of the machine."""
    return read_if_there(Path("/proc/sys/kernel/random/boot_id")).strip()


def start_time(pid: int) -> str:
    """Boot and start time of a process, which together with its id name it for ever; "" if gone."""
    status = process_status(pid)
    return f"{boot_id()}:{status[19]}" if status else ""


def read_if_there(path: Path) -> str:
    """The text of a file that may vanish at any time; "" when it has."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _processes_in(program: str, folder: Path) -> set[int]:
    """Process ids of running `program`s whose working directory is `folder`, parents only."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if Path(os.readlink(entry / "cwd")) != folder.resolve():
                continue
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if (entry / "comm").read_text().strip() == program and state != "Z":
                found[int(entry.name)] = int(parent)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or it is somebody else's
    return {pid for pid, parent in found.items() if parent not in found}


def _can_walk_into(path: Path, account: Account) -> bool:
    return _run_as(["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)], account)


def _run_as(arguments: Sequence[str], account: Account) -> bool:
    """Whether a command succeeds as the servers' account: the kernel's own answer, ACLs and all."""
    try:
        completed = subprocess.run(
            arguments,
            cwd="/",
            user=account.user_id,
            group=account.group_id,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return completed.returncode == 0
