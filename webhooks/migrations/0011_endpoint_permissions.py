"""Permissions for the verbs of staff that make a merchant's secret, or show a live one."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0010_failed_attempts_end")]

    operations = [
        migrations.AlterModelOptions(
            name="webhookendpoint",
            options={
                "ordering": ("-id",),
                "permissions": (
                    (
                        "rotate_webhookendpoint_secret",
                        "Can give a merchant's endpoint a new secret",
                    ),
                    (
                        "see_live_webhookendpoint_secret",
                        "Can be shown the new secret of a live endpoint",
                    ),
                ),
                "verbose_name": "merchant endpoint",
            },
        ),
    ]
