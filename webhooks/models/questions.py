"""Questions about news that waits for too long."""

from __future__ import annotations

from django.db import models


class InboxQuestion(models.Model):
    """A deferred event about which its provider has to be asked; see `webhooks.questions`."""

    inbox_id = models.TextField(primary_key=True)
    account_id = models.TextField()
    due_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "webhooks_inbox_question"
        indexes = (models.Index(fields=("account_id", "due_at"), name="inbox_question_due"),)

    def __str__(self) -> str:
        return f"{self.inbox_id} ({self.tries} tries)"
