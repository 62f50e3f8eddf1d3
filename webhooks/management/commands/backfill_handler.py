"""`manage.py backfill_handler`: promise events of the past to a handler that was added later."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from audit.log import Actor
from webhooks import backfill
from webhooks.backfill import Tally

_WORDS = {
    "promised": "promised",
    "known": "had been promised before",
    "overtaken": "left out: the handler blocks and has done a later event of the stream",
}


class Command(BaseCommand):
    """Promises portion by portion at a pace; the drains hand the events on."""

    help = (
        "Promise the domain events of a time range to a registered handler that was added later. "
        "What it has been promised already is passed over, so a run that was cut off is run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="name of a handler in FLORIN_EVENT_HANDLERS")
        parser.add_argument(
            "--since", type=_moment, required=True, help="emitted from, ISO 8601 with a zone"
        )
        parser.add_argument(
            "--until", type=_moment, required=True, help="emitted before, ISO 8601 with a zone"
        )
        parser.add_argument("--dry-run", action="store_true", help="count only")
        parser.add_argument(
            "--per-second",
            type=int,
            default=200,
            help="promise this many a second at most, so that the day's events do not queue "
            "behind them (default 200)",
        )

    def handle(self, **options: Any) -> None:
        """Show how far it is, then a table of what became of the events."""
        console = Console(file=cast(IO[str], self.stdout), highlight=False)
        since, until = options["since"], options["until"]
        if options["per_second"] < 1:
            raise CommandError("--per-second has to be 1 or more.")
        wanted = {"handler_name": options["name"], "since": since, "until": until, "clock": _now}
        try:
            if options["dry_run"]:
                tally = _follow(backfill.preview(**wanted), console, since=since, until=until)
            else:
                actor = Actor(type="system", id="backfill_handler", display=_login_name())
                portions = _at_a_pace(backfill.backfill(**wanted, actor=actor), options)
                tally = _follow(portions, console, since=since, until=until)
        except (ValueError, backfill.UnknownHandler) as refusal:
            raise CommandError(str(refusal)) from None
        table = Table("events that would be" if options["dry_run"] else "events", "count")
        for name, count in tally.counts.items():
            table.add_row(_WORDS[name], str(count))
        console.print(table)


def _at_a_pace(tallies: Iterator[Tally], options: dict[str, Any]) -> Iterator[Tally]:
    began = time.monotonic()
    for tally in tallies:
        yield tally
        ahead = tally.promised / options["per_second"] - (time.monotonic() - began)
        time.sleep(max(0.0, ahead))


def _follow(
    portions: Iterator[Tally], console: Console, *, since: datetime, until: datetime
) -> Tally:
    """Show how much of the time range has been looked at; the last tally. Raises CommandError."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    tally = Tally(reached=since)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("events", total=(until - since).total_seconds())
        try:
            for tally in portions:
                bar.update(
                    task,
                    completed=(tally.reached - since).total_seconds(),
                    description=f"{tally.promised} promised",
                )
        except (KeyboardInterrupt, OperationalError) as stop:
            raise CommandError(
                f"Cut off at {tally.reached.isoformat()} ({str(stop) or 'stopped'}). What was "
                "promised stays; run the same command again for the rest."
            ) from None
        bar.update(task, completed=(until - since).total_seconds())
    return tally


def _moment(text: str) -> datetime:
    """Raises ValueError, which argparse tells with the argument's name."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _now() -> datetime:
    return datetime.now(UTC)


def _login_name() -> str:
    """Who sits at the terminal, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
