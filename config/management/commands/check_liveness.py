"""`manage.py check_liveness worker --within 60`: exit status 3 when a restart would help.

Mental model: a process that lives says so in the database by the work it does (webhooks.
signs_of_life). Here the signs of this machine's processes are read. A sign of a process that is
gone says nothing about its successor. Where the database or the broker does not answer, silence is
not the process's fault and a restart would mend nothing: that is told, and counts as alive.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from config.server_process import process_status
from config.supervisor import SILENT
from webhooks import signs_of_life

ROLES = ("worker", "sweeper", "stream", "beat")
# Those that work by messages alone.
_NEED_THE_BROKER = ("worker", "beat")
_BROKER_TIMEOUT_SECONDS = 2.0
_START_TIME_FIELD = 19  # of process_status, in clock ticks since the machine started


class Command(BaseCommand):
    """Reads the arguments; the judgement stands in `silent_processes`."""

    help = (
        "Exit with 3 when a process of this role lives on this machine but has not worked for a "
        "while, or when none has given a sign of life; for supervisors, systemd and containers."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=ROLES)
        parser.add_argument(
            "--within", type=float, default=60.0, metavar="SECONDS", help="default: 60"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        role, within = options["role"], options["within"]
        if role in _NEED_THE_BROKER and not broker_answers():
            self.stdout.write("Cannot be told: the broker does not answer.")
            return
        try:
            signs = signs_of_life.on_this_machine(role)
        except DatabaseError as error:
            self.stdout.write(f"Cannot be told: the database does not answer ({error}).")
            return
        living = {pid: sign for pid, sign in signs.items() if _gave(pid, sign)}
        if not living:
            raise CommandError(
                f"No {role} of this machine has given a sign of life.", returncode=SILENT
            )
        now = datetime.now(UTC)
        ages = {pid: (now - sign).total_seconds() for pid, sign in living.items()}
        silent = {pid: age for pid, age in ages.items() if age > within}
        if silent:
            told = ", ".join(f"process {pid} for {age:.0f} s" for pid, age in silent.items())
            raise CommandError(f"Silent {role}: {told}.", returncode=SILENT)
        self.stdout.write(f"Every {role} of this machine worked within {within:g} s.")


def broker_answers() -> bool:
    """Whether Redis answers this process, so that it should have answered them too."""
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_BROKER_TIMEOUT_SECONDS,
        socket_connect_timeout=_BROKER_TIMEOUT_SECONDS,
        retry=None,
    )
    try:
        with client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _gave(pid: int, sign: datetime) -> bool:
    """Whether the process that has this number now is the one that gave the sign."""
    status = process_status(pid)
    if not status:
        return False
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    age_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - (
        int(status[_START_TIME_FIELD]) / ticks_per_second
    )
    return time.time() - age_seconds <= sign.timestamp() + 1
