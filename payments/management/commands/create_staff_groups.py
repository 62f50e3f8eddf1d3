"""`manage.py create_staff_groups`: make the groups of the back office hold their permissions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from payments.admin.access import ensure_staff_groups


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Creates the staff groups (Compliance, Finance, Operations, Live keys); safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        for name, count in ensure_staff_groups().items():
            self.stdout.write(f"{name}: {count} permissions")
