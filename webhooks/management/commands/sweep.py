"""`manage.py sweep`: complete whatever is due, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand

from webhooks.sweeper import Sweeper


class Command(BaseCommand):
    """Runs one webhooks.sweeper.Sweeper until it is told to stop."""

    help = (
        "Apply provider events, hand on domain events, send merchants' webhooks and run periodic "
        "jobs as they become due. Any number of sweepers may run."
    )

    def handle(self, **options: Any) -> None:
        """Sweep until a signal; leaves requests that do not end in time to their lease."""
        sweeper = Sweeper()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sweeper.stop())
        self.stdout.write("Sweeping.")
        self.stdout.flush()
        clean = sweeper.run()
        self.stdout.write("Stopped." if clean else "Stopped; requests in flight are left behind.")
        sys.stdout.flush()
        if not clean:
            os._exit(0)  # a thread in a request would hold the interpreter up to its deadline
