"""Where merchants listen, and every delivery and attempt to reach them.

Mental model: a `MerchantDelivery` is one event to one endpoint. Claiming it commits a lease and a
new `fence` before the HTTP call and the result is only taken from the holder of that fence, so a
worker that was thought dead cannot overwrite the answer of its successor. Health is kept apart
from the endpoint: it changes with every attempt, the endpoint only when a person changes it.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords
from typeid import TypeID

from webhooks.models.outbox import DomainEvent


def new_endpoint_id() -> str:
    """A new, time-sortable id of a merchant's endpoint."""
    return str(TypeID(prefix="we"))


def new_delivery_id() -> str:
    """A new, time-sortable id of a delivery to a merchant."""
    return str(TypeID(prefix="whd"))


class WebhookEndpoint(models.Model):
    """A merchant's address for events. Secrets are envelope-encrypted and never shown again."""

    class Status(models.TextChoices):
        ENABLED = "enabled"
        DISABLED = "disabled"
        DELETED = "deleted"

    id = models.CharField(primary_key=True, max_length=40, default=new_endpoint_id, editable=False)
    owner = models.TextField()
    livemode = models.BooleanField()
    url = models.TextField()
    description = models.TextField(default="", blank=True)
    event_types = ArrayField(models.TextField())
    api_version = models.TextField()
    status = models.TextField(choices=Status.choices, default=Status.ENABLED)
    disabled_reason = models.TextField(default="", blank=True)
    secret = models.BinaryField()
    previous_secret = models.BinaryField(null=True)
    previous_secret_expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    history = HistoricalRecords(excluded_fields=["secret", "previous_secret"])

    class Meta:
        db_table = "webhooks_endpoint"
        verbose_name = "merchant endpoint"
        ordering = ("-id",)
        permissions = (
            ("rotate_webhookendpoint_secret", "Can give a merchant's endpoint a new secret"),
            ("see_live_webhookendpoint_secret", "Can be shown the new secret of a live endpoint"),
        )
        indexes = (models.Index(fields=("owner", "livemode", "id"), name="webhook_endpoint_owner"),)
        constraints = (
            models.CheckConstraint(
                name="webhook_endpoint_status_known",
                condition=Q(status__in=("enabled", "disabled", "deleted")),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_rotation_has_end",
                condition=Q(previous_secret__isnull=True)
                | Q(previous_secret_expires_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} ({self.url})"


class EndpointHealth(models.Model):
    """How an endpoint has been doing; one hot row per endpoint."""

    endpoint = models.OneToOneField(
        WebhookEndpoint, primary_key=True, on_delete=models.CASCADE, related_name="health"
    )
    consecutive_failures = models.IntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    average_ms = models.IntegerField(default=0, db_default=0)
    throttled_until = models.DateTimeField(null=True)
    warned_at = models.DateTimeField(null=True)
    failure_told_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_endpoint_health"

    def __str__(self) -> str:
        return self.endpoint_id


class EndpointHour(models.Model):
    """Requests to one endpoint that ended within one hour (UTC)."""

    pk = models.CompositePrimaryKey("endpoint", "hour")
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="hours", db_index=False
    )
    hour = models.DateTimeField()
    succeeded = models.IntegerField()
    failed = models.IntegerField()

    class Meta:
        db_table = "webhooks_endpoint_hour"

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.hour:%Y-%m-%d %H:00}"


class MerchantDelivery(models.Model):
    """One event to one endpoint; `fence` counts claims, `attempts` counts claims that ended."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RETRYING = "retrying"
        DELIVERED = "delivered"
        DEAD = "dead"
        DISCARDED = "discarded"

    id = models.CharField(primary_key=True, max_length=40, default=new_delivery_id, editable=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.PROTECT, related_name="deliveries", db_index=False
    )
    event = models.ForeignKey(
        DomainEvent,
        on_delete=models.PROTECT,
        related_name="merchant_deliveries",
        db_index=False,
    )
    status = models.TextField(choices=Status.choices, default=Status.PENDING)
    due_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.IntegerField(default=0)
    attempts = models.IntegerField(default=0)
    interruptions = models.SmallIntegerField(default=0)
    reason = models.TextField(default="")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_merchant_delivery"
        verbose_name = "merchant delivery"
        verbose_name_plural = "merchant deliveries"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("event", "endpoint"), name="merchant_delivery_once_per_endpoint"
            ),
            models.CheckConstraint(
                name="merchant_delivery_status_known",
                condition=Q(status__in=("pending", "retrying", "delivered", "dead", "discarded")),
            ),
            models.CheckConstraint(
                name="merchant_delivery_open_has_due_at",
                condition=Q(status__in=("pending", "retrying"), due_at__isnull=False)
                | Q(due_at__isnull=True, lease_until__isnull=True)
                & ~Q(status__in=("pending", "retrying")),
            ),
            models.CheckConstraint(
                name="merchant_delivery_end_has_reason",
                condition=~Q(status__in=("dead", "discarded")) | ~Q(reason=""),
            ),
        )
        indexes = (
            models.Index(
                fields=("endpoint", "due_at"),
                name="merchant_delivery_due",
                condition=Q(status__in=("pending", "retrying")),
            ),
            models.Index(
                fields=("endpoint",),
                name="merchant_delivery_leased",
                condition=Q(lease_until__isnull=False),
            ),
            models.Index(fields=("id",), name="merchant_delivery_dead", condition=Q(status="dead")),
            models.Index(fields=("endpoint", "id"), name="merchant_delivery_endpoint"),
            models.Index(
                fields=("endpoint", "created_at"),
                name="merchant_delivery_recoverable",
                condition=Q(status__in=("dead", "discarded")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} ({self.event_id})"


class DeliveryAttempt(models.Model):
    """One HTTP request to a merchant, written before it is sent and completed after."""

    class Outcome(models.TextChoices):
        STARTED = "started", "started (no end was recorded)"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        STALE = "stale", "stale (another worker had taken over)"

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(
        MerchantDelivery, on_delete=models.CASCADE, related_name="attempt_log", db_index=False
    )
    number = models.IntegerField()
    started_at = models.DateTimeField()
    outcome = models.TextField(choices=Outcome.choices, default=Outcome.STARTED)
    url = models.TextField()
    address = models.TextField(default="")
    duration_ms = models.IntegerField(null=True)
    response_status = models.IntegerField(null=True)
    response_body = models.TextField(default="")
    error = models.TextField(default="")

    class Meta:
        db_table = "webhooks_delivery_attempt"
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=("delivery", "number"), name="delivery_attempt_number_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"
