"""`manage.py create_merchant`: onboard a merchant from the command line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from audit.log import Actor
from payments.actions.create_merchant import create_merchant


class Command(BaseCommand):
    """Thin shell around the action of the same name."""

    help = "Onboards a merchant and prints its test keys, which are shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("email")
        parser.add_argument(
            "--fee-basis-points", type=int, default=0, help="platform fee, 100 is one percent"
        )
        parser.add_argument(
            "--fee-fixed-minor", type=int, default=0, help="platform fee in minor units"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        created = create_merchant(
            name=options["name"],
            email=options["email"],
            fee_basis_points=options["fee_basis_points"],
            fee_fixed_minor=options["fee_fixed_minor"],
            actor=Actor(type="system", id="create_merchant"),
            now=timezone.now(),
        )
        self.stdout.write(f"merchant         {created.merchant.pk}")
        self.stdout.write(f"secret key       {created.secret_key}")
        self.stdout.write(f"publishable key  {created.publishable_key}")
        self.stdout.write("The keys are not shown again.")
