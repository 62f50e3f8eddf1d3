"""What was last told about each circuit breaker."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0007_customers")]

    operations = [
        migrations.CreateModel(
            name="ToldBreaker",
            fields=[
                (
                    "id",
                    models.CharField(
                        editable=False, max_length=80, primary_key=True, serialize=False
                    ),
                ),
                ("operation_class", models.CharField(max_length=16)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("closed", "Closed")], max_length=8
                    ),
                ),
                ("since", models.DateTimeField()),
                ("calls", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("slow", models.PositiveIntegerField(default=0)),
                (
                    "provider_account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="told_breakers",
                        to="payments.provideraccount",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["open", "closed"])),
                        name="told_breaker_state_known",
                    )
                ],
            },
        ),
    ]
