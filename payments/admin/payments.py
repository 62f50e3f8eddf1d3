"""Payments, to look at: the list with its filters and search, and one payment with all its parts.

Mental model: ids sort by time, so the list is read backwards along the primary key and needs no
count. Every filter that could match few rows among many is bounded by a time window, and a search
is a handful of index look-ups (payments.admin.search) instead of a scan.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from audit import log
from payments.admin import search, timeline, wording
from payments.admin.access import staff_actor
from payments.admin.presentation import (
    admin_link,
    badge,
    identifier,
    mode_badge,
    moment_text,
    money_text,
    pretty_json,
    state_badge,
)
from payments.admin.read_only import ReadOnlyAdmin, ReadOnlyInline
from payments.models import Attempt, Merchant, Payment, ProviderOperation, Transition
from payments.states import State

# How far back the list looks when nobody asks for more. A rare state among millions of payments
# would otherwise be searched for through the whole table.
DEFAULT_WINDOW_DAYS = 30
_MERCHANTS_IN_FILTER = 200


class StateFilter(DropdownFilter):
    """By state, in the words of the back office."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, wording.state_words(state.value).label) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(state=self.value()) if self.value() else queryset


class ModeFilter(DropdownFilter):
    """Real money or not."""

    title = "mode"
    parameter_name = "mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live"), ("test", "Test")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(livemode=self.value() == "live") if self.value() else queryset


