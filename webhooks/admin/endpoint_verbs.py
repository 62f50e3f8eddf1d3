"""What staff may do with a merchant's endpoint: test it, recover it, switch it off and on.

Mental model: a button is shown where the endpoint's status allows the verb; the page asks for the
permission, and webhooks.redelivery, webhooks.recovery or webhooks.endpoints decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from audit import log
from webhooks import endpoints, recovery, redelivery
from webhooks.admin.endpoint_forms import DisableForm, RecoverForm
from webhooks.admin.reading import now, staff
from webhooks.admin.verbs import Verb, form_of, may, require, verb_page
from webhooks.models import WebhookEndpoint

CHANGE = "webhooks.change_webhookendpoint"
SEND_AGAIN = "webhooks.change_merchantdelivery"

_VERBS_BY_STATUS = {
    WebhookEndpoint.Status.ENABLED: {"send_test", "recover", "disable"},
    WebhookEndpoint.Status.DISABLED: {"enable"},
    WebhookEndpoint.Status.DELETED: set[str](),
}


class EndpointVerbs(ModelAdmin):
    """The verbs of an endpoint's page; mixed into its admin class."""

    actions_detail = ("send_test", "recover", "disable", "enable")

    def has_change_endpoint_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, CHANGE)

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

        def act() -> tuple[str, str]:
            with log.acting_as(staff(request)):
                made = redelivery.send_test(**_own(endpoint), now=now())
            url = reverse("admin:webhooks_merchantdelivery_change", args=[made.id])
            return "It is on its way. Load this page again to see the answer.", url

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
            form=form_of(request),
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

        def act() -> tuple[str, str]:
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
                return f"{words} There are more.", f"{here}?{asked}"
            return words, _page_of(endpoint)

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

        def act() -> tuple[str, str]:
            with log.acting_as(staff(request)):
                endpoints.disable(
                    endpoint_id=endpoint.pk, reason=form.cleaned_data["reason"], now=now()
                )
            return "It is disabled, and what waited for it is discarded.", _page_of(endpoint)

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

        def act() -> tuple[str, str]:
            with log.acting_as(staff(request)):
                endpoints.update(**_own(endpoint), enabled=True, now=now())
            return "It is enabled. Recover what it missed if need be.", _page_of(endpoint)

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
            form=form_of(request),
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
