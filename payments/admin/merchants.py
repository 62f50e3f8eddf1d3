"""Merchants: looked at here, changed by one verb per page.

Mental model: the pages themselves are read-only and carry the history that django-simple-history
keeps; each button opens the page of one verb (payments.admin.verbs), which calls one action. No
row is saved by a form of Django's, so nothing changes without its audit event.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions.api_keys import issue_api_key
from payments.actions.create_merchant import create_merchant
from payments.actions.merchant_status import set_merchant_status, set_review_limit
from payments.admin import merchant_endpoints
from payments.admin.access import LIVE_PERMISSION, may, require, staff_actor
from payments.admin.forms import (
    ApiKeyForm,
    MerchantForm,
    OnceForm,
    ReasonForm,
    ReviewLimitForm,
)
from payments.admin.presentation import admin_link, badge, identifier, mode_badge, moment_text
from payments.admin.read_only import HistoryAdmin, ReadOnlyInline
from payments.admin.verbs import Done, ShownKey, Verb, verb_page
from payments.models import ApiKey, Merchant, ProviderAccount


class ApiKeyInline(ReadOnlyInline):
    """The merchant's keys; of each only its beginning is known."""

    model = ApiKey
    verbose_name_plural = "API keys"
    ordering = ("-pk",)
    fields = ("key_link", "kind", "mode_shown", "name", "created_at", "used_shown", "status_shown")

    @display(description="key")
    def key_link(self, key: ApiKey) -> SafeString | str:
        return admin_link("apikey", key.pk, f"{key.prefix}…")

    @display(description="mode")
    def mode_shown(self, key: ApiKey) -> SafeString:
        return mode_badge(key.livemode)

    @display(description="last used (UTC)")
    def used_shown(self, key: ApiKey) -> str:
        return moment_text(key.last_used_at)

    @display(description="status")
    def status_shown(self, key: ApiKey) -> SafeString:
        return key_status(key)


class ProviderAccountInline(ReadOnlyInline):
    """The merchant's own provider accounts."""

    model = ProviderAccount
    verbose_name_plural = "Provider accounts"
    ordering = ("-pk",)
    fields = ("account_link", "provider", "mode_shown", "active_shown", "created_at")

    @display(description="account")
    def account_link(self, account: ProviderAccount) -> SafeString | str:
        return admin_link("provideraccount", account.pk, account.name)

    @display(description="mode")
    def mode_shown(self, account: ProviderAccount) -> SafeString:
        return mode_badge(account.livemode)

    @display(description="in use")
    def active_shown(self, account: ProviderAccount) -> SafeString:
        return account_status(account)


