"""Everything that waits for a person, of all three kinds, in one list.

Mental model: a view of the database over the rows whose status is dead; nothing is stored twice.
"""

from __future__ import annotations

from django.db import models


class DeadLetter(models.Model):
    """One dead row. `holds` is how many later deliveries wait behind it."""

    class Kind(models.TextChoices):
        INBOX = "inbox", "provider event"
        HANDLER = "handler", "handler of an event"
        MERCHANT = "merchant", "delivery to a merchant"

    id = models.TextField(primary_key=True)
    kind = models.TextField(choices=Kind.choices)
    row_id = models.TextField()
    what = models.TextField()
    event_id = models.TextField()
    reason = models.TextField()
    error = models.TextField()
    attempts = models.IntegerField()
    holds = models.IntegerField()
    died_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "webhooks_dead_letter"
        verbose_name = "dead letter"
        ordering = ("-died_at",)

    def __str__(self) -> str:
        return self.what
