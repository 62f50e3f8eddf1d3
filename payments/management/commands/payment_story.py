"""`manage.py payment_story pay_...`: what happened to a payment, as tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from payments.models import Payment
from payments.story import story_of


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Prints transitions, provider calls, webhooks, events and ledger lines of a payment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("payment_id")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console()
        try:
            tables = story_of(options["payment_id"])
        except Payment.DoesNotExist:
            raise CommandError(f"There is no payment {options['payment_id']}.") from None
        for table in tables:
            console.print(table)
