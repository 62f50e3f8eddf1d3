"""Refunds, to look at: who asked, how much, where each stands and why one failed."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from payments.admin import wording_parts
from payments.admin.part_filters import (
    PartMerchantFilter,
    PartModeFilter,
    RefundStateFilter,
    SinceFilter,
    SourceFilter,
)
from payments.admin.parts import PartAdmin, amount_html
from payments.admin.presentation import badge, moment_text
from payments.models import Refund


def refund_badge(refund: Refund) -> SafeString:
    """A refund's state."""
    words = wording_parts.refund_words(refund.state)
    return badge(words.label, words.tone, title=words.sentence)


@admin.register(Refund)
class RefundAdmin(PartAdmin):
    """The list of refunds and the page of one."""

    list_display = (
        "short_id",
        "amount_shown",
        "state_shown",
        "payment_short",
        "merchant_shown",
        "mode_shown",
        "source_shown",
        "created_shown",
    )
    list_filter = (
        RefundStateFilter,
        PartModeFilter,
        SourceFilter,
        PartMerchantFilter,
        SinceFilter,
    )
    references = ("provider_reference",)
    search_help_text = "Refund or payment id, the provider's id of either, merchant reference"
    fieldsets = (
        (
            "Refund",
            {
                "fields": (
                    ("amount_shown", "state_shown", "meaning_shown"),
                    ("payment_link", "payment_state_shown", "merchant_shown", "mode_shown"),
                    ("source_shown", "reason_shown", "fee_shown"),
                    ("created_shown", "succeeded_shown", "failed_shown"),
                    ("reference_shown", "id_shown", "error_shown"),
                )
            },
        ),
    )

    @display(description="state")
    def state_shown(self, refund: Refund) -> SafeString:
        return refund_badge(refund)

    @display(description="what that means")
    def meaning_shown(self, refund: Refund) -> str:
        return wording_parts.refund_words(refund.state).sentence

    @display(description="asked for by")
    def source_shown(self, refund: Refund) -> str:
        return wording_parts.REFUND_SOURCES.get(refund.source, refund.source)

    @display(description="reason")
    def reason_shown(self, refund: Refund) -> str:
        return wording_parts.REFUND_REASONS.get(refund.reason, refund.reason) or "–"

    @display(description="our fee given back with it")
    def fee_shown(self, refund: Refund) -> SafeString:
        return amount_html(refund.platform_fee_returned_minor, refund.currency)

    @display(description="given back (UTC)")
    def succeeded_shown(self, refund: Refund) -> str:
        return moment_text(refund.succeeded_at)

    @display(description="failed (UTC)")
    def failed_shown(self, refund: Refund) -> str:
        return moment_text(refund.failed_at)

    @display(description="why it failed")
    def error_shown(self, refund: Refund) -> str:
        return (refund.error or {}).get("message") or "–"
