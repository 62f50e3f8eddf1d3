"""`manage.py rotate_encryption`: re-encrypt stored secrets with the first key of the ring."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.encryption import DecryptionFailed, first_key_id
from audit.log import Actor, acting_as
from audit.rotation import RotatedColumn, rotate


class Command(BaseCommand):
    """Safe to interrupt and to run again; an older key may leave the ring when 0 rows remain."""

    help = (
        "Re-encrypt every stored secret with the first key of FLORIN_ENCRYPTION_KEYS. "
        "Can be interrupted and run again; afterwards the older keys can be removed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per batch and one per column."""
        actor = Actor(type="system", id="rotate_encryption", display="manage.py rotate_encryption")
        try:
            with acting_as(actor):
                results = rotate(now=datetime.now(UTC), report=self._tell)
        except DecryptionFailed as failure:
            raise CommandError(
                f"Stopped at a secret that cannot be read: {failure}. What was rotated before it "
                "stays rotated; keep the older keys in the ring."
            ) from failure
        for result in results:
            self._tell(result)
        self.stdout.write(f"Everything is encrypted with the key {first_key_id()!r}.")

    def _tell(self, progress: RotatedColumn) -> None:
        self.stdout.write(
            f"{progress.column.model_label}.{progress.column.column}: "
            f"{progress.rotated} rotated, {progress.remaining} remaining"
        )
