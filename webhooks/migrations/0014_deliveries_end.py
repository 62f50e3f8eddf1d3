"""A narrow way for deliveries that ended long ago to go (sql/deliveries_end.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations, models

_SQL = Path(__file__).parent / "sql" / "deliveries_end.sql"


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0013_failure_told")]

    operations = [
        migrations.CreateModel(
            name="DeletedPromises",
            fields=[
                ("handler", models.TextField(primary_key=True, serialize=False)),
                ("last_event_id", models.TextField()),
            ],
            options={"db_table": "webhooks_deleted_promises"},
        ),
        migrations.RunSQL(
            _SQL.read_text(encoding="utf-8"),
            "DROP FUNCTION webhooks_delete_old_deliveries;"
            "DROP TRIGGER merchant_delivery_is_kept ON webhooks_merchant_delivery;"
            "DROP TRIGGER event_delivery_is_kept ON webhooks_event_delivery;"
            "DROP TRIGGER delivery_attempt_is_kept ON webhooks_delivery_attempt;"
            "DROP FUNCTION webhooks_refuse_deletion; DROP FUNCTION webhooks_refuse_deleting_attempt;",
        ),
    ]
