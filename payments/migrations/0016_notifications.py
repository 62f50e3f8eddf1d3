"""Who on the staff is told of what: rules, messages, and what was told lately."""

from __future__ import annotations

from pathlib import Path

import django.contrib.postgres.fields
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models

import payments.models.notification
from audit.operations import ProtectHistory


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
        ("payments", "0014_event_sweep"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="HistoricalNotificationRule",
            fields=[
                (
                    "id",
                    models.CharField(
                        db_index=True,
                        default=payments.models.notification.new_rule_id,
                        editable=False,
                        max_length=40,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "E-mail"), ("slack", "Slack")], max_length=8
                    ),
                ),
                (
                    "addresses",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=254),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("shown_destination", models.CharField(max_length=500)),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), size=None
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("both", "Live and test"),
                            ("live", "Live only"),
                            ("test", "Test only"),
                        ],
                        default="both",
                        max_length=8,
                    ),
                ),
                ("active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                ("history_change_reason", models.CharField(max_length=100, null=True)),
                (
                    "history_type",
                    models.CharField(
                        choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1
                    ),
                ),
                (
                    "history_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "historical notification rule",
                "verbose_name_plural": "historical notification rules",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name="NotificationRule",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.notification.new_rule_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "E-mail"), ("slack", "Slack")], max_length=8
                    ),
                ),
                (
                    "addresses",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=254),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("webhook_url_encrypted", models.BinaryField(null=True)),
                ("shown_destination", models.CharField(max_length=500)),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), size=None
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("both", "Live and test"),
                            ("live", "Live only"),
                            ("test", "Test only"),
                        ],
                        default="both",
                        max_length=8,
                    ),
                ),
                ("active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("addresses__len__gt", 0),
                                ("channel", "email"),
                                ("webhook_url_encrypted__isnull", True),
                            ),
                            models.Q(
                                ("addresses__len", 0),
                                ("channel", "slack"),
                                ("webhook_url_encrypted__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="notification_rule_reaches_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kinds__len__gt", 0)),
                        name="notification_rule_asks_for_something",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["both", "live", "test"])),
                        name="notification_rule_mode_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StandingCondition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=40)),
                ("subject", models.CharField(max_length=200)),
                ("since", models.DateTimeField()),
                ("told_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "subject"), name="standing_condition_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.notification.new_notification_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "E-mail"), ("slack", "Slack")], max_length=8
                    ),
                ),
                ("recipient", models.CharField(max_length=254)),
                ("kind", models.CharField(max_length=40)),
                ("mode", models.CharField(blank=True, max_length=4)),
                ("subject", models.CharField(blank=True, max_length=200)),
                ("title", models.CharField(max_length=200)),
                ("content", models.JSONField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("retrying", "Retrying"),
                            ("sent", "Sent"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        default="pending",
                        max_length=12,
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("interruptions", models.PositiveIntegerField(default=0)),
                ("backoff_seconds", models.FloatField(default=0)),
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("lease_until", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notifications",
                        to="payments.notificationrule",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "retrying"])),
                        fields=["channel", "due_at"],
                        name="notification_open",
                    ),
                    models.Index(
                        condition=models.Q(("status", "dead")),
                        fields=["finished_at"],
                        name="notification_dead",
                    ),
                    models.Index(fields=["subject", "kind"], name="notification_about"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("due_at__isnull", False),
                                ("finished_at__isnull", True),
                                ("status__in", ["pending", "retrying"]),
                            ),
                            models.Q(
                                ("due_at__isnull", True),
                                ("finished_at__isnull", False),
                                ("lease_until__isnull", True),
                                ("status__in", ["sent", "dead", "discarded"]),
                            ),
                            _connector="OR",
                        ),
                        name="notification_is_due_or_finished",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "discarded"), _negated=True),
                            models.Q(("reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="notification_discarded_with_words",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["live", "test", ""])),
                        name="notification_mode_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("recipient", models.CharField(max_length=254)),
                ("kind", models.CharField(max_length=40)),
                ("mode", models.CharField(blank=True, max_length=4)),
                ("subject", models.CharField(blank=True, max_length=200)),
                ("opened_at", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("told", models.PositiveIntegerField(default=0)),
                ("untold", models.PositiveIntegerField(default=0)),
                ("latest", models.JSONField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("quiet_until", models.DateTimeField(null=True)),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="payments.notificationrule",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["due_at"], name="notification_window_due"),
                    models.Index(fields=["until"], name="notification_window_until"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("recipient", "kind", "mode", "subject"),
                        name="notification_window_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("due_at__isnull", True), ("untold", 0)),
                            models.Q(
                                ("due_at__isnull", False),
                                ("latest__isnull", False),
                                ("untold__gt", 0),
                            ),
                            _connector="OR",
                        ),
                        name="notification_window_tells_what_it_counted",
                    ),
                ],
            },
        ),
        ProtectHistory("payments_historicalnotificationrule"),
        migrations.RunSQL(
            (Path(__file__).parent / "0016_notifications.sql").read_text(),
            reverse_sql="DROP FUNCTION payments_guard_notification CASCADE",
        ),
    ]
