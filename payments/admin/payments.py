"""Payments, to look at: the list with its filters and search, and one payment with all its parts.

Mental model: ids sort by time, so the list is read backwards along the primary key and needs no
count. Every filter that could match few rows among many is bounded by a time window, and a search
is a handful of index look-ups (payments.admin.search) instead of a scan.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from audit import log
from payments.admin import queues, search, timeline, waterfall, wording, wording_parts
from payments.admin.access import may
from payments.admin.parts import amount_html
from payments.admin.payment_filters import (
    CreatedFilter,
    CurrencyFilter,
    MerchantFilter,
    ModeFilter,
    StateFilter,
)
from payments.admin.payment_inlines import (
    AttemptInline,
    CaptureInline,
    CaseInline,
    DisputeInline,
    OperationInline,
    RefundInline,
    TransitionInline,
)
from payments.admin.payment_verbs import PaymentVerbs
from payments.admin.presentation import (
    admin_link,
    identifier,
    method_text,
    mode_badge,
    moment_text,
    pretty_json,
    state_badge,
)
from payments.admin.read_only import ReadOnlyAdmin
from payments.models import Payment
from payments.representation import refundable_minor


@admin.register(Payment)
class PaymentAdmin(PaymentVerbs, ReadOnlyAdmin):
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
    inlines = (
        CaptureInline,
        RefundInline,
        DisputeInline,
        CaseInline,
        TransitionInline,
        AttemptInline,
        OperationInline,
    )
    actions_detail = ("open_story", "decide", "refund", "capture", "cancel", "ask_provider")
    change_form_before_template = "admin/florin/payment_before.html"
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
                    ("cancellation_shown", "review_shown", "version"),
                )
            },
        ),
        (
            "Amounts",
            {
                "fields": (
                    ("authorized_shown", "capturable_shown", "captured_shown"),
                    ("refund_pending_shown", "refunded_shown", "refundable_shown"),
                    ("disputed_shown", "reversed_shown", "double_loss_shown"),
                    ("settled_shown", "platform_fee_shown"),
                    ("provider_fee_shown", "dispute_fee_shown"),
                )
            },
        ),
        (
            "Times (UTC)",
            {
                "fields": (
                    ("authorized_at", "captured_at", "settled_at"),
                    ("canceled_at", "failed_at", "poll_due_shown"),
                    ("expires_shown", "capture_before_shown"),
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
                "queues/",
                self.admin_site.admin_view(self._queues),
                name="payments_queues",
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

    def _queues(self, request: HttpRequest) -> HttpResponse:
        return queues.queues_view(request, self)

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

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        payment: Payment = kwargs["obj"]
        log.viewed(
            stream_type="payment",
            stream_id=payment.pk,
            what="payment page",
            occurred_at=timezone.now(),
        )
        context["waterfall"] = waterfall.of(payment)
        context["open_cases"] = payment.cases.filter(resolved_at=None).order_by("opened_at")
        context["may_see_cases"] = may(request, "payments.view_reviewcase")
        context["due_disputes"] = payment.disputes.filter(state="needs_response")
        context["may_see_disputes"] = may(request, "payments.view_dispute")
        context["now"] = timezone.now()
        return super().render_change_form(request, context, *args, **kwargs)

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

    @display(description="the provider is asked again at")
    def poll_due_shown(self, payment: Payment) -> str:
        return moment_text(payment.poll_due_at)

    @display(description="given up if nobody pays until")
    def expires_shown(self, payment: Payment) -> str:
        return moment_text(payment.expires_at)

    @display(description="the hold runs out at")
    def capture_before_shown(self, payment: Payment) -> str:
        return moment_text(payment.capture_before)

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

    @display(description="on its way back")
    def refund_pending_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_refund_pending_minor, payment)

    @display(description="may still be refunded")
    def refundable_shown(self, payment: Payment) -> SafeString:
        return _amount(refundable_minor(payment), payment)

    @display(description="given back beyond what was captured")
    def double_loss_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.double_loss_minor, payment)

    @display(description="provider's fees for disputes")
    def dispute_fee_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.dispute_fee_minor, payment)

    @display(description="why a person had to look")
    def review_shown(self, payment: Payment) -> str:
        return payment.review_reason or "–"

    @display(description="why it was canceled")
    def cancellation_shown(self, payment: Payment) -> str:
        reason = payment.cancellation_reason
        return wording_parts.CANCEL_REASONS.get(reason) or wording.readable(reason) or "–"

    @display(description="withheld in disputes")
    def disputed_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_disputed_minor, payment)

    @display(description="taken back for good")
    def reversed_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.amount_reversed_minor, payment)

    @display(description="our fee")
    def platform_fee_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.platform_fee_minor, payment)

    @display(description="provider's fee")
    def provider_fee_shown(self, payment: Payment) -> SafeString:
        return _amount(payment.provider_fee_minor, payment)


def _amount(amount_minor: int | None, payment: Payment) -> SafeString:
    return amount_html(amount_minor, payment.currency)
