"""A permission for each verb that staff may use on payments, disputes and review cases."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0010_told_breakers")]

    operations = [
        migrations.AlterModelOptions(
            name="payment",
            options={
                "permissions": [
                    ("refund_payment", "Can refund a payment"),
                    ("capture_payment", "Can capture a payment"),
                    ("cancel_payment", "Can cancel a payment"),
                    ("poll_payment", "Can ask the provider about a payment"),
                ]
            },
        ),
        migrations.AlterModelOptions(
            name="dispute",
            options={
                "permissions": [
                    ("answer_dispute", "Can hand in evidence for a dispute"),
                    ("accept_dispute", "Can accept a dispute"),
                ]
            },
        ),
        migrations.AlterModelOptions(
            name="reviewcase",
            options={"permissions": [("resolve_review", "Can decide a review case")]},
        ),
    ]
