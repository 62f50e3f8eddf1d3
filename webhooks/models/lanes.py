"""Lanes: the unit of order.

Mental model: everything that must happen one after the other shares a lane (all events of one
payment, all PSP news about one object). Whoever drains a lane holds the lock of its row; emitters
never touch that row, so a drain cannot make a business transaction wait. A footprint is written
outside the draining transaction before the first event runs and erased inside it: a footprint
found under the lock belongs to a run that died.
"""

from __future__ import annotations

from django.db import models


class Lane(models.Model):
    """One row to lock per stream of the outbox and per subject of the inbox."""

    key = models.TextField(primary_key=True)

    class Meta:
        db_table = "webhooks_lane"

    def __str__(self) -> str:
        return self.key


class DrainFootprint(models.Model):
    """A run that started on a lane and has not been seen to end."""

    pk = models.CompositePrimaryKey("lane", "run_id")
    lane = models.TextField()
    run_id = models.UUIDField()
    worker = models.TextField()
    started_at = models.DateTimeField()
    alone = models.TextField(db_default="")  # the row, where it is the only one of the run
    server_started_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhooks_drain_footprint"

    def __str__(self) -> str:
        return self.lane
