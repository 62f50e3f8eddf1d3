"""The tabs of a payment's page: what belongs to it, to look at."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from payments.admin import wording, wording_parts
from payments.admin.cases import case_badge, resolution_text
from payments.admin.disputes import deadline_badge, dispute_badge
from payments.admin.parts import amount_html
from payments.admin.presentation import admin_link, badge, identifier, moment_text, state_badge
from payments.admin.read_only import ReadOnlyInline
from payments.admin.refunds import refund_badge
from payments.models import (
    Attempt,
    Capture,
    Dispute,
    ProviderOperation,
    Refund,
    ReviewCase,
    Transition,
)


class CaptureInline(ReadOnlyInline):
    """The times money was taken."""

    model = Capture
    verbose_name_plural = "Captures"
    ordering = ("number",)
    fields = (
        "number",
        "amount_shown",
        "state_shown",
        "final_shown",
        "fee_shown",
        "error_shown",
        "created_at",
        "finished_at",
    )

    @display(description="amount")
    def amount_shown(self, capture: Capture) -> SafeString:
        return amount_html(capture.amount_minor, capture.payment.currency)

    @display(description="state")
    def state_shown(self, capture: Capture) -> SafeString:
        words = wording_parts.capture_words(capture.state)
        return badge(words.label, words.tone, title=words.sentence)

    @display(description="the last one")
    def final_shown(self, capture: Capture) -> str:
        return "Yes" if capture.final else "No, more may follow"

    @display(description="our fee")
    def fee_shown(self, capture: Capture) -> SafeString:
        return amount_html(capture.platform_fee_minor, capture.payment.currency)

    @display(description="why not")
    def error_shown(self, capture: Capture) -> str:
        return (capture.error or {}).get("message") or "–"


class RefundInline(ReadOnlyInline):
    """The refunds."""

    model = Refund
    verbose_name_plural = "Refunds"
    ordering = ("pk",)
    fields = (
        "link",
        "amount_shown",
        "state_shown",
        "source_shown",
        "reason_shown",
        "error_shown",
        "created_at",
    )

    @display(description="refund")
    def link(self, refund: Refund) -> SafeString | str:
        return admin_link("refund", refund.pk, refund.pk)

    @display(description="amount")
    def amount_shown(self, refund: Refund) -> SafeString:
        return amount_html(refund.amount_minor, refund.currency)

    @display(description="state")
    def state_shown(self, refund: Refund) -> SafeString:
        return refund_badge(refund)

    @display(description="asked for by")
    def source_shown(self, refund: Refund) -> str:
        return wording_parts.REFUND_SOURCES.get(refund.source, refund.source)

    @display(description="reason")
    def reason_shown(self, refund: Refund) -> str:
        return wording_parts.REFUND_REASONS.get(refund.reason, refund.reason) or "–"

    @display(description="why it failed")
    def error_shown(self, refund: Refund) -> str:
        return (refund.error or {}).get("message") or "–"


class DisputeInline(ReadOnlyInline):
    """The disputes."""

    model = Dispute
    verbose_name_plural = "Disputes"
    ordering = ("pk",)
    fields = (
        "link",
        "amount_shown",
        "state_shown",
        "stage_shown",
        "deadline_shown",
        "withdrawn_shown",
        "lost_shown",
        "created_at",
    )

    @display(description="dispute")
    def link(self, dispute: Dispute) -> SafeString | str:
        return admin_link("dispute", dispute.pk, dispute.pk)

    @display(description="amount")
    def amount_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.amount_minor, dispute.currency)

    @display(description="state")
    def state_shown(self, dispute: Dispute) -> SafeString:
        return dispute_badge(dispute)

    @display(description="stage")
    def stage_shown(self, dispute: Dispute) -> str:
        return wording_parts.stage_words(dispute.stage)

    @display(description="time to answer")
    def deadline_shown(self, dispute: Dispute) -> SafeString | str:
        return deadline_badge(dispute, now=timezone.now())

    @display(description="withheld")
    def withdrawn_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.withdrawn_minor, dispute.currency)

    @display(description="lost")
    def lost_shown(self, dispute: Dispute) -> SafeString:
        return amount_html(dispute.lost_minor, dispute.currency)


class CaseInline(ReadOnlyInline):
    """The review cases."""

    model = ReviewCase
    verbose_name_plural = "Review cases"
    ordering = ("opened_at",)
    fields = (
        "link",
        "kind_shown",
        "state_shown",
        "words_shown",
        "resolution_shown",
        "opened_at",
        "resolved_at",
    )

    @display(description="case")
    def link(self, case: ReviewCase) -> SafeString | str:
        return admin_link("reviewcase", case.pk, case.pk)

    @display(description="what was met")
    def kind_shown(self, case: ReviewCase) -> str:
        return wording_parts.case_words(case.kind).label

    @display(description="state")
    def state_shown(self, case: ReviewCase) -> SafeString:
        return case_badge(case)

    @display(description="in detail")
    def words_shown(self, case: ReviewCase) -> str:
        return case.words

    @display(description="what settled it")
    def resolution_shown(self, case: ReviewCase) -> str:
        return resolution_text(case)


class AttemptInline(ReadOnlyInline):
    """The tries to pay."""

    model = Attempt
    verbose_name_plural = "Attempts"
    ordering = ("number",)
    fields = (
        "number",
        "state_shown",
        "provider_account",
        "provider_reference",
        "charge_reference",
        "error_shown",
        "created_at",
        "finished_at",
    )

    @display(description="state")
    def state_shown(self, attempt: Attempt) -> SafeString:
        return badge(
            wording.readable(attempt.state), wording.ATTEMPT_TONES.get(attempt.state, "calm")
        )

    @display(description="why not")
    def error_shown(self, attempt: Attempt) -> str:
        return (attempt.error or {}).get("message") or "–"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).select_related("provider_account")


class OperationInline(ReadOnlyInline):
    """The calls to the provider."""

    model = ProviderOperation
    verbose_name_plural = "Provider calls"
    ordering = ("created_at",)
    fields = (
        "id_shown",
        "asked",
        "outcome_shown",
        "try_count",
        "error_shown",
        "created_at",
        "finished_at",
        "next_try_shown",
    )

    @display(description="call")
    def id_shown(self, operation: ProviderOperation) -> SafeString | str:
        return identifier(operation.pk)

    @display(description="asked to")
    def asked(self, operation: ProviderOperation) -> str:
        return wording.OPERATIONS.get(operation.kind, operation.kind)

    @display(description="outcome")
    def outcome_shown(self, operation: ProviderOperation) -> SafeString:
        words = wording.outcome_words(operation.outcome)
        return badge(words.label, words.tone, title=words.sentence)

    @display(description="why not")
    def error_shown(self, operation: ProviderOperation) -> str:
        return (operation.error or {}).get("message") or "–"

    @display(description="asked again at")
    def next_try_shown(self, operation: ProviderOperation) -> str:
        return "–" if operation.finished_at else moment_text(operation.next_try_at)


class TransitionInline(ReadOnlyInline):
    """The moves from state to state."""

    model = Transition
    verbose_name_plural = "Transitions"
    ordering = ("version",)
    fields = ("version", "from_shown", "to_shown", "meaning", "by", "cause", "occurred_at")

    @display(description="from")
    def from_shown(self, transition: Transition) -> SafeString | str:
        return state_badge(transition.from_state) if transition.from_state else "–"

    @display(description="to")
    def to_shown(self, transition: Transition) -> SafeString:
        return state_badge(transition.to_state)

    @display(description="why")
    def meaning(self, transition: Transition) -> str:
        if not transition.from_state:
            return "The payment was made"
        return wording.edge_meaning(transition.event)

    @display(description="by")
    def by(self, transition: Transition) -> str:
        who = wording.ACTORS.get(transition.actor_type, transition.actor_type)
        return f"{who} {transition.actor_id}"

    @display(description="because of")
    def cause(self, transition: Transition) -> str:
        cause = wording.cause_words(transition.cause_type, transition.actor_type)
        return f"{cause} {transition.cause_id}".strip()
