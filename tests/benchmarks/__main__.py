"""`make bench`: every figure with the limit it was measured against, as a table and as JSON lines.

Everything runs on private servers that nobody else uses and that are gone afterwards; the part that
leaves thousands of payments with all their news behind has servers of its own, so that nobody else
measures beside that. Exit status 1 when a figure misses its bar or anything went wrong on the way.
Names of parts as arguments (http, inbox, stream, ledger, audit, events, delivery, limits) run
those alone. The load average stands in each line and under the table: above the number of
processors, at the beginning of a part, somebody else was measured too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import django
import psycopg
from rich.console import Console
from rich.table import Table

from tests.benchmarks import http_bench, inbox_bench, stream_bench
from tests.proofs.stand import Stand, running_stand

SETTINGS = "tests.benchmarks.settings"
# Modules with `run() -> list[dict]` over the database of the settings.
IN_PROCESS = ("ledger", "audit", "events", "delivery", "limits")
_ON_THE_SAME_SERVERS = (("http",), ("inbox", "stream", *IN_PROCESS))
PARTS = tuple(name for together in _ON_THE_SAME_SERVERS for name in together)


def main() -> int:
    """Measure everything, or the parts that are named, and print it; 0 when every bar holds."""
    began = time.monotonic()
    load_before = os.getloadavg()
    parts = sys.argv[1:] or list(PARTS)
    unknown = set(parts).difference(PARTS)
    if unknown:
        sys.stderr.write(
            f"No such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.\n"
        )
        return 2
    console = Console(file=sys.stderr)
    figures: list[dict[str, Any]] = []
    failed: list[str] = []
    for together in _ON_THE_SAME_SERVERS:
        wanted = [name for name in together if name in parts]
        if wanted:
            _measure(wanted, figures, failed, console)
    _print(figures, time.monotonic() - began, load_before)
    if failed:
        console.print(f"[red]Not measured: {', '.join(failed)}[/]")
    return 0 if not failed and all(figure["holds"] for figure in figures) else 1


def _measure(
    names: list[str], figures: list[dict[str, Any]], failed: list[str], console: Console
) -> None:
    """Start servers, measure these parts on them one after the other, and end the servers."""
    settings = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "LOG_LEVEL": "WARNING",
        # While the web processes are measured nobody applies what comes in; that is no overload.
        "FLORIN_TOO_BUSY_INBOX_SECONDS": "3600",
        "FLORIN_WEBHOOK_BUSY_INBOX_SECONDS": "3600",
    }
    with (
        tempfile.TemporaryDirectory(prefix="florin-bench-") as folder,
        running_stand(Path(folder), settings=settings, with_background=False) as stand,
    ):
        with psycopg.connect(stand.servers.servers.database_owner_url) as owner:
            owner.execute(http_bench.BARE_TABLE)
        measurements: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "http": lambda: http_bench.run(stand),
            "inbox": lambda: inbox_bench.run(stand),
            "stream": lambda: stream_bench.run(stand),
            **{name: partial(_in_process, stand, name) for name in IN_PROCESS},
        }
        for name in names:
            load_average = round(os.getloadavg()[0], 1)
            console.print(f"Measuring {name} at a load average of {load_average} ...")
            try:
                measured = measurements[name]()
            except Exception:  # noqa: BLE001 - the other parts' figures are worth having
                console.print_exception()
                failed.append(name)
                continue
            figures += measured
            for figure in measured:  # as soon as it is known: a run that is cut short told it
                sys.stdout.write(json.dumps({**figure, "load_average": load_average}) + "\n")
            sys.stdout.flush()


def _in_process(stand: Stand, name: str) -> list[dict[str, Any]]:
    """Run a part in this process, on the stand's servers, with nothing else running there."""
    stand.web.stop()
    os.environ.update(stand.environment)
    django.setup()
    figures: list[dict[str, Any]] = importlib.import_module(f"tests.benchmarks.{name}_bench").run()
    return figures


def _print(
    figures: list[dict[str, Any]], duration_seconds: float, load_before: tuple[float, float, float]
) -> None:
    last_minute, _, quarter = (
        f"{before:.1f} before, {after:.1f} after"
        for before, after in zip(load_before, os.getloadavg(), strict=True)
    )
    table = Table(
        title=f"Measured in {duration_seconds:.0f} s on {os.cpu_count()} processors",
        caption=f"Load average of a minute: {last_minute}; of fifteen: {quarter}",
    )
    for heading in ("figure", "value", "limit", "ratio", "bar", "errors", "holds"):
        table.add_column(heading, justify="left" if heading in ("figure", "holds") else "right")
    for figure in figures:
        table.add_row(
            figure["name"],
            *("" if figure[name] is None else str(figure[name]) for name in _NUMBERS),
            "[green]yes[/]" if figure["holds"] else "[red]no[/]",
        )
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)


_NUMBERS = ("value", "limit", "ratio", "bar", "errors")

if __name__ == "__main__":
    sys.exit(main())
