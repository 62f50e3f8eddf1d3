"""What waits for a person: review cases, disputes, refunds, counted along indexes of what is open.

Mental model: three short questions for the landing page, of one mode. Money is summed per currency
and never across; each number leads to the list behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Sum
from django.urls import reverse
from django.utils.http import urlencode

from payments.admin import wording_parts
from payments.admin.presentation import age_text, money_text
from payments.machines import OPEN_DISPUTES, OPEN_REFUNDS
from payments.models import Dispute, Refund, ReviewCase

DUE_SOON = timedelta(days=7)
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a card: words, a number, its share of the largest in percent, and its list."""

    label: str
    count: int
    share: int
    tone: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card: how many, in words what they are about, and what they are made of."""

    count: int
    sentence: str
    amounts: tuple[str, ...]
    rows: tuple[Row, ...]
    url: str


@dataclass(frozen=True, kw_only=True)
class DisputeCard(Card):
    """The disputes; `due` are those whose evidence is due soon, the most urgent first."""

    due_count: int
    due: tuple[Dispute, ...]


def cases(*, livemode: bool, now: datetime) -> Card:
    """Open review cases by kind."""
    waiting = ReviewCase.objects.filter(resolved_at__isnull=True, payment__livemode=livemode)
    counts = waiting.order_by().values("kind").annotate(number=Count("pk"), oldest=Min("opened_at"))
    found = {row["kind"]: row for row in counts}
    oldest = min((row["oldest"] for row in found.values()), default=None)
    return Card(
        count=sum(row["number"] for row in found.values()),
        sentence=f"The oldest waits since {age_text(now - oldest)}." if oldest else "",
        amounts=(),
        rows=_rows(
            (
                wording_parts.case_words(kind).label,
                row["number"],
                wording_parts.case_words(kind).tone,
                _url("reviewcase", livemode, state="open", kind=kind),
            )
            for kind, row in found.items()
        ),
        url=_url("reviewcase", livemode, state="open"),
    )


def disputes(*, livemode: bool, now: datetime) -> DisputeCard:
    """Open disputes by stage, and those whose evidence is due within a week."""
    waiting = Dispute.objects.filter(state__in=OPEN_DISPUTES, payment__livemode=livemode)
    stages = dict(waiting.order_by().values_list("stage").annotate(number=Count("pk")))
    sums = waiting.order_by().values_list("currency").annotate(total=Sum("amount_minor"))
    due = Dispute.objects.filter(
        state="needs_response", evidence_due_at__lte=now + DUE_SOON, payment__livemode=livemode
    )
    return DisputeCard(
        count=sum(stages.values()),
        sentence="",
        amounts=tuple(money_text(total, currency) for currency, total in sorted(sums)),
        rows=_rows(
            (
                wording_parts.stage_words(stage),
                number,
                "warn",
                _url("dispute", livemode, state="open", stage=stage),
            )
            for stage, number in stages.items()
        ),
        url=_url("dispute", livemode, state="open"),
        due_count=due.count(),
        due=tuple(due.select_related("payment__merchant").order_by("evidence_due_at")[:_SHOWN]),
    )


def refunds(*, livemode: bool, now: datetime) -> Card:
    """Refunds that are under way, by state, and those that failed within a week."""
    waiting = Refund.objects.filter(state__in=OPEN_REFUNDS, payment__livemode=livemode)
    states = dict(waiting.order_by().values_list("state").annotate(number=Count("pk")))
    sums = waiting.order_by().values_list("currency").annotate(total=Sum("amount_minor"))
    failed = Refund.objects.filter(failed_at__gte=now - DUE_SOON, payment__livemode=livemode)
    failed_count = failed.count()
    listed = [
        (
            wording_parts.refund_words(state).label,
            number,
            wording_parts.refund_words(state).tone,
            _url("refund", livemode, state=state),
        )
        for state, number in states.items()
    ]
    if failed_count:
        url = _url("refund", livemode, state="gone_wrong", since="30")
        listed.append(("Failed in 7 days", failed_count, "bad", url))
    return Card(
        count=sum(states.values()),
        sentence="",
        amounts=tuple(money_text(total, currency) for currency, total in sorted(sums)),
        rows=_rows(listed),
        url=_url("refund", livemode, state="open"),
    )


def _rows(found: Iterable[tuple[str, int, str, str]]) -> tuple[Row, ...]:
    listed = sorted(found, key=lambda row: (-row[1], row[0]))
    largest = max((number for _, number, _, _ in listed), default=1)
    return tuple(
        Row(label=label, count=number, share=max(2, 100 * number // largest), tone=tone, url=url)
        for label, number, tone, url in listed
    )


def _url(page: str, livemode: bool, **chosen: str) -> str:
    mode = "live" if livemode else "test"
    return f"{reverse(f'admin:payments_{page}_changelist')}?{urlencode({'mode': mode, **chosen})}"
