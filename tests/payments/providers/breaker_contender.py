"""A process of its own that asks a breaker: `python -m … <redis url> <what> <threads> <now>`.

Prints one line per thread: for `admit` 1 or 0, for `fail` the change it was told of.
"""

from __future__ import annotations

import sys
import threading

from payments.providers.breaker import Breaker, Rules, Verdict
from payments.quick_redis import QuickRedis

NAME = "pacc_contended:create"
RULES = Rules(permits=3, minimum_calls=8, permit_seconds=600)


def main(url: str, what: str, threads: int, now: float) -> None:
    """Let all threads start at once."""
    breaker = Breaker(shared=QuickRedis(url, timeout_seconds=10), rules=RULES, clock=lambda: now)
    barrier = threading.Barrier(threads)
    lines: list[str] = []

    def contend() -> None:
        barrier.wait()
        admission = breaker.admit(NAME)
        if what == "fail":
            lines.append(breaker.record(admission, Verdict(failed=True)) or "-")
        else:
            lines.append(str(int(admission.admitted)))

    running = [threading.Thread(target=contend) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
