"""The filters of the list of payments, each bounded so that a rare match is no table scan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from payments.admin import wording
from payments.models import Merchant, Payment
from payments.states import State

# How far back the list looks when nobody asks for more. A rare state among millions of payments
# would otherwise be searched for through the whole table.
DEFAULT_WINDOW_DAYS = 30
_MERCHANTS_IN_FILTER = 200
_LATEST_LOOKED_AT = 1000


class StateFilter(DropdownFilter):
    """By state, in the words of the back office."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, wording.state_words(state.value).label) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(state=self.value()) if self.value() else queryset


class ModeFilter(DropdownFilter):
    """Real money or not."""

    title = "mode"
    parameter_name = "mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Live"), ("test", "Test")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(livemode=self.value() == "live") if self.value() else queryset


class CurrencyFilter(DropdownFilter):
    """The currencies of the latest payments, and the one asked for."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        latest = Payment.objects.order_by("-pk").values("currency")[:_LATEST_LOOKED_AT]
        codes = {row["currency"] for row in latest}
        chosen = request.GET.get(self.parameter_name)
        return [(code, code) for code in sorted(codes | ({chosen} if chosen else set()))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


class MerchantFilter(DropdownFilter):
    """One merchant's payments, along their own index."""

    title = "merchant"
    parameter_name = "merchant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        merchants = list(Merchant.objects.order_by("-pk")[:_MERCHANTS_IN_FILTER])
        if chosen and not any(merchant.pk == chosen for merchant in merchants):
            merchants.extend(Merchant.objects.filter(pk=chosen))
        return [(m.pk, m.name) for m in sorted(merchants, key=lambda m: m.name.lower())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.filter(merchant=self.value()) if self.value() else queryset


class CreatedFilter(DropdownFilter):
    """How far back. A search looks at all times."""

    title = "created"
    parameter_name = "created"
    _days = {"1": 1, "7": 7, "30": 30, "90": 90, "365": 365}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("1", "Last 24 hours"),
            ("7", "Last 7 days"),
            ("30", f"Last {DEFAULT_WINDOW_DAYS} days (if nothing is chosen)"),
            ("90", "Last 90 days"),
            ("365", "Last 12 months"),
            ("all", "All times"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        chosen = self.value()
        if chosen == "all" or (chosen is None and request.GET.get("q")):
            return queryset
        days = self._days.get(chosen or "", DEFAULT_WINDOW_DAYS)
        return queryset.filter(created_at__gte=timezone.now() - timedelta(days=days))
