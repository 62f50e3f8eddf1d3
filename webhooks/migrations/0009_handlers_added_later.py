"""What a handler that was added later may be promised."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "backfill.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0008_queue_samples"),
    ]

    operations = [
        migrations.RunSQL(
            SQL.read_text(),
            "DROP TRIGGER event_delivery_not_overtaken ON webhooks_event_delivery;"
            "DROP FUNCTION webhooks_refuse_late_promise();",
        ),
    ]
