"""A bell between threads and between forked processes: ring it, and whoever waits looks for work.

Mental model: a pipe that never fills and never blocks. A ring while nobody waits is heard by the
next who does; many rings are heard as one. Made before a fork it belongs to parent and children,
so one process of a worker can tell another that there is something new.
"""

from __future__ import annotations

import contextlib
import os
import select


class Doorbell:
    """`ring` from anywhere; one waits."""

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe()
        os.set_blocking(self._hears, False)
        os.set_blocking(self._rings, False)
        self._waiting = select.poll()
        self._waiting.register(self._hears, select.POLLIN)

    def ring(self) -> None:
        """Let who waits look. Never blocks; a full pipe has rung already."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._rings, b"!")

    def wait(self, seconds: float) -> bool:
        """Until it rings, at most `seconds`; whether it rang."""
        if not self._waiting.poll(seconds * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._hears, 4096)) == 4096:
                pass
        return True

    def close(self) -> None:
        """Give the pipe back; nobody may ring any more."""
        os.close(self._hears)
        os.close(self._rings)
