"""Review cases: the queue of what people have to decide, and the decisions they can take.

Mental model: open cases come first, the oldest on top; each says what was met and what to do. A
decision asks the provider first and takes over what it says (payments.actions.resolve_review), so
that nobody types a state. The person and their words are in the audit trail of everything that
follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Case, F, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display

from audit import log
from payments.actions.resolve_review import (
    accept_provider,
    cancel_reviewed_payment,
    close_case,
    release_payment,
)
from payments.admin import wording, wording_edges, wording_parts
from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm, ReasonForm
from payments.admin.part_filters import (
    CaseKindFilter,
    CaseOpenFilter,
    OpenedFilter,
    PartMerchantFilter,
    PartModeFilter,
)
from payments.admin.parts import PartAdmin, amount_html
from payments.admin.presentation import age_text, badge, moment_text, money_text
from payments.admin.verbs import Done, Verb, verb_page
from payments.models import Payment, ReviewCase
from payments.states import State

RESOLVE = "payments.resolve_review"
Decision = Callable[..., Payment]


def case_badge(case: ReviewCase) -> SafeString:
    """Whether a case waits for somebody."""
    if case.resolved_at is not None:
        return badge("Closed", "good")
    return badge("Open", "warn", title="Somebody has to decide.")


@admin.register(ReviewCase)
class ReviewCaseAdmin(PartAdmin):
    """The queue of cases, the page of one, and its decisions."""

    list_display = (
        "short_id",
        "open_shown",
        "kind_shown",
        "age_shown",
        "payment_amount_shown",
        "payment_short",
        "merchant_shown",
        "mode_shown",
    )
    list_filter = (
        CaseOpenFilter,
        CaseKindFilter,
        PartModeFilter,
        PartMerchantFilter,
        OpenedFilter,
    )
    search_help_text = "Case or payment id, the provider's id, merchant reference"
    actions_detail = ("take_over", "cancel_payment", "release", "close")
    fieldsets = (
        (
            "Case",
            {
                "fields": (
                    ("kind_shown", "open_shown", "age_shown"),
                    ("words_shown", "advice_shown"),
                    ("payment_link", "payment_amount_shown", "payment_state_shown"),
                    ("merchant_shown", "mode_shown"),
                    ("opened_shown", "resolved_shown", "resolver_shown"),
                    ("resolution_shown", "id_shown"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReviewCase]:
        queryset: QuerySet[ReviewCase] = super().get_queryset(request)
        return queryset.annotate(
            waiting_since=Case(
                When(resolved_at__isnull=True, then=F("opened_at")), default=Value(None)
            )
        )

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        return (F("waiting_since").asc(nulls_last=True), "-opened_at")

    def has_resolve_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, RESOLVE)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        case = ReviewCase.objects.select_related("payment").filter(pk=object_id).first()
        shown = _decisions(case) if case else set()
        prefix = f"{self.model._meta.app_label}_{self.model._meta.model_name}_"
        return [one for one in allowed if one.action_name.removeprefix(prefix) in shown]

    @action(
        description="Take over what the provider says",
        url_path="take-over",
        icon="fact_check",
        permissions=["resolve"],
    )
    def take_over(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide(
            request,
            object_id,
            accept_provider,
            title="Take over what the provider says",
            button="Ask the provider and take it over",
            intro="The provider is asked now. What it says decides where the payment goes: held, "
            "captured, refunded, refused or unknown to it. The books follow.",
        )

    @action(
        description="Cancel the payment",
        url_path="cancel-payment",
        icon="cancel",
        permissions=["resolve"],
    )
    def cancel_payment(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide(
            request,
            object_id,
            cancel_reviewed_payment,
            title="Cancel the payment",
            button="Cancel the payment",
            intro="The provider is asked to cancel; held money is released. Where money was taken "
            "already the provider refuses: take over what it says, then refund.",
            danger=True,
        )

    @action(
        description="Release to the provider",
        url_path="release",
        icon="play_arrow",
        permissions=["resolve"],
    )
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide(
            request,
            object_id,
            release_payment,
            title="Release the payment to the provider",
            button="Release",
            intro="The payment goes to the provider now, just as its confirmation had asked.",
        )

    @action(description="Close the case", url_path="close", icon="check", permissions=["resolve"])
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request, RESOLVE)
        case = _case_or_404(object_id)

        def close(form: OnceForm) -> Done:
            words = form.cleaned_data["reason"]
            with log.acting_as(staff_actor(request), reason=words):
                close_case(case.pk, words=words, clock=timezone.now)
            return Done(message="The case is closed.", url=_page_of(case))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Close {case.pk}",
                button="Close the case",
                intro="Nothing about the payment changes. Write what settled it.",
                facts=_facts(case),
            ),
            make_form=ReasonForm,
            act=close,
            back_url=_page_of(case),
        )

    def _decide(
        self, request: HttpRequest, object_id: str, decision: Decision, *, title: str, **words: Any
    ) -> HttpResponse:
        require(request, RESOLVE)
        case = _case_or_404(object_id)

        def decide(form: OnceForm) -> Done:
            why = form.cleaned_data["reason"]
            with log.acting_as(staff_actor(request), reason=why):
                decided = decision(case.payment_id, words=why, clock=timezone.now)
            state = wording.state_words(decided.state)
            if decided.state == State.IN_REVIEW:
                text = "The provider has not answered yet; it is being asked again by itself."
            else:
                text = f"The payment is now: {state.label}. {state.sentence}"
            return Done(message=text, url=_page_of(case))

        return verb_page(
            request,
            self,
            verb=Verb(title=title, facts=_facts(case), **words),
            make_form=ReasonForm,
            act=decide,
            back_url=_page_of(case),
        )

    @display(description="state")
    def open_shown(self, case: ReviewCase) -> SafeString:
        return case_badge(case)

    @display(description="what was met")
    def kind_shown(self, case: ReviewCase) -> SafeString:
        words = wording_parts.case_words(case.kind)
        return badge(words.label, words.tone, title=words.sentence)

    @display(description="open for")
    def age_shown(self, case: ReviewCase) -> str:
        return age_text((case.resolved_at or timezone.now()) - case.opened_at)

    @display(description="in detail")
    def words_shown(self, case: ReviewCase) -> str:
        return case.words

    @display(description="what to do")
    def advice_shown(self, case: ReviewCase) -> str:
        return wording_parts.case_words(case.kind).sentence

    @display(description="payment's amount")
    def payment_amount_shown(self, case: ReviewCase) -> SafeString:
        return amount_html(case.payment.amount_minor, case.payment.currency)

    @display(description="opened (UTC)")
    def opened_shown(self, case: ReviewCase) -> str:
        return moment_text(case.opened_at)

    @display(description="closed (UTC)")
    def resolved_shown(self, case: ReviewCase) -> str:
        return moment_text(case.resolved_at)

    @display(description="closed by")
    def resolver_shown(self, case: ReviewCase) -> str:
        return resolver_text(case)

    @display(description="what settled it")
    def resolution_shown(self, case: ReviewCase) -> str:
        return resolution_text(case)


def resolution_text(case: ReviewCase) -> str:
    """A case's end in words: a person's own, or the move of the payment that ended it."""
    return wording_edges.EDGES.get(case.resolution) or case.resolution or "–"


def resolver_text(case: ReviewCase) -> str:
    """Who closed a case."""
    if not case.resolved_by.isdigit():
        return wording.readable(case.resolved_by) or "–"
    known = User.objects.filter(pk=case.resolved_by).first()
    return known.get_username() if known else case.resolved_by


def _decisions(case: ReviewCase) -> set[str]:
    """The decisions that an open case leaves."""
    if case.resolved_at is not None:
        return set()
    others = case.payment.cases.filter(resolved_at=None).exclude(pk=case.pk)
    if case.payment.state != State.IN_REVIEW:
        return {"close"}
    decisions = {"take_over", "cancel_payment"}
    if others.exists():
        decisions.add("close")
    if case.payment.cases.filter(resolved_at=None, kind=ReviewCase.Kind.SCREENING).exists():
        decisions = (decisions - {"take_over"}) | {"release"}
    return decisions


def _case_or_404(case_id: str) -> ReviewCase:
    case = ReviewCase.objects.select_related("payment__merchant").filter(pk=case_id).first()
    if case is None:
        raise Http404(f"There is no case {case_id!r}.")
    return case


def _page_of(case: ReviewCase) -> str:
    return reverse("admin:payments_reviewcase_change", args=[case.pk])


def _facts(case: ReviewCase) -> tuple[tuple[str, str], ...]:
    payment = case.payment
    return (
        ("Case", wording_parts.case_words(case.kind).label),
        ("In detail", case.words),
        ("What to do", wording_parts.case_words(case.kind).sentence),
        ("Merchant", payment.merchant.name),
        ("Payment", payment.pk),
        ("Amount", money_text(payment.amount_minor, payment.currency)),
    )
