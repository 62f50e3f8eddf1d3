"""The filters of the lists of refunds, disputes and review cases.

Mental model: one small class per question (state, stage, kind, merchant, mode, since when); the
lists name those they offer. The choices are worded as the pages word them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from payments.admin import wording_parts
from payments.machines import OPEN_DISPUTES, OPEN_REFUNDS
from payments.models import Merchant, ReviewCase

_MERCHANTS_IN_FILTER = 200


class RefundStateFilter(DropdownFilter):
    """By state, or all that are still under way, or all that did not reach the payer."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        states = [(state, words.label) for state, words in wording_parts.REFUNDS.items()]
        return [("open", "All under way"), ("gone_wrong", "Failed or canceled"), *states]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        groups = {"open": OPEN_REFUNDS, "gone_wrong": ("failed", "canceled")}
        chosen = self.value()
        return queryset.filter(state__in=groups.get(chosen, (chosen,))) if chosen else queryset


class DisputeStateFilter(DropdownFilter):
    """By state, or all that are not over, or those that are due within a week."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        states = [(state, words.label) for state, words in wording_parts.DISPUTES.items()]
        return [("open", "All open"), ("due", "Evidence due within 7 days"), *states]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "open":
            return queryset.filter(state__in=OPEN_DISPUTES)
        if chosen == "due":
            return queryset.filter(due_within(timedelta(days=7)))
        return queryset.filter(state=chosen) if chosen else queryset


def due_within(time: timedelta) -> Q:
    """Disputes that need an answer and whose deadline comes within `time`, or has passed."""
    return Q(state="needs_response", evidence_due_at__lte=timezone.now() + time)


class StageFilter(DropdownFilter):
    """How far a dispute has gone."""

    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(wording_parts.DISPUTE_STAGES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(stage=self.value()) if self.value() else queryset


class SourceFilter(DropdownFilter):
    """Who asked for a refund."""

    title = "asked for by"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        words = wording_parts.REFUND_SOURCES
        return [(source, text[:1].upper() + text[1:]) for source, text in words.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(source=self.value()) if self.value() else queryset


class CaseOpenFilter(DropdownFilter):
    """Open or decided."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() == "open")


class CaseKindFilter(DropdownFilter):
    """What was met."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, wording_parts.case_words(kind).label) for kind in ReviewCase.Kind]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class PartModeFilter(DropdownFilter):
    """Real money or not."""

    title = "mode"
    parameter_name = "mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live"), ("test", "Test")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(payment__livemode=chosen == "live") if chosen else queryset


class PartMerchantFilter(DropdownFilter):
    """One merchant's."""

    title = "merchant"
    parameter_name = "merchant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        merchants = list(Merchant.objects.order_by("-pk")[:_MERCHANTS_IN_FILTER])
        if chosen and not any(merchant.pk == chosen for merchant in merchants):
            merchants.extend(Merchant.objects.filter(pk=chosen))
        return [(m.pk, m.name) for m in sorted(merchants, key=lambda m: m.name.lower())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(payment__merchant=self.value()) if self.value() else queryset


class SinceFilter(DropdownFilter):
    """How far back; all times unless chosen."""

    title = "since"
    parameter_name = "since"
    column: ClassVar[str] = "created_at"
    _days: ClassVar[dict[str, int]] = {"1": 1, "7": 7, "30": 30, "90": 90, "365": 365}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("1", "Last 24 hours"),
            ("7", "Last 7 days"),
            ("30", "Last 30 days"),
            ("90", "Last 90 days"),
            ("365", "Last 12 months"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = self._days.get(self.value() or "")
        if days is None:
            return queryset
        return queryset.filter(**{f"{self.column}__gte": timezone.now() - timedelta(days=days)})


class OpenedFilter(SinceFilter):
    """As `SinceFilter`, for what is opened."""

    title = "opened"
    column = "opened_at"
