"""Periodic jobs and signs of life of the processes that execute.

Mental model: a periodic job is a row with a `due_at`. Whoever moves that row first runs the job,
so any number of sweepers and beats may look at it.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class PeriodicJob(models.Model):
    """One registered job; the lease keeps a long run from being started twice."""

    name = models.TextField(primary_key=True)
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    fence = models.BigIntegerField(default=0)
    runs = models.BigIntegerField(default=0)
    last_started_at = models.DateTimeField(null=True)
    last_finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="")

    class Meta:
        db_table = "webhooks_periodic_job"
        verbose_name = "periodic job"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """The last time a process said that it had done work, not merely that it exists."""

    process = models.TextField(primary_key=True)
    role = models.TextField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    passes = models.BigIntegerField(default=0)

    class Meta:
        db_table = "webhooks_heartbeat"
        ordering = ("process",)
        constraints = (
            models.CheckConstraint(
                name="heartbeat_after_start", condition=Q(beat_at__gte=models.F("started_at"))
            ),
        )

    def __str__(self) -> str:
        return self.process
