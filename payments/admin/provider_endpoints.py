"""Endpoints of provider accounts: where providers send to, and the verbs that change it.

Mental model: a tab of the account's page lists them, each has a page of its own with its verbs.
Secrets go in and never come out; an address is shown to whoever asks for it, and that is audited.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions.provider_endpoints import (
    add_endpoint,
    retire_endpoint,
    rotate_endpoint_secrets,
    tell_endpoint_address,
)
from payments.admin.access import LIVE_PERMISSION, may, require, staff_actor
from payments.admin.forms import (
    EndpointForm,
    EndpointSecretsForm,
    OnceForm,
    RetireEndpointForm,
)
from payments.admin.presentation import admin_link, badge, identifier, mode_badge, moment_text
from payments.admin.read_only import HistoryAdmin, ReadOnlyInline
from payments.admin.verbs import Done, ShownKey, Verb, hides_credentials, verb_page
from payments.models import ProviderAccount, ProviderEndpoint

_CHANGE = "payments.change_provideraccount"


class ProviderEndpointInline(ReadOnlyInline):
    """The addresses of an account."""

    model = ProviderEndpoint
    verbose_name_plural = "Webhook endpoints"
    ordering = ("-pk",)
    fields = ("page", "status_shown", "last_event_shown", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderEndpoint]:
        return super().get_queryset(request).select_related("use")

    @display(description="endpoint")
    def page(self, endpoint: ProviderEndpoint) -> SafeString | str:
        return admin_link("providerendpoint", endpoint.pk, endpoint.name)

    @display(description="status")
    def status_shown(self, endpoint: ProviderEndpoint) -> SafeString:
        return endpoint_status(endpoint)

    @display(description="last event (UTC)")
    def last_event_shown(self, endpoint: ProviderEndpoint) -> str:
        return moment_text(endpoint.last_event_at)


@admin.register(ProviderEndpoint)
class ProviderEndpointAdmin(HistoryAdmin):
    """One address of an account at a provider."""

    list_display = ("name", "account_shown", "mode_shown", "status_shown", "last_event_shown")
    list_select_related = ("account", "use")
    list_filter = ("account__provider", "account__livemode")
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("show_address", "rotate_secrets", "retire")
    fieldsets = (
        (
            "Webhook endpoint",
            {
                "fields": (
                    ("name", "account_shown", "mode_shown"),
                    ("status_shown", "last_event_shown", "created_shown"),
                    ("secrets_shown", "id_shown"),
                )
            },
        ),
    )

    def has_verb_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, _CHANGE)

    @action(description="Show address", url_path="show-address", icon="link", permissions=["verb"])
    def show_address(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint_to_change(request, object_id)

        def show(form: OnceForm) -> Done:
            address = tell_endpoint_address(
                endpoint=endpoint, actor=staff_actor(request), now=timezone.now()
            )
            return _told(endpoint, address)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Show the address of {endpoint.name}",
                button="Show it",
                intro="It is registered with the provider. Who looked stays in the audit trail.",
            ),
            make_form=OnceForm,
            act=show,
            back_url=_page_of(endpoint),
        )

    @action(
        description="Rotate secrets",
        url_path="rotate-secrets",
        icon="lock_reset",
        permissions=["verb"],
    )
    @method_decorator(hides_credentials)
    def rotate_secrets(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint_to_change(request, object_id)

        def rotate(form: OnceForm) -> Done:
            rotate_endpoint_secrets(
                endpoint=endpoint,
                webhook_secrets=form.cleaned_data["webhook_secrets"],
                overlap=form.cleaned_data["overlap"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message=f"{endpoint.name} takes the new secrets.", url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Give {endpoint.name} new secrets", button="Rotate"),
            make_form=EndpointSecretsForm,
            act=rotate,
            back_url=_page_of(endpoint),
        )

    @action(description="Retire", url_path="retire", icon="block", permissions=["verb"])
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint_to_change(request, object_id)

        def end(form: OnceForm) -> Done:
            retired = retire_endpoint(
                endpoint=endpoint,
                overlap=form.cleaned_data["overlap"],
                reason=form.cleaned_data["reason"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            until = moment_text(retired.retires_at)
            return Done(
                message=f"{endpoint.name} takes news until {until} UTC.", url=_page_of(endpoint)
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Retire {endpoint.name}",
                button="Retire",
                intro="Take it out at the provider first. After its time the address answers like "
                "one that never was, and it does not come back.",
                danger=True,
            ),
            make_form=RetireEndpointForm,
            act=end,
            back_url=_page_of(endpoint),
        )

    @display(description="of the account")
    def account_shown(self, endpoint: ProviderEndpoint) -> SafeString | str:
        return admin_link("provideraccount", endpoint.account_id, endpoint.account.name)

    @display(description="mode")
    def mode_shown(self, endpoint: ProviderEndpoint) -> SafeString:
        return mode_badge(endpoint.account.livemode)

    @display(description="status")
    def status_shown(self, endpoint: ProviderEndpoint) -> SafeString:
        return endpoint_status(endpoint)

    @display(description="last event (UTC)")
    def last_event_shown(self, endpoint: ProviderEndpoint) -> str:
        return moment_text(endpoint.last_event_at)

    @display(description="secrets")
    def secrets_shown(self, endpoint: ProviderEndpoint) -> str:
        return "Stored encrypted. They can be rotated, not read."

    @display(description="id")
    def id_shown(self, endpoint: ProviderEndpoint) -> SafeString | str:
        return identifier(endpoint.pk)

    @display(description="added (UTC)")
    def created_shown(self, endpoint: ProviderEndpoint) -> str:
        return moment_text(endpoint.created_at)


def add_endpoint_page(
    request: HttpRequest, model_admin: HistoryAdmin, account: ProviderAccount
) -> HttpResponse:
    """The verb of the account's page. The caller has checked the rights."""

    def add(form: OnceForm) -> Done:
        actor, now = staff_actor(request), timezone.now()
        endpoint = add_endpoint(
            account=account,
            name=form.cleaned_data["name"],
            webhook_secrets=form.cleaned_data["webhook_secrets"],
            actor=actor,
            now=now,
        )
        return _told(endpoint, tell_endpoint_address(endpoint=endpoint, actor=actor, now=now))

    return verb_page(
        request,
        model_admin,
        verb=Verb(
            title=f"Add a webhook endpoint to {account.name}",
            button="Add",
            intro="The endpoints it has go on beside it. Events that come in by several are one.",
        ),
        make_form=EndpointForm,
        act=add,
        back_url=reverse("admin:payments_provideraccount_change", args=[account.pk]),
    )


