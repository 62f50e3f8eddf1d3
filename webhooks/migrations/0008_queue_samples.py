"""Samples of the queues, minute by minute."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0007_endpoint_health"),
    ]

    operations = [
        migrations.CreateModel(
            name="FlowMinute",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("flow", models.TextField()),
                ("minute", models.DateTimeField()),
                ("status", models.TextField()),
                ("count", models.IntegerField()),
            ],
            options={
                "db_table": "webhooks_flow_minute",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("flow", "minute", "status"), name="flow_minute_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueSample",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", models.TextField()),
                ("sampled_at", models.DateTimeField()),
                ("waiting", models.IntegerField()),
                ("late_seconds", models.FloatField()),
                ("dead", models.IntegerField()),
                ("arrived", models.IntegerField(null=True)),
                ("handled", models.IntegerField(null=True)),
            ],
            options={
                "verbose_name": "queue",
                "db_table": "webhooks_queue_sample",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("queue", "sampled_at"), name="queue_sample_once"
                    )
                ],
            },
        ),
    ]
