"""How the queues were, minute by minute: small rows from which pictures are drawn.

Mental model: the big tables know how things are, not how they were. A job writes what it sees once
a minute, and what became of the rows of a minute once they have had time; two weeks are kept. So
a picture of a week costs the same whether a thousand or ten million rows came in.
"""

from __future__ import annotations

from django.db import models


class QueueSample(models.Model):
    """One queue at one moment. `arrived` and `handled` (done, or given up by a person) are since
    the sample before; None: there was none lately, or the queue was too long to be counted.
    """

    id = models.BigAutoField(primary_key=True)
    queue = models.TextField()
    sampled_at = models.DateTimeField()
    waiting = models.IntegerField()
    late_seconds = models.FloatField()
    dead = models.IntegerField()
    arrived = models.IntegerField(null=True)
    handled = models.IntegerField(null=True)

    class Meta:
        db_table = "webhooks_queue_sample"
        verbose_name = "queue"
        constraints = (
            models.UniqueConstraint(fields=("queue", "sampled_at"), name="queue_sample_once"),
        )

    def __str__(self) -> str:
        return f"{self.queue} at {self.sampled_at}"


class FlowMinute(models.Model):
    """Rows of a flow that came in within a minute, by their status ten minutes later. A minute in
    which nothing came has one row without a status, so that it is known to be counted.
    """

    id = models.BigAutoField(primary_key=True)
    flow = models.TextField()
    minute = models.DateTimeField()
    status = models.TextField()
    count = models.IntegerField()

    class Meta:
        db_table = "webhooks_flow_minute"
        constraints = (
            models.UniqueConstraint(fields=("flow", "minute", "status"), name="flow_minute_once"),
        )

    def __str__(self) -> str:
        return f"{self.count} {self.status} of {self.flow} at {self.minute}"
