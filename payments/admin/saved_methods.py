"""Saved payment methods, to look at: what is kept for whom, and which of them nobody could settle.

Mental model: staff see what a merchant sees, the provider's references and the last call about the
method; the payer's name and address are not shown. A method whose saving or removal was never
answered waits for a person, who looks at the provider's own dashboard by the references here.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from audit import log
from payments.admin.presentation import badge, identifier, mode_badge, moment_text
from payments.admin.read_only import ReadOnlyAdmin
from payments.customer_representation import mandate_of
from payments.models import MethodOperation, PaymentMethod
from payments.models.customer import MethodState

_TONES = {
    MethodState.PENDING: "wait",
    MethodState.ACTIVE: "good",
    MethodState.FAILED: "bad",
    MethodState.REMOVED: "calm",
}
_UNSETTLED = Q(outcome="exhausted") | Q(kind=MethodOperation.Kind.REMOVE, outcome="declined")


class MethodStateFilter(DropdownFilter):
    """By state, or those that wait for a person."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        states = [(state.value, state.value.capitalize()) for state in MethodState]
        return [("unsettled", "Waits for a person"), *states]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "unsettled":
            unsettled = MethodOperation.objects.filter(_UNSETTLED)
            return queryset.filter(pk__in=unsettled.values("method"))
        return queryset.filter(state=chosen) if chosen else queryset


@admin.register(PaymentMethod)
class PaymentMethodAdmin(ReadOnlyAdmin):
    """The list of saved payment methods and the page of one."""

    list_display = (
        "id_shown",
        "state_shown",
        "summary_shown",
        "customer_shown",
        "merchant_shown",
        "mode_shown",
        "created_shown",
    )
    list_display_links = ("id_shown",)
    list_filter = (MethodStateFilter,)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)  # only switches the box on; get_search_results does the searching
    search_help_text = "Payment method or customer id, the provider's id of either"
    fieldsets = (
        (
            "Payment method",
            {
                "fields": (
                    ("state_shown", "summary_shown", "mode_shown"),
                    ("mandate_shown", "calls_shown"),
                    ("customer_shown", "merchant_shown", "account_shown"),
                    ("reference_shown", "customer_reference_shown", "error_shown"),
                    ("created_shown", "saved_shown", "removed_shown"),
                    ("id_shown",),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentMethod]:
        queryset: QuerySet[PaymentMethod] = super().get_queryset(request)
        return queryset.select_related("customer__merchant", "provider_account")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentMethod], search_term: str
    ) -> tuple[QuerySet[PaymentMethod], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(pk=term) | Q(customer_id=term)
        found |= Q(provider_reference=term) | Q(customer_reference=term)
        return queryset.filter(found), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        method = kwargs["obj"]
        log.viewed(
            stream_type="customer",
            stream_id=method.customer_id,
            what=f"payment method {method.pk}",
            occurred_at=timezone.now(),
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="state")
    def state_shown(self, method: PaymentMethod) -> SafeString:
        return badge(str(method.state).capitalize(), _TONES[MethodState(method.state)])

    @display(description="what it is")
    def summary_shown(self, method: PaymentMethod) -> str:
        words = [method.kind.replace("_", " "), method.brand, method.last4 and f"…{method.last4}"]
        return " ".join(word for word in words if word) or "–"

    @display(description="mandate")
    def mandate_shown(self, method: PaymentMethod) -> str:
        mandate = mandate_of(method)
        return f"{mandate.status}, agreed {moment_text(mandate.accepted_at)}" if mandate else "–"

    @display(description="calls to the provider")
    def calls_shown(self, method: PaymentMethod) -> str:
        calls = method.operations.order_by("pk")
        words = [
            f"{call.kind}: {call.outcome or 'open'} ({call.try_count} tries)" for call in calls
        ]
        return "; ".join(words)

    @display(description="customer")
    def customer_shown(self, method: PaymentMethod) -> SafeString | str:
        return identifier(method.customer_id)

    @display(description="merchant")
    def merchant_shown(self, method: PaymentMethod) -> str:
        return str(method.customer.merchant.name)

    @display(description="mode")
    def mode_shown(self, method: PaymentMethod) -> SafeString:
        return mode_badge(method.customer.livemode)

    @display(description="provider account")
    def account_shown(self, method: PaymentMethod) -> str:
        return str(method.provider_account)

    @display(description="provider's id")
    def reference_shown(self, method: PaymentMethod) -> SafeString | str:
        return identifier(method.provider_reference)

    @display(description="provider's customer")
    def customer_reference_shown(self, method: PaymentMethod) -> SafeString | str:
        return identifier(method.customer_reference)

    @display(description="error")
    def error_shown(self, method: PaymentMethod) -> str:
        return (method.error or {}).get("message", "–")

    @display(description="created (UTC)")
    def created_shown(self, method: PaymentMethod) -> str:
        return moment_text(method.created_at)

    @display(description="saved (UTC)")
    def saved_shown(self, method: PaymentMethod) -> str:
        return moment_text(method.saved_at)

    @display(description="removed (UTC)")
    def removed_shown(self, method: PaymentMethod) -> str:
        return moment_text(method.removed_at)

    @display(description="id")
    def id_shown(self, method: PaymentMethod) -> SafeString | str:
        return identifier(method.pk)
