"""A sender of notifications that is killed at a named point (run by test_sending).

Usage: python -m tests.payments.notifications.killed_sender <point> <moment in ISO 8601>
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime

import django


def main() -> None:
    """Claim, send and die: `claimed` before the call, `sent` after it and before the record."""
    django.setup()
    from payments.notifications import sending

    point, moment = sys.argv[1], datetime.fromisoformat(sys.argv[2])
    for channel in ("email", "slack"):
        for claimed in sending.claim(channel=channel, now=moment, limit=10):
            if point == "sent":
                claimed.call()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
