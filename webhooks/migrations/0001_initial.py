"""The tables of the event pipeline."""

import django.contrib.postgres.fields
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models

import webhooks.models.inbox
import webhooks.models.merchants
import webhooks.models.outbox


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.IntegerField()),
                ("started_at", models.DateTimeField()),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("started", "started (no end was recorded)"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("stale", "stale (another worker had taken over)"),
                        ],
                        default="started",
                    ),
                ),
                ("url", models.TextField()),
                ("address", models.TextField(default="")),
                ("duration_ms", models.IntegerField(null=True)),
                ("response_status", models.IntegerField(null=True)),
                ("response_body", models.TextField(default="")),
                ("error", models.TextField(default="")),
            ],
            options={
                "db_table": "webhooks_delivery_attempt",
                "ordering": ("-number",),
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=webhooks.models.merchants.new_endpoint_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("owner", models.TextField()),
                ("livemode", models.BooleanField()),
                ("url", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                (
                    "event_types",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), size=None
                    ),
                ),
                ("api_version", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("enabled", "Enabled"),
                            ("disabled", "Disabled"),
                            ("deleted", "Deleted"),
                        ],
                        default="enabled",
                    ),
                ),
                ("disabled_reason", models.TextField(blank=True, default="")),
                ("secret", models.BinaryField()),
                ("previous_secret", models.BinaryField(null=True)),
                ("previous_secret_expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "merchant endpoint",
                "db_table": "webhooks_endpoint",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="EventDelivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("lane", models.TextField()),
                ("seq", models.BigIntegerField()),
                ("handler", models.TextField()),
                (
                    "policy",
                    models.TextField(
                        choices=[
                            ("block", "block (later events of the aggregate wait)"),
                            ("skip", "skip (later events pass)"),
                        ]
                    ),
                ),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("failed", "failed (will be tried again)"),
                            ("done", "Done"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ]
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("failures", models.SmallIntegerField(default=0)),
                ("interruptions", models.SmallIntegerField(default=0)),
                ("backoff_seconds", models.FloatField(default=0)),
                ("reason", models.TextField(default="")),
                ("error", models.TextField(default="")),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "handler delivery",
                "verbose_name_plural": "handler deliveries",
                "db_table": "webhooks_event_delivery",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="EventStream",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "aggregate_type",
                        "aggregate_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("aggregate_type", models.TextField()),
                ("aggregate_id", models.TextField()),
                ("last_seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "webhooks_event_stream",
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("process", models.TextField(primary_key=True, serialize=False)),
                ("role", models.TextField()),
                ("started_at", models.DateTimeField()),
                ("beat_at", models.DateTimeField()),
                ("passes", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "webhooks_heartbeat",
                "ordering": ("process",),
            },
        ),
        migrations.CreateModel(
            name="HistoricalWebhookEndpoint",
            fields=[
                (
                    "id",
                    models.CharField(
                        db_index=True,
                        default=webhooks.models.merchants.new_endpoint_id,
                        editable=False,
                        max_length=40,
                    ),
                ),
                ("owner", models.TextField()),
                ("livemode", models.BooleanField()),
                ("url", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                (
                    "event_types",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), size=None
                    ),
                ),
                ("api_version", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("enabled", "Enabled"),
                            ("disabled", "Disabled"),
                            ("deleted", "Deleted"),
                        ],
                        default="enabled",
                    ),
                ),
                ("disabled_reason", models.TextField(blank=True, default="")),
                ("previous_secret_expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                ("history_change_reason", models.CharField(max_length=100, null=True)),
                (
                    "history_type",
                    models.CharField(
                        choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1
                    ),
                ),
            ],
            options={
                "verbose_name": "historical merchant endpoint",
                "verbose_name_plural": "historical merchant endpoints",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name="InboxEvent",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=webhooks.models.inbox.new_inbox_event_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("arrival", models.BigIntegerField()),
                ("provider", models.TextField()),
                ("account_id", models.TextField()),
                ("event_id", models.TextField()),
                ("event_type", models.TextField()),
                ("subject", models.TextField()),
                ("lane", models.TextField()),
                ("raw", models.BinaryField()),
                ("headers", models.JSONField()),
                ("received_at", models.DateTimeField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("received", "Received"),
                            ("deferred", "deferred (waits for a predecessor)"),
                            ("failed", "failed (will be tried again)"),
                            ("processed", "Processed"),
                            ("superseded", "superseded (older than what we know)"),
                            ("ignored", "ignored (nothing of ours)"),
                            ("duplicate", "duplicate (had its effect before)"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ]
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("failures", models.SmallIntegerField(default=0)),
                ("deferrals", models.SmallIntegerField(default=0)),
                ("interruptions", models.SmallIntegerField(default=0)),
                ("backoff_seconds", models.FloatField(default=0)),
                ("reason", models.TextField(default="")),
                ("error", models.TextField(default="")),
                ("payment_id", models.TextField(default="")),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "provider event",
                "db_table": "webhooks_inbox_event",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="InboxKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "provider",
                        "account_id",
                        "event_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("provider", models.TextField()),
                ("account_id", models.TextField()),
                ("event_id", models.TextField()),
                ("inbox_id", models.TextField()),
                ("finished_at", models.DateTimeField()),
            ],
            options={
                "db_table": "webhooks_inbox_key",
            },
        ),
        migrations.CreateModel(
            name="Lane",
            fields=[
                ("key", models.TextField(primary_key=True, serialize=False)),
            ],
            options={
                "db_table": "webhooks_lane",
            },
        ),
        migrations.CreateModel(
            name="MerchantDelivery",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=webhooks.models.merchants.new_delivery_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("pending", "Pending"),
                            ("retrying", "Retrying"),
                            ("delivered", "Delivered"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        default="pending",
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("fence", models.IntegerField(default=0)),
                ("attempts", models.IntegerField(default=0)),
                ("interruptions", models.SmallIntegerField(default=0)),
                ("reason", models.TextField(default="")),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "merchant delivery",
                "verbose_name_plural": "merchant deliveries",
                "db_table": "webhooks_merchant_delivery",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="PeriodicJob",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("lease_until", models.DateTimeField(null=True)),
                ("fence", models.BigIntegerField(default=0)),
                ("runs", models.BigIntegerField(default=0)),
                ("last_started_at", models.DateTimeField(null=True)),
                ("last_finished_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "verbose_name": "periodic job",
                "db_table": "webhooks_periodic_job",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="DomainEvent",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=webhooks.models.outbox.new_event_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("aggregate_type", models.TextField()),
                ("aggregate_id", models.TextField()),
                ("seq", models.BigIntegerField()),
                ("type", models.TextField()),
                (
                    "owner",
                    models.TextField(
                        help_text="The merchant it belongs to; empty for internal events."
                    ),
                ),
                ("livemode", models.BooleanField()),
                ("payload", models.JSONField()),
                (
                    "causation_id",
                    models.TextField(help_text="What made it happen: a request, an inbox event."),
                ),
                ("occurred_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "domain event",
                "db_table": "webhooks_domain_event",
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["owner", "livemode", "id"], name="domain_event_owner")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("aggregate_id", "aggregate_type", "seq"),
                        name="domain_event_stream_seq",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("seq__gte", 1)), name="domain_event_seq_positive"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DrainFootprint",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "lane",
                        "run_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("lane", models.TextField()),
                ("run_id", models.UUIDField()),
                ("worker", models.TextField()),
                ("started_at", models.DateTimeField()),
            ],
            options={
                "db_table": "webhooks_drain_footprint",
            },
        ),
        migrations.CreateModel(
            name="EndpointHealth",
            fields=[
                (
                    "endpoint",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="webhooks.webhookendpoint",
                    ),
                ),
                ("consecutive_failures", models.IntegerField(default=0)),
                ("failing_since", models.DateTimeField(null=True)),
                ("last_success_at", models.DateTimeField(null=True)),
                ("last_failure_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "webhooks_endpoint_health",
            },
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(fields=["owner", "livemode", "id"], name="webhook_endpoint_owner"),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ("enabled", "disabled", "deleted"))),
                name="webhook_endpoint_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("previous_secret__isnull", True),
                    ("previous_secret_expires_at__isnull", False),
                    _connector="OR",
                ),
                name="webhook_endpoint_rotation_has_end",
            ),
        ),
        migrations.AddField(
            model_name="eventdelivery",
            name="event",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="webhooks.domainevent",
            ),
        ),
        migrations.AddConstraint(
            model_name="heartbeat",
            constraint=models.CheckConstraint(
                condition=models.Q(("beat_at__gte", models.F("started_at"))),
                name="heartbeat_after_start",
            ),
        ),
        migrations.AddField(
            model_name="historicalwebhookendpoint",
            name="history_user",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(
                condition=models.Q(("status__in", ("received", "deferred", "failed"))),
                fields=["due_at"],
                name="inbox_event_due",
            ),
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(
                condition=models.Q(("status__in", ("received", "deferred", "failed"))),
                fields=["lane", "arrival"],
                name="inbox_event_lane_open",
            ),
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(
                condition=models.Q(("payment_id", ""), _negated=True),
                fields=["payment_id", "arrival"],
                name="inbox_event_payment",
            ),
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(fields=["event_id"], name="inbox_event_provider_event"),
        ),
        migrations.AddIndex(
            model_name="inboxevent",
            index=models.Index(
                condition=models.Q(("status", "dead")), fields=["id"], name="inbox_event_dead"
            ),
        ),
        migrations.AddConstraint(
            model_name="inboxevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("due_at__isnull", False),
                        ("status__in", ("received", "deferred", "failed")),
                    ),
                    models.Q(
                        ("due_at__isnull", True),
                        models.Q(("status__in", ("received", "deferred", "failed")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="inbox_event_open_has_due_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="inboxevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        (
                            "received",
                            "deferred",
                            "failed",
                            "processed",
                            "superseded",
                            "ignored",
                            "duplicate",
                            "dead",
                            "discarded",
                        ),
                    )
                ),
                name="inbox_event_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="inboxevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ("dead", "discarded")), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="inbox_event_end_has_reason",
            ),
        ),
        migrations.AddField(
            model_name="merchantdelivery",
            name="endpoint",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="webhooks.webhookendpoint",
            ),
        ),
        migrations.AddField(
            model_name="merchantdelivery",
            name="event",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="merchant_deliveries",
                to="webhooks.domainevent",
            ),
        ),
        migrations.AddField(
            model_name="deliveryattempt",
            name="delivery",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempt_log",
                to="webhooks.merchantdelivery",
            ),
        ),
        migrations.AddIndex(
            model_name="eventdelivery",
            index=models.Index(
                condition=models.Q(
                    ("due_at__isnull", False), ("status__in", ("pending", "failed"))
                ),
                fields=["due_at"],
                name="event_delivery_due",
            ),
        ),
        migrations.AddIndex(
            model_name="eventdelivery",
            index=models.Index(
                condition=models.Q(("status__in", ("pending", "failed", "dead"))),
                fields=["lane", "handler", "seq"],
                name="event_delivery_lane_open",
            ),
        ),
        migrations.AddIndex(
            model_name="eventdelivery",
            index=models.Index(
                condition=models.Q(("status", "dead")), fields=["id"], name="event_delivery_dead"
            ),
        ),
        migrations.AddConstraint(
            model_name="eventdelivery",
            constraint=models.UniqueConstraint(
                fields=("event", "handler"), name="event_delivery_once_per_handler"
            ),
        ),
        migrations.AddConstraint(
            model_name="eventdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ("pending", "failed", "done", "dead", "discarded"))
                ),
                name="event_delivery_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="eventdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(("policy__in", ("block", "skip"))),
                name="event_delivery_policy_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="eventdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ("pending", "failed")), ("due_at__isnull", True), _connector="OR"
                ),
                name="event_delivery_only_open_is_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="eventdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ("dead", "discarded")), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="event_delivery_end_has_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="merchantdelivery",
            index=models.Index(
                condition=models.Q(("status__in", ("pending", "retrying"))),
                fields=["endpoint", "due_at"],
                name="merchant_delivery_due",
            ),
        ),
        migrations.AddIndex(
            model_name="merchantdelivery",
            index=models.Index(
                condition=models.Q(("lease_until__isnull", False)),
                fields=["endpoint"],
                name="merchant_delivery_leased",
            ),
        ),
        migrations.AddIndex(
            model_name="merchantdelivery",
            index=models.Index(
                condition=models.Q(("status", "dead")), fields=["id"], name="merchant_delivery_dead"
            ),
        ),
        migrations.AddConstraint(
            model_name="merchantdelivery",
            constraint=models.UniqueConstraint(
                fields=("event", "endpoint"), name="merchant_delivery_once_per_endpoint"
            ),
        ),
        migrations.AddConstraint(
            model_name="merchantdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ("pending", "retrying", "delivered", "dead", "discarded"))
                ),
                name="merchant_delivery_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchantdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("due_at__isnull", False), ("status__in", ("pending", "retrying"))),
                    models.Q(
                        ("due_at__isnull", True),
                        ("lease_until__isnull", True),
                        models.Q(("status__in", ("pending", "retrying")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="merchant_delivery_open_has_due_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchantdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ("dead", "discarded")), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="merchant_delivery_end_has_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="deliveryattempt",
            constraint=models.UniqueConstraint(
                fields=("delivery", "number"), name="delivery_attempt_number_once"
            ),
        ),
    ]
