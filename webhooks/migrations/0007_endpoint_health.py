"""What an endpoint's health needs for fairness and for people; indexes of its deliveries."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0006_inbox_by_months"),
    ]

    operations = [
        migrations.CreateModel(
            name="EndpointHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "endpoint",
                        "hour",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="hours",
                        to="webhooks.webhookendpoint",
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("succeeded", models.IntegerField()),
                ("failed", models.IntegerField()),
            ],
            options={
                "db_table": "webhooks_endpoint_hour",
            },
        ),
        migrations.AddField(
            model_name="endpointhealth",
            name="average_ms",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="endpointhealth",
            name="throttled_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="endpointhealth",
            name="warned_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name="merchantdelivery",
            name="endpoint",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="webhooks.webhookendpoint",
            ),
        ),
        migrations.AddIndex(
            model_name="merchantdelivery",
            index=models.Index(fields=["endpoint", "id"], name="merchant_delivery_endpoint"),
        ),
        migrations.AddIndex(
            model_name="merchantdelivery",
            index=models.Index(
                condition=models.Q(("status__in", ("dead", "discarded"))),
                fields=["endpoint", "created_at"],
                name="merchant_delivery_recoverable",
            ),
        ),
        migrations.RunSQL(
            "ALTER TABLE webhooks_endpoint_hour SET (fillfactor = 70)", migrations.RunSQL.noop
        ),
    ]
