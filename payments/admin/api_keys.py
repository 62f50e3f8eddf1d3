"""API keys: which exist, whose they are, what they may do, and the verbs that change them.

Mental model: as with merchants, pages are read-only with a history, and each button is one verb.
Of a key only its beginning is known; a successor is shown once, like every new key.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions.api_keys import revoke_api_key, rotate_api_key
from payments.admin.access import LIVE_PERMISSION, may, require, staff_actor
from payments.admin.forms import OnceForm, RotateKeyForm
from payments.admin.merchants import key_status
from payments.admin.presentation import admin_link, identifier, mode_badge, moment_text
from payments.admin.read_only import HistoryAdmin
from payments.admin.verbs import Done, ShownKey, Verb, verb_page
from payments.models import ApiKey
from payments.scopes import scope_words


@admin.register(ApiKey)
class ApiKeyAdmin(HistoryAdmin):
    """Keys: who has which, giving one a successor, and taking one away for good."""

    list_display = (
        "prefix_shown",
        "merchant",
        "kind",
        "mode_shown",
        "name",
        "status_shown",
        "used_shown",
        "created_shown",
    )
    list_select_related = ("merchant", "use")
    list_filter = ("kind", "livemode")
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("rotate", "revoke")
    fieldsets = (
        (
            "API key",
            {
                "fields": (
                    ("prefix_shown", "kind", "mode_shown"),
                    ("merchant_link", "name", "status_shown"),
                    ("scopes_shown",),
                    ("created_shown", "used_shown", "expires_shown"),
                    ("revoked_shown", "former_shown", "successor_shown"),
                    ("id_shown",),
                )
            },
        ),
    )

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.change_apikey")

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, "payments.add_apikey", "payments.change_apikey")

    @action(description="Rotate", url_path="rotate", icon="autorenew", permissions=["rotate"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.add_apikey", "payments.change_apikey")
        key = _key_or_404(object_id)
        if key.livemode:
            require(request, LIVE_PERMISSION)

        def succeed(form: OnceForm) -> Done:
            successor, clear = rotate_api_key(
                key=key,
                overlap=form.cleaned_data["overlap"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            key.refresh_from_db()
            return Done(
                message=f"The old key {key.prefix}… ends at {moment_text(key.expires_at)} UTC.",
                url=_page_of(successor),
                keys=(ShownKey(label=f"New {key.get_kind_display().lower()} key", key=clear),),
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Rotate the key {key.prefix}… of {key.merchant.name}",
                button="Make the new key",
                intro="A new key that may do the same is shown once; then the old one runs out.",
            ),
            make_form=RotateKeyForm,
            act=succeed,
            back_url=_page_of(key),
        )

    @action(description="Revoke", url_path="revoke", icon="key_off", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, "payments.change_apikey")
        key = _key_or_404(object_id)

        def take_away(form: OnceForm) -> Done:
            revoke_api_key(key=key, actor=staff_actor(request), now=timezone.now())
            return Done(message=f"The key {key.prefix}… is revoked.", url=_page_of(key))

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
            back_url=_page_of(key),
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

    @display(description="may")
    def scopes_shown(self, key: ApiKey) -> SafeString | str:
        if key.kind == ApiKey.Kind.SECRET:
            return "Everything that its merchant may do"
        if key.kind == ApiKey.Kind.PUBLISHABLE:
            return "What a payer's page may do"
        return format_html_join("", "<div>{}</div>", ((scope_words(s),) for s in key.scopes))

    @display(description="id")
    def id_shown(self, key: ApiKey) -> SafeString | str:
        return identifier(key.pk)

    @display(description="issued (UTC)")
    def created_shown(self, key: ApiKey) -> str:
        return moment_text(key.created_at)

    @display(description="last used (UTC, to the minute)")
    def used_shown(self, key: ApiKey) -> str:
        return moment_text(key.last_used_at)

    @display(description="expires (UTC)")
    def expires_shown(self, key: ApiKey) -> str:
        return moment_text(key.expires_at) if key.expires_at else "Never"

    @display(description="revoked (UTC)")
    def revoked_shown(self, key: ApiKey) -> str:
        return moment_text(key.revoked_at)

    @display(description="successor of")
    def former_shown(self, key: ApiKey) -> SafeString | str:
        former = key.rotated_from
        return admin_link("apikey", former.pk, f"{former.prefix}…") if former else "–"

    @display(description="rotated to")
    def successor_shown(self, key: ApiKey) -> SafeString | str:
        successor = ApiKey.objects.filter(rotated_from=key).first()
        return admin_link("apikey", successor.pk, f"{successor.prefix}…") if successor else "–"


def _key_or_404(key_id: str) -> ApiKey:
    key = ApiKey.objects.select_related("merchant").filter(pk=key_id).first()
    if key is None:
        raise Http404(f"There is no API key {key_id!r}.")
    return key


def _page_of(key: ApiKey) -> str:
    return reverse("admin:payments_apikey_change", args=[key.pk])
