"""`manage.py verify`: prove that the books, the payments, the events and the audit log agree.

Exit status 0 when everything holds, 1 with the offending rows otherwise. `--json` prints one
object for programs; without it, a table for people, with progress while it takes long.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from payments.verification import OFFENCES_TOLD, Report, verify


class Command(BaseCommand):
    """Thin shell around payments.verification."""

    help = "Proves that ledger, payments, events and audit log agree; exit status 1 if not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["json"]:
            report = verify(now=timezone.now())
            self.stdout.write(json.dumps(_as_json(report), indent=1))
        else:
            report = _verify_with_progress(Console(file=sys.stderr))
            # `self.stdout` may be given by a caller; it has what a console needs of a file.
            # Where nobody's terminal sets the width, an id must not be broken into two lines.
            width = None if sys.stdout.isatty() else 160
            _print(Console(file=self.stdout, width=width), report)  # type: ignore[arg-type]
        if not report.holds:
            sys.exit(1)


def _verify_with_progress(console: Console) -> Report:
    with console.status("Verifying ...") as status:

        def progress(check: str, examined: int) -> None:
            count = f", {examined:,} examined" if examined else ""
            status.update(f"Verifying {check}{count} ...")

        return verify(now=timezone.now(), progress=progress)


def _print(console: Console, report: Report) -> None:
    summary = Table(title="Verification")
    for heading in ("check", "proves that", "examined", "seconds", "holds"):
        summary.add_column(
            heading, justify="right" if heading in ("examined", "seconds") else "left"
        )
    for finding in report.findings:
        summary.add_row(
            finding.check,
            finding.proves,
            f"{finding.examined:,}" if finding.examined else "",
            f"{finding.duration_seconds:.1f}",
            "[green]yes[/]" if finding.holds else f"[red]no: {finding.offence_count:,}[/]",
        )
    console.print(summary)
    for finding in report.findings:
        if finding.holds:
            continue
        table = Table(title=f"{finding.check}: {finding.offence_count:,} offences")
        table.add_column("kind")
        table.add_column("object", no_wrap=True)
        table.add_column("detail", overflow="fold")
        for offence in finding.offences:
            table.add_row(escape(offence.kind), escape(offence.object), escape(offence.detail))
        console.print(table)
        if finding.offence_count > OFFENCES_TOLD:
            console.print(f"The first {OFFENCES_TOLD} of {finding.offence_count:,} are shown.")
    console.print("Everything holds." if report.holds else "[red]Something does not hold.[/]")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "findings": [asdict(finding) | {"holds": finding.holds} for finding in report.findings],
    }
