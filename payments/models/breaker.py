"""What was last told about each circuit breaker.

Mental model: a breaker itself lives in Redis (payments.providers.breaker), where it may be lost.
Its row here is what the event stream says: it changes in the transaction that tells the change, so
that of all processes which saw it exactly one tells it, and one that died before telling is found.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from payments.models.merchant import ProviderAccount


class ToldBreaker(models.Model):
    """One breaker that was ever open: what was told of it last, and the figures that opened it."""

    class State(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"

    id = models.CharField(primary_key=True, max_length=80, editable=False)
    provider_account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="told_breakers"
    )
    operation_class = models.CharField(max_length=16)
    state = models.CharField(max_length=8, choices=State.choices)
    since = models.DateTimeField()
    calls = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    slow = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "closed"]), name="told_breaker_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"
