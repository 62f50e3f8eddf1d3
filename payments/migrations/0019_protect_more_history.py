"""What endpoints were, providers' and merchants', is evidence too: rows are added and stay."""

from __future__ import annotations

from django.db import migrations

from audit.operations import ProtectHistory


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0018_notifications_end"),
        ("webhooks", "0009_handlers_added_later"),
        ("audit", "0001_initial"),
    ]

    operations = [
        ProtectHistory("payments_historicalproviderendpoint"),
        ProtectHistory("webhooks_historicalwebhookendpoint"),
    ]