class CurrencyFilter(DropdownFilter):
    """The currencies of the time looked at by default."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = Payment.objects.filter(created_at__gte=timezone.now() - timedelta(days=7))
        codes = set(recent.order_by().values_list("currency", flat=True).distinct()[:200])
        chosen = request.GET.get(self.parameter_name)
        return [(code, code) for code in sorted(codes | ({chosen} if chosen else set()))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


class MerchantFilter(DropdownFilter):
    """One merchant's payments, along their own index."""

    title = "merchant"
    parameter_name = "merchant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        merchants = list(Merchant.objects.order_by("-pk")[:_MERCHANTS_IN_FILTER])
        if chosen and not any(merchant.pk == chosen for merchant in merchants):
            merchants.extend(Merchant.objects.filter(pk=chosen))
        return [(m.pk, m.name) for m in sorted(merchants, key=lambda m: m.name.lower())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(merchant=self.value()) if self.value() else queryset


class CreatedFilter(DropdownFilter):
    """How far back. A search looks at all times."""

    title = "created"
    parameter_name = "created"
    _days = {"1": 1, "7": 7, "30": 30, "90": 90, "365": 365}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("1", "Last 24 hours"),
            ("7", "Last 7 days"),
            ("30", f"Last {DEFAULT_WINDOW_DAYS} days (if nothing is chosen)"),
            ("90", "Last 90 days"),
            ("365", "Last 12 months"),
            ("all", "All times"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        chosen = self.value()
        if chosen == "all" or (chosen is None and request.GET.get("q")):
            return queryset
        days = self._days.get(chosen or "", DEFAULT_WINDOW_DAYS)
        return queryset.filter(created_at__gte=timezone.now() - timedelta(days=days))


class AttemptInline(ReadOnlyInline):
    """The tries to pay."""

    model = Attempt
    verbose_name_plural = "Attempts"
    ordering = ("number",)
    fields = (
        "number",
        "state_shown",
        "provider_account",
        "provider_reference",
        "charge_reference",
        "error_shown",
        "created_at",
        "finished_at",
    )

    @display(description="state")
    def state_shown(self, attempt: Attempt) -> SafeString:
        return badge(
            wording.readable(attempt.state), wording.ATTEMPT_TONES.get(attempt.state, "calm")
        )

    @display(description="why not")
    def error_shown(self, attempt: Attempt) -> str:
        return (attempt.error or {}).get("message") or "–"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).select_related("provider_account")


class OperationInline(ReadOnlyInline):
    """The calls to the provider."""

    model = ProviderOperation
    verbose_name_plural = "Provider calls"
    ordering = ("created_at",)
    fields = (
        "id_shown",
        "asked",
        "outcome_shown",
        "try_count",
        "error_shown",
        "created_at",
        "finished_at",
        "next_try_shown",
    )

    @display(description="call")
    def id_shown(self, operation: ProviderOperation) -> SafeString | str:
        return identifier(operation.pk)

    @display(description="asked to")
    def asked(self, operation: ProviderOperation) -> str:
        return wording.OPERATIONS.get(operation.kind, operation.kind)

    @display(description="outcome")
    def outcome_shown(self, operation: ProviderOperation) -> SafeString:
        words = wording.outcome_words(operation.outcome)
        return badge(words.label, words.tone, title=words.sentence)

    @display(description="why not")
    def error_shown(self, operation: ProviderOperation) -> str:
        return (operation.error or {}).get("message") or "–"

    @display(description="asked again at")
    def next_try_shown(self, operation: ProviderOperation) -> str:
        return "–" if operation.finished_at else moment_text(operation.next_try_at)


class TransitionInline(ReadOnlyInline):
    """The moves from state to state."""

    model = Transition
    verbose_name_plural = "Transitions"
    ordering = ("version",)
    fields = ("version", "from_shown", "to_shown", "meaning", "by", "cause", "occurred_at")

    @display(description="from")
    def from_shown(self, transition: Transition) -> SafeString | str:
        return state_badge(transition.from_state) if transition.from_state else "–"

    @display(description="to")
    def to_shown(self, transition: Transition) -> SafeString:
        return state_badge(transition.to_state)

    @display(description="why")
    def meaning(self, transition: Transition) -> str:
        if not transition.from_state:
            return "the payment was made"
        return wording.edge_meaning(transition.from_state, transition.event)

    @display(description="by")
    def by(self, transition: Transition) -> str:
        who = wording.ACTORS.get(transition.actor_type, transition.actor_type)
        return f"{who} {transition.actor_id}"

    @display(description="because of")
    def cause(self, transition: Transition) -> str:
        return f"{wording.readable(transition.cause_type)} {transition.cause_id}".strip()


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """The list of payments and the page of one."""

    list_display = (
        "id_shown",
        "amount_shown",
        "state_shown",
        "merchant_shown",
        "mode_shown",
        "merchant_reference_shown",
        "created_shown",
        "story_link",
    )
    list_display_links = ("id_shown",)
    list_filter = (StateFilter, ModeFilter, CurrencyFilter, CreatedFilter, MerchantFilter)
    list_select_related = ("merchant",)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)  # only switches the box on; get_search_results does the searching
    search_help_text = "Payment id or its beginning, merchant reference, provider's id"
    inlines = (TransitionInline, AttemptInline, OperationInline)
    actions_detail = ("open_story",)
    list_before_template = "admin/florin/payment_list_hint.html"

    fieldsets = (
        (
            "Payment",
            {
                "fields": (
                    ("amount_shown", "state_shown", "mode_shown"),
                    ("merchant_link", "merchant_reference_shown", "description_shown"),
                    ("created_shown", "capture_method", "outcome_shown"),
                    ("method_shown", "provider_account", "last_error_shown"),
                    ("cancellation_reason", "review_reason", "version"),
                )
            },
        ),
        (
            "Amounts",
            {
                "fields": (
                    ("authorized_shown", "capturable_shown", "captured_shown"),
                    ("settled_shown", "refunded_shown", "disputed_shown"),
                    ("platform_fee_shown", "provider_fee_shown", "reversed_shown"),
                )
            },
        ),
        (
            "Times (UTC)",
            {
                "fields": (
                    ("authorized_at", "captured_at", "settled_at"),
                    ("canceled_at", "failed_at", "poll_due_at"),
                )
            },
        ),
        ("Data of the merchant", {"fields": ("metadata_shown",), "classes": ["collapse"]}),
    )

    def get_urls(self) -> list[Any]:
        own = [
            path(
                "find/",
                self.admin_site.admin_view(self._find),
                name="payments_payment_find",
            ),
            path(
                "<str:payment_id>/story/",
                self.admin_site.admin_view(self._story),
                name="payments_payment_story",
            ),
        ]
        return own + super().get_urls()

    def _find(self, request: HttpRequest) -> HttpResponse:
        return timeline.find_view(request, self)

    def _story(self, request: HttpRequest, payment_id: str) -> HttpResponse:
        return timeline.story_view(request, self, payment_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        queryset: QuerySet[Payment] = super().get_queryset(request)
        return queryset.select_related("merchant", "provider_account")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(pk__in=search.payment_ids(term)), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        if request.method == "GET" and response.status_code == 200:
            log.viewed(
                stream_type="payment",
                stream_id=object_id,
                what="payment page",
                actor=staff_actor(request),
                occurred_at=timezone.now(),
            )
        return response

    @action(description="Whole story", url_path="open-story", icon="timeline")
    def open_story(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:payments_payment_story", args=[object_id]))

    @display(description="payment")
    def id_shown(self, payment: Payment) -> SafeString | str:
        return identifier(payment.pk)

    @display(description="amount")
    def amount_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_minor, payment)

    @display(description="state")
    def state_shown(self, payment: Payment) -> SafeString:
        return state_badge(payment.state)

    @display(description="mode")
    def mode_shown(self, payment: Payment) -> SafeString:
        return mode_badge(payment.livemode)

    @display(description="merchant")
    def merchant_shown(self, payment: Payment) -> str:
        return payment.merchant.name

    @display(description="merchant")
    def merchant_link(self, payment: Payment) -> SafeString | str:
        return admin_link("merchant", payment.merchant_id, payment.merchant.name)

    @display(description="merchant reference")
    def merchant_reference_shown(self, payment: Payment) -> str:
        return payment.merchant_reference or "–"

    @display(description="description")
    def description_shown(self, payment: Payment) -> str:
        return payment.description or "–"

    @display(description="created (UTC)")
    def created_shown(self, payment: Payment) -> str:
        return moment_text(payment.created_at)

    @display(description="story")
    def story_link(self, payment: Payment) -> SafeString:
        url = reverse("admin:payments_payment_story", args=[payment.pk])
        return format_html(
            '<a class="florin-link" href="{}" aria-label="Whole story of {}">Open</a>',
            url,
            payment.pk,
        )

    @display(description="outcome at the provider")
    def outcome_shown(self, payment: Payment) -> str:
        return wording.outcome_words(payment.outcome).sentence if payment.outcome else "–"

    @display(description="payment method")
    def method_shown(self, payment: Payment) -> str:
        return method_text(payment.payment_method)

    @display(description="last refusal")
    def last_error_shown(self, payment: Payment) -> str:
        return (payment.last_error or {}).get("message") or "–"

    @display(description="metadata")
    def metadata_shown(self, payment: Payment) -> SafeString:
        return format_html('<pre class="florin-json">{}</pre>', pretty_json(payment.metadata))

    @display(description="authorized")
    def authorized_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_authorized_minor, payment)

    @display(description="may still be captured")
    def capturable_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_capturable_minor, payment)

    @display(description="captured")
    def captured_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_captured_minor, payment)

    @display(description="settled")
    def settled_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_settled_minor, payment)

    @display(description="refunded")
    def refunded_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_refunded_minor, payment)

    @display(description="disputed")
    def disputed_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_disputed_minor, payment)

    @display(description="reversed")
    def reversed_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_reversed_minor, payment)

    @display(description="our fee")
    def platform_fee_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.platform_fee_minor, payment)

    @display(description="provider's fee")
    def provider_fee_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.provider_fee_minor, payment)


def method_text(method: dict[str, Any]) -> str:
    """A payment method as the provider summed it up: "Visa card ending in 4242"."""
    if not method:
        return "–"
    details = method.get("card") or method.get(str(method.get("type"))) or method
    details = details if isinstance(details, dict) else method
    brand = str(details.get("brand") or "").replace("_", " ").title()
    kind = str(method.get("type") or "").replace("_", " ")
    last4 = details.get("last4")
    words = " ".join(part for part in (brand, kind) if part) or "Known to the provider"
    return f"{words} ending in {last4}" if last4 else words


def _amount(amount_minor: int | None, payment: Payment) -> SafeString:
    return format_html(
        '<span class="florin-amount">{}</span>', money_text(amount_minor, payment.currency)
    )
