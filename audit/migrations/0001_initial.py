"""The audit tables with their triggers, rights and first partitions (0001_audit_log.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations, models

_SQL = Path(__file__).with_name("0001_audit_log.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    initial = True

    operations = [
        # No way back: going back would destroy evidence.
        migrations.RunSQL(_SQL),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("recorded_at", models.DateTimeField()),
                ("xid", models.BigIntegerField()),
                ("occurred_at", models.DateTimeField()),
                ("event_type", models.TextField()),
                ("actor_type", models.TextField()),
                ("actor_id", models.TextField()),
                ("actor_display", models.TextField()),
                ("stream_type", models.TextField()),
                ("stream_id", models.TextField()),
                ("trace_id", models.TextField()),
                ("request_id", models.TextField()),
                ("reason", models.TextField()),
                ("redacted", models.BooleanField()),
                ("reference_list", models.TextField()),
                ("body", models.TextField()),
                ("leaf_hash", models.BinaryField()),
            ],
            options={
                "verbose_name": "audit event",
                "db_table": "audit_event",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
