"""Advisory locks on files: the kernel drops them when their holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from config.server_process import ServerFailed

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX
AT_ONCE = fcntl.LOCK_NB


def lock(path: Path, mode: int) -> int:
    """Take a lock; it lasts until the returned descriptor is closed or the process ends.

    With AT_ONCE raises BlockingIOError instead of waiting. Raises ServerFailed when the file is
    another user's.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise ServerFailed(
            f"{path} belongs to another user: start Florin as that user, or remove "
            f"{path.parent} to begin anew."
        ) from None
    try:
        fcntl.flock(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def locked(path: Path, mode: int = EXCLUSIVE) -> Iterator[None]:
    """Hold a lock for the length of a `with`."""
    descriptor = lock(path, mode)
    try:
        yield
    finally:
        os.close(descriptor)


def lock_soon(path: Path, *, patience_seconds: float = 1.0) -> int | None:
    """An exclusive lock, or None when another process holds it.

    Patient for a moment, because `is_locked` looks at a lock by taking it.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return lock(path, EXCLUSIVE | AT_ONCE)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)


def is_locked(path: Path, *, shared: bool = False) -> bool:
    """Whether somebody holds the lock exclusively; with `shared`, whether anybody holds it."""
    try:
        with locked(path, (EXCLUSIVE if shared else SHARED) | AT_ONCE):
            return False
    except BlockingIOError:
        return True
