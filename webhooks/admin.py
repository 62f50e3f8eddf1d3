"""The event pipeline in the back office: what came in, what happened, who was told, what is stuck.

Mental model: pages to look at, plus one list with two verbs. Dead letters are replayed or given up
by calling webhooks.dead_letters, once per click; nothing else here writes. Payloads are shown with
their secrets masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.forms import ActionForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from audit.log import Actor
from audit.redaction import UnsupportedValue, writable_json
from webhooks import dead_letters
from webhooks.models import (
    DeadLetter,
    DeliveryAttempt,
    DomainEvent,
    EventDelivery,
    InboxEvent,
    MerchantDelivery,
    WebhookEndpoint,
)

_MASKED_HEADERS = ("signature", "authorization", "cookie", "secret", "token", "key")
_TONES = {
    "processed": "success",
    "done": "success",
    "delivered": "success",
    "succeeded": "success",
    "enabled": "success",
    "failed": "warning",
    "deferred": "warning",
    "retrying": "warning",
    "started": "warning",
    "stale": "warning",
    "disabled": "danger",
    "dead": "danger",
}


class ReadingRoom(ModelAdmin):
    """A list and a page to look at, paged without counting."""

    actions: Any = None
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_filter_submit = True
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are made by what happens, never here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is edited here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here."""
        return False

    @display(description="status", label=_TONES, ordering="status")
    def state(self, row: Any) -> str:
        """The status as a coloured label."""
        return str(row.status)


class _Rows(TabularInline):
    extra = 0
    can_delete = False
    tab = True

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return list(self.fields or ())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EventDeliveryRows(_Rows):
    """Our own handlers of an event."""

    model = EventDelivery
    verbose_name_plural = "Handlers"
    ordering = ("handler",)
    fields = ("handler", "status", "policy", "failures", "interruptions", "due_at", "reason")


class MerchantDeliveryRows(_Rows):
    """The endpoints an event is sent to."""

    model = MerchantDelivery
    verbose_name_plural = "Merchant deliveries"
    ordering = ("id",)
    fields = ("page", "endpoint", "status", "attempts", "due_at", "reason", "finished_at")

    @display(description="delivery")
    def page(self, row: MerchantDelivery) -> SafeString:
        """A link to the delivery with its attempts."""
        return _link(row)


class AttemptRows(_Rows):
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


@admin.register(DomainEvent)
class DomainEventAdmin(ReadingRoom):
    """Domain events with their handlers and merchant deliveries."""

    list_display = ("id", "occurred_at", "type", "about", "number", "livemode")
    list_filter = ("livemode", "aggregate_type")
    search_fields = ("id__exact", "aggregate_id__exact", "owner__exact")
    search_help_text = "The whole id of an event, of what it is about, or of a merchant"
    ordering = ("-id",)
    fields = (
        ("id", "type"),
        ("aggregate_type", "aggregate_id", "seq"),
        ("owner", "livemode"),
        ("occurred_at", "created_at", "causation_id"),
        "content",
    )
    readonly_fields = ("content",)
    inlines = (EventDeliveryRows, MerchantDeliveryRows)

    @display(description="about")
    def about(self, event: DomainEvent) -> str:
        """The id of what it tells of."""
        return event.aggregate_id

    @display(description="number")
    def number(self, event: DomainEvent) -> int:
        """Its place among the events of the same thing."""
        return event.seq

    @display(description="payload")
    def content(self, event: DomainEvent) -> SafeString:
        """The payload, readable, secrets masked."""
        return _pretty(event.payload)


@admin.register(InboxEvent)
class InboxEventAdmin(ReadingRoom):
    """Provider events as they came over the wire, and what became of them."""

    list_display = (
        "id",
        "received_at",
        "provider",
        "event_type",
        "subject",
        "state",
        "failures",
        "payment_id",
    )
    list_filter = ("status", "provider")
    search_fields = ("id__exact", "event_id__exact", "payment_id__exact")
    search_help_text = "The whole id: ours, the provider's, or the payment's"
    ordering = ("-id",)
    fields = (
        ("id", "provider", "account_id"),
        ("event_id", "event_type", "subject"),
        ("received_at", "finished_at", "due_at"),
        ("state", "reason"),
        ("failures", "deferrals", "interruptions"),
        "payment_id",
        "content",
        "shown_headers",
        "error",
    )
    readonly_fields = ("state", "content", "shown_headers")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxEvent]:
        """The list does without the bodies."""
        rows: QuerySet[InboxEvent] = super().get_queryset(request)
        return rows.defer("raw", "headers", "error")

    @display(description="body")
    def content(self, event: InboxEvent) -> SafeString:
        """The body: JSON readable and with its secrets masked, anything else as text."""
        raw = bytes(event.raw)
        try:
            return _pretty(json.loads(raw, parse_float=str))
        except (ValueError, UnsupportedValue):
            return format_html("<pre>{}</pre>", raw.decode("utf-8", "replace"))

    @display(description="headers")
    def shown_headers(self, event: InboxEvent) -> SafeString:
        """The headers; signatures and credentials are hidden."""
        return _pretty(_without_secrets(event.headers))


