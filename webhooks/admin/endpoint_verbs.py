"""What staff may do with a merchant's endpoint: all that the merchant may.

Mental model: a button is shown where the endpoint's status allows the verb; the page asks for the
permission, and webhooks.redelivery, webhooks.recovery or webhooks.endpoints decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from audit import log
from webhooks import endpoints, recovery, redelivery
from webhooks.admin.endpoint_forms import (
    DeleteForm,
    DisableForm,
    EndpointForm,
    RecoverForm,
    RotateSecretForm,
)
from webhooks.admin.reading import now, staff
from webhooks.admin.verbs import Done, ShownSecret, Verb, form_of, may, require, verb_page
from webhooks.models import WebhookEndpoint

CHANGE = "webhooks.change_webhookendpoint"
DELETE = "webhooks.delete_webhookendpoint"
ROTATE = "webhooks.rotate_webhookendpoint_secret"
# With the secret of a live endpoint one can tell a merchant that it was paid.
LIVE_SECRET = "webhooks.see_live_webhookendpoint_secret"  # noqa: S105
SEND_AGAIN = "webhooks.change_merchantdelivery"

_ALWAYS = {"change_endpoint", "rotate_secret", "delete_endpoint"}
_VERBS_BY_STATUS = {
    WebhookEndpoint.Status.ENABLED: {"send_test", "recover", "disable"} | _ALWAYS,
    WebhookEndpoint.Status.DISABLED: {"enable"} | _ALWAYS,
    WebhookEndpoint.Status.DELETED: set[str](),
}


class EndpointVerbs(ModelAdmin):
    """The verbs of an endpoint's page; mixed into its admin class."""

    actions_detail = (
        "send_test",
        "recover",
        "change_endpoint",
        "rotate_secret",
        "disable",
        "enable",
        "delete_endpoint",
    )

    def has_change_endpoint_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, CHANGE)

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, ROTATE)

    def has_delete_endpoint_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, DELETE)

    def has_send_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, SEND_AGAIN)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        endpoint = WebhookEndpoint.objects.filter(pk=object_id).first()
        shown = _VERBS_BY_STATUS[WebhookEndpoint.Status(endpoint.status)] if endpoint else set()
        prefix = f"{self.model._meta.app_label}_{self.model._meta.model_name}_"
        return [one for one in allowed if one.action_name.removeprefix(prefix) in shown]

    @action(
        description="Send a test event",
        url_path="send-test",
        icon="send",
        permissions=["change_endpoint"],
    )
    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, CHANGE)

        def act() -> Done:
            with log.acting_as(staff(request)):
                made = redelivery.send_test(**_own(endpoint), now=now())
            url = reverse("admin:webhooks_merchantdelivery_change", args=[made.id])
            words = "It is on its way. Load this page again to see the answer."
            return Done(message=words, url=url)

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Send a test event",
                button="Send",
                intro="A signed endpoint.test event goes to this endpoint alone, whatever it "
                "listens to. Its page shows the answer.",
                facts=_facts(endpoint),
            ),
            form=form_of(request, forms.Form),
            act=act,
            back_url=_page_of(endpoint),
        )

    @action(description="Recover since", url_path="recover", icon="history", permissions=["send"])
    def recover(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A time; then how many there are, and a button for each kind."""
        endpoint = _endpoint(request, object_id, SEND_AGAIN)
        given = request.POST or request.GET
        form = RecoverForm(given if "since" in given else None)
        here = reverse("admin:webhooks_webhookendpoint_recover", args=[endpoint.pk])

        def act() -> Done:
            since = form.cleaned_data["since"]
            with log.acting_as(staff(request)):
                found = recovery.recover(
                    **_own(endpoint),
                    since=since,
                    include=request.POST.getlist("include"),
                    now=now(),
                )
            words = f"{found.recovered} queued, {found.missing} of them never promised before."
            if found.has_more:
                asked = urlencode({"since": since.strftime("%Y-%m-%dT%H:%M:%S")})
                return Done(message=f"{words} There are more.", url=f"{here}?{asked}")
            return Done(message=words, url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Recover since a moment",
                button="Count them",
                intro="Nothing happens before you have seen how many are meant.",
                facts=_facts(endpoint),
            ),
            form=form,
            act=act,
            back_url=_page_of(endpoint),
            template="admin/florin/endpoint_recover.html",
            here=here,
            per_call=recovery.PER_CALL,
            counted_max=recovery.COUNTED_MAX,
            counts=_counts(endpoint, form, moment=now()),
        )

    @action(
        description="Disable", url_path="disable", icon="block", permissions=["change_endpoint"]
    )
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, CHANGE)
        form = form_of(request, DisableForm)

        def act() -> Done:
            with log.acting_as(staff(request)):
                endpoints.disable(
                    endpoint_id=endpoint.pk, reason=form.cleaned_data["reason"], now=now()
                )
            words = "It is disabled, and what waited for it is discarded."
            return Done(message=words, url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Disable this endpoint",
                button="Disable",
                intro="Nothing is sent there any more, and what waits is discarded; it can be "
                "recovered for 14 days. The merchant's other endpoints get endpoint.disabled.",
                facts=_facts(endpoint),
                danger=True,
            ),
            form=form,
            act=act,
            back_url=_page_of(endpoint),
        )

    @action(description="Enable", url_path="enable", icon="check", permissions=["change_endpoint"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, CHANGE)

        def act() -> Done:
            with log.acting_as(staff(request)):
                endpoints.update(**_own(endpoint), enabled=True, now=now())
            words = "It is enabled. Recover what it missed if need be."
            return Done(message=words, url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Enable this endpoint",
                button="Enable",
                intro="New events are sent there again and its failures are forgotten. What it "
                "missed is not sent by itself.",
                facts=(*_facts(endpoint), ("Disabled because", endpoint.disabled_reason)),
            ),
            form=form_of(request, forms.Form),
            act=act,
            back_url=_page_of(endpoint),
        )

    @action(
        description="Change",
        url_path="change-endpoint",
        icon="edit",
        permissions=["change_endpoint"],
    )
    def change_endpoint(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, CHANGE)
        before = {
            "url": endpoint.url,
            "event_types": list(endpoint.event_types),
            "description": endpoint.description,
        }
        form = form_of(request, EndpointForm, before)

        def act() -> Done:
            wanted = {name: form.cleaned_data[name] for name in form.changed_data}
            if not wanted:
                return Done(message="Nothing was changed.", url=_page_of(endpoint))
            if endpoint.livemode and "url" in wanted:  # decides who hears of live payments
                require(request, LIVE_SECRET)
            with log.acting_as(staff(request)):
                endpoints.update(**_own(endpoint), **wanted, now=now())
            return Done(message="It is changed.", url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Change this endpoint",
                button="Change",
                intro="What waits goes to the new address, too, under the same secret.",
                facts=_facts(endpoint),
            ),
            form=form,
            act=act,
            back_url=_page_of(endpoint),
        )

    @action(
        description="Rotate secret",
        url_path="rotate-secret",
        icon="lock_reset",
        permissions=["rotate"],
    )
    def rotate_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, ROTATE)
        if endpoint.livemode:
            require(request, LIVE_SECRET)
        form = form_of(request, RotateSecretForm)

        def act() -> Done:
            with log.acting_as(staff(request)):
                secret = endpoints.rotate_secret(
                    **_own(endpoint),
                    overlap=form.cleaned_data["overlap"],
                    unchanged_since=form.seen,
                    now=now(),
                )
            return Done(
                message="The endpoint has a new secret",
                url=_page_of(endpoint),
                keys=(ShownSecret(label="Signing secret", key=secret),),
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Give this endpoint a new secret",
                button="Rotate",
                intro="The new one is shown once. Until the old one ends, every request carries a "
                "signature of both. An overlap that is under way ends now.",
                facts=_facts(endpoint),
            ),
            form=form,
            act=act,
            back_url=_page_of(endpoint),
            ticket=endpoint.updated_at.isoformat(),
        )

    @action(
        description="Delete",
        url_path="delete-endpoint",
        icon="delete",
        permissions=["delete_endpoint"],
    )
    def delete_endpoint(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = _endpoint(request, object_id, DELETE)
        form = form_of(request, DeleteForm)

        def act() -> Done:
            with log.acting_as(staff(request), reason=form.cleaned_data["reason"]):
                endpoints.delete(**_own(endpoint), now=now())
            return Done(message="It is deleted. Its deliveries stay.", url=_page_of(endpoint))

        return verb_page(
            request,
            self,
            verb=Verb(
                title="Delete this endpoint",
                button="Delete for good",
                intro="Nothing is sent there any more, what waits is discarded, and it does not "
                "come back. Its deliveries stay readable here.",
                facts=_facts(endpoint),
                danger=True,
            ),
            form=form,
            act=act,
            back_url=_page_of(endpoint),
        )


def _counts(
    endpoint: WebhookEndpoint, form: RecoverForm, *, moment: datetime
) -> recovery.Recoverable | None:
    """How many there are since the moment of the form, once it has one that may be asked for."""
    if not form.is_bound or not form.is_valid():
        return None
    try:
        return recovery.count(**_own(endpoint), since=form.cleaned_data["since"], now=moment)
    except endpoints.EndpointInvalid as refusal:
        form.add_error("since", str(refusal))
        return None


def _endpoint(request: HttpRequest, endpoint_id: str, permission: str) -> WebhookEndpoint:
    """The endpoint of a verb's address. Raises PermissionDenied, Http404."""
    require(request, permission)
    living = WebhookEndpoint.objects.exclude(status=WebhookEndpoint.Status.DELETED)
    endpoint = living.filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Http404(f"There is no merchant endpoint {endpoint_id!r}.")
    return endpoint


def _own(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "owner": endpoint.owner,
        "livemode": endpoint.livemode,
        "endpoint_id": endpoint.pk,
    }


def _facts(endpoint: WebhookEndpoint) -> tuple[tuple[str, str], ...]:
    mode = "live" if endpoint.livemode else "test"
    return (("Endpoint", endpoint.url), ("Merchant", endpoint.owner), ("Mode", mode))


def _page_of(endpoint: WebhookEndpoint) -> str:
    return reverse("admin:webhooks_webhookendpoint_change", args=[endpoint.pk])
