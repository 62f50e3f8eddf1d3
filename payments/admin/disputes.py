"""Disputes: those that need an answer first, with the time that is left, and the ways to answer.

Mental model: the list is a to-do list, ordered by the deadline of what still needs an answer. A
page shows what the bank wants to know and what was collected; evidence is handed in once and whole,
or the dispute is accepted. Both go through payments.actions.staff_requests.
"""

from __future__ import annotations

import base64
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Case, F, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display

from payments.actions.staff_requests import ask_as_staff
from payments.admin import wording_parts
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm
from payments.admin.money_forms import AcceptDisputeForm, EvidenceForm, Upload
from payments.admin.part_filters import (
    DisputeStateFilter,
    PartMerchantFilter,
    PartModeFilter,
    SinceFilter,
    StageFilter,
)
from payments.admin.parts import PartAdmin, amount_html
from payments.admin.payment_verbs import again, done_with, form_was_sent
from payments.admin.presentation import age_text, badge, moment_text, money_text
from payments.admin.verbs import Done, Verb, verb_page
from payments.idempotency import Answer
from payments.machines import OPEN_DISPUTES
from payments.models import Dispute

ANSWER = "payments.answer_dispute"
ACCEPT = "payments.accept_dispute"


def dispute_badge(dispute: Dispute) -> SafeString:
    """A dispute's state."""
    words = wording_parts.dispute_words(dispute.state)
    return badge(words.label, words.tone, title=words.sentence)


def deadline_badge(dispute: Dispute, *, now: datetime) -> SafeString | str:
    """How much time is left to answer; nothing where no answer is needed."""
    if dispute.state != "needs_response" or dispute.evidence_due_at is None:
        return "–"
    left = dispute.evidence_due_at - now
    title = f"Until {moment_text(dispute.evidence_due_at)} UTC"
    if left.total_seconds() <= 0:
        return badge(f"Overdue since {age_text(-left)}", "bad", title=title)
    tone = "bad" if left.days < 2 else "warn" if left.days < 7 else "calm"
    return badge(f"{age_text(left)} left", tone, title=title)


