"""The books in the back office: accounts with their balances, journal entries with their lines.

Mental model: a reading room. Nothing here adds, changes or deletes; the database would refuse it
anyway. Searching is by exact name or id, because that is one index probe among millions of rows,
and long lists are paged without counting them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from ledger.models import Account, Balance, JournalEntry, Line
from ledger.money import Money

_LINES_SHOWN = 50


class ReadingRoom(ModelAdmin):
    """A list and a page to look at, for whoever may view the model."""

    actions = None
    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ReadingRoom):
    """Accounts, each with what stands on it now."""

    list_display = ("code", "owner", "currency", "mode", "kind", "balance", "held")
    list_filter = ("livemode", "kind")
    search_fields = ("code", "owner")
    search_help_text = "The whole code or the whole owner's id"
    fields = (
        ("code", "owner"),
        ("currency", "mode", "kind", "normal_side"),
        ("balance", "held"),
        ("total_debits", "total_credits"),
        ("floor", "stripes"),
        ("opened_at", "closed_at"),
        "metadata",
        "recent_lines",
    )
    readonly_fields = (
        "code",
        "owner",
        "currency",
        "mode",
        "kind",
        "normal_side",
        "balance",
        "held",
        "total_debits",
        "total_credits",
        "floor",
        "stripes",
        "opened_at",
        "closed_at",
        "metadata",
        "recent_lines",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        totals = Balance.objects.filter(account=OuterRef("pk")).order_by().values("account")
        held = {
            side: F(f"pending_{side}_minor") - F(f"released_{side}_minor")
            for side in ("debit", "credit")
        }
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(
            debits=Subquery(totals.annotate(total=Sum("posted_debit_minor")).values("total")),
            credits=Subquery(totals.annotate(total=Sum("posted_credit_minor")).values("total")),
            held_debits=Subquery(totals.annotate(total=Sum(held["debit"])).values("total")),
            held_credits=Subquery(totals.annotate(total=Sum(held["credit"])).values("total")),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        term = search_term.strip()
        return (queryset.filter(Q(owner=term) | Q(code=term)) if term else queryset), False

    @display(description="mode", label={"live": "success", "test": "warning"}, ordering="livemode")
    def mode(self, account: Account) -> str:
        return _mode(account.livemode)

    @display(description="balance")
    def balance(self, account: Any) -> str:
        difference = int(account.debits - account.credits)
        normal = difference if account.normal_side == "debit" else -difference
        return _amount(normal, account.currency)

    @display(description="held")
    def held(self, account: Any) -> str:
        normal_is_debit = account.normal_side == "debit"
        held = account.held_credits if normal_is_debit else account.held_debits
        return _amount(int(held), account.currency) if held else "–"

    @display(description="debits, all time")
    def total_debits(self, account: Any) -> str:
        return _amount(int(account.debits), account.currency)

    @display(description="credits, all time")
    def total_credits(self, account: Any) -> str:
        return _amount(int(account.credits), account.currency)

    @display(description="floor")
    def floor(self, account: Account) -> str:
        if account.floor_minor is None:
            return "none"
        return _amount(account.floor_minor, account.currency)

    @display(description="latest lines")
    def recent_lines(self, account: Account) -> SafeString:
        latest = account.lines.select_related("entry", "account").order_by(
            "-entry_id", "line_number"
        )[:_LINES_SHOWN]
        return _lines_table(latest, totals=None)


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadingRoom):
    """Journal entries, each with its lines and the proof that they sum to zero."""

    list_display = ("id", "kind", "source", "amount", "mode", "effective_at", "recorded_at")
    list_filter = ("livemode",)
    search_fields = ("source_id", "idempotency_key", "id")
    search_help_text = "A source's whole id (such as a payment's), an idempotency key or a number"
    fields = (
        ("id", "kind", "mode"),
        "description",
        ("source", "idempotency_key"),
        ("effective_at", "recorded_at"),
        ("reversal", "resolution", "enforces_floors"),
        "metadata",
        "entry_lines",
    )
    readonly_fields = (
        "id",
        "kind",
        "mode",
        "description",
        "source",
        "idempotency_key",
        "effective_at",
        "recorded_at",
        "reversal",
        "resolution",
        "enforces_floors",
        "metadata",
        "entry_lines",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        entries: QuerySet[JournalEntry] = super().get_queryset(request)
        return entries.prefetch_related("lines__account")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JournalEntry], search_term: str
    ) -> tuple[QuerySet[JournalEntry], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = Q(source_id=term) | Q(idempotency_key=term)
        if term.isascii() and term.isdigit() and len(term) < 19:
            condition |= Q(id=int(term))
        return queryset.filter(condition), False

    @display(description="mode", label={"live": "success", "test": "warning"}, ordering="livemode")
    def mode(self, entry: JournalEntry) -> str:
        return _mode(entry.livemode)

    @display(description="source")
    def source(self, entry: JournalEntry) -> str:
        return f"{entry.source_type} {entry.source_id}"

    @display(description="amount")
    def amount(self, entry: JournalEntry) -> str:
        return ", ".join(total["debit"] for total in _totals(entry.lines.all()))

    @display(description="reverses / reversed by")
    def reversal(self, entry: JournalEntry) -> SafeString | str:
        return _links(entry.reverses_id, getattr(entry, "reversed_by", None))

    @display(description="resolves / resolved by")
    def resolution(self, entry: JournalEntry) -> SafeString | str:
        return _links(entry.resolves_id, getattr(entry, "resolved_by", None))

    @display(description="lines")
    def entry_lines(self, entry: JournalEntry) -> SafeString:
        lines = sorted(entry.lines.all(), key=lambda line: line.line_number)
        return _lines_table(lines, totals=_totals(lines))


def _lines_table(lines: Iterable[Line], *, totals: list[dict[str, Any]] | None) -> SafeString:
    rows = [
        {
            "entry": f"{line.entry_id} {line.entry.kind}" if totals is None else "",
            "entry_url": _entry_url(line.entry_id),
            "effective_at": line.entry.effective_at if totals is None else None,
            "account": str(line.account),
            "account_url": reverse("admin:ledger_account_change", args=[line.account_id]),
            "description": line.description,
            "layer": _layer(line.pending),
            "debit": _amount(line.debit_minor, line.currency) if line.debit_minor else "",
            "credit": _amount(line.credit_minor, line.currency) if line.credit_minor else "",
        }
        for line in lines
    ]
    return render_to_string("admin/ledger/lines.html", {"lines": rows, "totals": totals})


def _totals(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Debits, credits and their difference by currency and layer."""
    sums: dict[tuple[str, bool], tuple[int, int]] = {}
    for line in lines:
        debit, credit = sums.get((line.currency, line.pending), (0, 0))
        place = (line.currency, line.pending)
        sums[place] = (debit + line.debit_minor, credit + line.credit_minor)
    return [
        {
            "currency": currency,
            "layer": _layer(pending),
            "debit": _amount(debit, currency),
            "credit": _amount(credit, currency),
            "difference": _amount(debit - credit, currency),
            "balanced": debit == credit,
        }
        for (currency, pending), (debit, credit) in sorted(sums.items())
    ]


def _links(target_id: int | None, origin: JournalEntry | None) -> SafeString | str:
    ids = [entry_id for entry_id in (target_id, origin.pk if origin else None) if entry_id]
    if not ids:
        return "–"
    return format_html('<a href="{}">Journal entry {}</a>', _entry_url(ids[0]), ids[0])


def _entry_url(entry_id: int) -> str:
    return reverse("admin:ledger_journalentry_change", args=[entry_id])


def _amount(amount_minor: int, currency: str) -> str:
    return str(Money(amount_minor, currency))


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"


def _layer(pending: bool) -> str:
    return "pending" if pending else "posted"
