"""The inbox partitioned by month (sql/inbox_partitions.sql); its rows move to their months."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


def _statements(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0005_inbox_questions")]

    operations = [
        # No way back: going back would copy all evidence once more, for nobody.
        migrations.RunSQL(_statements("inbox_partitions")),
        migrations.RunSQL(_statements("dead_letters"), "DROP VIEW webhooks_dead_letter"),
    ]
