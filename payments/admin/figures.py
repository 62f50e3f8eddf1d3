"""The numbers of the landing page, each read in one bounded statement.

Mental model: nothing here looks further back than its window or further than an index goes. Money
is summed per currency and never across; live and test are never added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import Trunc

from ledger import balances
from payments.models import Payment, ProviderOperation
from payments.providers.base import Outcome
from payments.states import State

# Money was taken, or is held and can be taken: the payment worked.
SUCCEEDED = Q(amount_captured_minor__gt=0) | Q(state__in=[State.AUTHORIZED, State.CAPTURE_PENDING])
# It was refused, for good or for this try, and nothing was taken since.
REFUSED = Q(state=State.FAILED) | Q(state=State.CREATED, last_error__isnull=False)
_COUNT_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A window of the landing page, cut into equal stretches."""

    name: str
    title: str
    unit: str
    count: int

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self.unit == "hour" else timedelta(days=1)

    def starts(self, now: datetime) -> list[datetime]:
        """The beginnings of the stretches, the current one last."""
        current = now.replace(minute=0, second=0, microsecond=0)
        if self.unit == "day":
            current = current.replace(hour=0)
        return [current - self.length * back for back in range(self.count - 1, -1, -1)]


INTERVALS = {
    "hours": Interval(name="hours", title="Last 24 hours", unit="hour", count=24),
    "days": Interval(name="days", title="Last 14 days", unit="day", count=14),
}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What happened to the payments made in one stretch of time, in one currency."""

    start: datetime
    succeeded: int
    refused: int
    open: int
    captured_minor: int

    @property
    def made(self) -> int:
        return self.succeeded + self.refused + self.open

    @property
    def success_percentage(self) -> float | None:
        """Succeeded of those that have an answer; None without any."""
        answered = self.succeeded + self.refused
        return 100 * self.succeeded / answered if answered else None


@dataclass(frozen=True, kw_only=True)
class CurrencyTotals:
    """One currency's payments of the window."""

    currency: str
    made: int
    succeeded: int
    refused: int
    captured_minor: int

    @property
    def success_percentage(self) -> float | None:
        answered = self.succeeded + self.refused
        return 100 * self.succeeded / answered if answered else None


@dataclass(frozen=True, kw_only=True)
class UnknownOutcomes:
    """Provider calls without a known end: how many, since when, when one is asked about next."""

    count: int
    oldest_at: datetime | None
    next_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class CurrencyBalances:
    """What stands in the books per currency, on each account's normal side."""

    currency: str
    clearing_minor: int
    pending_minor: int
    available_minor: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Payments of one currency, one stretch of time and one state."""

    currency: str
    start: datetime
    state: str
    made: int
    succeeded: int
    refused: int
    captured_minor: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The payments made in a window, counted in one pass over it and looked at from three sides."""

    starts: tuple[datetime, ...]
    rows: tuple[_Row, ...]

    def totals(self) -> list[CurrencyTotals]:
        """By currency, the busiest first."""
        found: dict[str, list[_Row]] = {}
        for row in self.rows:
            found.setdefault(row.currency, []).append(row)
        totals = [
            CurrencyTotals(
                currency=currency,
                made=sum(row.made for row in rows),
                succeeded=sum(row.succeeded for row in rows),
                refused=sum(row.refused for row in rows),
                captured_minor=sum(row.captured_minor for row in rows),
            )
            for currency, rows in found.items()
        ]
        return sorted(totals, key=lambda total: (-total.made, total.currency))

    def stretches(self, currency: str) -> list[Stretch]:
        """One currency by the stretch of time, empty ones included."""
        return [self._stretch(start, currency) for start in self.starts]

    def states(self) -> dict[str, int]:
        """All currencies by the state the payments are in now."""
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row.state] = counts.get(row.state, 0) + row.made
        return counts

    def _stretch(self, start: datetime, currency: str) -> Stretch:
        rows = [row for row in self.rows if row.start == start and row.currency == currency]
        made, succeeded = sum(row.made for row in rows), sum(row.succeeded for row in rows)
        refused = sum(row.refused for row in rows)
        return Stretch(
            start=start,
            succeeded=succeeded,
            refused=refused,
            open=made - succeeded - refused,
            captured_minor=sum(row.captured_minor for row in rows),
        )


def tally(*, livemode: bool, interval: Interval, now: datetime) -> Tally:
    """Count the payments made in the interval up to now."""
    starts = tuple(interval.starts(now))
    rows = (
        Payment.objects.filter(livemode=livemode, created_at__gte=starts[0])
        .values("currency", "state", start=Trunc("created_at", interval.unit))
        .annotate(
            made=Count("pk"),
            succeeded=Count("pk", filter=SUCCEEDED),
            refused=Count("pk", filter=REFUSED & ~SUCCEEDED),
            captured_minor=Sum("amount_captured_minor"),
        )
        .order_by()
    )
    return Tally(starts=starts, rows=tuple(_Row(**row) for row in rows))


def unknown_outcomes() -> UnknownOutcomes:
    """Provider calls that are being asked about, along the index of open calls."""
    waiting = ProviderOperation.objects.filter(
        finished_at__isnull=True, outcome__in=[Outcome.UNKNOWN.value, Outcome.NOT_SENT.value]
    ).order_by()
    ends = waiting.aggregate(oldest_at=Min("created_at"), next_at=Min("next_try_at"))
    return UnknownOutcomes(count=waiting[:_COUNT_MAX].count(), **ends)


def unknown_payment_ids(*, limit: int) -> list[str]:
    """The payments whose last call has no known end, the longest waiting first."""
    waiting = ProviderOperation.objects.filter(
        finished_at__isnull=True, outcome__in=[Outcome.UNKNOWN.value, Outcome.NOT_SENT.value]
    )
    return list(waiting.order_by("created_at").values_list("payment_id", flat=True)[:limit])


def books(*, livemode: bool) -> list[CurrencyBalances]:
    """Clearing, pending and available of each currency, all owners together."""
    by_currency: dict[str, dict[str, int]] = {}
    for row in balances.trial_balance(livemode=livemode):
        difference = row.debit_minor - row.credit_minor
        by_currency.setdefault(row.currency, {})[row.code] = difference
    return [
        CurrencyBalances(
            currency=currency,
            clearing_minor=found.get("psp:clearing", 0),
            pending_minor=-found.get("merchant:pending", 0),
            available_minor=-found.get("merchant:available", 0),
        )
        for currency, found in sorted(by_currency.items())
    ]