def endpoint_status(endpoint: ProviderEndpoint) -> SafeString:
    """In use, retiring, or retired, in colour."""
    if endpoint.retires_at is None:
        return badge("In use", "good")
    if endpoint.is_retired(timezone.now()):
        return badge("Retired", "calm")
    return badge(f"Retires {moment_text(endpoint.retires_at)}", "warn")


def _told(endpoint: ProviderEndpoint, address: str) -> Done:
    return Done(
        message=f"The address of {endpoint.name}",
        url=_page_of(endpoint),
        keys=(ShownKey(label="Register this with the provider", key=address),),
    )


def _endpoint_to_change(request: HttpRequest, endpoint_id: str) -> ProviderEndpoint:
    """The endpoint of a verb's address, for somebody who may change it; where live news comes in
    is decided by those who handle live keys. Raises PermissionDenied, Http404.
    """
    require(request, _CHANGE)
    endpoint = ProviderEndpoint.objects.select_related("account").filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Http404(f"There is no provider endpoint {endpoint_id!r}.")
    if endpoint.account.livemode:
        require(request, LIVE_PERMISSION)
    return endpoint


def _page_of(endpoint: ProviderEndpoint) -> str:
    return reverse("admin:payments_providerendpoint_change", args=[endpoint.pk])
