"""`manage.py draw_states`: the payment machine as a diagram and tables, for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from payments import state_diagram


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Prints the payment machine as Mermaid and Markdown tables."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--write", action="store_true", help="renew docs/states.md")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["write"]:
            self.stdout.write(state_diagram.section())
            return
        page = Path(settings.BASE_DIR) / "docs" / "states.md"
        before, _, rest = page.read_text().partition(state_diagram.BEGIN)
        after = rest.partition(state_diagram.END)[2]
        page.write_text(before + state_diagram.section() + after)
