"""`manage.py draw_states`: the machines as diagrams and tables, for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from payments import state_diagram


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Prints the machines of payments, captures, refunds and disputes as Mermaid and tables."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--write", action="store_true", help="renew docs/states.md")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["write"]:
            for name in state_diagram.sections():
                self.stdout.write(state_diagram.section(name))
            return
        page = Path(settings.BASE_DIR) / "docs" / "states.md"
        text = page.read_text()
        for name in state_diagram.sections():
            begin, end = state_diagram.markers(name)
            before, _, rest = text.partition(begin)
            text = before + state_diagram.section(name) + rest.partition(end)[2]
        page.write_text(text)
