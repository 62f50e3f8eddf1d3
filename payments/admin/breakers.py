"""Circuit breakers on the landing page: which provider account is asked, and how it answers.

Mental model: the state stands in Redis, where the calls are counted; while Redis is away the page
shows what was told last. Breakers that are not closed come first, then those with most failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.urls import reverse

from payments.actions.through_breaker import breaker
from payments.admin.charts import Bucket, Chart, chart
from payments.admin.presentation import age_text
from payments.models import ProviderAccount, ToldBreaker
from payments.providers.breaker import SLOTS, BreakerState, Slot

SHOWN_MAX = 12
CLASSES = {
    "create": "New payments",
    "money": "Captures and cancellations",
    "refund": "Refunds",
    "dispute": "Disputes",
    "query": "Questions about payments",
}
_STATES = {
    "open": ("Open: not asked", "bad"),
    "half_open": ("Half-open: trying", "warn"),
    "closed": ("Closed: all is well", "good"),
}
_URGENCY = {"open": 0, "half_open": 1, "closed": 2}


@dataclass(frozen=True, kw_only=True)
class Card:
    """One breaker in words, with its window as a picture."""

    account: str
    account_url: str
    title: str
    word: str
    tone: str
    rate: str
    since: str
    probe: str
    picture: Chart | None
    picture_words: str
    scale: str


@dataclass(frozen=True, kw_only=True)
class Breakers:
    """The cards to show, how many more there are, and whether Redis could be asked."""

    cards: list[Card]
    more: int
    is_live: bool


def overview(*, now: datetime) -> Breakers:
    """Every breaker with calls within the last hour, or not closed; the worst first."""
    states = breaker().states()
    is_live = states is not None
    found = _told_open() if states is None else states
    accounts = ProviderAccount.objects.select_related("merchant").in_bulk(
        {_account_of(state) for state in found}
    )
    known = sorted(
        (state for state in found if _account_of(state) in accounts),
        key=lambda state: (_URGENCY[state.state], -state.failure_ratio, state.name),
    )
    cards = [_card(state, accounts[_account_of(state)], now) for state in known[:SHOWN_MAX]]
    return Breakers(cards=cards, more=max(0, len(known) - SHOWN_MAX), is_live=is_live)


def _account_of(state: BreakerState) -> str:
    return state.name.partition(":")[0]


def _told_open() -> list[BreakerState]:
    return [
        BreakerState(
            name=row.pk,
            state=row.state,
            since=row.since.timestamp(),
            calls=row.calls,
            failures=row.failures,
            slow=row.slow,
        )
        for row in ToldBreaker.objects.filter(state=ToldBreaker.State.OPEN)
    ]


def _card(state: BreakerState, account: ProviderAccount, now: datetime) -> Card:
    word, tone = _STATES[state.state]
    operation_class = state.name.partition(":")[2]
    title = CLASSES.get(operation_class, operation_class)
    rate = f"{state.failures} of {state.calls} calls failed ({state.failure_ratio:.0%})"
    if state.slow:
        rate += f", {state.slow} were slow"
    since = _moment(state.since)
    return Card(
        account=f"{account} of {account.merchant.name if account.merchant else 'the platform'}",
        account_url=reverse("admin:payments_provideraccount_change", args=[account.pk]),
        title=title,
        word=word,
        tone=tone,
        rate=rate if state.calls else "no calls",
        since=f"{age_text(now - since)} ago" if since else "",
        probe=_probe(state, now),
        picture=_picture(state, now),
        picture_words=f"Calls about {title.lower()} in the window: well, slow and failed",
        scale=_calls(max((slot.calls for slot in state.slots), default=0)),
    )


def _probe(state: BreakerState, now: datetime) -> str:
    """When an open breaker tries again."""
    if state.state == "half_open":
        return "now"
    probe_at = _moment(state.probe_at)
    if state.state != "open" or probe_at is None:
        return ""
    return f"in {age_text(probe_at - now)}" if probe_at > now else "with the next call"


def _picture(state: BreakerState, now: datetime) -> Chart | None:
    """The window in slots, up to now; of a breaker that is not closed, up to when it opened."""
    if not state.slots:
        return None
    width = settings.FLORIN_BREAKER_WINDOW_SECONDS / SLOTS
    known = {round(slot.ends_at / width): slot for slot in state.slots}
    last = max(known) if state.state != "closed" else int(now.timestamp() // width) + 1
    buckets = []
    for number in range(last - SLOTS + 1, last + 1):
        ends_at = number * width
        slot = known.get(number, Slot(ends_at=ends_at, calls=0, failures=0, slow=0))
        slow = min(slot.slow, slot.calls - slot.failures)
        label = (datetime.fromtimestamp(ends_at, UTC) - timedelta(seconds=width)).strftime(
            "%H:%M:%S"
        )
        buckets.append(
            Bucket(
                label=label,
                words=f"{label}: {_calls(slot.calls)}, {slot.failures} failed, {slot.slow} slow",
                parts=(
                    ("florin-bar-good", slot.calls - slot.failures - slow),
                    ("florin-bar-wait", slow),
                    ("florin-bar-bad", slot.failures),
                ),
            )
        )
    return chart(buckets)


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _calls(number: int) -> str:
    return f"{number} call{'s' if number != 1 else ''}"
