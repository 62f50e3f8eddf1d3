"""What no code path may do to a payment, in PostgreSQL (0002_guards.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]

    operations = [
        migrations.RunSQL(
            (Path(__file__).parent / "0002_guards.sql").read_text(),
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
