"""Indexes of what is open or went wrong: refunds and disputes that people are told of."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0011_staff_permissions")]

    operations = [
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("state__in", ["requested", "requires_action", "pending"])),
                fields=["id"],
                name="refund_open",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("failed_at__isnull", False)),
                fields=["failed_at"],
                name="refund_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("state__in", ["needs_response", "submitted", "under_review"])),
                fields=["id"],
                name="dispute_open",
            ),
        ),
    ]
