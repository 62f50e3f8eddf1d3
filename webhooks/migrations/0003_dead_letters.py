"""The list of dead letters, a view."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_functions_and_invariants")]

    operations = [
        migrations.RunSQL(
            (Path(__file__).parent / "sql" / "dead_letters.sql").read_text(encoding="utf-8"),
            "DROP VIEW webhooks_dead_letter",
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("inbox", "provider event"),
                            ("handler", "handler of an event"),
                            ("merchant", "delivery to a merchant"),
                        ]
                    ),
                ),
                ("row_id", models.TextField()),
                ("what", models.TextField()),
                ("event_id", models.TextField()),
                ("reason", models.TextField()),
                ("error", models.TextField()),
                ("attempts", models.IntegerField()),
                ("holds", models.IntegerField()),
                ("died_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "dead letter",
                "db_table": "webhooks_dead_letter",
                "ordering": ("-died_at",),
                "managed": False,
            },
        ),
    ]
