"""Runs over many dead letters: who asked for what, how far it has come.

Mental model: a `DeadLetterRun` is an order ("replay everything of this handler that died since
noon") with a cursor. It is carried out in portions; a portion's rows, the cursor behind them and
the `DeadLetterRunPortion` that names them are one transaction. So a process killed in the middle
has done a portion or not, and whoever comes next goes on after the cursor.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from typeid import TypeID


def new_run_id() -> str:
    """A new, time-sortable id of a run over dead letters."""
    return str(TypeID(prefix="dlr"))


class DeadLetterRun(models.Model):
    """One order over dead letters. `total` was counted when it was given; `done` are those that
    were replayed or discarded, `passed_over` those that were dead no more when their turn came.
    """

    class Action(models.TextChoices):
        REPLAY = "replay"
        DISCARD = "discard"

    class Status(models.TextChoices):
        RUNNING = "running"
        FINISHED = "finished"
        CANCELED = "canceled"

    id = models.CharField(primary_key=True, max_length=40, default=new_run_id, editable=False)
    action = models.TextField(choices=Action.choices)
    wanted = models.JSONField(help_text="The filter, as webhooks.dead_letter_filter writes it.")
    reason = models.TextField(default="")
    actor_type = models.TextField()
    actor_id = models.TextField()
    actor_display = models.TextField(default="")
    status = models.TextField(choices=Status.choices, default=Status.RUNNING)
    total = models.IntegerField()
    done = models.IntegerField(default=0)
    passed_over = models.IntegerField(default=0)
    cursor_kind = models.TextField(default="")
    cursor = models.TextField(default="")
    due_at = models.DateTimeField(null=True)
    error = models.TextField(default="")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_dead_letter_run"
        verbose_name = "run over dead letters"
        verbose_name_plural = "runs over dead letters"
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="dead_letter_run_action_known", condition=Q(action__in=("replay", "discard"))
            ),
            models.CheckConstraint(
                name="dead_letter_run_discard_has_reason",
                condition=~Q(action="discard") | ~Q(reason=""),
            ),
            models.CheckConstraint(
                name="dead_letter_run_open_is_due",
                condition=Q(status="running", due_at__isnull=False, finished_at__isnull=True)
                | Q(
                    status__in=("finished", "canceled"),
                    due_at__isnull=True,
                    finished_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="dead_letter_run_counts_positive",
                condition=Q(total__gte=1, done__gte=0, passed_over__gte=0),
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",), name="dead_letter_run_due", condition=Q(status="running")
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_display or self.actor_id}"


class DeadLetterRunPortion(models.Model):
    """The rows of one transaction of a run. Never changed by the application."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(DeadLetterRun, on_delete=models.PROTECT, related_name="portions")
    kind = models.TextField()
    row_ids = ArrayField(models.TextField())
    handled = models.IntegerField()
    handled_at = models.DateTimeField()

    class Meta:
        db_table = "webhooks_dead_letter_run_portion"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.run_id}: {self.handled} of kind {self.kind}"
