"""A narrow way for old failed tries to go (sql/failed_attempts_end.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql" / "failed_attempts_end.sql"


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0009_handlers_added_later")]

    operations = [
        migrations.RunSQL(
            _SQL.read_text(encoding="utf-8"),
            "DROP FUNCTION webhooks_delete_failed_attempts",
        ),
    ]
