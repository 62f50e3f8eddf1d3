"""A footprint says which row ran alone, and a server that crashes forgets all of them."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0014_deliveries_end")]

    operations = [
        migrations.AddField("drainfootprint", "alone", models.TextField(db_default="")),
        migrations.AddField("drainfootprint", "server_started_at", models.DateTimeField(null=True)),
        migrations.RunSQL(
            "ALTER TABLE webhooks_drain_footprint SET UNLOGGED",
            "ALTER TABLE webhooks_drain_footprint SET LOGGED",
        ),
    ]
