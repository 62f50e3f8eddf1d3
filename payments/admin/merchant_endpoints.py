"""A webhook endpoint for a merchant who asked staff to add it.

Mental model: a verb of the merchant's page; it makes what POST /v1/webhook_endpoints makes, under
the person's name, and shows the secret this once. What becomes of an endpoint afterwards is done
on its own page (webhooks.admin.endpoint_verbs).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from payments.actions.webhook_endpoints import add_merchant_endpoint
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import MODES, OnceForm
from payments.admin.read_only import HistoryAdmin
from payments.admin.verbs import Done, ShownKey, Verb, verb_page
from payments.models import Merchant
from webhooks.admin.endpoint_forms import EndpointForm
from webhooks.admin.endpoint_verbs import LIVE_SECRET

ADD = "webhooks.add_webhookendpoint"


class MerchantEndpointForm(EndpointForm, OnceForm):
    """A new endpoint of a merchant; the arguments of add_merchant_endpoint."""

    mode = forms.ChoiceField(choices=MODES, widget=UnfoldAdminSelectWidget())
    field_order = ("mode", "url", "event_types", "description")

    def __init__(self, *args: Any, may_see_live: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["event_types"].initial = ["*"]
        if not may_see_live:
            mode = self.fields["mode"]
            assert isinstance(mode, forms.ChoiceField)
            mode.choices = MODES[:1]
            mode.help_text = "Live endpoints need the permission of the group “Live keys”."


def add_merchant_endpoint_page(
    request: HttpRequest, model_admin: HistoryAdmin, merchant: Merchant
) -> HttpResponse:
    """The verb of the merchant's page. The caller has checked the rights to add one."""
    may_see_live = may(request, LIVE_SECRET)

    def add(form: OnceForm) -> Done:
        if form.livemode:
            require(request, LIVE_SECRET)
        endpoint, secret = add_merchant_endpoint(
            merchant=merchant,
            livemode=form.livemode,
            url=form.cleaned_data["url"],
            event_types=form.cleaned_data["event_types"],
            description=form.cleaned_data["description"],
            actor=staff_actor(request),
            now=timezone.now(),
        )
        return Done(
            message=f"{merchant.name} is told of events from now on.",
            url=reverse("admin:webhooks_webhookendpoint_change", args=[endpoint.id]),
            keys=(ShownKey(label=f"Signing secret of {endpoint.url}", key=secret),),
        )

    return verb_page(
        request,
        model_admin,
        verb=Verb(
            title=f"Add a webhook endpoint for {merchant.name}",
            button="Add",
            intro="The merchant can do this by the API, too. The secret is shown once.",
        ),
        make_form=lambda *data: MerchantEndpointForm(*data, may_see_live=may_see_live),
        act=add,
        back_url=reverse("admin:payments_merchant_change", args=[merchant.pk]),
    )
