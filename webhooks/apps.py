"""The app of events: registers its system checks and its encrypted columns."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class WebhooksConfig(AppConfig):
    """Everything that happens once, in order, however often it is tried."""

    name = "webhooks"
    verbose_name = "Events and webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks of our settings and what key rotation re-encrypts."""
        from audit import encryption
        from webhooks import partitions, retention
        from webhooks.handlers import check_settings

        checks.register(check_settings)
        checks.register(partitions.check_retention)
        checks.register(retention.check_retention)
        encryption.register("webhooks.WebhookEndpoint", "secret")
        encryption.register("webhooks.WebhookEndpoint", "previous_secret")
