"""A payment's money and its ledger entries are committed together (0003_books_agree.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0002_guards"), ("ledger", "0001_initial")]

    operations = [
        migrations.RunSQL(
            (Path(__file__).parent / "0003_books_agree.sql").read_text(),
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
