"""`make bench`: every figure with the limit it was measured against, as a table and as JSON lines.

Everything runs on private servers that nobody else uses and that are gone afterwards. Exit status
1 when a figure misses its bar or anything went wrong on the way. Names of parts as arguments (http,
stream, ledger, audit, events, delivery) run those alone.
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

from tests.benchmarks import http_bench, stream_bench
from tests.proofs.stand import Stand, running_stand

SETTINGS = "tests.benchmarks.settings"
# Modules with `run() -> list[dict]` over the database of the settings.
IN_PROCESS = ("ledger", "audit", "events", "delivery")


def main() -> int:
    """Measure everything, or the parts that are named, and print it; 0 when every bar holds."""
    began = time.monotonic()
    parts = sys.argv[1:] or ["http", "stream", *IN_PROCESS]
    console = Console(file=sys.stderr)
    settings = {"DJANGO_SETTINGS_MODULE": SETTINGS, "LOG_LEVEL": "WARNING"}
    figures: list[dict[str, Any]] = []
    failed: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="florin-bench-") as folder,
        running_stand(Path(folder), settings=settings, with_background=False) as stand,
    ):
        with psycopg.connect(stand.servers.servers.database_owner_url) as owner:
            owner.execute(http_bench.BARE_TABLE)
        measurements: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "http": lambda: http_bench.run(stand),
            "stream": lambda: stream_bench.run(stand),
            **{name: partial(_in_process, stand, name) for name in IN_PROCESS},
        }
        for name, measure in measurements.items():
            if name not in parts:
                continue
            console.print(f"Measuring {name} ...")
            try:
                measured = measure()
            except Exception:  # noqa: BLE001 - the other parts' figures are worth having
                console.print_exception()
                failed.append(name)
                continue
            figures += measured
            for figure in measured:  # as soon as it is known: a run that is cut short told it
                sys.stdout.write(json.dumps(figure) + "\n")
            sys.stdout.flush()
    _print(figures, time.monotonic() - began)
    if failed:
        console.print(f"[red]Not measured: {', '.join(failed)}[/]")
    return 0 if not failed and all(figure["holds"] for figure in figures) else 1


def _in_process(stand: Stand, name: str) -> list[dict[str, Any]]:
    """Run a part in this process, on the stand's servers, with nothing else running there."""
    stand.web.stop()
    os.environ.update(stand.environment)
    django.setup()
    figures: list[dict[str, Any]] = importlib.import_module(f"tests.benchmarks.{name}_bench").run()
    return figures


def _print(figures: list[dict[str, Any]], duration_seconds: float) -> None:
    table = Table(title=f"Measured in {duration_seconds:.0f} s")
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
