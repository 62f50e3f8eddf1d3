"""Every try of ours that did not go well: provider events and handlers of domain events.

Mental model: the row that failed keeps only its last reason, because that is what its next run
needs. Each failure also leaves a line here, in the transaction that records it, so that a person
sees them all. Lines are never changed or deleted by the application. (Tries to reach merchants have
a log of their own, `DeliveryAttempt`, because those that went well are evidence too.)
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class FailedAttempt(models.Model):
    """One run that raised, or that was cut off with its process."""

    class Kind(models.TextChoices):
        INBOX = "inbox", "provider event"
        HANDLER = "handler", "handler of an event"

    class Outcome(models.TextChoices):
        FAILED = "failed", "failed (it raised)"
        INTERRUPTED = "interrupted", "interrupted (its process or transaction was cut off)"

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField(choices=Kind.choices)
    row_id = models.TextField()
    source = models.TextField(help_text="The handler, or the provider.")
    number = models.IntegerField(help_text="Failures and interruptions so far, this one included.")
    outcome = models.TextField(choices=Outcome.choices)
    recorded_at = models.DateTimeField()
    duration_ms = models.IntegerField(null=True)
    worker = models.TextField()
    reason = models.TextField()
    error = models.TextField(default="")

    class Meta:
        db_table = "webhooks_failed_attempt"
        verbose_name = "failed attempt"
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("kind", "row_id", "id"), name="failed_attempt_row"),
            models.Index(fields=("recorded_at",), name="failed_attempt_recorded"),
        )
        constraints = (
            models.CheckConstraint(
                name="failed_attempt_kind_known", condition=Q(kind__in=("inbox", "handler"))
            ),
            models.CheckConstraint(
                name="failed_attempt_outcome_known",
                condition=Q(outcome__in=("failed", "interrupted")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.row_id} #{self.number}"
