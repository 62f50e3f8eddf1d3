"""Requests of merchants that nobody answers any more: why, and the two ways out.

Mental model: the dead letters among what merchants asked for. Read-only; a button per verb. What
the request carried stays unseen, because it may be about people.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments.actions import given_up_requests
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm, ReasonForm
from payments.admin.presentation import admin_link, identifier, mode_badge, moment_text
from payments.admin.read_only import ReadOnlyAdmin
from payments.admin.verbs import Done, Verb, verb_page
from payments.models import GivenUpRequest

MEND = "payments.change_givenuprequest"


@admin.register(GivenUpRequest)
class GivenUpRequestAdmin(ReadOnlyAdmin):
    """The list of given-up requests, the page of one, and its verbs."""

    list_display = ("operation", "merchant_shown", "error_shown", "created_shown", "mode_shown")
    list_select_related = ("merchant",)
    search_fields = ("key__exact", "request_id__exact", "merchant__id__exact")
    search_help_text = "The whole idempotency key, request id or merchant id"
    ordering = ("pk",)
    sortable_by = ()
    actions_detail = ("try_again", "forget")
    fieldsets = (
        (
            "Request",
            {
                "fields": (
                    ("operation", "mode_shown"),
                    ("merchant_shown", "payment_shown"),
                    ("method", "path"),
                    ("error_shown", "tries_shown"),
                    ("created_shown", "request_shown"),
                    "key_shown",
                )
            },
        ),
    )

    def has_mend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, MEND)

    @action(description="Try again", url_path="try-again", icon="replay", permissions=["mend"])
    def try_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = _given_up_or_404(request, object_id)

        def again(form: OnceForm) -> Done:
            now = timezone.now()
            given_up_requests.try_again(row.pk, actor=staff_actor(request), now=now)
            return Done(message="It is carried out within a few seconds.", url=_list())

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Try again: {row.operation}",
                button="Try again",
                intro="Nothing of it was done so far. It is carried out as the merchant asked for "
                "it, and a repeat of the merchant's gets the answer.",
                facts=_facts(row),
            ),
            make_form=OnceForm,
            act=again,
            back_url=_page(row),
        )

    @action(description="Forget", url_path="forget", icon="block", permissions=["mend"])
    def forget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = _given_up_or_404(request, object_id)

        def forget(form: OnceForm) -> Done:
            given_up_requests.forget(
                row.pk,
                reason=form.cleaned_data["reason"],
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(message="It is forgotten; the words are in the audit trail.", url=_list())

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Forget: {row.operation}",
                button="Forget",
                intro="Nothing of it was done. The merchant gets no answer to it; should the "
                "merchant repeat it, it begins anew.",
                danger=True,
                facts=_facts(row),
            ),
            make_form=ReasonForm,
            act=forget,
            back_url=_page(row),
        )

    @display(description="merchant")
    def merchant_shown(self, row: GivenUpRequest) -> SafeString | str:
        return admin_link("merchant", row.merchant_id, row.merchant.name)

    @display(description="payment")
    def payment_shown(self, row: GivenUpRequest) -> SafeString | str:
        payment_id = row.payment_id or str(row.parameters.get("payment", ""))
        return admin_link("payment", payment_id, payment_id) if payment_id else "–"

    @display(description="why")
    def error_shown(self, row: GivenUpRequest) -> str:
        return row.completion_error

    @display(description="tries in vain")
    def tries_shown(self, row: GivenUpRequest) -> int:
        return row.completion_count

    @display(description="asked")
    def created_shown(self, row: GivenUpRequest) -> SafeString | str:
        return moment_text(row.created_at)

    @display(description="request id")
    def request_shown(self, row: GivenUpRequest) -> SafeString | str:
        return identifier(row.request_id) if row.request_id else "–"

    @display(description="idempotency key")
    def key_shown(self, row: GivenUpRequest) -> SafeString | str:
        return identifier(row.key)

    @display(description="mode")
    def mode_shown(self, row: GivenUpRequest) -> SafeString:
        return mode_badge(row.livemode)


def _given_up_or_404(request: HttpRequest, row_id: str) -> GivenUpRequest:
    require(request, MEND)
    known = row_id.isascii() and row_id.isdigit() and len(row_id) < 19
    waiting = GivenUpRequest.objects.select_related("merchant")
    row = waiting.filter(pk=int(row_id)).first() if known else None
    if row is None:
        raise Http404(f"There is no given-up request {row_id!r}.")
    return row


def _facts(row: GivenUpRequest) -> tuple[tuple[str, str], ...]:
    return (
        ("Merchant", row.merchant.name),
        ("Asked", f"{row.method} {row.path}"),
        ("Why it was given up", row.completion_error),
    )


def _page(row: GivenUpRequest) -> str:
    return reverse("admin:payments_givenuprequest_change", args=[row.pk])


def _list() -> str:
    return reverse("admin:payments_givenuprequest_changelist")
