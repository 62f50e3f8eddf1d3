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
        from payments.models import Customer

        encryption.register("payments.ProviderAccount", "secrets_encrypted", name="secrets")
        encryption.register("payments.ProviderEndpoint", "secrets_encrypted", name="secrets")
        encryption.register("payments.Attempt", "client_secret_encrypted", name="client_secret")
        customers = {"email": Customer.email_fingerprint, "name": Customer.name_fingerprint}
        for name, index in customers.items():
            encryption.register(
                "payments.Customer",
                f"{name}_encrypted",
                name=name,
                index_column=f"{name}_index",
                index=index,
            )
        encryption.register("payments.Mandate", "acceptance_encrypted", name="acceptance")
        encryption.register("payments.MethodOperation", "request_encrypted", name="request")
        encryption.register(
            "payments.NotificationRule", "webhook_url_encrypted", name="webhook_url"
        )
        encryption.register("payments.EvidenceFile", "content_encrypted", name="content")
