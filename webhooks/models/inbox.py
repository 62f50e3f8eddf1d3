"""What providers told us, byte for byte, in the order it arrived, and what became of it.

Mental model: an `InboxEvent` is one HTTP delivery by a provider, stored before it was answered.
It stays open (received, deferred, failed) until it has an outcome. An `InboxKey` says that a
provider's event has had its effect; it is written in the transaction of that effect, and only a
key makes another delivery of the same event a duplicate. So a delivery that failed never keeps
its own repetition from being tried.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from typeid import TypeID


def new_inbox_event_id() -> str:
    """A new, time-sortable id of a stored provider event."""
    return str(TypeID(prefix="inb"))


class InboxEvent(models.Model):
    """One delivery of one provider event. Evidence columns cannot be changed by the application.

    Partitioned by the month of `received_at` (webhooks.partitions), and therefore free of foreign
    keys and of unique constraints: the primary key of each month is (id, received_at), and ids are
    unique because of what they are. Whoever changes a row names its `received_at` too.
    """

    class Status(models.TextChoices):
        RECEIVED = "received"
        DEFERRED = "deferred", "deferred (waits for a predecessor)"
        FAILED = "failed", "failed (will be tried again)"
        PROCESSED = "processed"
        SUPERSEDED = "superseded", "superseded (older than what we know)"
        IGNORED = "ignored", "ignored (nothing of ours)"
        DUPLICATE = "duplicate", "duplicate (had its effect before)"
        DEAD = "dead"
        DISCARDED = "discarded"

    OPEN = (Status.RECEIVED, Status.DEFERRED, Status.FAILED)

    id = models.CharField(
        primary_key=True, max_length=40, default=new_inbox_event_id, editable=False
    )
    arrival = models.BigIntegerField()
    provider = models.TextField()
    account_id = models.TextField()
    event_id = models.TextField()
    event_type = models.TextField()
    subject = models.TextField()
    lane = models.TextField()
    raw = models.BinaryField()
    headers = models.JSONField()
    received_at = models.DateTimeField()

    status = models.TextField(choices=Status.choices)
    due_at = models.DateTimeField(null=True)
    failures = models.SmallIntegerField(default=0)
    deferrals = models.SmallIntegerField(default=0)
    interruptions = models.SmallIntegerField(default=0)
    backoff_seconds = models.FloatField(default=0)
    reason = models.TextField(default="")
    error = models.TextField(default="")
    payment_id = models.TextField(default="")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_inbox_event"
        verbose_name = "provider event"
        ordering = ("-id",)
        indexes = (
            models.Index(
                fields=("due_at",),
                name="inbox_event_due",
                condition=Q(status__in=("received", "deferred", "failed")),
            ),
            models.Index(
                fields=("lane", "arrival"),
                name="inbox_event_lane_open",
                condition=Q(status__in=("received", "deferred", "failed")),
            ),
            models.Index(
                fields=("payment_id", "arrival"),
                name="inbox_event_payment",
                condition=~Q(payment_id=""),
            ),
            models.Index(fields=("event_id",), name="inbox_event_provider_event"),
            models.Index(fields=("id",), name="inbox_event_dead", condition=Q(status="dead")),
            models.Index(
                fields=("arrival",), name="inbox_event_dead_arrival", condition=Q(status="dead")
            ),
        )
        constraints = (
            models.CheckConstraint(
                name="inbox_event_open_has_due_at",
                condition=Q(status__in=("received", "deferred", "failed"), due_at__isnull=False)
                | Q(due_at__isnull=True) & ~Q(status__in=("received", "deferred", "failed")),
            ),
            models.CheckConstraint(
                name="inbox_event_status_known",
                condition=Q(
                    status__in=(
                        "received",
                        "deferred",
                        "failed",
                        "processed",
                        "superseded",
                        "ignored",
                        "duplicate",
                        "dead",
                        "discarded",
                    )
                ),
            ),
            models.CheckConstraint(
                name="inbox_event_end_has_reason",
                condition=~Q(status__in=("dead", "discarded")) | ~Q(reason=""),
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} ({self.provider} {self.event_type})"


class InboxKey(models.Model):
    """A provider event that has had its effect. Never partitioned: it must be unique for ever."""

    pk = models.CompositePrimaryKey("provider", "account_id", "event_id")
    provider = models.TextField()
    account_id = models.TextField()
    event_id = models.TextField()
    inbox_id = models.TextField()
    finished_at = models.DateTimeField()

    class Meta:
        db_table = "webhooks_inbox_key"

    def __str__(self) -> str:
        return self.event_id
