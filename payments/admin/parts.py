"""What the pages of a payment's parts have in common: their payment, how they are found and shown.

Mental model: refunds, disputes and review cases are read-only rows of a payment. Each page links
to it, names merchant and mode, and is found by any id that leads to the part or to its payment.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from audit import log
from payments.admin import search
from payments.admin.presentation import (
    admin_link,
    identifier,
    mode_badge,
    moment_text,
    money_text,
    short_identifier,
    state_badge,
)
from payments.admin.read_only import ReadOnlyAdmin


class PartAdmin(ReadOnlyAdmin):
    """A list and a page of rows that belong to a payment."""

    list_display_links = ("short_id",)
    list_select_related = ("payment__merchant",)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)  # only switches the box on; get_search_results does the searching
    references: ClassVar[tuple[str, ...]] = ()  # columns that hold the provider's id

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset.select_related("payment__merchant", "payment__provider_account")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        own = Q(pk=term)
        for column in self.references:
            own |= Q(**{column: term})
        if self.model._default_manager.filter(own).exists():
            return queryset.filter(own), False
        return queryset.filter(payment__in=search.payment_ids(term)), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        part = kwargs["obj"]
        log.viewed(
            stream_type="payment",
            stream_id=part.payment_id,
            what=f"{self.model._meta.verbose_name} {part.pk}",
            occurred_at=timezone.now(),
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="id")
    def id_shown(self, part: Any) -> SafeString | str:
        return identifier(part.pk)

    @display(description="id")
    def short_id(self, part: Any) -> SafeString | str:
        return short_identifier(part.pk)

    @display(description="payment")
    def payment_short(self, part: Any) -> SafeString | str:
        return admin_link("payment", part.payment_id, short_identifier(part.payment_id))

    @display(description="payment")
    def payment_link(self, part: Any) -> SafeString | str:
        return admin_link("payment", part.payment_id, part.payment_id)

    @display(description="payment's state")
    def payment_state_shown(self, part: Any) -> SafeString:
        return state_badge(part.payment.state)

    @display(description="merchant")
    def merchant_shown(self, part: Any) -> str:
        return str(part.payment.merchant.name)

    @display(description="mode")
    def mode_shown(self, part: Any) -> SafeString:
        return mode_badge(part.payment.livemode)

    @display(description="amount")
    def amount_shown(self, part: Any) -> SafeString:
        return amount_html(part.amount_minor, part.currency)

    @display(description="provider's id")
    def reference_shown(self, part: Any) -> SafeString | str:
        return identifier(part.provider_reference)

    @display(description="created (UTC)")
    def created_shown(self, part: Any) -> str:
        return moment_text(part.created_at)


def amount_html(amount_minor: int | None, currency: str) -> SafeString:
    """Money that never breaks over two lines."""
    return format_html('<span class="florin-amount">{}</span>', money_text(amount_minor, currency))
