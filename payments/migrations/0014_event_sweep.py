"""How far each provider's own list of events was compared with the inbox, and what was missing."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0013_case_of_review"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventSweep",
            fields=[
                (
                    "provider_account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="event_sweep",
                        serialize=False,
                        to="payments.provideraccount",
                    ),
                ),
                ("due_at", models.DateTimeField()),
                ("swept_until", models.DateTimeField()),
                ("window_since", models.DateTimeField(null=True)),
                ("window_opened_at", models.DateTimeField(null=True)),
                ("cursor", models.CharField(blank=True, max_length=255)),
                ("last_swept_at", models.DateTimeField(null=True)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                ("found_count", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("cursor", ""),
                                ("window_opened_at__isnull", True),
                                ("window_since__isnull", True),
                            ),
                            models.Q(
                                ("window_opened_at__isnull", False), ("window_since__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="event_sweep_window_is_whole",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LostWebhooks",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "provider_account",
                        "hour",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("count", models.PositiveIntegerField()),
                ("told", models.BooleanField(default=False)),
                (
                    "provider_account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lost_webhooks",
                        to="payments.provideraccount",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("count__gt", 0)), name="lost_webhooks_are_some"
                    )
                ],
            },
        ),
    ]
