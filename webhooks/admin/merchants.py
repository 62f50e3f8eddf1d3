"""Merchants' endpoints in the back office, and every delivery and attempt to reach them.

Mental model: pages to look at, with the verbs that merchants have in the API as well: send again,
recover, test, change, rotate, switch off and on, delete. Each is one call of webhooks.redelivery,
webhooks.recovery or webhooks.endpoints, audited under the person's name. How an endpoint is doing
stands on top.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display

from audit import log
from webhooks import redelivery, tallies
from webhooks.admin.endpoint_verbs import SEND_AGAIN, EndpointVerbs
from webhooks.admin.reading import ReadingRoom, Rows, moment_text, now, staff
from webhooks.admin.verbs import Done, Verb, form_of, may, require, verb_page
from webhooks.models import DeliveryAttempt, MerchantDelivery, WebhookEndpoint

# More than this at once is recovered by time, on the endpoint's page.
SELECTED_MAX = 500
DAYS_SHOWN = 14


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
    actions = ("send_selected_again",)
    actions_detail = ("send_again",)

    def has_send_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, SEND_AGAIN)

    @action(description="Send selected again", permissions=["send"])
    def send_selected_again(
        self, request: HttpRequest, queryset: QuerySet[MerchantDelivery]
    ) -> None:
        """Send the selected deliveries again, delivered ones too."""
        ids = list(queryset.values_list("pk", flat=True)[: SELECTED_MAX + 1])
        if len(ids) > SELECTED_MAX:
            words = f"Nothing was done: for more than {SELECTED_MAX} recover the endpoint by time."
            self.message_user(request, words, messages.ERROR)
            return
        count = redelivery.resend_many(ids, actor=staff(request), now=now())
        self.message_user(request, f"{count} queued again.", messages.SUCCESS)
        if count < len(ids):
            words = f"{len(ids) - count} left alone: being sent just now, or the endpoint is off."
            self.message_user(request, words, messages.WARNING)

    @action(description="Send again", url_path="send-again", icon="send", permissions=["send"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, SEND_AGAIN)
        row = MerchantDelivery.objects.select_related("endpoint", "event").filter(pk=object_id)
        delivery = row.first()
        if delivery is None:
            raise Http404(f"There is no delivery {object_id!r}.")
        endpoint, here = delivery.endpoint, _delivery_url(object_id)

        def act() -> Done:
            with log.acting_as(staff(request)):
                redelivery.resend(
                    owner=endpoint.owner,
                    livemode=endpoint.livemode,
                    endpoint_id=endpoint.pk,
                    delivery_id=delivery.pk,
                    now=now(),
                )
            return Done(message="It is sent again now.", url=here)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Send {delivery.event.type} again",
                button="Send again",
                intro="It goes out now under the same webhook-id, with a fresh schedule. Who has "
                "handled it before knows it by that id.",
                facts=(
                    ("To", endpoint.url),
                    ("Event", delivery.event_id),
                    ("What became of it", delivery.status),
                ),
            ),
            form=form_of(request, forms.Form),
            act=act,
            back_url=here,
        )


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(EndpointVerbs, ReadingRoom):
    """Merchants' endpoints and how they are doing; new ones are made on the merchant's page."""

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
        ("created_at", "updated_at", "previous_secret_expires_at"),
    )
    readonly_fields = ("state",)

    change_form_before_template = "admin/florin/endpoint_health.html"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of an endpoint with how it has been doing."""
        moment = now()
        known = WebhookEndpoint.objects.select_related("health").filter(pk=object_id).first()
        shown: dict[str, Any] = {}
        if known is not None and self.has_view_permission(request, known):
            shown = _health(known, moment)
        return super().changeform_view(request, object_id, form_url, (extra_context or {}) | shown)

    @display(description="failures in a row")
    def failures_in_a_row(self, endpoint: WebhookEndpoint) -> int:
        """Failed requests since the last good one."""
        return endpoint.health.consecutive_failures

    @display(description="failing since (UTC)")
    def failing_since(self, endpoint: WebhookEndpoint) -> str:
        """When the current row of failures began."""
        return moment_text(endpoint.health.failing_since)


def _health(endpoint: WebhookEndpoint, moment: datetime) -> dict[str, Any]:
    """What the template draws: figures of the last day, and every day's requests by outcome."""
    listed = reverse("admin:webhooks_merchantdelivery_changelist")
    return {
        "health": endpoint.health,
        "last_day": tallies.of_last_day([endpoint.pk], now=moment)[endpoint.pk],
        "days": tallies.by_day(endpoint.pk, days=DAYS_SHOWN, now=moment),
        "deliveries_url": f"{listed}?q={endpoint.pk}",
        "dead_url": f"{listed}?q={endpoint.pk}&status__exact=dead",
    }


def _delivery_url(delivery_id: str) -> str:
    return reverse("admin:webhooks_merchantdelivery_change", args=[delivery_id])
