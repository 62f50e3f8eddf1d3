"""`manage.py create_staff_groups`: make the groups of the back office hold their permissions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from audit.log import Actor
from payments.admin.access import ensure_staff_groups


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Creates the staff groups (Compliance, Finance, Operations, Live keys); safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(type="system", id="create_staff_groups")
        for name, count in ensure_staff_groups(actor=actor, now=timezone.now()).items():
            self.stdout.write(f"{name}: {count} permissions")
