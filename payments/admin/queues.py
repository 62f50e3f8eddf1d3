"""The page "Queues": what comes in, what waits and since when, what gets done, what fails.

Mental model: an operator opens it when something is late. Pictures over time come from the samples
of webhooks.samples, which cost the same at any size; lists of what fails come from indexes of
failures. Each part leads to the rows behind it, and whoever may not see a part's list does not get
the part. The window stands in the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.admin import ModelAdmin

from payments.admin import breakers, dashboard
from payments.admin.access import may, require
from payments.admin.charts import Bucket, Chart, chart
from payments.admin.line_charts import LineChart, Series, line_chart
from payments.admin.presentation import age_text
from webhooks import backlog, failures, samples

PERMISSION = "webhooks.view_domainevent"
LISTED_MAX = 10


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of time up to now, cut into equal pieces."""

    name: str
    title: str
    step: timedelta
    count: int
    step_words: str
    label: str


WINDOWS = {
    window.name: window
    for window in (
        Window(
            name="hour",
            title="Last hour",
            step=timedelta(minutes=1),
            count=60,
            step_words="minute",
            label="%H:%M",
        ),
        Window(
            name="day",
            title="Last day",
            step=timedelta(minutes=30),
            count=48,
            step_words="half hour",
            label="%H:%M",
        ),
        Window(
            name="week",
            title="Last week",
            step=timedelta(hours=4),
            count=42,
            step_words="four hours",
            label="%d %b",
        ),
    )
}
# flow -> title, what one row is, css class of its lines
_FLOWS = {
    "inbox": ("News from providers", "provider events", "florin-line-one"),
    "outbox": ("Events for our own handlers", "handler deliveries", "florin-line-two"),
    "merchant_webhooks": ("Webhooks to merchants", "merchant deliveries", "florin-line-three"),
}
# status -> part of a bar: done, still open, dead; what is missing here is open
_DONE = {"processed", "superseded", "ignored", "duplicate", "done", "delivered"}
_GIVEN_UP = {"dead", "discarded"}


