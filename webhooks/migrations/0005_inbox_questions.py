"""Questions about deferred news that has waited for too long."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0004_dead_letter_runs"),
    ]

    operations = [
        migrations.CreateModel(
            name="InboxQuestion",
            fields=[
                ("inbox_id", models.TextField(primary_key=True, serialize=False)),
                ("account_id", models.TextField()),
                ("due_at", models.DateTimeField()),
                ("tries", models.PositiveIntegerField(default=0)),
            ],
            options={
                "db_table": "webhooks_inbox_question",
                "indexes": [
                    models.Index(fields=["account_id", "due_at"], name="inbox_question_due")
                ],
            },
        ),
    ]
