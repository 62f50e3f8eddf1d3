"""When a merchant was told last that a delivery to an endpoint was given up."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0012_endpoints_and_answers_stay")]

    operations = [
        migrations.AddField(
            model_name="endpointhealth",
            name="failure_told_at",
            field=models.DateTimeField(null=True),
        ),
    ]
