"""A narrow way for notifications that have long ended to go (0018_notifications_end.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0017_provider_endpoints")]

    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("status__in", ["sent", "discarded"])),
                fields=["finished_at"],
                name="notification_ended",
            ),
        ),
        migrations.RunSQL(
            (Path(__file__).parent / "0018_notifications_end.sql").read_text(encoding="utf-8"),
            """
            DROP FUNCTION payments_delete_notifications;
            DROP TRIGGER notification_no_delete ON payments_notification;
            CREATE TRIGGER notification_no_delete BEFORE DELETE ON payments_notification
                FOR EACH ROW EXECUTE FUNCTION payments_refuse_change();
            ALTER TABLE payments_notification ENABLE ALWAYS TRIGGER notification_no_delete;
            """,
        ),
    ]
