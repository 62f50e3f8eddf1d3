"""Merchants' endpoints in the back office, and every delivery and attempt to reach them."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from unfold.decorators import display

from webhooks.admin.reading import ReadingRoom, Rows
from webhooks.models import DeliveryAttempt, MerchantDelivery, WebhookEndpoint


class AttemptRows(Rows):
    """The requests of a delivery, the last first."""

    model = DeliveryAttempt
    verbose_name_plural = "Attempts"
    ordering = ("-number",)
    fields = (
        "number",
        "started_at",
        "outcome",
        "response_status",
        "duration_ms",
        "address",
        "error",
        "response_body",
    )


@admin.register(MerchantDelivery)
class MerchantDeliveryAdmin(ReadingRoom):
    """Deliveries to merchants, each with all its attempts."""

    list_display = ("id", "event_id", "endpoint", "state", "attempts", "due_at", "reason")
    list_filter = ("status",)
    list_select_related = ("endpoint",)
    search_fields = ("id__exact", "event__id__exact", "endpoint__id__exact")
    search_help_text = "The whole id of a delivery, an event or an endpoint"
    ordering = ("-id",)
    fields = (
        ("id", "event", "endpoint"),
        ("state", "reason"),
        ("attempts", "interruptions", "fence"),
        ("created_at", "due_at", "lease_until", "finished_at"),
    )
    readonly_fields = ("state",)
    inlines = (AttemptRows,)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadingRoom):
    """Merchants' endpoints and how they are doing; merchants change them through the API."""

    list_display = ("id", "owner", "url", "livemode", "state", "failures_in_a_row", "failing_since")
    list_filter = ("status", "livemode")
    list_select_related = ("health",)
    search_fields = ("id__exact", "owner__exact", "url__exact")
    search_help_text = "The whole id of an endpoint or a merchant, or the whole address"
    ordering = ("-id",)
    fields = (
        ("id", "owner", "livemode"),
        ("url", "description"),
        ("event_types", "api_version"),
        ("state", "disabled_reason"),
        ("failures_in_a_row", "failing_since", "last_success"),
        ("created_at", "updated_at", "previous_secret_expires_at"),
    )
    readonly_fields = ("state", "failures_in_a_row", "failing_since", "last_success")

    @display(description="failures in a row")
    def failures_in_a_row(self, endpoint: WebhookEndpoint) -> int:
        """Failed requests since the last good one."""
        return endpoint.health.consecutive_failures

    @display(description="failing since")
    def failing_since(self, endpoint: WebhookEndpoint) -> datetime | None:
        """When the current row of failures began."""
        return endpoint.health.failing_since

    @display(description="last success")
    def last_success(self, endpoint: WebhookEndpoint) -> datetime | None:
        """When it last took a delivery."""
        return endpoint.health.last_success_at
