"""The audit log in the back office: to look at and to search, never to change.

Searching goes through the indexes of audit.timeline and never reads the whole table; the list is
paged without being counted. Whoever looks at an event, or searches, is recorded in the log.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from audit.log import viewed
from audit.models import AuditEvent
from audit.timeline import event_ids


@admin.register(AuditEvent)
class AuditEventAdmin(ModelAdmin):
    """List, search and detail of audit events, read-only for everybody."""

    actions = None
    list_display = ("recorded", "event_type", "actor", "stream", "request_id")
    list_display_links = ("recorded",)
    # Only the number has an index over all events: any other order would sort them all.
    ordering = ("-id",)
    sortable_by = ()
    # The box only; what is searched is told by get_search_results.
    search_fields = ("stream_id",)
    search_help_text = (
        "Any id: of a payment, a provider's object, an order, a trace, a request or a user. "
        "The first four or more characters of a payment's or provider's id are enough."
    )
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    fieldsets = (
        (None, {"fields": ("event_type", "occurred", "recorded", "actor", "reason")}),
        ("About", {"fields": ("stream", "references", "pretty_body", "redacted")}),
        ("Request", {"fields": ("request_of_event", "trace_of_event")}),
        ("Evidence", {"fields": ("id", "xid", "leaf", "body")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: events are appended by what happens."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: an event stays as it was written."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Every field that is shown."""
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        """The events that an id leads to; all of them without a search."""
        if not search_term.strip():
            return queryset, False
        return queryset.filter(pk__in=event_ids(search_term)), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; looking at it is recorded, with what was searched for."""
        response = super().changelist_view(request, extra_context)
        if response.status_code == 200:
            searched = request.GET.get("q", "")
            viewed(
                stream_type="audit_log",
                stream_id="list",
                what=f"search for {searched!r}" if searched else "latest events",
                occurred_at=timezone.now(),
            )
        return response

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One event; looking at it is recorded, also in the story of what the event is about."""
        response = super().change_view(request, object_id, form_url, extra_context)
        event = self.get_object(request, object_id) if response.status_code == 200 else None
        if event is not None:
            viewed(
                stream_type="audit_event",
                stream_id=str(event.pk),
                what="event in the back office",
                references=[(event.stream_type, event.stream_id)],
                occurred_at=timezone.now(),
            )
        return response

    @admin.display(description="recorded at")
    def recorded(self, event: AuditEvent) -> str:
        """To the microsecond, UTC."""
        return event.recorded_at.isoformat(sep=" ")

    @admin.display(description="occurred at")
    def occurred(self, event: AuditEvent) -> str:
        """When it happened, by the clock of the process that told of it."""
        return event.occurred_at.isoformat(sep=" ")

    @admin.display(description="actor")
    def actor(self, event: AuditEvent) -> str:
        """Type, id and, in brackets, the name at that time."""
        name = f" ({event.actor_display})" if event.actor_display else ""
        return f"{event.actor_type} {event.actor_id}{name}"

    @admin.display(description="about")
    def stream(self, event: AuditEvent) -> SafeString:
        """What the event is about, linked to all events about it."""
        return _search_link(event.stream_id, f"{event.stream_type} {event.stream_id}")

    @admin.display(description="also mentions")
    def references(self, event: AuditEvent) -> SafeString:
        """The ids it can be found by, each linked to the search for it."""
        return format_html_join(
            SafeString("<br>"),
            "{}",
            (
                (_search_link(value, f"{kind} {value}"),)
                for kind, value in json.loads(event.reference_list)
            ),
        )

    @admin.display(description="request")
    def request_of_event(self, event: AuditEvent) -> SafeString | str:
        """Linked to everything the same request did."""
        return _search_link(event.request_id, event.request_id) if event.request_id else "-"

    @admin.display(description="trace")
    def trace_of_event(self, event: AuditEvent) -> SafeString | str:
        """Linked to everything of the same trace."""
        return _search_link(event.trace_id, event.trace_id) if event.trace_id else "-"

    @admin.display(description="content")
    def pretty_body(self, event: AuditEvent) -> SafeString:
        """The body with one line per value."""
        text = json.dumps(json.loads(event.body), indent=2, ensure_ascii=False)
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', text)

    @admin.display(description="hash")
    def leaf(self, event: AuditEvent) -> str:
        """The stored hash, and whether it is that of the stored bytes."""
        stored = bytes(event.leaf_hash)
        fits = event.fields().leaf_hash() == stored
        return f"{stored.hex()} ({'fits' if fits else 'DOES NOT FIT'} what is stored)"


def _search_link(value: str, text: str) -> SafeString:
    address = reverse("admin:audit_auditevent_changelist") + "?" + urlencode({"q": value})
    return format_html('<a href="{}">{}</a>', address, text)
