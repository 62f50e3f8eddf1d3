"""The landing page: how payments are doing, what waits, what is owed, who is alive.

Mental model: a person opens it in the morning and sees on one screen whether anything needs them.
Each number leads to the list behind it, and each part is shown only to those who may see that
list. The choice of mode, currency and window stands in the address, so it can be shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import urlencode

from audit import partitions
from payments.admin import breakers, figures, notifications, open_work, wording
from payments.admin.access import may
from payments.admin.charts import Bucket, Chart, chart
from payments.admin.presentation import age_text, money_text
from payments.models import Payment
from payments.notifications.conditions import PARTITION_DAYS_MIN, SILENT_AFTER
from payments.states import State
from webhooks import backlog
from webhooks import partitions as inbox_months

_PROCESSES = {
    "worker": "Worker: executes what waits",
    "sweeper": "Sweeper: finds what was missed",
    "beat": "Beat: the clock of periodic jobs",
    "stream": "Stream: shows payers how their payment stands",
}


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One queue in words, with the addresses of its lists ("" where there is none to see)."""

    title: str
    waiting: int
    late: str
    dead: int
    tone: str
    waiting_url: str
    dead_url: str


@dataclass(frozen=True, kw_only=True)
class StateRow:
    """How many payments are in a state; `share` is of the largest, in percent."""

    state: str
    tone: str
    count: int
    share: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Process:
    """One kind of process and its last sign of life."""

    title: str
    last: str
    tone: str
    word: str


