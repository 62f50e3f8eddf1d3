"""API keys and provider accounts: which exist, whose they are, and the verbs that change them.

Mental model: as with merchants, pages are read-only with a history, and each button is one verb.
Of a key only its beginning is known; of a provider's credentials nothing: they go in and never
come out.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions.api_keys import revoke_api_key
from payments.actions.provider_accounts import create_provider_account, replace_provider_secrets
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm, ProviderAccountForm, ProviderSecretsForm
from payments.admin.merchants import key_status, merchant_or_404
from payments.admin.presentation import admin_link, badge, identifier, mode_badge, moment_text
from payments.admin.read_only import HistoryAdmin
from payments.admin.verbs import Done, Verb, hides_credentials, verb_page
from payments.models import ApiKey, Merchant, ProviderAccount

# Live keys and live provider accounts decide where real money goes: more than everyday work.
LIVE_PERMISSION = "payments.issue_live_apikey"


@admin.register(ApiKey)
class ApiKeyAdmin(HistoryAdmin):
    """Keys: who has which, and taking one away for good."""

    list_display = (
        "prefix_shown",
        "merchant",
        "kind",
        "mode_shown",
        "name",
        "status_shown",
        "created_shown",
    )
    list_select_related = ("merchant",)
    list_filter = ("kind", "livemode")
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("revoke",)
    fieldsets = (
        (
            "API key",
            {
                "fields": (
                    ("prefix_shown", "kind", "mode_shown"),
                    ("merchant_link", "name", "status_shown"),
                    ("id_shown", "created_shown", "revoked_shown"),
                )
            },
        ),
    )

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.change_apikey")

    @action(description="Revoke", url_path="revoke", icon="key_off", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.change_apikey")
        key = ApiKey.objects.select_related("merchant").filter(pk=object_id).first()
        if key is None:
            raise Http404(f"There is no API key {object_id!r}.")
        back_url = reverse("admin:payments_apikey_change", args=[key.pk])

        def take_away(form: OnceForm) -> Done:
            revoke_api_key(key=key, actor=staff_actor(request), now=timezone.now())
            return Done(message=f"The key {key.prefix}… is revoked.", url=back_url)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Revoke the key {key.prefix}… of {key.merchant.name}",
                button="Revoke for good",
                intro="It is refused within seconds and cannot be brought back.",
                danger=True,
            ),
            make_form=OnceForm,
            act=take_away,
            back_url=back_url,
        )

    @display(description="begins with")
    def prefix_shown(self, key: ApiKey) -> SafeString | str:
        return identifier(f"{key.prefix}…")

    @display(description="merchant")
    def merchant_link(self, key: ApiKey) -> SafeString | str:
        return admin_link("merchant", key.merchant_id, key.merchant.name)

    @display(description="mode")
    def mode_shown(self, key: ApiKey) -> SafeString:
        return mode_badge(key.livemode)

    @display(description="status")
    def status_shown(self, key: ApiKey) -> SafeString:
        return key_status(key)

    @display(description="id")
    def id_shown(self, key: ApiKey) -> SafeString | str:
        return identifier(key.pk)

    @display(description="issued (UTC)")
    def created_shown(self, key: ApiKey) -> str:
        return moment_text(key.created_at)

    @display(description="revoked (UTC)")
    def revoked_shown(self, key: ApiKey) -> str:
        return moment_text(key.revoked_at)


@admin.register(ProviderAccount)
class ProviderAccountAdmin(HistoryAdmin):
    """Accounts at providers; their credentials go in and never come out."""

    list_display = (
        "name",
        "provider",
        "owner_shown",
        "mode_shown",
        "active_shown",
        "created_shown",
    )
    list_select_related = ("merchant",)
    list_filter = ("provider", "livemode", "active")
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("replace_secrets",)
    fieldsets = (
        (
            "Provider account",
            {
                "fields": (
                    ("name", "provider", "mode_shown"),
                    ("owner_shown", "active_shown", "created_shown"),
                    ("publishable_key", "api_base", "id_shown"),
                    ("secrets_shown",),
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "payments.add_provideraccount")

    def has_replace_secrets_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.change_provideraccount")

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
                actor=staff_actor(request),
                now=timezone.now(),
            )
            url = reverse("admin:payments_provideraccount_change", args=[account.pk])
            return Done(message=f"{account.name} is in use from now on.", url=url)

        owner = merchant.name if merchant else "the platform"
        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Open a provider account for {owner}",
                button="Put in use",
                intro="It replaces the account that its owner uses now in the same mode.",
            ),
            make_form=ProviderAccountForm,
            act=open_account,
            back_url=reverse("admin:payments_provideraccount_changelist"),
        )

    @action(
        description="Replace credentials",
        url_path="replace-credentials",
        icon="lock_reset",
        permissions=["replace_secrets"],
    )
    @method_decorator(hides_credentials)
    def replace_secrets(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.change_provideraccount")
        account = ProviderAccount.objects.filter(pk=object_id).first()
        if account is None:
            raise Http404(f"There is no provider account {object_id!r}.")
        if account.livemode:
            require(request, LIVE_PERMISSION)
        back_url = reverse("admin:payments_provideraccount_change", args=[account.pk])

        def replace(form: OnceForm) -> Done:
            replace_provider_secrets(
                account=account,
                secret_key=form.cleaned_data["secret_key"],
                webhook_secrets=form.cleaned_data["webhook_secrets"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"The credentials of {account.name} are replaced.", url=back_url)

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Replace the credentials of {account.name}", button="Replace"),
            make_form=ProviderSecretsForm,
            act=replace,
            back_url=back_url,
        )

    @display(description="owner")
    def owner_shown(self, account: ProviderAccount) -> SafeString | str:
        if account.merchant is None:
            return "The platform"
        return admin_link("merchant", account.merchant_id or "", account.merchant.name)

    @display(description="mode")
    def mode_shown(self, account: ProviderAccount) -> SafeString:
        return mode_badge(account.livemode)

    @display(description="in use")
    def active_shown(self, account: ProviderAccount) -> SafeString:
        return badge("In use", "good") if account.active else badge("Not in use", "calm")

    @display(description="credentials")
    def secrets_shown(self, account: ProviderAccount) -> str:
        return "Stored encrypted. They can be replaced, not read."

    @display(description="id")
    def id_shown(self, account: ProviderAccount) -> SafeString | str:
        return identifier(account.pk)

    @display(description="opened (UTC)")
    def created_shown(self, account: ProviderAccount) -> str:
        return moment_text(account.created_at)