@dataclass(frozen=True, kw_only=True)
class Inflow:
    """One flow's picture and the figures behind it: (label, done, open, dead or discarded)."""

    title: str
    picture: Chart
    scale: str
    label: str
    rows: list[tuple[str, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Meter:
    """One line of a bar list; `share` is of the largest, in percent."""

    label: str
    url: str
    words: str
    count: int
    share: int


def queues_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The page. Raises PermissionDenied for whoever may not see domain events."""
    require(request, PERMISSION)
    request.current_app = model_admin.admin_site.name
    context = {
        **model_admin.admin_site.each_context(request),
        **page(request, now=timezone.now()),
    }
    return TemplateResponse(request, "admin/florin/queues.html", context)


def page(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    """What the page shows to this person."""
    window = WINDOWS.get(request.GET.get("window", ""), WINDOWS["hour"])
    start = samples.stretches_start(step=window.step, count=window.count, now=now)
    history = samples.history(start=start, step=window.step, now=now)
    context: dict[str, Any] = {
        "title": "Queues",
        "now": now,
        "window": window,
        "windows": [
            (each.title, f"?{urlencode({'window': each.name})}", each is window)
            for each in WINDOWS.values()
        ],
        "queues": [dashboard.queue_card(queue) for queue in backlog.queues(now=now)],
        "processes": dashboard.processes(now),
        "lateness": _lateness(history, window),
        "throughput": _throughput(history, window),
        "sampled": _table(history, window),
        "inflows": [_inflow(flow, window, start, now) for flow in samples.FLOWS],
        "sources": _sources(now - window.step * window.count),
        "dead": failures.dead_by_age(now=now) if may(request, "webhooks.view_deadletter") else None,
        "dead_url": reverse("admin:webhooks_deadletter_changelist"),
    }
    if may(request, "webhooks.view_webhookendpoint"):
        context["endpoints"] = [
            (reverse("admin:webhooks_webhookendpoint_change", args=[each.id]), each)
            for each in failures.failing_endpoints(limit=LISTED_MAX)
        ]
    if may(request, "payments.view_provideraccount"):
        context["breakers"] = breakers.overview(now=now)
    return context


def _inflow(flow: str, window: Window, start: datetime, now: datetime) -> Inflow:
    title, unit, _ = _FLOWS[flow]
    buckets, rows = [], []
    for begin, counts in samples.inflow(flow, start=start, step=window.step, now=now):
        done = sum(count for status, count in counts.items() if status in _DONE)
        given_up = sum(count for status, count in counts.items() if status in _GIVEN_UP)
        waiting = sum(counts.values()) - done - given_up
        label = begin.strftime(window.label)
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        buckets.append(
            Bucket(
                label=label,
                words=f"{begin:%d %b %H:%M}: {told or 'nothing'}",
                parts=(
                    ("florin-bar-good", done),
                    ("florin-bar-wait", waiting),
                    ("florin-bar-bad", given_up),
                ),
            )
        )
        if counts:
            rows.append((f"{begin:%d %b %H:%M}", done, waiting, given_up))
    picture = chart(buckets)
    return Inflow(
        title=title,
        picture=picture,
        scale=f"{picture.highest} per {window.step_words}",
        label=f"{unit} that came in over time, by what became of them",
        rows=rows[::-1],
    )


def _lateness(history: dict[str, list[samples.Stretch]], window: Window) -> dict[str, Any]:
    """How late the longest due row was, per queue."""
    lines = {queue: [each.late_seconds for each in found] for queue, found in history.items()}
    picture = _lines(
        history, window, lines, lambda seconds: age_text(timedelta(seconds=seconds)), at_least=10.0
    )
    return {"picture": picture, "scale": age_text(timedelta(seconds=picture.highest))}


def _throughput(history: dict[str, list[samples.Stretch]], window: Window) -> dict[str, Any]:
    """Rows handled per minute, per queue."""
    minutes = window.step / timedelta(minutes=1)
    lines: dict[str, list[float | None]] = {
        queue: [None if each.handled is None else each.handled / minutes for each in found]
        for queue, found in history.items()
    }
    picture = _lines(history, window, lines, lambda pace: f"{pace:.1f} per minute", at_least=1.0)
    return {"picture": picture, "scale": f"{picture.highest:.0f} per minute"}


def _lines(
    history: dict[str, list[samples.Stretch]],
    window: Window,
    lines: dict[str, list[float | None]],
    told: Any,
    *,
    at_least: float,
) -> LineChart:
    starts = [each.start for each in next(iter(history.values()))]
    words = [
        f"{begin:%d %b %H:%M}: "
        + "; ".join(
            f"{_FLOWS[queue][0]} {'not sampled' if values[index] is None else told(values[index])}"
            for queue, values in lines.items()
        )
        for index, begin in enumerate(starts)
    ]
    series = [
        Series(name=_FLOWS[queue][0], css_class=_FLOWS[queue][2], values=tuple(values))
        for queue, values in lines.items()
    ]
    labels = [begin.strftime(window.label) for begin in starts]
    return line_chart(labels, words, series, at_least=at_least)


def _table(
    history: dict[str, list[samples.Stretch]], window: Window
) -> list[tuple[str, str, samples.Stretch, str]]:
    """(from, queue, figures, lateness in words) of every sampled stretch, the newest first."""
    rows = [
        (each.start, _FLOWS[queue][0], each)
        for queue, found in history.items()
        for each in found
        if each.waiting is not None
    ]
    return [
        (
            f"{start:%d %b %H:%M}",
            title,
            each,
            age_text(timedelta(seconds=each.late_seconds or 0)),
        )
        for start, title, each in sorted(rows, key=lambda row: row[0], reverse=True)
    ]


def _sources(since: datetime) -> list[Meter]:
    """Failed tries by handler and provider, each with the list behind it."""
    found = failures.by_source(since=since, limit=LISTED_MAX)
    largest = max((each.total for each in found), default=1)
    meters = []
    for each in found:
        if each.kind == "handler":
            url = reverse("admin:webhooks_eventdelivery_changelist")
            asked = {"handler": each.name, "status__in": "failed,dead"}
        else:
            url = reverse("admin:webhooks_inboxevent_changelist")
            asked = {"provider__exact": each.name, "status__in": "failed,dead"}
        cut_off = f", {each.interrupted} cut off" if each.interrupted else ""
        meters.append(
            Meter(
                label=each.name if each.kind == "handler" else f"News from {each.name}",
                url=f"{url}?{urlencode(asked)}",
                words=f"{each.failed} raised{cut_off}",
                count=each.total,
                share=max(2, 100 * each.total // largest),
            )
        )
    return meters