@admin.register(Dispute)
class DisputeAdmin(PartAdmin):
    """The list of disputes and the page of one."""

    list_display = (
        "short_id",
        "deadline_shown",
        "state_shown",
        "stage_shown",
        "amount_shown",
        "reason_shown",
        "payment_short",
        "merchant_shown",
        "mode_shown",
    )
    list_filter = (
        DisputeStateFilter,
        StageFilter,
        PartModeFilter,
        PartMerchantFilter,
        SinceFilter,
    )
    references = ("provider_reference",)
    search_help_text = "Dispute or payment id, the provider's id of either, merchant reference"
    actions_detail = ("hand_in", "accept")
    fieldsets = (
        (
            "Dispute",
            {
                "fields": (
                    ("amount_shown", "state_shown", "stage_shown"),
                    ("meaning_shown", "deadline_shown", "due_shown"),
                    ("payment_link", "payment_state_shown", "reason_shown"),
                    ("withdrawn_shown", "lost_shown", "fee_shown"),
                    ("created_shown", "submitted_shown", "closed_shown"),
                    ("reference_shown", "id_shown"),
                    ("merchant_shown", "mode_shown"),
                )
            },
        ),
        ("Evidence", {"fields": (("evidence_shown", "files_shown"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dispute]:
        queryset: QuerySet[Dispute] = super().get_queryset(request)
        return queryset.annotate(
            due_first=Case(
                When(state="needs_response", then=F("evidence_due_at")), default=Value(None)
            )
        )

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        return (F("due_first").asc(nulls_last=True), "-pk")

    def has_answer_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, ANSWER)

    def has_accept_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, ACCEPT)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        dispute = Dispute.objects.filter(pk=object_id).first()
        if dispute is None or dispute.state not in OPEN_DISPUTES:
            return []
        if dispute.state == "needs_response":
            return allowed
        return [one for one in allowed if not one.action_name.endswith("_hand_in")]

    @action(
        description="Hand in evidence",
        url_path="evidence",
        icon="upload_file",
        permissions=["answer"],
    )
    def hand_in(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, ANSWER)
        dispute = _dispute_or_404(object_id)
        back_url = _page_of(dispute)
        if form_was_sent(request, dispute.payment):
            return again(request, back_url)

        def answer(form: OnceForm) -> Done:
            assert isinstance(form, EvidenceForm), "Bug! this page has the evidence's form"
            for kind, upload in form.uploads().items():
                done_with(_keep_file(request, dispute, form, kind, upload), message="", url="")
            if "then" in form.data:
                return Done(message="The files are kept. Nothing is handed in yet.", url=back_url)
            answered = ask_as_staff(
                payment=dispute.payment,
                operation="disputes.submit_evidence",
                parameters={"dispute": dispute.pk, "evidence": form.texts()},
                words=form.cleaned_data["reason"],
                form_key=form.cleaned_data["ticket"],
                actor=staff_actor(request),
                clock=timezone.now,
            )
            words = "The evidence is handed in; the payer's bank decides."
            return done_with(answered, message=words, url=back_url)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Hand in evidence for {dispute.pk}",
                button="Hand everything in",
                second_button="Only keep the files",
                intro="Evidence is handed in once and whole: it cannot be changed or added to "
                "afterwards. Files are PDF, PNG or JPEG, up to 700 KB each.",
                facts=_facts(dispute),
            ),
            make_form=partial(
                EvidenceForm,
                kept_files={file.kind: file.filename for file in dispute.files.all()},
                initial=dispute.evidence,
            ),
            act=answer,
            back_url=back_url,
            keyed=True,
            template="admin/florin/evidence.html",
        )

    @action(description="Accept", url_path="accept", icon="thumb_down", permissions=["accept"])
    def accept(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, ACCEPT)
        dispute = _dispute_or_404(object_id)
        back_url = _page_of(dispute)
        if form_was_sent(request, dispute.payment):
            return again(request, back_url)

        def give_up(form: OnceForm) -> Done:
            answered = ask_as_staff(
                payment=dispute.payment,
                operation="disputes.accept",
                parameters={"dispute": dispute.pk},
                words=form.cleaned_data["reason"],
                form_key=form.cleaned_data["ticket"],
                actor=staff_actor(request),
                clock=timezone.now,
            )
            words = "The dispute is accepted: the payer keeps the money."
            return done_with(answered, message=words, url=back_url)

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Accept {dispute.pk}",
                button="Accept the dispute",
                intro="The payer keeps the money, and the provider's fee is not given back.",
                danger=True,
                facts=_facts(dispute),
            ),
            make_form=AcceptDisputeForm,
            act=give_up,
            back_url=back_url,
            keyed=True,
        )

    @display(description="time to answer")
    def deadline_shown(self, dispute: Dispute) -> SafeString | str:
        return deadline_badge(dispute, now=timezone.now())

    @display(description="evidence due (UTC)")
    def due_shown(self, dispute: Dispute) -> str:
        return moment_text(dispute.evidence_due_at)

    @display(description="state")
    def state_shown(self, dispute: Dispute) -> SafeString:
        return dispute_badge(dispute)

    @display(description="what that means")
    def meaning_shown(self, dispute: Dispute) -> str:
        return wording_parts.dispute_words(dispute.state).sentence

    @display(description="stage")
    def stage_shown(self, dispute: Dispute) -> str:
        return wording_parts.stage_words(dispute.stage)

    @display(description="what the payer says")
    def reason_shown(self, dispute: Dispute) -> str:
        return dispute.reason.replace("_", " ").capitalize() or "–"

    @display(description="withheld by the provider")
    def withdrawn_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.withdrawn_minor, dispute.currency)

    @display(description="lost for good")
    def lost_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.lost_minor, dispute.currency)

    @display(description="provider's fee")
    def fee_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.fee_minor, dispute.currency)

    @display(description="answered (UTC)")
    def submitted_shown(self, dispute: Dispute) -> str:
        return moment_text(dispute.submitted_at)

    @display(description="over (UTC)")
    def closed_shown(self, dispute: Dispute) -> str:
        return moment_text(dispute.closed_at)

    @display(description="words")
    def evidence_shown(self, dispute: Dispute) -> SafeString | str:
        if not dispute.evidence:
            return "None yet."
        rows = [
            (wording_parts.EVIDENCE_TEXTS.get(name, name), words)
            for name, words in dispute.evidence.items()
        ]
        listed = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", rows)
        return format_html('<dl class="florin-facts">{}</dl>', listed)

    @display(description="files")
    def files_shown(self, dispute: Dispute) -> SafeString | str:
        rows = [
            (
                wording_parts.EVIDENCE_FILES.get(file.kind, file.kind),
                file.filename,
                f"{max(1, file.size_bytes // 1000)} KB",
            )
            for file in dispute.files.order_by("created_at")
        ]
        if not rows:
            return "None yet."
        listed = format_html_join("", "<div><dt>{}</dt><dd>{} ({})</dd></div>", rows)
        return format_html('<dl class="florin-facts">{}</dl>', listed)


def _keep_file(
    request: HttpRequest, dispute: Dispute, form: OnceForm, kind: str, upload: Upload
) -> Answer:
    return ask_as_staff(
        payment=dispute.payment,
        operation="disputes.add_file",
        parameters={
            "dispute": dispute.pk,
            "kind": kind,
            "filename": upload.filename,
            "content_type": upload.content_type,
        },
        personal={"content_base64": base64.b64encode(upload.content).decode()},
        words=form.cleaned_data["reason"],
        form_key=f"{form.cleaned_data['ticket']}:{kind}",
        actor=staff_actor(request),
        clock=timezone.now,
    )


def _dispute_or_404(dispute_id: str) -> Dispute:
    dispute = (
        Dispute.objects.select_related("payment__merchant", "payment__provider_account")
        .filter(pk=dispute_id)
        .first()
    )
    if dispute is None:
        raise Http404(f"There is no dispute {dispute_id!r}.")
    return dispute


def _page_of(dispute: Dispute) -> str:
    return reverse("admin:payments_dispute_change", args=[dispute.pk])


def _facts(dispute: Dispute) -> tuple[tuple[str, str], ...]:
    return (
        ("Merchant", dispute.payment.merchant.name),
        ("Payment", dispute.payment_id),
        ("Disputed", money_text(dispute.amount_minor, dispute.currency)),
        ("Stage", wording_parts.stage_words(dispute.stage)),
        ("What the payer says", dispute.reason.replace("_", " ").capitalize() or "–"),
        ("Evidence due (UTC)", moment_text(dispute.evidence_due_at)),
    )