# queue -> its title, the list of its rows, what of it waits, and its kind of dead letters
_QUEUES = {
    "inbox": (
        "News from providers",
        "webhooks_inboxevent",
        {"status__in": "received,deferred,failed"},
        {"kind__exact": "inbox"},
    ),
    "outbox": (
        "Events for our own handlers",
        "webhooks_eventdelivery",
        {"status__in": "pending,failed"},
        {"kind__exact": "handler"},
    ),
    "merchant_webhooks": (
        "Webhooks to merchants",
        "webhooks_merchantdelivery",
        {"status__in": "pending,retrying"},
        {"kind__exact": "merchant"},
    ),
}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the landing page shows to this person."""
    now = timezone.now()
    context["title"] = "Overview"
    context["now"] = now
    if may(request, "payments.view_payment"):
        context |= _payments(request, now)
        context |= _work(request, now, livemode=context["livemode"])
    if may(request, "ledger.view_account"):
        context["books"] = figures.books(livemode=context.get("livemode", False))
        context["ledger_url"] = _list_url("ledger_account", {})
    if may(request, "webhooks.view_domainevent"):
        context["queues"] = [queue_card(queue) for queue in backlog.queues(now=now)]
        context["processes"] = processes(now)
        context["inbox_days"] = inbox_days = int(inbox_months.covered_days(now=now))
        context["inbox_tone"] = "good" if inbox_days >= PARTITION_DAYS_MIN else "bad"
    if may(request, "payments.view_provideraccount"):
        context["breakers"] = breakers.overview(now=now)
    if may(request, notifications.VIEW_RULE):
        context["notification_hints"] = notifications.hints()
    if may(request, "audit.view_auditevent"):
        days = int(partitions.covered_days(now=now))
        context["audit_days"] = days
        context["audit_tone"] = "good" if days >= PARTITION_DAYS_MIN else "bad"
        context["audit_url"] = _list_url("audit_auditevent", {})
    return context


def _work(request: HttpRequest, now: datetime, *, livemode: bool) -> dict[str, Any]:
    """What waits for a person, as far as this person may see it."""
    return {
        name: card(livemode=livemode, now=now)
        for name, card, permission in (
            ("case_card", open_work.cases, "payments.view_reviewcase"),
            ("dispute_card", open_work.disputes, "payments.view_dispute"),
            ("refund_card", open_work.refunds, "payments.view_refund"),
        )
        if may(request, permission)
    }


def _payments(request: HttpRequest, now: datetime) -> dict[str, Any]:
    livemode = _mode(request)
    interval = figures.INTERVALS.get(request.GET.get("window", ""), figures.INTERVALS["hours"])
    tally = figures.tally(livemode=livemode, interval=interval, now=now)
    totals = tally.totals()
    currencies = [total.currency for total in totals]
    asked = request.GET.get("currency", "")
    currency = asked if asked in currencies else (currencies[0] if currencies else "")
    chosen = {
        "mode": "live" if livemode else "test",
        "window": interval.name,
        "currency": currency,
    }
    cut = tally.stretches(currency) if currency else []
    unknown = figures.unknown_outcomes()
    volume, success = _volume(cut, interval, currency), _success(cut, interval)
    return {
        "livemode": livemode,
        "interval": interval,
        "currency": currency,
        "modes": _choices("mode", [("live", "Live"), ("test", "Test")], chosen),
        "windows": _choices(
            "window", [(each.name, each.title) for each in figures.INTERVALS.values()], chosen
        ),
        "currencies": _choices("currency", [(code, code) for code in currencies], chosen),
        "totals": totals,
        "volume_chart": volume,
        "volume_scale": money_text(volume.highest, currency),
        "success_chart": success,
        "success_scale": f"{success.highest} payment{'s' if success.highest != 1 else ''}",
        "stretches": [stretch for stretch in reversed(cut) if stretch.made],
        "states": _states(tally.states(), livemode, interval),
        "unknown": unknown,
        "unknown_oldest": age_text(now - unknown.oldest_at) if unknown.oldest_at else "",
        "unknown_payments": Payment.objects.filter(
            pk__in=figures.unknown_payment_ids(limit=5)
        ).order_by("created_at")
        if unknown.count
        else [],
    }


def _mode(request: HttpRequest) -> bool:
    """Live or test as asked for; otherwise live as soon as there has been one live payment."""
    asked = request.GET.get("mode")
    if asked in ("live", "test"):
        return asked == "live"
    week = timezone.now() - timedelta(days=14)
    return Payment.objects.filter(livemode=True, created_at__gte=week).exists()


def _choices(
    name: str, options: list[tuple[str, str]], chosen: dict[str, str]
) -> list[tuple[str, str, bool]]:
    """(title, address, chosen) of each option, keeping the other choices."""
    return [
        (title, f"?{urlencode({**chosen, name: value})}", chosen[name] == value)
        for value, title in options
    ]


def _label(start: datetime, interval: figures.Interval) -> str:
    return start.strftime("%H:%M" if interval.unit == "hour" else "%d %b")


def _volume(cut: list[figures.Stretch], interval: figures.Interval, currency: str) -> Chart:
    buckets = []
    for stretch in cut:
        captured = money_text(stretch.captured_minor, currency)
        label = _label(stretch.start, interval)
        buckets.append(
            Bucket(
                label=label,
                words=f"{label}: {captured} captured, {stretch.succeeded} payments",
                parts=(("florin-bar", stretch.captured_minor),),
            )
        )
    return chart(buckets)


def _success(cut: list[figures.Stretch], interval: figures.Interval) -> Chart:
    buckets = []
    for stretch in cut:
        rate = stretch.success_percentage
        label = _label(stretch.start, interval)
        told = "no answers" if rate is None else f"{rate:.1f} % succeeded"
        buckets.append(
            Bucket(
                label=label,
                words=(
                    f"{label}: {told}; {stretch.succeeded} succeeded, {stretch.refused} refused, "
                    f"{stretch.open} open"
                ),
                parts=(
                    ("florin-bar-good", stretch.succeeded),
                    ("florin-bar-bad", stretch.refused),
                    ("florin-bar-wait", stretch.open),
                ),
            )
        )
    return chart(buckets)


def _states(counts: dict[str, int], livemode: bool, interval: figures.Interval) -> list[StateRow]:
    largest = max(counts.values(), default=1)
    created = "1" if interval.unit == "hour" else "30"
    rows = []
    for state in State:
        count = counts.get(state.value, 0)
        if not count:
            continue
        words = wording.state_words(state.value)
        asked = {"state": state.value, "mode": "live" if livemode else "test", "created": created}
        rows.append(
            StateRow(
                state=words.label,
                tone=words.tone,
                count=count,
                share=max(2, 100 * count // largest),
                url=_list_url("payments_payment", asked),
            )
        )
    return rows


def queue_card(queue: backlog.Queue) -> Queue:
    """A queue in words."""
    title, page, waiting, dead = _QUEUES[queue.name]
    late = timedelta(seconds=queue.late_seconds)
    is_late = late > timedelta(seconds=30)
    return Queue(
        title=title,
        waiting=queue.waiting,
        late=f"late by {age_text(late)}" if is_late else "on time",
        dead=queue.dead,
        tone="bad" if queue.dead else ("warn" if is_late else "good"),
        waiting_url=_list_url(page, waiting),
        dead_url=_list_url("webhooks_deadletter", dead),
    )


def processes(now: datetime) -> list[Process]:
    """Each kind of process with its last sign of life."""
    heard = backlog.last_heartbeats()
    rows = []
    for role in dict.fromkeys(["sweeper", *sorted(heard)]):
        last = heard.get(role)
        alive = last is not None and now - last < SILENT_AFTER
        rows.append(
            Process(
                title=_PROCESSES.get(role, wording.readable(role)),
                last=f"{age_text(now - last)} ago" if last else "never heard of",
                tone="good" if alive else "bad",
                word="Alive" if alive else "Silent",
            )
        )
    return rows


def _list_url(page: str, parameters: dict[str, str]) -> str:
    """The address of a filtered list, "" where the list has no page."""
    try:
        address = reverse(f"admin:{page}_changelist")
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(parameters)}" if parameters else address