@admin.register(Merchant)
class MerchantAdmin(HistoryAdmin):
    """Merchants: onboard, issue keys, suspend."""

    list_display = ("name", "email", "status_shown", "fee_shown", "id_shown", "created_shown")
    list_display_links = ("name",)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = "Merchant id, e-mail address, or the beginning of the name"
    inlines = (ApiKeyInline, ProviderAccountInline)
    actions_detail = (
        "issue_key",
        "add_endpoint",
        "change_limit",
        "change_status",
        "show_payments",
        "show_endpoints",
    )
    fieldsets = (
        (
            "Merchant",
            {
                "fields": (
                    ("name", "email", "status_shown"),
                    ("fee_shown", "limit_shown"),
                    ("id_shown", "created_shown"),
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "payments.add_merchant")

    def has_issue_key_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.add_apikey")

    def has_add_endpoint_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, merchant_endpoints.ADD)

    def has_see_endpoints_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "webhooks.view_webhookendpoint")

    def has_change_status_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.change_merchant")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Merchant], search_term: str
    ) -> tuple[QuerySet[Merchant], bool]:
        term = search_term.strip()
        if term.startswith("mer_"):
            return queryset.filter(pk=term), False
        if "@" in term:
            return queryset.filter(email__iexact=term), False
        return (queryset.filter(name__istartswith=term) if term else queryset), False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        require(request, "payments.add_merchant")

        def onboard(form: OnceForm) -> Done:
            created = create_merchant(
                name=form.cleaned_data["name"],
                email=form.cleaned_data["email"],
                fee_basis_points=form.cleaned_data["fee_basis_points"],
                fee_fixed_minor=form.cleaned_data["fee_fixed_minor"],
                review_above_minor=form.cleaned_data["review_above_minor"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(
                message=f"{created.merchant.name} can take test payments.",
                url=reverse("admin:payments_merchant_change", args=[created.merchant.pk]),
                keys=(
                    ShownKey(label="Secret test key, for its servers", key=created.secret_key),
                    ShownKey(
                        label="Publishable test key, for its pages", key=created.publishable_key
                    ),
                ),
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Onboard a merchant",
                button="Onboard",
                intro="The merchant gets a secret and a publishable test key, shown once.",
            ),
            make_form=MerchantForm,
            act=onboard,
            back_url=reverse("admin:payments_merchant_changelist"),
        )

    @action(description="Issue a key", url_path="issue-key", icon="key", permissions=["issue_key"])
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.add_apikey")
        merchant = merchant_or_404(object_id)
        may_issue_live = may(request, LIVE_PERMISSION)

        def issue(form: OnceForm) -> Done:
            if form.livemode:
                require(request, LIVE_PERMISSION)
            now, days = timezone.now(), form.cleaned_data["days"]
            key, clear = issue_api_key(
                merchant=merchant,
                kind=form.cleaned_data["kind"],
                livemode=form.livemode,
                name=form.cleaned_data["name"],
                actor=staff_actor(request),
                now=now,
                scopes=form.cleaned_data["scopes"],
                expires_at=now + timedelta(days=days) if days else None,
            )
            mode = "live" if key.livemode else "test"
            return Done(
                message=f"{merchant.name} has a new key.",
                url=reverse("admin:payments_merchant_change", args=[merchant.pk]),
                keys=(ShownKey(label=f"{key.get_kind_display()} {mode} key", key=clear),),
            )

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Issue a key to {merchant.name}", button="Issue the key"),
            make_form=lambda *data: ApiKeyForm(*data, may_issue_live=may_issue_live),
            act=issue,
            back_url=reverse("admin:payments_merchant_change", args=[merchant.pk]),
        )

    @action(
        description="Add a webhook endpoint",
        url_path="add-endpoint",
        icon="webhook",
        permissions=["add_endpoint"],
    )
    def add_endpoint(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, merchant_endpoints.ADD)
        return merchant_endpoints.add_merchant_endpoint_page(
            request, self, merchant_or_404(object_id)
        )

    @action(
        description="Suspend or activate",
        url_path="change-status",
        icon="block",
        permissions=["change_status"],
    )
    def change_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.change_merchant")
        merchant = merchant_or_404(object_id)
        active = merchant.status == Merchant.Status.ACTIVE
        wanted = Merchant.Status.SUSPENDED if active else Merchant.Status.ACTIVE
        back_url = reverse("admin:payments_merchant_change", args=[merchant.pk])

        def change(form: OnceForm) -> Done:
            changed = set_merchant_status(
                merchant=merchant,
                status=wanted,
                reason=form.cleaned_data["reason"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"{changed.name} is {changed.status}.", url=back_url)

        verb = (
            Verb(
                title=f"Suspend {merchant.name}",
                button="Suspend",
                intro="All its keys are refused within seconds. Payments under way go on.",
                danger=True,
            )
            if active
            else Verb(title=f"Let {merchant.name} work again", button="Activate")
        )
        return verb_page(
            request, self, verb=verb, make_form=ReasonForm, act=change, back_url=back_url
        )

    @action(
        description="Review limit",
        url_path="change-review-limit",
        icon="policy",
        permissions=["change_status"],
    )
    def change_limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.change_merchant")
        merchant = merchant_or_404(object_id)
        back_url = reverse("admin:payments_merchant_change", args=[merchant.pk])

        def change(form: OnceForm) -> Done:
            changed = set_review_limit(
                merchant=merchant,
                review_above_minor=form.cleaned_data["review_above_minor"],
                reason=form.cleaned_data["reason"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"{changed.name}: {limit_text(changed)}", url=back_url)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Which payments of {merchant.name} wait for a person",
                button="Set the limit",
                intro="It counts from the next payment on; what waits already goes on waiting.",
                facts=(("Now", limit_text(merchant)),),
            ),
            make_form=partial(
                ReviewLimitForm, initial={"review_above_minor": merchant.review_above_minor}
            ),
            act=change,
            back_url=back_url,
        )

    @action(description="Its payments", url_path="payments", icon="payments")
    def show_payments(self, request: HttpRequest, object_id: str) -> HttpResponse:
        address = reverse("admin:payments_payment_changelist")
        return HttpResponseRedirect(f"{address}?merchant={object_id}&created=all")

    @action(
        description="Its webhook endpoints",
        url_path="endpoints",
        icon="webhook",
        permissions=["see_endpoints"],
    )
    def show_endpoints(self, request: HttpRequest, object_id: str) -> HttpResponse:
        address = reverse("admin:webhooks_webhookendpoint_changelist")
        return HttpResponseRedirect(f"{address}?{urlencode({'q': object_id})}")

    @display(description="status")
    def status_shown(self, merchant: Merchant) -> SafeString:
        active = merchant.status == Merchant.Status.ACTIVE
        return badge("Active", "good") if active else badge("Suspended", "bad")

    @display(description="our fee")
    def fee_shown(self, merchant: Merchant) -> str:
        whole, hundredths = divmod(merchant.fee_basis_points, 100)
        fixed = f" + {merchant.fee_fixed_minor} minor units" if merchant.fee_fixed_minor else ""
        return f"{whole}.{hundredths:02d} %{fixed}"

    @display(description="held for a person")
    def limit_shown(self, merchant: Merchant) -> str:
        return limit_text(merchant)

    @display(description="id")
    def id_shown(self, merchant: Merchant) -> SafeString | str:
        return identifier(merchant.pk)

    @display(description="onboarded (UTC)")
    def created_shown(self, merchant: Merchant) -> str:
        return moment_text(merchant.created_at)


def limit_text(merchant: Merchant) -> str:
    """Which of a merchant's payments wait for a person before the provider is asked."""
    if merchant.review_above_minor is None:
        return "No payment waits for a person."
    return f"Payments above {merchant.review_above_minor:,} minor units wait for a person."


def merchant_or_404(merchant_id: str) -> Merchant:
    """The merchant of a page's address. Raises Http404."""
    merchant = Merchant.objects.filter(pk=merchant_id).first()
    if merchant is None:
        raise Http404(f"There is no merchant {merchant_id!r}.")
    return merchant


def key_status(key: ApiKey) -> SafeString:
    """Whether a key still opens anything."""
    if key.revoked_at:
        return badge("Revoked", "bad")
    if key.expires_at is None:
        return badge("Valid", "good")
    if key.expires_at <= timezone.now():
        return badge("Expired", "bad")
    return badge(f"Valid until {moment_text(key.expires_at)}", "warn")


def account_status(account: ProviderAccount) -> SafeString:
    """Whether an account takes new payments, and which."""
    if not account.active:
        return badge("Not in use", "calm", title="It takes no new payments.")
    if account.is_default:
        return badge("Default", "good", title="It takes the payments that name no account.")
    return badge("In use", "good", title="It takes the payments that name it.")
