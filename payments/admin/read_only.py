"""What every page about money has in common: it can be looked at, and nothing else.

Mental model: the back office never edits a row of money. Everything that changes a payment is a
verb in payments.actions, asked for through the API. So adding, changing, deleting and bulk actions
are refused here for everybody, the superuser included, and looking needs the view permission.
Long tables are paged without being counted, because a count reads the whole table.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin, TabularInline
from unfold.paginator import InfinitePaginator


class LookOnly:
    """Refuses every write; mix in before an admin class."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(LookOnly, ModelAdmin):
    """A list and a page to look at, paged without counting."""

    actions = None
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    compressed_fields = True
    list_filter_submit = True
    show_facets = 0  # never: facets count

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # Lists link with Django's quoting ("pay_5F01..."); buttons are made from what stands in the
        # address, and their pages take ids as they are.
        plain_id = unquote(object_id) if object_id else object_id
        return super().changeform_view(request, plain_id, form_url, extra_context)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        shown: list[str] = []
        for _, options in self.get_fieldsets(request, obj):
            for field in options["fields"]:
                shown.extend(field if isinstance(field, list | tuple) else [field])
        return shown


class HistoryAdmin(SimpleHistoryAdmin, ReadOnlyAdmin):
    """A read-only page with its history; nothing can be reverted from it."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        history = self.model.history.model._meta
        context["show_history"] = request.user.has_perm(
            f"{history.app_label}.view_{history.model_name}"
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(LookOnly, TabularInline):
    """Rows that belong to the object of the page, as a tab."""

    extra = 0
    can_delete = False
    tab = True
    hide_title = True
    show_change_link = False
    per_page = 50

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return list(self.fields or ())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset
