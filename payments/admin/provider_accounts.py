"""Accounts at payment providers: whose they are, which one is used, and the verbs that change them.

Mental model: read-only pages with a history, and one verb per button, as everywhere here. Of a
provider's credentials nothing is ever shown: they go in, can be tested, and never come out.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions.check_provider_account import check_provider_account
from payments.actions.lost_webhooks import lost_within_a_day
from payments.actions.provider_accounts import (
    create_provider_account,
    make_default_account,
    replace_provider_key,
    set_provider_account_active,
)
from payments.admin.access import LIVE_PERMISSION, may, require, staff_actor
from payments.admin.forms import OnceForm, ProviderAccountForm, ProviderKeyForm, ReasonForm
from payments.admin.merchants import account_status, merchant_or_404
from payments.admin.presentation import admin_link, identifier, mode_badge, moment_text
from payments.admin.provider_endpoints import ProviderEndpointInline, add_endpoint_page
from payments.admin.read_only import HistoryAdmin
from payments.admin.verbs import Done, Verb, hides_credentials, verb_page
from payments.models import EventSweep, Merchant, ProviderAccount

_CHANGE = "payments.change_provideraccount"


@admin.register(ProviderAccount)
class ProviderAccountAdmin(HistoryAdmin):
    """Accounts at providers; their credentials go in and never come out."""

    list_display = (
        "name",
        "provider",
        "owner_shown",
        "mode_shown",
        "status_shown",
        "created_shown",
    )
    list_select_related = ("merchant",)
    list_filter = ("provider", "livemode", "active")
    ordering = ("-pk",)
    sortable_by = ()
    inlines = (ProviderEndpointInline,)
    actions_detail = (
        "test_connection",
        "make_default",
        "open_or_close",
        "replace_key",
        "add_endpoint",
    )
    fieldsets = (
        (
            "Provider account",
            {
                "fields": (
                    ("name", "provider", "mode_shown"),
                    ("owner_shown", "paid_shown", "status_shown"),
                    ("publishable_key", "api_base", "id_shown"),
                    ("secrets_shown", "created_shown"),
                    ("swept_shown", "lost_shown"),
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "payments.add_provideraccount")

    def has_verb_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, _CHANGE)

    def get_urls(self) -> list[Any]:
        own = path(
            "add/for/<str:merchant_id>/",
            self.admin_site.admin_view(self.add_for_merchant),
            name="payments_provideraccount_add_for",
        )
        return [own, *super().get_urls()]

    @method_decorator(hides_credentials)
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return self._open_account(request, merchant=None)

    @method_decorator(hides_credentials)
    def add_for_merchant(self, request: HttpRequest, merchant_id: str) -> HttpResponse:
        return self._open_account(request, merchant=merchant_or_404(merchant_id))

    def _open_account(self, request: HttpRequest, *, merchant: Merchant | None) -> HttpResponse:
        require(request, "payments.add_provideraccount")

        def open_account(form: OnceForm) -> Done:
            if form.livemode:
                require(request, LIVE_PERMISSION)
            account = create_provider_account(
                provider=form.cleaned_data["provider"],
                name=form.cleaned_data["name"],
                livemode=form.livemode,
                merchant=merchant,
                secret_key=form.cleaned_data["secret_key"],
                publishable_key=form.cleaned_data["publishable_key"],
                webhook_secrets=form.cleaned_data["webhook_secrets"],
                api_base=form.cleaned_data["api_base"],
                is_default=form.cleaned_data["is_default"],
                owned_by_merchant=form.cleaned_data.get("owned_by_merchant", False),
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"{account.name} is in use from now on.", url=_page_of(account))

        owner = merchant.name if merchant else "the platform"
        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Open a provider account for {owner}",
                button="Put in use",
                intro="Accounts that its owner has already stay in use beside it.",
            ),
            make_form=lambda *data: ProviderAccountForm(*data, of_merchant=merchant is not None),
            act=open_account,
            back_url=reverse("admin:payments_provideraccount_changelist"),
        )

    @action(
        description="Test connection",
        url_path="test-connection",
        icon="network_check",
        permissions=["verb"],
    )
    def test_connection(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = _account_to_change(request, object_id, decides_about_money=False)

        def ask(form: OnceForm) -> Done:
            checked = check_provider_account(
                account=account, actor=staff_actor(request), clock=timezone.now
            )
            return Done(
                message=f"{account.name}: {checked.words} ({checked.duration_ms} ms)",
                url=_page_of(account),
                level=messages.SUCCESS if checked.works else messages.ERROR,
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Test the connection of {account.name}",
                button="Ask the provider",
                intro="The provider is asked for a payment that does not exist. No money moves.",
            ),
            make_form=OnceForm,
            act=ask,
            back_url=_page_of(account),
        )

    @action(description="Make default", url_path="make-default", icon="star", permissions=["verb"])
    def make_default(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = _account_to_change(request, object_id)

        def make(form: OnceForm) -> Done:
            make_default_account(account=account, actor=staff_actor(request), now=timezone.now())
            return Done(message=f"{account.name} is the default now.", url=_page_of(account))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Let {account.name} take all payments that name no account",
                button="Make it the default",
                intro="Payments that exist stay with the account they were made through.",
            ),
            make_form=OnceForm,
            act=make,
            back_url=_page_of(account),
        )

    @action(
        description="Close or open",
        url_path="open-or-close",
        icon="power_settings_new",
        permissions=["verb"],
    )
    def open_or_close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = _account_to_change(request, object_id)
        opening = not account.active

        def change(form: OnceForm) -> Done:
            changed = set_provider_account_active(
                account=account,
                active=opening,
                reason=form.cleaned_data["reason"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            state = "in use again" if changed.active else "closed"
            return Done(message=f"{account.name} is {state}.", url=_page_of(account))

        verb = (
            Verb(title=f"Open {account.name} again", button="Open")
            if opening
            else Verb(
                title=f"Close {account.name}",
                button="Close",
                intro="It takes no new payments; those it has go on. Once a merchant has none of "
                "its own, the platform's default takes its payments.",
                danger=True,
            )
        )
        return verb_page(
            request, self, verb=verb, make_form=ReasonForm, act=change, back_url=_page_of(account)
        )

    @action(
        description="Replace key", url_path="replace-key", icon="lock_reset", permissions=["verb"]
    )
    @method_decorator(hides_credentials)
    def replace_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = _account_to_change(request, object_id)

        def replace(form: OnceForm) -> Done:
            replace_provider_key(
                account=account,
                secret_key=form.cleaned_data["secret_key"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"The key of {account.name} is replaced.", url=_page_of(account))

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Replace the secret key of {account.name}", button="Replace"),
            make_form=ProviderKeyForm,
            act=replace,
            back_url=_page_of(account),
        )

    @action(
        description="Add endpoint",
        url_path="add-endpoint",
        icon="add_link",
        permissions=["verb"],
    )
    @method_decorator(hides_credentials)
    def add_endpoint(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return add_endpoint_page(request, self, _account_to_change(request, object_id))

    @display(description="for payments of")
    def owner_shown(self, account: ProviderAccount) -> SafeString | str:
        if account.merchant is None:
            return "Everybody without an account"
        return admin_link("merchant", account.merchant_id or "", account.merchant.name)

    @display(description="the provider pays")
    def paid_shown(self, account: ProviderAccount) -> str:
        return "The merchant" if account.owned_by_merchant else "The platform"

    @display(description="mode")
    def mode_shown(self, account: ProviderAccount) -> SafeString:
        return mode_badge(account.livemode)

    @display(description="in use")
    def status_shown(self, account: ProviderAccount) -> SafeString:
        return account_status(account)

    @display(description="credentials")
    def secrets_shown(self, account: ProviderAccount) -> str:
        return "Stored encrypted. They can be tested and replaced, not read."

    @display(description="events compared with the provider's list (UTC)")
    def swept_shown(self, account: ProviderAccount) -> str:
        sweep = EventSweep.objects.filter(pk=account.pk).first()
        if sweep is None:
            return "Not yet"
        words = moment_text(sweep.last_swept_at) if sweep.last_swept_at else "Not yet"
        return f"{words}. The last try failed: {sweep.last_error}" if sweep.last_error else words

    @display(description="webhooks lost in 24 hours")
    def lost_shown(self, account: ProviderAccount) -> str:
        lost = lost_within_a_day(account.pk, now=timezone.now())
        if not lost:
            return "None"
        return f"{lost} never came in time and were found in the provider's list"

    @display(description="id")
    def id_shown(self, account: ProviderAccount) -> SafeString | str:
        return identifier(account.pk)

    @display(description="opened (UTC)")
    def created_shown(self, account: ProviderAccount) -> str:
        return moment_text(account.created_at)


def _account_to_change(
    request: HttpRequest, account_id: str, *, decides_about_money: bool = True
) -> ProviderAccount:
    """The account of a verb's address, for somebody who may change it. Where live money goes is
    decided by those who handle live keys. Raises PermissionDenied, Http404.
    """
    require(request, _CHANGE)
    account = ProviderAccount.objects.filter(pk=account_id).first()
    if account is None:
        raise Http404(f"There is no provider account {account_id!r}.")
    if account.livemode and decides_about_money:
        require(request, LIVE_PERMISSION)
    return account


def _page_of(account: ProviderAccount) -> str:
    return reverse("admin:payments_provideraccount_change", args=[account.pk])
