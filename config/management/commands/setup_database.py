"""`manage.py setup_database`: role, rights, migrations; repeatable (config/database_setup.py)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from config.database_setup import DatabaseSetupFailed, set_up_database


class Command(BaseCommand):
    """Reads the arguments, prints what was done."""

    help = "Create the application's database role, set its rights and apply the migrations."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait-seconds",
            type=float,
            default=30.0,
            help="how long to wait for a server that is starting",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        def say(sentence: str) -> None:
            if options["verbosity"] > 0:
                self.stdout.write(sentence)

        try:
            set_up_database(wait_seconds=options["wait_seconds"], say=say)
        except DatabaseSetupFailed as failure:
            raise CommandError(str(failure)) from failure
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {error}") from error
