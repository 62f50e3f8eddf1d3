"""What the sandbox's server process does when it starts: open the record, work, watch its parent.

A module of its own, because a process that is spawned and not forked finds it by name.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from payments.providers.sandbox.service.application import Sandbox


def load(folder: Path, parent: int) -> Sandbox:
    """The application over `folder`, its threads running. `parent` is the process to stay with."""
    sandbox = Sandbox(folder)
    sandbox.start()
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    return sandbox


def _leave_with(parent: int) -> None:
    """A killed parent cannot stop us, and a server without it would keep port and record."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)
