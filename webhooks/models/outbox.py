"""What happened here, in commit order per aggregate, and which handler has been told.

Mental model: `EventStream` is the head of one aggregate's stream; taking the next `seq` locks it,
so `seq` is commit order and has no gaps. `DomainEvent` is immutable. `EventDelivery` is the one
promise that one handler will see one event, with that handler's own failures.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from typeid import TypeID


def new_event_id() -> str:
    """A new, time-sortable id of a domain event."""
    return str(TypeID(prefix="evt"))


class EventStream(models.Model):
    """The head of a stream: how many events it has had."""

    pk = models.CompositePrimaryKey("aggregate_type", "aggregate_id")
    aggregate_type = models.TextField()
    aggregate_id = models.TextField()
    last_seq = models.BigIntegerField()

    class Meta:
        db_table = "webhooks_event_stream"

    def __str__(self) -> str:
        return f"{self.aggregate_type}:{self.aggregate_id}"


class DomainEvent(models.Model):
    """A fact, named `noun.verb_past`, with a snapshot of the committed row as payload."""

    id = models.CharField(primary_key=True, max_length=40, default=new_event_id, editable=False)
    aggregate_type = models.TextField()
    aggregate_id = models.TextField()
    seq = models.BigIntegerField()
    type = models.TextField()
    owner = models.TextField(help_text="The merchant it belongs to; empty for internal events.")
    livemode = models.BooleanField()
    payload = models.JSONField()
    causation_id = models.TextField(help_text="What made it happen: a request, an inbox event.")
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "webhooks_domain_event"
        verbose_name = "domain event"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("aggregate_id", "aggregate_type", "seq"), name="domain_event_stream_seq"
            ),
            models.CheckConstraint(name="domain_event_seq_positive", condition=Q(seq__gte=1)),
        )
        indexes = (models.Index(fields=("owner", "livemode", "id"), name="domain_event_owner"),)

    def __str__(self) -> str:
        return f"{self.id} ({self.type})"


class EventDelivery(models.Model):
    """One event to one handler. `due_at` is empty while the row is done or held behind another."""

    class Status(models.TextChoices):
        PENDING = "pending"
        FAILED = "failed", "failed (will be tried again)"
        DONE = "done"
        DEAD = "dead"
        DISCARDED = "discarded"

    class Policy(models.TextChoices):
        BLOCK = "block", "block (later events of the aggregate wait)"
        SKIP = "skip", "skip (later events pass)"

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(
        DomainEvent, on_delete=models.PROTECT, related_name="deliveries", db_index=False
    )
    lane = models.TextField()
    seq = models.BigIntegerField()
    handler = models.TextField()
    policy = models.TextField(choices=Policy.choices)
    status = models.TextField(choices=Status.choices)
    due_at = models.DateTimeField(null=True)
    failures = models.SmallIntegerField(default=0)
    interruptions = models.SmallIntegerField(default=0)
    backoff_seconds = models.FloatField(default=0)
    reason = models.TextField(default="")
    error = models.TextField(default="")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_event_delivery"
        verbose_name = "handler delivery"
        verbose_name_plural = "handler deliveries"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("event", "handler"), name="event_delivery_once_per_handler"
            ),
            models.CheckConstraint(
                name="event_delivery_status_known",
                condition=Q(status__in=("pending", "failed", "done", "dead", "discarded")),
            ),
            models.CheckConstraint(
                name="event_delivery_policy_known", condition=Q(policy__in=("block", "skip"))
            ),
            models.CheckConstraint(
                name="event_delivery_only_open_is_due",
                condition=Q(status__in=("pending", "failed")) | Q(due_at__isnull=True),
            ),
            models.CheckConstraint(
                name="event_delivery_end_has_reason",
                condition=~Q(status__in=("dead", "discarded")) | ~Q(reason=""),
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                name="event_delivery_due",
                condition=Q(status__in=("pending", "failed"), due_at__isnull=False),
            ),
            models.Index(
                fields=("lane", "handler", "seq"),
                name="event_delivery_lane_open",
                condition=Q(status__in=("pending", "failed", "dead")),
            ),
            models.Index(fields=("id",), name="event_delivery_dead", condition=Q(status="dead")),
        )

    def __str__(self) -> str:
        return f"{self.event_id} to {self.handler}"


class DeletedPromises(models.Model):
    """Up to which event the promises to a handler have been deleted after their time, in part.

    Written by the database's function alone.
    """

    handler = models.TextField(primary_key=True)
    last_event_id = models.TextField()

    class Meta:
        db_table = "webhooks_deleted_promises"

    def __str__(self) -> str:
        return f"{self.handler} up to {self.last_event_id}"
