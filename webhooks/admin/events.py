"""Events in the back office: what came in, what happened here, and who was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from webhooks.admin.reading import ReadingRoom, Rows, about_url, body, link, pretty, without_secrets
from webhooks.models import DomainEvent, EventDelivery, InboxEvent, MerchantDelivery

# (request, id of a stored provider event) -> what the template below shows about its effects.
TellEffects = Callable[[HttpRequest, str], Any]
_tellers: list[TellEffects] = []


def effects_told_by(tell: TellEffects) -> None:
    """Let an app that knows the business tell, on the page of a provider event, what it did."""
    _tellers[:] = [tell]


class EventDeliveryRows(Rows):
    """Our own handlers of an event."""

    model = EventDelivery
    verbose_name_plural = "Handlers"
    ordering = ("handler",)
    fields = ("handler", "status", "policy", "failures", "interruptions", "due_at", "reason")


class MerchantDeliveryRows(Rows):
    """The endpoints an event is sent to."""

    model = MerchantDelivery
    verbose_name_plural = "Merchant deliveries"
    ordering = ("id",)
    fields = ("page", "endpoint", "status", "attempts", "due_at", "reason", "finished_at")

    @display(description="delivery")
    def page(self, row: MerchantDelivery) -> SafeString:
        """A link to the delivery with its attempts."""
        return link(row)


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
        ("aggregate_type", "about", "seq"),
        ("owner", "livemode"),
        ("occurred_at", "created_at", "causation_id"),
        "content",
    )
    readonly_fields = ("about", "content")
    inlines = (EventDeliveryRows, MerchantDeliveryRows)

    @display(description="about")
    def about(self, event: DomainEvent) -> SafeString | str:
        """The id of what it tells of, linked where that has a page."""
        url = about_url(event.aggregate_type, event.aggregate_id)
        return (
            format_html('<a href="{}">{}</a>', url, event.aggregate_id)
            if url
            else event.aggregate_id
        )

    @display(description="number")
    def number(self, event: DomainEvent) -> int:
        """Its place among the events of the same thing."""
        return event.seq

    @display(description="payload")
    def content(self, event: DomainEvent) -> SafeString:
        """The payload, readable, secrets masked."""
        return pretty(event.payload)


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
        "payment",
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
        "payment",
        "content",
        "shown_headers",
        "error",
    )
    readonly_fields = ("state", "payment", "content", "shown_headers")
    change_form_before_template = "admin/florin/inbox_effects.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with what the event did in front."""
        context["effects"] = [tell(request, kwargs["obj"].pk) for tell in _tellers]
        return super().render_change_form(request, context, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxEvent]:
        """The list does without the bodies."""
        rows: QuerySet[InboxEvent] = super().get_queryset(request)
        return rows.defer("raw", "headers", "error")

    @display(description="payment")
    def payment(self, event: InboxEvent) -> SafeString | str:
        """A link to the payment it is about, where that is known."""
        url = about_url("payment", event.payment_id) if event.payment_id else ""
        return format_html('<a href="{}">{}</a>', url, event.payment_id) if url else "–"

    @display(description="body")
    def content(self, event: InboxEvent) -> SafeString:
        """The body: JSON readable and with its secrets masked, anything else as text."""
        return body(bytes(event.raw))

    @display(description="headers")
    def shown_headers(self, event: InboxEvent) -> SafeString:
        """The headers; signatures and credentials are hidden."""
        return pretty(without_secrets(event.headers))


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
