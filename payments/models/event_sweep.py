"""How far a PSP's own list of events has been compared with our inbox, and what was missing there.

Mental model: one `EventSweep` per provider account. A window is opened at a moment, read page by
page by its cursor, over several rounds if need be, and closed: then everything that the list had
before that moment is in the inbox. `LostWebhooks` counts what was missing, by the hour.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from payments.models.merchant import ProviderAccount


class EventSweep(models.Model):
    """Where the sweep of one provider account stands. `due_at` of a round under way is its lease.

    `swept_until`: what the list had before is in the inbox. A window under way has `window_since`,
    from where on it reads, and `window_opened_at`; `cursor` leads to its next page.
    """

    provider_account = models.OneToOneField(
        ProviderAccount, on_delete=models.PROTECT, primary_key=True, related_name="event_sweep"
    )
    due_at = models.DateTimeField()
    swept_until = models.DateTimeField()
    window_since = models.DateTimeField(null=True)
    window_opened_at = models.DateTimeField(null=True)
    cursor = models.CharField(max_length=255, blank=True)
    last_swept_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
    found_count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(window_since__isnull=True, window_opened_at__isnull=True, cursor="")
                | Q(window_since__isnull=False, window_opened_at__isnull=False),
                name="event_sweep_window_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_account_id} until {self.swept_until:%Y-%m-%d %H:%M}"


class LostWebhooks(models.Model):
    """How many events of an account the sweep found in one hour. `told`: that was announced."""

    pk = models.CompositePrimaryKey("provider_account", "hour")
    provider_account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="lost_webhooks"
    )
    hour = models.DateTimeField()
    count = models.PositiveIntegerField()
    told = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(count__gt=0), name="lost_webhooks_are_some"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_account_id} {self.hour:%Y-%m-%d %H}: {self.count}"
