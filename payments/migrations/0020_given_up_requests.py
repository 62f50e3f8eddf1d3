"""Requests that were given up, as a list of their own for staff."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0019_protect_more_history")]

    operations = [
        migrations.CreateModel(
            name="GivenUpRequest",
            fields=[],
            options={
                "verbose_name": "given-up request",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("payments.idempotencykey",),
        ),
    ]
