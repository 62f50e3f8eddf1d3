"""The audit app: connects the few signals of others that become audit events."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Append-only log, its reading side, and encryption of secrets at rest."""

    name = "audit"
    verbose_name = "Audit trail"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Staff sign-ins and configuration history are told to the log."""
        from audit import history, staff

        staff.connect()
        history.connect()
