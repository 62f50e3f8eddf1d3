"""The payments app: the only one that knows the business."""

from __future__ import annotations

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Registers the app with Django, and its encrypted columns with key rotation."""

    name = "payments"
    verbose_name = "Payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell `manage.py rotate_encryption` where secrets are kept."""
        from audit import encryption

        encryption.register("payments.ProviderAccount", "secrets_encrypted", name="secrets")
        encryption.register("payments.Attempt", "client_secret_encrypted", name="client_secret")
