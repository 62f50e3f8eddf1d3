"""What the pages of the event pipeline share: lists to look at, links, payloads without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from audit.log import Actor
from audit.redaction import UnsupportedValue, writable_json, writable_text

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


class Rows(TabularInline):
    """Rows of another table below a page, to look at."""

    extra = 0
    can_delete = False
    tab = True

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return list(self.fields or ())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Moment(forms.DateTimeField):
    """A time in UTC, from a browser's date and time input or in ISO 8601."""

    def __init__(self, label: str, *, required: bool = False) -> None:
        super().__init__(
            required=required,
            label=label,
            widget=UnfoldAdminTextInputWidget({"type": "datetime-local", "step": "1"}),
        )

    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        return None if moment is None else moment.astimezone(UTC)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return value


def staff(request: HttpRequest) -> Actor:
    """The person who clicked, for the audit trail. Raises PermissionDenied."""
    user = request.user
    if not user.is_authenticated:
        raise PermissionDenied("Log in first.")
    return Actor(type="user", id=str(user.pk), display=user.get_username())


def now() -> datetime:
    """The moment of a click."""
    return datetime.now(UTC)


def moment_text(moment: datetime | None) -> str:
    """A time in UTC to the second, as the other columns write it."""
    return "–" if moment is None else str(localize(moment.astimezone(UTC)))


def link(row: Model) -> SafeString:
    """The id of a row, as a link to its page."""
    return page(type(row), str(row.pk))


def page(model: type[Model], primary_key: str) -> SafeString:
    """A primary key of `model`, as a link to its page."""
    name = f"admin:webhooks_{model._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[primary_key]), primary_key)


def pretty(value: Any) -> SafeString:
    """JSON to read, secrets masked. Raises audit.redaction.UnsupportedValue."""
    masked = json.loads(writable_json(value).text)
    text = json.dumps(masked, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="whitespace-pre-wrap break-all">{}</pre>', text)


def body(raw: bytes) -> SafeString:
    """Bytes from the wire: JSON readable and with its secrets masked, anything else as text."""
    try:
        return pretty(json.loads(raw, parse_float=str))
    except (ValueError, UnsupportedValue):
        text = writable_text(raw.decode("utf-8", "replace")).text
        return format_html('<pre class="whitespace-pre-wrap break-all">{}</pre>', text)


def about_url(aggregate_type: str, aggregate_id: str) -> str:
    """The page of what an event tells of, in whichever app it lives; "" where it has none."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        if model._meta.model_name == aggregate_type.replace("_", ""):
            return reverse(name, args=[aggregate_id])
    return ""


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with the values of signatures and credentials hidden."""
    return {
        name: "(hidden)" if any(word in name.lower() for word in _MASKED_HEADERS) else value
        for name, value in headers.items()
    }
