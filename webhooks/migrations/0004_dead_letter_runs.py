"""Every failed try, orders over many dead letters, and an index by which they go in order."""

from __future__ import annotations

from pathlib import Path

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import webhooks.models.dead_letter_runs


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0003_dead_letters"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeadLetterRun",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=webhooks.models.dead_letter_runs.new_run_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "action",
                    models.TextField(choices=[("replay", "Replay"), ("discard", "Discard")]),
                ),
                (
                    "wanted",
                    models.JSONField(
                        help_text="The filter, as webhooks.dead_letter_filter writes it."
                    ),
                ),
                ("reason", models.TextField(default="")),
                ("actor_type", models.TextField()),
                ("actor_id", models.TextField()),
                ("actor_display", models.TextField(default="")),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("running", "Running"),
                            ("finished", "Finished"),
                            ("canceled", "Canceled"),
                        ],
                        default="running",
                    ),
                ),
                ("total", models.IntegerField()),
                ("done", models.IntegerField(default=0)),
                ("passed_over", models.IntegerField(default=0)),
                ("cursor_kind", models.TextField(default="")),
                ("cursor", models.TextField(default="")),
                ("due_at", models.DateTimeField(null=True)),
                ("error", models.TextField(default="")),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "run over dead letters",
                "verbose_name_plural": "runs over dead letters",
                "db_table": "webhooks_dead_letter_run",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="DeadLetterRunPortion",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.TextField()),
                (
                    "row_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), size=None
                    ),
                ),
                ("handled", models.IntegerField()),
                ("handled_at", models.DateTimeField()),
            ],
            options={
                "db_table": "webhooks_dead_letter_run_portion",
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="FailedAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[("inbox", "provider event"), ("handler", "handler of an event")]
                    ),
                ),
                ("row_id", models.TextField()),
                ("source", models.TextField(help_text="The handler, or the provider.")),
                (
                    "number",
                    models.IntegerField(
                        help_text="Failures and interruptions so far, this one included."
                    ),
                ),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("failed", "failed (it raised)"),
                            ("interrupted", "interrupted (its process or transaction was cut off)"),
                        ]
                    ),
                ),
                ("recorded_at", models.DateTimeField()),
                ("duration_ms", models.IntegerField(null=True)),
                ("worker", models.TextField()),
                ("reason", models.TextField()),
                ("error", models.TextField(default="")),
            ],
            options={
                "verbose_name": "failed attempt",
                "db_table": "webhooks_failed_attempt",
                "ordering": ("-id",),
            },
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(
                condition=models.Q(("status", "dead")),
                fields=["arrival"],
                name="inbox_event_dead_arrival",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletterrun",
            index=models.Index(
                condition=models.Q(("status", "running")),
                fields=["due_at"],
                name="dead_letter_run_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletterrun",
            constraint=models.CheckConstraint(
                condition=models.Q(("action__in", ("replay", "discard"))),
                name="dead_letter_run_action_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletterrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("action", "discard"), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="dead_letter_run_discard_has_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletterrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("due_at__isnull", False),
                        ("finished_at__isnull", True),
                        ("status", "running"),
                    ),
                    models.Q(
                        ("due_at__isnull", True),
                        ("finished_at__isnull", False),
                        ("status__in", ("finished", "canceled")),
                    ),
                    _connector="OR",
                ),
                name="dead_letter_run_open_is_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletterrun",
            constraint=models.CheckConstraint(
                condition=models.Q(("done__gte", 0), ("passed_over__gte", 0), ("total__gte", 1)),
                name="dead_letter_run_counts_positive",
            ),
        ),
        migrations.AddField(
            model_name="deadletterrunportion",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="portions",
                to="webhooks.deadletterrun",
            ),
        ),
        migrations.AddIndex(
            model_name="failedattempt",
            index=models.Index(fields=["kind", "row_id", "id"], name="failed_attempt_row"),
        ),
        migrations.AddIndex(
            model_name="failedattempt",
            index=models.Index(fields=["recorded_at"], name="failed_attempt_recorded"),
        ),
        migrations.AddConstraint(
            model_name="failedattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ("inbox", "handler"))),
                name="failed_attempt_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="failedattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ("failed", "interrupted"))),
                name="failed_attempt_outcome_known",
            ),
        ),
        migrations.RunSQL(
            (Path(__file__).parent / "sql" / "dead_letter_runs.sql").read_text(encoding="utf-8"),
            "DROP TRIGGER dead_letter_run_keeps_its_end ON webhooks_dead_letter_run;"
            "DROP FUNCTION webhooks_refuse_resuming;",
        ),
    ]
