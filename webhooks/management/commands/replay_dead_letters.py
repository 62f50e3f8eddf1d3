"""`manage.py replay_dead_letters`: replay (or discard, with words) many dead letters by filter."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from audit.log import Actor
from webhooks import dead_letter_filter, dead_letter_runs
from webhooks.dead_letter_filter import KIND_WORDS, KINDS, Filter
from webhooks.models import DeadLetterRun


class Command(BaseCommand):
    """Counts, then carries a run out beside the sweepers; a stop leaves the rest to them."""

    help = (
        "Replay dead letters that match a filter, in portions, with progress. With --discard and "
        "--reason they are given up instead."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kind", default="", choices=("", *KINDS))
        parser.add_argument("--handler", default="", help="name of one of our handlers")
        parser.add_argument("--endpoint", default="", help="id of a merchant's endpoint, we_...")
        parser.add_argument("--event-type", default="", help="payment.settled, or payment.*")
        parser.add_argument("--reason-contains", default="", help="words of why they died")
        parser.add_argument("--since", type=_moment, help="died at or after, ISO 8601 with a zone")
        parser.add_argument("--until", type=_moment, help="died before, ISO 8601 with a zone")
        parser.add_argument("--dry-run", action="store_true", help="count only")
        parser.add_argument("--discard", action="store_true", help="give them up; needs --reason")
        parser.add_argument("--reason", default="", help="why they are given up")

    def handle(self, **options: Any) -> None:
        """Print the counts, then work until the run has ended."""
        console = Console(file=cast(IO[str], self.stdout), highlight=False)
        try:
            wanted = Filter(
                kind=options["kind"],
                handler=options["handler"],
                endpoint_id=options["endpoint"],
                event_type=options["event_type"],
                reason_contains=options["reason_contains"],
                since=options["since"],
                until=options["until"],
            )
            self._show(console, wanted)
            if options["dry_run"]:
                return
            run = dead_letter_runs.start(
                action="discard" if options["discard"] else "replay",
                wanted=wanted,
                reason=options["reason"],
                actor=Actor(type="system", id="replay_dead_letters", display=_login_name()),
                now=_now(),
            )
        except dead_letter_runs.NothingMatches as nothing:
            console.print(str(nothing))
            return
        except ValueError as refusal:
            raise CommandError(str(refusal)) from None
        self._carry_out(console, run)

    def _show(self, console: Console, wanted: Filter) -> None:
        table = Table("dead letters", "count", title=None)
        for kind, count in dead_letter_filter.counts(wanted).items():
            table.add_row(KIND_WORDS[kind], str(count))
        console.print(table)

    def _carry_out(self, console: Console, run: DeadLetterRun) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(run.action, total=run.total)
            while run.status == DeadLetterRun.Status.RUNNING:
                if dead_letter_runs.work(now=_now()) == 0:
                    time.sleep(0.2)  # another process is on it, or it rests after a failure
                run.refresh_from_db()
                bar.update(task, completed=min(run.total, run.done + run.passed_over))
        found = dead_letter_runs.progress(run)
        console.print(
            f"{run.pk} {found.status}: {found.done} of {found.total} done, {found.passed_over} "
            f"dead no more when their turn came, {found.again_dead} dead again."
        )


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