@admin.register(EventDelivery)
class EventDeliveryAdmin(ReadingRoom):
    """Deliveries of domain events to our own handlers."""

    list_display = ("id", "event_id", "handler", "policy", "state", "failures", "due_at", "reason")
    list_filter = ("status", "policy")
    search_fields = ("event__id__exact", "lane__exact")
    search_help_text = "The whole id of an event"
    ordering = ("-id",)
    fields = (
        ("event", "handler", "policy"),
        ("lane", "seq"),
        ("state", "due_at", "finished_at"),
        ("failures", "interruptions"),
        "reason",
        "error",
    )
    readonly_fields = ("state",)


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


class ReasonForm(ActionForm):
    """The choice of a verb, and words for the one that needs them."""

    reason = forms.CharField(
        required=False,
        max_length=500,
        label="",
        widget=UnfoldAdminTextInputWidget(
            {"placeholder": "Reason (to discard)", "aria-label": "Reason (to discard)"}
        ),
    )


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadingRoom):
    """What waits for a person. Replaying and discarding need the right to change dead letters."""

    list_display = ("what", "kind", "died_at", "attempts", "holds", "reason")
    list_filter = ("kind",)
    search_fields = ("row_id__exact", "event_id__exact", "what", "reason")
    search_help_text = "An id, or words of the reason"
    ordering = ("-died_at",)
    fields = (
        ("what", "kind"),
        ("row", "event_id"),
        ("died_at", "attempts", "holds"),
        "reason",
        "error",
    )
    readonly_fields = ("row",)
    actions = ("replay_selected", "discard_selected")
    action_form = ReasonForm

    @display(description="row")
    def row(self, letter: DeadLetter) -> SafeString:
        """A link to the row itself."""
        model = _MODEL_OF_KIND[letter.kind]
        return _page(model, letter.row_id)

    def has_mend_permission(self, request: HttpRequest) -> bool:
        """Ordinary staff permissions decide, although nothing is edited here."""
        user = request.user
        return bool(user.is_active and user.has_perm("webhooks.change_deadletter"))

    @action(description="Replay selected", permissions=["mend"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Let the selected dead letters run again."""
        ids = list(queryset.values_list("id", flat=True))
        count = dead_letters.replay(ids, actor=_staff(request), now=_now())
        self.message_user(request, f"{count} queued again.", messages.SUCCESS)

    @action(description="Discard with reason", permissions=["mend"])
    def discard_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Give the selected dead letters up, with the words that were typed."""
        ids = list(queryset.values_list("id", flat=True))
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Write the reason next to the action.", messages.ERROR)
            return
        count = dead_letters.discard(ids, reason=reason, actor=_staff(request), now=_now())
        self.message_user(request, f"{count} discarded.", messages.SUCCESS)


_MODEL_OF_KIND: dict[str, type[Model]] = {
    "inbox": InboxEvent,
    "handler": EventDelivery,
    "merchant": MerchantDelivery,
}


def _staff(request: HttpRequest) -> Actor:
    user = request.user
    if not user.is_authenticated:
        raise PermissionDenied("Log in first.")
    return Actor(type="user", id=str(user.pk), display=user.get_username())


def _now() -> datetime:
    return datetime.now(UTC)


def _link(row: Model) -> SafeString:
    return _page(type(row), str(row.pk))


def _page(model: type[Model], primary_key: str) -> SafeString:
    name = f"admin:webhooks_{model._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[primary_key]), primary_key)


def _pretty(value: Any) -> SafeString:
    masked = json.loads(writable_json(value).text)
    text = json.dumps(masked, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="whitespace-pre-wrap break-all">{}</pre>', text)


def _without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: "(hidden)" if any(word in name.lower() for word in _MASKED_HEADERS) else value
        for name, value in headers.items()
    }
